"""Plug-ins that are not as they should be: said in a line, when asked for."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from nbody_bench import plugins

ROOT = pathlib.Path(__file__).parents[1]
MODEL = (ROOT / "tests/data/linear_drag.py").read_text()
COULOMB = ROOT / "datasets" / "nbody_coulomb"
BROKEN = "import os\nimport torchh\n"


def write(folder, name, text):
  path = folder / name
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(text)
  return path


@pytest.fixture
def folder(tmp_path, monkeypatch):
  """A folder of plug-ins, forgotten afterwards."""
  monkeypatch.setenv("NBODY_BENCH_PLUGINS", str(tmp_path))
  yield tmp_path
  shutil.rmtree(tmp_path)  # the packages go on looking there


def python(folder, code):
  """Runs a program with a folder of plug-ins; returns what it prints."""
  result = subprocess.run(
    [sys.executable, "-c", code],
    env={
      **os.environ,
      "NBODY_BENCH_PLUGINS": str(folder),
      "PYTHONPATH": str(ROOT),
    },
    capture_output=True,
    text=True,
    check=True,
  )
  return result.stdout


ASK = """
import tensorflow_datasets as tfds
from nbody_bench import plugins
assert tfds.builder_cls("nbody_gravity").name == "nbody_gravity"
plugins.check_dataset("nbody_gravity/smoke")
for name in ("bare", "copied", "empty", "late", "torch"):
  for _ in range(2):
    try:
      plugins.check_dataset(f"{name}/smoke")
    except ValueError as error:
      print(name, error)
"""


def test_unfinished_data_sets_are_errors_when_asked_for(tmp_path):
  """And no others suffer, in a process that finds them when it starts."""
  sets = tmp_path / "datasets"
  shutil.copytree(COULOMB, sets / "copied")
  for name, text in (
    ("bare", "x = 1"),
    ("late", (COULOMB / "nbody_coulomb_dataset_builder.py").read_text()),
    ("torch", BROKEN),
  ):
    text += "\nundefined\n" if name == "late" else ""
    write(sets, f"{name}/{name}_dataset_builder.py", text)
    write(sets, f"{name}/__init__.py", "")
  write(sets, "empty/__init__.py", "")
  lines = python(tmp_path, ASK).splitlines()
  lines = [x.replace(str(sets), "") for x in lines]
  assert lines[::2] == lines[1::2]  # the second answer is the first
  assert len(lines) == 10, lines
  bare, copied, empty, late, torch = lines[::2]
  assert bare == (
    "bare /bare/bare_dataset_builder.py defines no Builder; see "
    "CONTRIBUTING.md for what a file of datasets needs"
  )
  assert copied == (
    "copied no file /copied/copied_dataset_builder.py; rename "
    "nbody_coulomb_dataset_builder.py to that, or remove its folder"
  )
  assert empty.endswith("; create it, or remove its folder")
  assert "NameError: name 'undefined' is not defined" in late
  assert torch == (
    "torch /torch/torch_dataset_builder.py, line 2: ModuleNotFoundError: No "
    "module named 'torchh'"
  )


def test_a_wrong_folder_is_an_error_of_every_command():
  program = """
from nbody_bench import doctor, prepare
for main in (doctor.main, prepare.main):
  print(main(["x", "--help"]))
"""
  result = python("/nope", f"import sys; sys.stderr = sys.stdout\n{program}")
  line = "error: NBODY_BENCH_PLUGINS names '/nope', which holds none of the "
  line += "folders baselines, datasets, metrics; create one or unset the "
  line += "variable\n2\n"
  assert result == 2 * line


@pytest.mark.parametrize(
  ("kind", "name", "file"),
  [
    ("baselines", "delta_gn", "delta_gn.py"),
    ("datasets", "nbody_latent", "nbody_latent/__init__.py"),
    ("metrics", "rollout_rmse", "rollout_rmse.py"),
  ],
)
def test_a_name_of_two_files_is_refused(kind, name, file, folder):
  write(folder / kind, file, MODEL)
  with pytest.raises(ValueError, match="rename one") as error:
    plugins.load(kind, name)
  for start in (ROOT, folder):
    assert f" {start}/" in str(error.value)
  assert plugins.load("baselines", "ballistic")  # the others are there


def test_a_model_by_name_that_cannot_be_imported(folder):
  path = write(folder, "baselines/broken.py", BROKEN)
  message = f"{path}, line 2: ModuleNotFoundError: No module named 'torchh'"
  with pytest.raises(ValueError, match=re.escape(message)) as error:
    plugins.load_model("broken")
  assert isinstance(error.value, ImportError)  # which the doctor asks


def test_a_metric_without_metric(folder):
  write(folder, "metrics/my_error.py", "x = 1")
  with pytest.raises(ValueError, match=r"my_error.py defines no METRIC; see"):
    plugins.load("metrics", "my_error")


@pytest.mark.parametrize("by_name", [False, True])
def test_a_model_may_import_what_lies_beside_it(by_name, folder):
  helper = f"_helper_{by_name}"
  write(folder, f"baselines/{helper}.py", "WIDTH = 3\n")
  text = f"import {helper}\n{MODEL}"
  path = write(folder, f"baselines/with{helper}.py", text)
  before = list(sys.path)
  model = plugins.load_model(path.stem if by_name else str(path))
  assert sys.modules[model.simulator.__module__].__dict__[helper].WIDTH == 3
  assert sys.path == before


def test_a_file_beside_a_model_hides_no_library(tmp_path):
  write(tmp_path, "json.py", "raise RuntimeError")
  write(tmp_path, "wave.py", "raise RuntimeError")  # not imported before
  path = write(tmp_path, "my_model.py", f"import json, wave\n{MODEL}")
  assert plugins.load_model(str(path)).key == "my_model"


def test_an_error_in_a_helper_is_placed_there(tmp_path):
  write(tmp_path, "_bad_helper.py", "\ndef f():\n  return 1 / 0\n")
  path = write(tmp_path, "m.py", "import _bad_helper\n_bad_helper.f()\n")
  with pytest.raises(
    ValueError, match=r"_bad_helper.py, line 3: ZeroDivisionError: division"
  ):
    plugins.load_model(str(path))


def test_only_our_models_are_ours(folder):
  path = write(folder, "baselines/mine.py", MODEL)
  for name in ("mine", str(path)):
    assert plugins.load_model(name).card.authors == ()
  ours = ("nbody_bench",)
  assert plugins.load_model("delta_gn").card.authors == ours
  named = MODEL.replace('"Linear drag",', '"Linear drag", authors=("A. B.",),')
  path = write(folder, "baselines/named.py", named)
  assert plugins.load_model(str(path)).card.authors == ("A. B.",)
