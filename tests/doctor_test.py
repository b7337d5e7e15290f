import ast
import importlib.metadata
import os
import pathlib
import re
import subprocess
import sys

import pytest

from nbody_bench import doctor

ROOT = pathlib.Path(__file__).parents[1]


def call(*arguments):
  return doctor.main(["doctor", *map(str, arguments)])


def without(package, folder, module, *arguments):
  """Runs a command in a process where a package cannot be imported."""
  (folder / f"{package}.py").write_text("raise ImportError('blocked')\n")
  paths = [str(folder), str(ROOT), os.environ.get("PYTHONPATH", "")]
  return subprocess.run(
    [sys.executable, "-m", module, *arguments],
    env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    cwd=folder,
    capture_output=True,
    text=True,
    check=False,
  )


def test_a_healthy_machine(tmp_path, capsys):
  assert call(f"--data_dir={tmp_path / 'later' / 'data'}") == 0
  lines = capsys.readouterr().out.splitlines()
  assert lines.pop() == "all is well"
  assert {x.split()[0] for x in lines} <= {"ok", "warn"}
  report = "\n".join(lines)
  for fact in (
    r"Python 3\.\d+",
    r"tensorflow 2\.\d+",
    r"sonnet 2\.\d",
    r"\d+ cores, [\d.]+ of [\d.]+ GiB memory free",
    r"data folder .*later/data: [\d.]+ GiB free",
    "CPU: ",
    "GPU: ",
    "XLA compiles",
    "energy drifts by",
    "one step takes the loss",
    "compiled and plain differ by",
  ):
    assert re.search(rf"^ok    .*{fact}|^warn  .*{fact}", report, re.M), fact
  assert not (tmp_path / "later").exists()


def test_without_tensorflow_the_doctor_says_so_and_goes_on(tmp_path):
  result = without("tensorflow", tmp_path, "nbody_bench.doctor")
  assert result.returncode == 1
  assert result.stderr == ""
  assert (
    "FAIL  tensorflow cannot be imported (ImportError: blocked); pip install "
  ) in result.stdout
  assert "warn  sonnet not tried: it needs tensorflow" in result.stdout
  assert "warn  devices not tried: a package is missing" in result.stdout
  assert "GiB free" in result.stdout
  assert result.stdout.splitlines()[-1] == "1 to mend"


@pytest.mark.slow
def test_another_broken_package_is_named(tmp_path):
  result = without("graph_nets", tmp_path, "nbody_bench.doctor")
  assert result.returncode == 1
  failures = [x for x in result.stdout.splitlines() if x.startswith("FAIL")]
  (failure,) = failures
  assert "graph_nets cannot be imported" in failure
  assert failure.endswith("graph-nets")
  assert "energy drifts by" in result.stdout


def test_without_tensorflow_a_command_says_so_in_one_line(tmp_path):
  result = without(
    "tensorflow", tmp_path, "nbody_bench.run", "--model=ballistic"
  )
  assert result.returncode == 2
  assert result.stdout == ""
  assert result.stderr == (
    "error: TensorFlow cannot be imported (blocked); pip install "
    "--force-reinstall tensorflow, or ask python -m nbody_bench.doctor\n"
  )


def test_not_installed_is_told_from_broken(monkeypatch, capsys):
  from nbody_bench import command_line, run

  def fail():
    raise ModuleNotFoundError("No module named ...", name="tensorflow")

  monkeypatch.setattr(command_line, "import_tensorflow", fail)
  assert run.main(["run", "--model=ballistic"]) == 2
  error = capsys.readouterr().err
  assert error == "error: TensorFlow is not installed; pip install tensorflow\n"


def test_a_data_folder_that_cannot_be_written_fails(
  tmp_path, monkeypatch, capsys
):
  monkeypatch.setattr(doctor, "CHECKS", (doctor.folders,))
  (tmp_path / "file").write_text("")
  assert call(f"--data_dir={tmp_path / 'file' / 'data'}") == 1
  output = capsys.readouterr().out
  assert re.search(
    r"^FAIL  data folder .*data cannot be written \(Not a directory\); choose "
    "another with --data_dir or TFDS_DATA_DIR$",
    output,
    re.M,
  )


def test_little_room_is_a_warning(tmp_path, monkeypatch, capsys):
  checks = (doctor.folders, doctor.machine)
  monkeypatch.setattr(doctor, "CHECKS", checks)
  monkeypatch.setattr(doctor, "_LOW_DISK", 2**80)
  monkeypatch.setattr(doctor, "_LOW_MEMORY", 2**80)
  assert call(f"--data_dir={tmp_path}") == 0
  lines = capsys.readouterr().out.splitlines()
  assert [x[:5] for x in lines[:-1]] == ["warn "] * 3


def test_a_wrong_answer_and_a_crash_fail(monkeypatch, capsys):
  from nbody_bench import simulation

  def crash(data_dir):
    raise RuntimeError("went up\nin smoke")
    yield

  monkeypatch.setattr(
    simulation,
    "drifts",
    lambda system, truth: {"energy_drift": truth.label_error + 1},
  )
  monkeypatch.setattr(doctor, "CHECKS", (doctor.simulation, crash))
  assert call() == 1
  first, second, last = capsys.readouterr().out.splitlines()
  assert first.startswith("FAIL  ground truth: energy drifts by 1")
  assert second.startswith("FAIL  crash broke down (RuntimeError: went up);")
  assert last == "2 to mend"


def test_missing_extras_are_named_with_their_mend(monkeypatch, capsys):
  monkeypatch.setattr(
    importlib.metadata,
    "requires",
    lambda name: ["numpy", "no-such-thing>=2; extra == 'beam'"],
  )
  monkeypatch.setattr(doctor, "CHECKS", (doctor.optional_packages,))
  assert call() == 0
  assert capsys.readouterr().out.splitlines()[0] == (
    "warn  optional no-such-thing not installed; pip install "
    '"nbody_bench[beam]"'
  )


def test_all_requirements_are_looked_for():
  tree = ast.parse((ROOT / "setup.py").read_text())
  (call,) = (
    x.value
    for x in tree.body
    if isinstance(x, ast.Expr) and isinstance(x.value, ast.Call)
  )
  keywords = {k.arg: k.value for k in call.keywords}
  needed = ast.literal_eval(keywords["install_requires"])
  names = {re.match(r"[\w-]+", x)[0] for x in needed}
  # Keras comes with TensorFlow.
  assert names == set(doctor.REQUIRED.values()) - {"keras"}


def test_surplus_arguments(capsys):
  assert call("please") == 2
  assert "arguments not understood: please" in capsys.readouterr().err
