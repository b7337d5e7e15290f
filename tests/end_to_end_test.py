"""The commands as users type them, on the smoke data."""

import errno
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from nbody_bench import files, pipelines, plugins, prepare, run, simulators
from nbody_bench.leaderboard import __main__ as leaderboard

DATASET = "nbody_gravity/smoke"
TASK = "nbody_gravity/smoke/rollout40"

# What CONTRIBUTING.md tells a newcomer to write.
MODEL = pathlib.Path(__file__).parent / "data" / "linear_drag.py"


def call(main, *arguments):
  return main(["command", *map(str, arguments)])


def run_model(model, folder, data_dir, *more):
  return call(
    run.main,
    f"--model={model}",
    f"--dataset={DATASET}",
    f"--data_dir={data_dir}",
    f"--output_dir={folder}",
    "--timing=none",
    *more,
  )


@pytest.fixture(scope="module")
def outputs(tmp_path_factory, data_dir):
  """One run of every kind of model, submitted to one board."""
  folder = tmp_path_factory.mktemp("outputs")
  timed = folder / "ballistic", data_dir, "--timing=quick"
  assert run_model("ballistic", *timed) == 0
  assert (
    run_model(
      "leapfrog", folder / "leapfrog", data_dir, "--config.num_substeps=4"
    )
    == 0
  )
  assert (
    run_model(
      "delta_gn",
      folder / "delta_gn",
      data_dir,
      "--seeds=0,1",
      "--train_steps=20",
      "--batch_size=4",
      "--config.edge_widths=8,8",
      "--config.node_widths=8",
      "--config.normalize",
    )
    == 0
  )
  for name in ("ballistic", "leapfrog", "delta_gn"):
    assert board(folder, data_dir, "submit", folder / name / "submission") == 0
  return folder


def board(folder, data_dir, *arguments):
  return call(
    leaderboard.main,
    *arguments,
    f"--board={folder / 'board'}",
    f"--data_dir={data_dir}",
  )


def scores(folder, name, seed=0):
  path = folder / name / f"seed_{seed}" / "scores.json"
  return json.loads(path.read_text())["metrics"]


def test_files_of_a_run(outputs):
  folder = outputs / "delta_gn"
  for seed in (0, 1):
    assert (folder / f"seed_{seed}" / "config.json").exists()
    assert list((folder / f"seed_{seed}" / "checkpoints").glob("last-20*"))
    assert (folder / f"seed_{seed}" / "metrics.jsonl").read_text()
    assert list((folder / f"seed_{seed}" / "tensorboard").glob("*tfevents*"))
  submission = json.loads((folder / "submission/submission.json").read_text())
  assert [p["seed"] for p in submission["predictions"]] == [0, 1]
  assert submission["claims"]["rollout_rmse"]["40"]["std"] > 0
  assert submission["training"]["steps"] == 20
  assert submission["training"]["recipe"]["batch_size"] == 4


def test_weights_of_another_run(outputs, tmp_path, data_dir, capsys):
  start = f"--start_from={outputs / 'delta_gn'}"
  same = ["--config.edge_widths=8,8", "--config.node_widths=8"]
  same += ["--config.normalize", "--seeds=0,1"]
  zero = "--train_steps=0"
  assert (
    run_model("delta_gn", tmp_path / "a", data_dir, *same, start, zero) == 0
  )
  for seed in (0, 1):
    assert scores(tmp_path, "a", seed) == scores(outputs, "delta_gn", seed)
  submission = json.loads(
    (tmp_path / "a/submission/submission.json").read_text()
  )
  facts = submission["training"]
  assert facts["started_from"] == f"{DATASET}, 20 steps"
  assert facts["steps"] == 0
  for flags, message in (
    ([*same, zero], "--train_steps=0 rolls out weights that are there"),
    ([start, zero], "holds weights of config"),
    ([*same[:3], "--seeds=2", start, zero], "seed_2.*is missing"),
  ):
    capsys.readouterr()
    assert run_model("delta_gn", tmp_path / "b", data_dir, *flags) == 2
    assert re.search(message, capsys.readouterr().err)


