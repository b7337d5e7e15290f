"""The path of a user of another framework, from initial states to the page."""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import urllib.request

import numpy as np
import pytest

from nbody_bench import pipelines, plugins, rollouts, run, simulators, tasks
from nbody_bench.leaderboard import __main__ as leaderboard
from nbody_bench.leaderboard import exporting

DATASET = "nbody_gravity/smoke"
TASK = "nbody_gravity/smoke/rollout40"
SCRIPT = pathlib.Path(__file__).parent / "data" / "other_framework.py"


def board(folder, data_dir, *arguments):
  flags = [f"--board={folder / 'board'}", f"--data_dir={data_dir}"]
  return leaderboard.main(["leaderboard", *map(str, arguments), *flags])


@pytest.fixture(scope="module", params=["numpy", "torch"])
def predicted(request, tmp_path_factory, data_dir):
  """States exported, and predicted by a script that knows nothing of ours."""
  pytest.importorskip(request.param)  # PyTorch is no dependency
  folder = tmp_path_factory.mktemp("elsewhere")
  out = folder / "mine"
  arguments = ["export-states", f"--task={TASK}", f"--out={out}"]
  assert board(folder, data_dir, *arguments) == 0
  # Isolated, from another place: nothing of the package is in reach.
  command = [sys.executable, "-I", str(SCRIPT), str(out), request.param]
  subprocess.run(command, check=True, cwd=folder)
  return out


def test_script_imports_nothing_of_ours():
  assert "nbody_bench" not in re.findall(
    r"^(?:import|from) (\w+)", SCRIPT.read_text(), re.MULTILINE
  )


def test_it_appears_with_the_score_of_the_same_model(
  predicted, tmp_path, data_dir, capsys
):
  assert board(tmp_path, data_dir, "validate", predicted) == 0
  assert not (tmp_path / "board").exists()
  assert board(tmp_path, data_dir, "submit", predicted) == 0
  capsys.readouterr()
  assert board(tmp_path, data_dir, "validate", predicted) == 0
  assert "duplicate" not in capsys.readouterr().out
  ours = tmp_path / "ballistic"
  flags = ["--model=ballistic", f"--dataset={DATASET}", "--timing=none"]
  flags += [f"--data_dir={data_dir}", f"--output_dir={ours}"]
  assert run.main(["run", *flags]) == 0
  assert board(tmp_path, data_dir, "submit", ours / "submission") == 0
  assert board(tmp_path, data_dir, "build", f"--out={tmp_path / 'page'}") == 0
  name = TASK.replace("/", "-")
  page = json.loads((tmp_path / f"page/api/v1/{name}.json").read_text())
  scores = {e["key"]: e["scores"] for e in page["entries"]}
  assert sorted(scores) == ["ballistic", "free_flight"]
  for metric in ("rollout_rmse", "time_to_failure"):
    for k in ("20", "40"):
      one, other = (scores[key][metric][k]["mean"] for key in scores)
      assert one == pytest.approx(other, rel=1e-4)
  # Both fly freely, and that is said; neither is a network that copied.
  (other,) = [e for e in page["entries"] if e["key"] == "ballistic"]
  assert [f["verdict"] for f in other["findings"]] in ([], ["flag"])


def test_as_a_zip(predicted, tmp_path, data_dir):
  packed = shutil.make_archive(tmp_path / "mine", "zip", predicted)
  # `states.npz` in it is nobody's business.
  assert board(tmp_path, data_dir, "submit", packed) == 0
  assert list((tmp_path / "board").glob("free_flight/1/*/scores.json"))


def test_what_is_not_filled_in_is_named(tmp_path, data_dir, capsys):
  out = tmp_path / "mine"
  arguments = ["export-states", f"--task={TASK}", f"--out={out}"]
  assert board(tmp_path, data_dir, *arguments) == 0
  assert board(tmp_path, data_dir, "validate", out) == 2
  error = capsys.readouterr().err
  assert "predictions.0.bytes: 0 is less than the minimum of 1" in error
  assert "predictions.0.sha256: '' does not match" in error
  assert board(tmp_path, data_dir, *arguments) == 2
  assert "may be filled in already" in capsys.readouterr().err


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    (["export-states", "--out=x"], "no --task given"),
    (["export-states", f"--task={TASK}"], "no --out given"),
    (["export-states", "--out=x", "--task=n20"], "'n20' is no task"),
    (["export-states", "--out=x", "--task=a/b/rollout9"], "'a' is not in"),
    (["validate"], "'validate' is not understood; say export-states, "),
    (["publish", "x"], "'publish x' is not understood"),
  ],
)
def test_errors_are_clear(
  flags, message, tmp_path, data_dir, capsys, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  assert board(tmp_path, data_dir, *flags) == 2
  assert message in capsys.readouterr().err
  assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
  "dataset", ["nbody_latent/smoke", "nbody_spring/smoke"]
)
def test_states_are_what_models_are_given(dataset, tmp_path, data_dir):
  task = tasks.make("rollout", dataset, data_dir)
  exporting.export_states(task.id, data_dir, tmp_path)
  problem = pipelines.problem(dataset, data_dir)
  split = pipelines.load(dataset, task.split, data_dir, task.num_trajectories)
  split = split.after(problem.num_context_frames)
  with np.load(tmp_path / "states.npz") as file:
    states = dict(file)
  assert len(states["time"]) == task.num_steps
  if problem.num_context_frames > 1:
    shape = states["position"].shape
    assert states["history_position"].shape == (
      shape[0],
      problem.num_context_frames,
      *shape[1:],
    )
  for name in problem.withheld:  # ones, or not there at all
    assert np.all(states.get(name, 1) == 1)
  # A model that is given them alone gives what the harness has.
  plugin = plugins.load_model("ballistic")
  model = plugin.build(plugin.config(), problem)
  given = split.given
  expected = rollouts.rollout(
    rollouts.compiled(simulators.as_simulator(model)),
    given.frame(0),
    given.particles,
    given.domain,
    given.time[1:] - given.time[0],
  ).state
  time = states["time"][None, :, None, None]
  flown = states["position"][:, None] + time * states["velocity"][:, None]
  apart = split.trajectory.domain.displacement(
    flown.astype(float), expected.position.astype(float)
  )
  assert np.max(np.abs(apart)) < 1e-4


@pytest.mark.slow
def test_the_page_is_served_to_this_machine_alone(
  predicted, tmp_path, data_dir
):
  assert board(tmp_path, data_dir, "submit", predicted) == 0
  command = [sys.executable, "-m", "nbody_bench.leaderboard", "serve"]
  command += [f"--board={tmp_path / 'board'}", f"--out={tmp_path / 'page'}"]
  server = subprocess.Popen(
    [*command, "--port=0"], stdout=subprocess.PIPE, text=True
  )
  try:
    lines = iter(server.stdout.readline, "")
    address = next(x for x in lines if x.startswith("http://127.0.0.1:"))
    with urllib.request.urlopen(address.partition(",")[0]) as response:
      assert b"Free flight" in response.read()
  finally:
    server.terminate()
    assert server.wait(30) == 130
