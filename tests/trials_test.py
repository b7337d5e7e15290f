"""Learning rates on trial: as trained from the start, one after the other."""

import json
import math
import time
import types

import pytest

from nbody_bench import held_out, run, trials
from nbody_bench.recipes import Recipe

_MODEL = (
  "--model=ogn",
  "--dataset=nbody_gravity/smoke",
  "--rollout_steps=10",
  "--config.widths=4",
  "--config.positions=relative",
  "--batch_size=2",
  "--recipe.schedule=cosine",
  "--recipe.warmup_steps=4",
)


def _call(main, folder, data_dir, *more):
  where = [f"--output_dir={folder}", f"--data_dir={data_dir}"]
  return main([main.__module__, *_MODEL, *where, *more])


def _choice(folder):
  return json.loads((folder / trials.CHOICE).read_text())


def test_every_rate_begins_anew(tmp_path, data_dir, capsys):
  """The last one too: it is what a training of its own gives."""
  rates = ("1e-2", "1e-3", "1e30", "3e-2")
  assert (
    _call(
      trials.main,
      tmp_path / "tried",
      data_dir,
      "--core_minutes=0.5",
      f"--learning_rates={','.join(rates)}",
      "--pilot_steps=12",
    )
    == 0
  )
  choice, printed = _choice(tmp_path / "tried"), capsys.readouterr()
  pilots = choice["pilots"]
  assert list(pilots) == ["0.01", "0.001", "1e+30", "0.03"]
  assert pilots["1e+30"] is None
  assert "1e+30" in printed.err
  errors = {float(k): v["error"] for k, v in pilots.items() if v}
  assert choice["learning_rate"] == min(errors, key=lambda k: errors[k])
  seconds = min(v["seconds_per_step"] for v in pilots.values() if v)
  assert choice["train_steps"] == pytest.approx(30 / seconds, rel=0.06)
  assert f"--train_steps={choice['train_steps']}" in printed.out
  arguments = ["--recipe.learning_rate=3e-2", "--train_steps=12"]
  arguments += ["--recipe.compile=large", "--noevaluate"]
  assert _call(run.main, tmp_path / "run", data_dir, *arguments) == 0
  log = (tmp_path / "run" / "seed_0" / "metrics.jsonl").read_text()
  last = json.loads(log.splitlines()[-1])
  assert last["rollout_rmse_20"] == errors[3e-2]


class _Growing:
  """Updates of which the first compiles, and one call that needs more room."""

  def __init__(self):
    self.sizes, self.recipe = {"edges": 1}, Recipe(train_steps=10, batch_size=1)
    self.variables, self.optimizer = [], types.SimpleNamespace(variables=[])

  def __call__(self, step, count):
    compiles = step == 0
    if step + count > 8 and self.sizes["edges"] == 1:
      self.sizes, compiles = {"edges": 2}, True
    time.sleep(1.0 if compiles else 0.01 * count)
    return [(1.0, 1.0)] * count


def test_what_compiles_is_no_measure_of_a_step():
  """Three calls: the first, one step, and eight with a compilation."""
  pilots = trials._Pilots("model", _Growing(), object(), dict, seed=0)
  assert pilots.timed(1e-3, 10) < 0.05


def test_one_rate_is_only_timed(tmp_path, data_dir, monkeypatch, capsys):
  """By many steps, for few are called one by one; so is a validation."""

  def slow(*_, **__):
    return lambda: time.sleep(0.5)

  monkeypatch.setattr(held_out, "validator", slow)
  monkeypatch.setattr(trials, "_VALIDATING", 0.002)
  arguments = ["--core_minutes=10", "--learning_rates=1e-3", "--pilot_steps=40"]
  assert _call(trials.main, tmp_path, data_dir, *arguments) == 0
  assert "step 40/40" in capsys.readouterr().err
  choice = _choice(tmp_path)
  assert choice["learning_rate"] == 1e-3
  assert choice["pilots"] == {}
  assert choice["train_steps"] == pytest.approx(
    600 / choice["seconds_per_step"], rel=0.06
  )
  assert choice["seconds_per_validation"] == pytest.approx(0.5, rel=0.1)
  # Two of them fit into that share of ten minutes, three do not.
  assert choice["validate_every"] == math.ceil(choice["train_steps"] / 2)


@pytest.mark.parametrize(
  ("steps", "at_most", "every"),
  [
    (8000, 99, 1000),
    (90_000, 99, 1000),
    (800, 8, 100),
    (800, 3, 267),
    (3, 2, 2),
  ],
)
def test_how_often_it_is_validated(steps, at_most, every):
  assert trials.validate_every(steps, at_most) == every


@pytest.mark.parametrize(
  ("more", "message"),
  [
    (
      ["--core_minutes=1", "--learning_rates=1e-3,x"],
      "--learning_rates=1e-3,x",
    ),
    (["--core_minutes=1", "--learning_rates=-1"], "positive"),
    (["--core_minutes=0"], "--core_minutes=0 must be positive"),
    ([], "core_minutes"),
    (["--core_minutes=1", "--learning_rates=1e30,1e35"], "give smaller ones"),
    (["--core_minutes=1", "--model=ballistic"], "nothing to train"),
  ],
)
def test_what_cannot_be_tried(tmp_path, data_dir, capsys, more, message):
  more = [*more, "--pilot_steps=5"]
  if "--model=ballistic" in more:
    where = [f"--output_dir={tmp_path}", f"--data_dir={data_dir}"]
    argv = ["trials", *more, "--dataset=nbody_gravity/smoke", *where]
    code = trials.main(argv)
  else:
    code = _call(trials.main, tmp_path, data_dir, *more)
  assert code == 2
  error = capsys.readouterr().err
  assert message in error
  assert not (tmp_path / trials.CHOICE).exists()