def test_weights_go_to_another_data_set_with_their_scales(
  outputs, tmp_path, data_dir
):
  flags = ["--config.edge_widths=8,8", "--config.node_widths=8"]
  flags += ["--config.normalize", "--task=unseen_n", "--train_steps=2"]
  flags += [f"--start_from={outputs / 'delta_gn'}", "--batch_size=2"]
  other = ["--dataset=nbody_latent/smoke"]
  assert run_model("delta_gn", tmp_path, data_dir, *flags, *other) == 0
  before, after = (
    json.loads((folder / "seed_0" / "config.json").read_text())["statistics"]
    for folder in (outputs / "delta_gn", tmp_path)
  )
  assert before == after
  assert before != pipelines.problem("nbody_latent/smoke", data_dir).statistics


def test_a_better_integrator_scores_better(outputs):
  rmse = {
    name: scores(outputs, name)["rollout_rmse"]["at"]["40"]
    for name in ("ballistic", "leapfrog")
  }
  assert 0 < rmse["leapfrog"] < 1e-3 * rmse["ballistic"]
  energy = scores(outputs, "leapfrog")["energy_error"]["at"]["40"]
  assert energy < 1e-4


def test_board_confirms_the_claims(outputs):
  for name in ("ballistic", "leapfrog", "delta_gn"):
    entry = outputs / "board" / name / "1" / TASK.replace("/", "-")
    result = json.loads((entry / "scores.json").read_text())
    assert result["disagreements"] == []
    assert (entry / "preview.npz").stat().st_size < 300_000


def test_validation_is_on_the_validation_split(data_dir, tmp_path):
  """An untrained drag of 0 is free flight; its loss is known."""
  flags = ["--train_steps=1", "--recipe.learning_rate=1e-12"]
  assert run_model(MODEL, tmp_path, data_dir, *flags) == 0
  log = (tmp_path / "seed_0" / "metrics.jsonl").read_text().splitlines()
  logged = json.loads(log[-1])["loss"]
  expected = {}
  for split in ("train", "validation"):
    data = pipelines.load(DATASET, split, data_dir).trajectory
    window = pipelines.WindowSampler(data, 2, 256, seed=0)(
      tf.constant(0, tf.int64)
    )
    expected[split] = float(
      simulators.one_step_loss(
        plugins.load("baselines", "ballistic").step, window
      )
    )
  # Its draw of windows is another than ours.
  assert logged == pytest.approx(expected["validation"], rel=1e-2)
  assert expected["train"] != pytest.approx(expected["validation"], rel=5e-2)


def test_a_false_claim_is_shown(outputs, data_dir, tmp_path, capsys):
  forged = tmp_path / "forged"
  shutil.copytree(outputs / "leapfrog" / "submission", forged)
  path = forged / "submission.json"
  content = json.loads(path.read_text())
  content["claims"]["rollout_rmse"]["40"]["mean"] = 1e-9
  path.write_text(json.dumps(content))
  assert board(tmp_path, data_dir, "score", forged) == 0
  output = capsys.readouterr().out
  assert "DISAGREES: rollout_rmse @40 mean: claimed 1e-09, is " in output


def test_same_seed_gives_the_same_bytes(outputs, data_dir, tmp_path):
  flags = ["--train_steps=20", "--batch_size=4", "--config.normalize"]
  flags += ["--config.edge_widths=8,8", "--config.node_widths=8", "--seeds=1"]
  assert run_model("delta_gn", tmp_path, data_dir, *flags) == 0
  one, other = (
    (folder / "submission/predictions/test-seed1.npz").read_bytes()
    for folder in (outputs / "delta_gn", tmp_path)
  )
  assert one == other


def test_page_holds_every_entry(outputs, data_dir, tmp_path, capsys):
  assert board(outputs, data_dir, "build", f"--out={tmp_path}") == 0
  output = capsys.readouterr().out
  assert "Roll-out RMSE @20" in output
  assert f"page: file://{tmp_path}/index.html" in output
  task = page_data(tmp_path)["tasks"][0]
  assert task["id"] == TASK
  entries = {e["key"]: e for e in task["entries"]}
  assert sorted(entries) == ["ballistic", "delta_gn", "leapfrog"]
  for name, entry in entries.items():
    assert entry["agrees"]
    expected = scores(outputs, name)["rollout_rmse"]["at"]["20"]
    if name != "delta_gn":
      mean = entry["scores"]["rollout_rmse"]["20"]["mean"]
      assert mean == pytest.approx(expected)
  assert entries["delta_gn"]["seeds"] == [0, 1]
  assert entries["delta_gn"]["unranked"] == "2 of 3 training seeds"
  first = {k: e["ranks"]["rollout_rmse"]["40"] for k, e in entries.items()}
  assert first == {"leapfrog": [1, 1], "ballistic": [2, 2], "delta_gn": None}
  for entry in entries.values():
    value = entry["scores"]["rollout_rmse"]["40"]
    assert value["low"] < value["mean"] < value["high"]


