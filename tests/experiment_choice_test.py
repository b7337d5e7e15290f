"""The choice of learning rate and steps, and the weights to begin with."""

import dataclasses
import json

import pytest

from nbody_bench import (
  experiment_choice,
  experiment_records,
  experiments,
  trials,
)
from nbody_bench.experiment_calls import Place

FIRST = experiments.Run("first", "First", "vign", "nbody_spring/five", (2,))
SECOND = dataclasses.replace(FIRST, name="second", start_from="first")
PLAN = experiments.Experiment(
  name="springs",
  title="Springs",
  metrics=("rollout_mse",),
  core_minutes=2.0,
  seeds=(0,),
  runs=(FIRST, SECOND),
  learning_rates=(1e-2, 1e-3),
)


@pytest.fixture
def place(tmp_path):
  shown = tmp_path / "experiments" / "springs"
  shown.mkdir(parents=True)
  return Place(PLAN, tmp_path / "out", shown, None, None)


def test_weights_that_came_with_the_suite_are_begun_with(place, tmp_path):
  trained = [f"--start_from={place.output / 'first'}"]
  assert place.start(FIRST) == []
  assert place.start(SECOND) == trained
  kept = tmp_path / "baselines" / "weights" / "springs" / "first"
  (kept / "seed_0").mkdir(parents=True)
  (kept / "seed_0" / "weights.npz").touch()
  assert place.start(SECOND) == trained
  record(place, FIRST, 1e-3)
  assert place.start(SECOND) == [f"--start_from={kept}"]
  short = dataclasses.replace(PLAN, core_minutes=1.0)
  assert dataclasses.replace(place, plan=short).start(SECOND) == trained
  more = dataclasses.replace(PLAN, seeds=(0, 1))
  assert dataclasses.replace(place, plan=more).start(SECOND) == trained
  (place.output / "first").mkdir(parents=True)
  assert place.start(SECOND) == trained


def record(place, run, rate):
  """Writes a record of a run with a learning rate."""
  row = {
    "settings": experiment_records._settings(run),
    "scores": [{"rollout_mse": {}}],
    "core_minutes": PLAN.core_minutes,
    "training": {
      "steps": 70,
      "validate_every": 8,
      "recipe": {"learning_rate": rate, "compile": "always"},
    },
  }
  content = {"runs": {run.name: row}, "evaluations": {}, "figures": []}
  (place.shown / experiment_records.FILE).write_text(json.dumps(content))


@pytest.mark.parametrize(
  ("own", "rate", "taken"),
  [
    ((), 1e-3, True),
    ((), 1e-4, False),
    ((1e-4, 1e-5), 1e-4, True),
    ((1e-4, 1e-5), 1e-3, False),
    ((1e-5,), 1e-4, False),
  ],
)
def test_a_recorded_rate_is_taken_if_it_may_be_chosen(
  place, monkeypatch, own, rate, taken
):
  asked = []

  def try_out(place, run, folder, seeds, arguments, module):
    del place, run
    asked.extend([module, *seeds, *arguments])
    folder.mkdir(parents=True)
    rates = [float(x) for x in arguments[1].partition("=")[2].split(",")]
    found = {"core_minutes": 2.0, "learning_rate": rates[0], "train_steps": 480}
    (folder / trials.CHOICE).write_text(json.dumps(found))

  monkeypatch.setattr(experiment_choice, "call", try_out)
  record(place, SECOND, rate)
  run = dataclasses.replace(SECOND, learning_rates=own)
  choice = experiment_choice.choose(place, run)
  # Made once.
  assert experiment_choice.choose(place, run) == choice
  other = dataclasses.replace(run, learning_rates=(0.5, 0.25))
  message = (
    "second was made with learning rate .*, not one of 0.5, 0.25; choose"
  )
  with pytest.raises(ValueError, match=message):
    experiment_choice.choose(place, other)
  if taken:
    assert (choice["learning_rate"], choice["train_steps"]) == (rate, 70)
    assert choice["validate_every"] == 8
    assert not asked
  else:
    rates = own or PLAN.learning_rates
    assert (choice["learning_rate"], choice["train_steps"]) == (rates[0], 480)
    rates = ",".join(map(str, rates))
    assert asked == [
      "nbody_bench.trials",
      0,
      "--core_minutes=2.0",
      f"--learning_rates={rates}",
      f"--pilot_steps={PLAN.pilot_steps}",
      f"--start_from={place.output / 'first'}",
    ]
