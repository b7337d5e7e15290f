"""What an experiment takes, in words."""

import dataclasses
import json

import pytest

from nbody_bench import experiment_cost, experiments
from nbody_bench.experiment_calls import Place

RUN = experiments.Run("a", "A", "ogn", "nbody_gravity/smoke", (2,))
RUNS = (
  *(dataclasses.replace(RUN, name=name) for name in "abc"),
  dataclasses.replace(RUN, name="longer", start_from="a"),
  dataclasses.replace(RUN, name="counted", train_steps=5),
  dataclasses.replace(RUN, name="shown", same_as="other/run"),
  dataclasses.replace(RUN, name="flight", model="ballistic"),
)
BY_NAME = {run.name: run for run in RUNS}
PLAN = experiments.Experiment(
  "own", "Own", ("rollout_rmse",), 20.0, (0, 1, 2), RUNS
)


@pytest.fixture
def place(tmp_path):
  return Place(PLAN, tmp_path / "own", tmp_path / "shown", None, None)


def finish(place, name, seeds):
  folder = place.output / name / "submission"
  folder.mkdir(parents=True)
  content = {"predictions": [{"seed": seed} for seed in seeds]}
  (folder / "submission.json").write_text(json.dumps(content))


def told(place, names, num_workers=1):
  counts = experiment_cost.trainings(place, [BY_NAME[name] for name in names])
  return experiment_cost.text(place, counts, num_workers)


MORE = "; trials and roll-outs come on top"


def test_the_cost_is_that_of_what_is_not_there_yet(place):
  each = "x 20 core-minutes: about"
  line = f"3 runs x 3 seeds {each} 3 core-hours on 2 workers{MORE}"
  assert told(place, "abc", 2) == line
  finish(place, "a", [0, 1, 2, 7])
  line = f"2 runs x 3 seeds {each} 2 core-hours on 1 worker{MORE}"
  assert told(place, "abc") == line
  finish(place, "b", [1, 2])
  line = f"4 trainings of 2 runs {each} 1.33 core-hours on 1 worker{MORE}"
  assert told(place, "abc") == line
  line = f"1 run x 1 seed {each} 0.33 core-hours on 1 worker{MORE}"
  assert told(place, "ab") == line
  assert told(place, "a") == "nothing is left to train"


def test_what_is_begun_with_is_trained_too(place):
  assert told(place, ["longer"]).startswith("2 runs x 3 seeds x 20 ")
  assert told(place, ["a", "longer"]).startswith("2 runs x 3 seeds x 20 ")


def test_rows_that_take_other_than_minutes(place):
  line = f"1 run x 3 seeds of as many steps as they say{MORE}"
  assert told(place, ["counted", "shown", "flight"]) == line
  assert told(place, ["a", "counted"]).startswith(
    "1 run x 3 seeds x 20 core-minutes: about 1 core-hours on 1 worker; 1 run "
  )
  assert told(place, ["shown", "flight"]) == "nothing is left to train"


def test_time_left_is_that_of_trainings_made_now():
  assert experiment_cost.left(20.0, made=0, ahead=1) == ""
  assert experiment_cost.left(20.0, made=1, ahead=1) == "; about 20 min left"
  assert experiment_cost.left(20.0, made=2, ahead=3) == "; about 30 min left"