def test_a_board_is_scored_anew(outputs, data_dir, tmp_path, capsys):
  """Also from scores of another version, which no page is built of."""
  for name, at in (
    ("ballistic", outputs),
    ("leapfrog", outputs),
    ("delta_gn", ""),
  ):
    submission = outputs / name / "submission"
    arrays = f"--arrays_at={at and submission}"
    assert board(tmp_path, data_dir, "submit", submission, arrays) == 0
  entries = tmp_path / "board"
  capsys.readouterr()
  assert board(tmp_path, data_dir, "rescore") == 0
  output = capsys.readouterr().out
  assert "no rank has changed" in output
  assert re.search("NOT RE-SCORED: delta_gn/1/.* not at hand", output)
  assert "2 of 3 re-scored" in output

  path = entries / "leapfrog" / "1" / TASK.replace("/", "-") / "scores.json"
  scored = json.loads(path.read_text())
  path.write_text(json.dumps(scored | {"metric_version": 0}))
  assert board(tmp_path, data_dir, "build", f"--out={tmp_path}") == 2
  assert "of metric version 0, this is 1; run" in capsys.readouterr().err
  values = path.with_name("values.npz")
  with np.load(values) as file:
    worse = {name: 1e12 * x for name, x in file.items()}
  np.savez(values, **worse)
  assert board(tmp_path, data_dir, "rescore") == 0
  table = capsys.readouterr().out
  assert re.search(r"leapfrog/1 on \S+ +rollout_rmse@40 +2 +1\n", table)
  assert json.loads(path.read_text()) == scored

  scored["scores"]["rollout_rmse"]["at"]["40"]["mean"] *= 2
  path.write_text(json.dumps(scored))
  assert board(tmp_path, data_dir, "rescore") == 2
  assert "of the same version, rollout_rmse @40 mean" in capsys.readouterr().err


def page_data(folder):
  page = (folder / "index.html").read_text()
  _, _, rest = page.partition('id="board-data">')
  return json.loads(rest.partition("</script>")[0])


def test_a_board_of_which_nothing_is_at_hand(outputs, data_dir, capsys):
  assert board(outputs, data_dir, "rescore") == 1
  assert "0 of 3 re-scored" in capsys.readouterr().out


def test_times_count_from_the_given_state(data_dir, tmp_path):
  task = ("--task=last", "--rollout_steps=2")
  assert run_model("ballistic", tmp_path / "out", data_dir, *task) == 0
  submission = tmp_path / "out" / "submission"
  assert board(tmp_path, data_dir, "submit", submission) == 0
  (path,) = tmp_path.glob("board/*/*/*/scores.json")
  assert json.loads(path.read_text())["task"]["times"] == [0.39, 0.4]


def test_a_faulty_time_is_not_shown(outputs, data_dir, tmp_path):
  forged = tmp_path / "forged"
  shutil.copytree(outputs / "ballistic" / "submission", forged)
  path = forged / "submission.json"
  content = json.loads(path.read_text())
  assert content["timing"]["faults"] == []
  content["timing"]["faults"] = ["a state is answered faster again"]
  path.write_text(json.dumps(content))
  for board_of in (outputs, tmp_path):
    if board_of is tmp_path:
      assert board(tmp_path, data_dir, "submit", forged) == 0
    assert board(board_of, data_dir, "build", f"--out={tmp_path}") == 0
    entries = page_data(tmp_path)["tasks"][0]["entries"]
    timing = {e["key"]: e["timing"] for e in entries}["ballistic"]
    assert (timing is None) == (board_of is tmp_path)


@pytest.mark.slow
def test_the_whole_timing_protocol(data_dir, tmp_path):
  assert run_model("leapfrog", tmp_path, data_dir, "--timing=full") == 0
  content = json.loads((tmp_path / "submission/submission.json").read_text())
  timing = content["timing"]
  assert timing["faults"] == []
  assert not timing["indicative"]
  assert len(timing["samples_seconds"]) >= 100
  assert timing["cold_in_fresh_process"]
  assert len(timing["cold_seconds"]) == 3
  assert min(timing["cold_seconds"]) > timing["rollout_seconds"]
  assert 0.5 < timing["relative_to_leapfrog"] < 2


def test_page_of_an_empty_board(tmp_path, data_dir):
  (tmp_path / "board").mkdir()
  assert board(tmp_path, data_dir, "build", f"--out={tmp_path}") == 0
  assert page_data(tmp_path)["tasks"] == []


def test_hostile_text_stays_text(outputs, data_dir, tmp_path):
  forged = tmp_path / "forged"
  shutil.copytree(outputs / "ballistic" / "submission", forged)
  path = forged / "submission.json"
  content = json.loads(path.read_text())
  hostile = "</script><script>alert(1)</script><!--"
  content["card"]["notes"] = content["card"]["name"] = hostile
  path.write_text(json.dumps(content))
  assert board(tmp_path, data_dir, "submit", forged) == 0
  assert board(tmp_path, data_dir, "build", f"--out={tmp_path}") == 0
  assert hostile not in (tmp_path / "index.html").read_text()
  entry = page_data(tmp_path)["tasks"][0]["entries"][0]
  assert entry["name"] == hostile


def test_a_diverged_model_is_scored_at_the_cap(data_dir, tmp_path):
  model = tmp_path / "exploding.py"
  model.write_text(
    MODEL.read_text().replace(
      "-self.drag * velocity", "(1e6 + self.drag) * velocity"
    )
  )
  assert run_model(model, tmp_path / "out", data_dir, "--train_steps=1") == 0
  result = scores(tmp_path / "out", "")
  assert result["rollout_rmse"]["at"]["40"] == pytest.approx(100, rel=0.1)
  assert result["energy_error"]["at"]["40"] == 100
  assert result["time_to_failure"]["at"]["40"] == 0


def test_a_dropped_in_model_file_trains_scores_and_submits(
  data_dir, tmp_path, monkeypatch
):
  """A file in a plug-in folder, nothing else; then the same file by path."""
  plugin = tmp_path / "plugins" / "baselines" / "my_drag.py"
  plugin.parent.mkdir(parents=True)
  shutil.copy(MODEL, plugin)
  monkeypatch.setenv("NBODY_BENCH_PLUGINS", str(tmp_path / "plugins"))
  plugins.extend_paths()
  flags = ["--train_steps=30", "--recipe.learning_rate=0.1", "--batch_size=8"]
  for name in ("my_drag", plugin):
    folder = tmp_path / pathlib.Path(name).name
    assert run_model(name, folder, data_dir, *flags) == 0
    log = (folder / "seed_0" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(log[-1])["step"] == 30
  assert board(tmp_path, data_dir, "submit", folder / "submission") == 0
  entry = tmp_path / "board" / "my_drag" / "1" / TASK.replace("/", "-")
  card = json.loads((entry / "submission.json").read_text())["card"]
  assert card["name"] == "Linear drag"


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    (
      ["--model=delta_gm"],
      r"'delta_gm' is not in baselines. Did you mean 'delta_gn'\? There are: ",
    ),
    (["--dataset=nbody_gravty/n20"], r"Did you mean 'nbody_gravity'\?"),
    (["--dataset=nbody_gravity/n21"], "is not in nbody_gravity's config"),
    (["--config.edge_width=3"], "Did you mean: config.edge_widths"),
    (["--config.edge_widths=a,b"], "is not a list of integers such as"),
    (["--config.graph=ring"], "value should be one of <fully_connected|"),
    (["--batch_size=-3"], "batch_size is -3; it must be > 0"),
    (["--rollout_steps=41"], r"rollout steps \(41,\) are not within 1..40"),
    (["--model=nothing.py"], "no file 'nothing.py'"),
    (["--task=jump"], "value should be one of <.*rollout"),
    (["surplus"], "arguments not understood: surplus"),
    (["--seeds="], "--seeds=: give at least one, each once"),
    (["--seeds=0,0"], "--seeds=0,0: give at least one, each once"),
    (["--eval_batch_size=-1"], "must not be negative"),
    (["--version=a b"], "version: 'a b' does not match"),
    (["--config.edge_widths=0,-2"], "must be >= 1, got 15, "),
    (["--model=ballistic", "--seeds=0,1"], "has nothing to train"),
    (["--model=delta_gn", "--model=ballistic", "--config.x=1"], "config.x"),
  ],
)
def test_errors_are_one_line_and_leave_nothing(
  flags, message, data_dir, tmp_path, capsys
):
  folder = tmp_path / "out"
  defaults = ["--model=delta_gn"]
  assert run_model("delta_gn", folder, data_dir, *defaults, *flags) == 2
  error = capsys.readouterr().err
  assert re.search(message, error), error
  assert error.startswith("error: ")
  assert not folder.exists() or not list(folder.rglob("*.npz"))


def test_a_full_disk_leaves_nothing_half_written(
  data_dir, tmp_path, monkeypatch, capsys
):
  def full(self, content):
    with self.open("wb") as file:
      file.write(content[:10])
    raise OSError(errno.ENOSPC, "No space left on device", str(self))

  monkeypatch.setattr(pathlib.Path, "write_bytes", full)
  assert run_model("ballistic", tmp_path / "out", data_dir) == 2
  assert "No space left on device" in capsys.readouterr().err
  left = [p for p in (tmp_path / "out").rglob("*") if p.is_file()]
  assert [p.name for p in left] == [".lock"]


def test_native_errors_are_one_line_too(
  data_dir, tmp_path, monkeypatch, capsys
):
  def full(*args, **kwargs):
    raise tf.errors.ResourceExhaustedError(None, None, "disk full\nof it")

  monkeypatch.setattr(tf.train.CheckpointManager, "save", full)
  flags = ["--train_steps=1", "--batch_size=2", "--config.edge_widths=4"]
  assert run_model("delta_gn", tmp_path / "out", data_dir, *flags) == 2
  assert capsys.readouterr().err.splitlines()[-1] == "error: disk full of it"


def test_a_folder_that_cannot_be_written(data_dir, tmp_path, capsys):
  (tmp_path / "file").write_text("")
  folder = tmp_path / "file" / "out"
  assert run_model("ballistic", folder, data_dir) == 2
  assert str(folder) in capsys.readouterr().err


@pytest.mark.slow
def test_a_second_run_in_one_folder_is_refused(data_dir, tmp_path, capsys):
  with files.exclusive(tmp_path):
    holder = os.getpid()
    command = [
      *(sys.executable, "-m", "nbody_bench.run", "--model=ballistic"),
      *(f"--dataset={DATASET}", f"--data_dir={data_dir}"),
      f"--output_dir={tmp_path}",
    ]
    second = subprocess.run(
      command, capture_output=True, text=True, check=False
    )
  assert second.returncode == 2
  assert f"is in use by process {holder}; wait for it" in second.stderr
  assert run_model("ballistic", tmp_path, data_dir) == 0


def test_an_output_folder_is_not_overwritten(outputs, data_dir, capsys):
  folder = outputs / "ballistic"
  assert run_model("ballistic", folder, data_dir) == 2
  assert "go on with --resume or choose another" in capsys.readouterr().err
  assert run_model("leapfrog", folder, data_dir, "--resume") == 2
  assert "was made with another model" in capsys.readouterr().err


def test_what_broke_off_before_it_began_blocks_no_folder(
  data_dir, tmp_path, capsys
):
  own, folder = tmp_path / "own.py", tmp_path / "out"
  good = MODEL.read_text()
  own.write_text(good.replace("def step(self, state", "def step(self, stat"))
  flags = "--train_steps=1", "--batch_size=1"
  with pytest.raises(NameError, match="state"):
    run_model(own, folder, data_dir, *flags)
  assert (folder / "seed_0" / "config.json").is_file()
  own.write_text(good)
  flags = "--train_steps=2", "--batch_size=1"
  assert run_model(own, folder, data_dir, *flags) == 0
  assert run_model(own, folder, data_dir, *flags) == 2
  assert "holds an earlier run" in capsys.readouterr().err


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    (
      ["mlp", "--task=unseen_n", "--rollout_steps=2", "--train_steps=1"],
      "mlp takes no other; choose another task",
    ),
    (["ballistic", "--metrics=efwt"], "efwt judges forces, and the"),
    (["mlp", "--recipe.learning_rate=nan"], "rate=nan: give a finite number"),
  ],
)
def test_what_would_fail_later_is_refused_now(
  flags, message, data_dir, tmp_path, capsys
):
  model, *more = flags
  assert run_model(model, tmp_path, data_dir, *more) == 2
  assert message in capsys.readouterr().err
  assert not list(tmp_path.glob("seed_*"))


def test_a_resumed_run_starts_from_the_same_weights(
  outputs, data_dir, tmp_path, capsys
):
  weights = outputs / "delta_gn"
  flags = ["--config.edge_widths=8,8", "--config.node_widths=8"]
  flags += ["--config.normalize", "--train_steps=0", "--batch_size=4"]
  start = f"--start_from={weights}"
  assert run_model("delta_gn", tmp_path, data_dir, *flags, start) == 0
  more = [*flags[:-2], "--train_steps=1", "--batch_size=4", "--resume"]
  assert run_model("delta_gn", tmp_path, data_dir, *more) == 2
  assert "made with another start_from" in capsys.readouterr().err


def test_resume_finishes_to_the_same_result(outputs, data_dir, tmp_path):
  folder = tmp_path / "delta_gn"
  shutil.copytree(outputs / "delta_gn", folder)
  shutil.rmtree(folder / "submission")
  flags = ["--train_steps=20", "--batch_size=4", "--config.normalize"]
  flags += ["--config.edge_widths=8,8", "--config.node_widths=8", "--resume"]
  flags += ["--seeds=0,1"]
  for path in folder.glob("seed_*/scores.json"):
    path.unlink()
  assert run_model("delta_gn", folder, data_dir, *flags, "--noevaluate") == 0
  assert not (folder / "submission").exists()
  training = json.loads((folder / "seed_1" / "training.json").read_text())
  assert training["steps"] == 20
  assert training["seconds_per_step"] > 0
  assert run_model("delta_gn", folder, data_dir, *flags) == 0
  for seed in (0, 1):
    assert scores(folder, "", seed) == scores(outputs, "delta_gn", seed)


def test_an_entry_is_not_overwritten(outputs, data_dir, capsys):
  submission = outputs / "ballistic" / "submission"
  assert board(outputs, data_dir, "submit", submission) == 2
  assert "is on the board already" in capsys.readouterr().err


def test_an_entry_is_offered_later(outputs, data_dir, tmp_path, capsys):
  """By the unchanged submission alone, and nothing else of it changes."""
  submission = tmp_path / "submission"
  shutil.copytree(outputs / "leapfrog" / "submission", submission)
  enter = tmp_path, data_dir, "submit", submission
  assert board(*enter) == 0
  assert "cannot re-score it: its arrays are not" in capsys.readouterr().out
  (path,) = tmp_path.glob("board/*/*/*/scores.json")
  before = json.loads(path.read_text())
  assert before["arrays_at"] == ""
  at = f"--arrays_at={submission}"
  assert board(*enter, at, "--reproduce") == 2
  assert "without --reproduce" in capsys.readouterr().err
  assert board(*enter, f"--arrays_at=http://example.org{submission}") == 2
  assert "https:// alone" in capsys.readouterr().err
  assert board(*enter, at) == 0
  assert "cannot re-score" not in capsys.readouterr().out
  after = json.loads(path.read_text())
  assert after == before | {"arrays_at": str(submission)}
  assert board(tmp_path, data_dir, "rescore") == 0
  assert "1 of 1 re-scored" in capsys.readouterr().out

  content = json.loads((submission / "submission.json").read_text())
  content["predictions"][0]["sha256"] = "0" * 64
  (submission / "submission.json").write_text(json.dumps(content))
  assert board(*enter, "--arrays_at=elsewhere") == 2
  assert "is on the board already" in capsys.readouterr().err
  assert json.loads(path.read_text())["arrays_at"] == str(submission)


@pytest.mark.parametrize("command", ["build", "serve", "rescore"])
def test_a_board_that_is_not_there_is_named(command, tmp_path, capsys):
  flags = [f"--board={tmp_path / 'misspelt'}", f"--out={tmp_path / 'page'}"]
  assert call(leaderboard.main, command, *flags) == 2
  error = capsys.readouterr().err
  assert f"--board={tmp_path / 'misspelt'} is no folder; give" in error
  assert not list(tmp_path.iterdir())


def test_validate_and_bad_commands(outputs, data_dir, capsys):
  submission = outputs / "ballistic" / "submission"
  assert board(outputs, data_dir, "validate", submission) == 0
  assert "is valid" in capsys.readouterr().out
  assert board(outputs, data_dir, "explode") == 2
  assert "'explode' is not understood" in capsys.readouterr().err


def test_help_lists_the_fields_of_the_model(capsys):
  assert call(run.main, "--model=delta_gn", "--help") == 0
  output = capsys.readouterr().out
  assert "--config.num_neighbours" in output
  assert "--recipe.learning_rate" in output


def test_prepare_says_where_the_data_are(data_dir, capsys):
  assert (
    call(prepare.main, f"--dataset={DATASET}", f"--data_dir={data_dir}") == 0
  )
  assert "nbody_gravity/smoke/2.0.0 is in" in capsys.readouterr().out
