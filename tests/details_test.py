"""What the board keeps beyond scores: bands, survival, the worst, roll-outs."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest
from forgeries.builders import Board, Entry, content, float32

from nbody_bench import evaluation, tasks
from nbody_bench.leaderboard import details, previews
from nbody_bench.leaderboard.cases import Case
from nbody_bench.states import State
from nbody_bench.submissions import Submission

TASK = tasks.Task(
  dataset="a/b",
  version="1.0.0",
  split="test",
  num_trajectories=4,
  num_steps=3,
  report_steps=(1, 3),
  metrics=("rollout_rmse", "time_to_failure"),
)
# [B, T] of two seeds; the squares of errors that grow with seed and trajectory.
SQUARES = [
  np.array([[0, 1, 4, 9]] * 4) * (1 + np.arange(4))[:, None] * scale
  for scale in (1.0, 100.0)
]


def test_values_of_trajectories_give_the_score():
  each = [{"rollout_rmse": x} for x in SQUARES]
  values = details.of_trajectories(TASK, each)
  assert sorted(values) == ["rollout_rmse@1", "rollout_rmse@3"]
  reduce = evaluation.metric("rollout_rmse").reduce
  for s, x in enumerate(SQUARES):
    mean = np.mean(values["rollout_rmse@3"][s])
    assert reduce.over(mean) == pytest.approx(reduce(x[:, 1:]))


def test_band_holds_two_thirds_of_seeds_and_trajectories():
  rng = np.random.default_rng(0)
  errors = np.exp(rng.normal(size=(2, 300, 4)))
  each = [{"rollout_rmse": x**2} for x in errors]
  low, high = details.band("rollout_rmse", each)
  for k in range(3):
    of_step = errors[..., k + 1]
    inside = (of_step >= low[k]) & (of_step <= high[k])
    assert np.mean(inside) == pytest.approx(0.68, abs=0.01)


def test_survival_counts_those_that_have_not_failed():
  valid = np.array([[0, 0.1, 0.2, 0.3], [0, 0.1, 0.1, 0.1]])
  times = np.array([0.1, 0.2, 0.3])
  alive = details.survival([{"time_to_failure": valid}], times)
  assert alive == [1.0, 0.5, 0.5]
  assert details.survival([{"rollout_rmse": valid}], times) == []


def test_the_worst_come_first():
  each = [{"rollout_rmse": x} for x in SQUARES]
  values = details.of_trajectories(TASK, each)
  ids = np.array([10, 11, 12, 13])
  worst = details.worst(TASK, values, [7, 8], ids)
  assert [(w["seed"], w["trajectory_id"]) for w in worst] == [
    *((8, 13), (8, 12), (8, 11), (8, 10)),
    (7, 13),
  ]
  expected = np.sqrt(400 * np.mean([1, 4, 9]))
  assert worst[0]["value"] == pytest.approx(expected, rel=1e-6)
  assert np.all(np.diff([w["value"] for w in worst]) < 0)


def test_the_worst_of_what_is_to_be_large_are_the_smallest():
  task = dataclasses.replace(TASK, metrics=("time_to_failure",))
  values = {"time_to_failure@3": np.array([[0.3, 0.1, 0.2]], np.float32)}
  worst = details.worst(task, values, [0], np.arange(3))
  assert [w["trajectory_id"] for w in worst] == [1, 2, 0]


@pytest.fixture(scope="module")
def board(data_dir):
  return Board(data_dir)


def case(board, predictions, cost=None):
  task, truth = board.truth()
  told = content(Entry(predictions), task)
  told["predictions"] = [{"seed": 3 + i} for i in range(len(predictions))]
  if cost is not None:
    told["timing"] = {"faults": [], "relative_to_leapfrog": cost}
  submission = Submission(pathlib.Path(), told)
  return Case(submission, task, truth, board.problem, predictions)


def test_rollouts_beside_truth_and_leapfrog_at_equal_cost(board):
  runs = board.ballistic(), board.solved("leapfrog", 1)
  found = case(board, runs, cost=3.8)
  ids = found.truth.trajectory_id.tolist()
  worst = [{"seed": 4, "trajectory_id": ids[1], "value": 1.0}]
  arrays = previews.of_rollouts(found, worst)
  frames = found.task.num_steps
  assert arrays["prediction"].shape[:2] == (2, frames)
  assert arrays["seed"].tolist() == [3, 4]
  assert arrays["trajectory_id"].tolist() == ids[:2]
  rounding = {"atol": 1e-4}
  np.testing.assert_allclose(
    arrays["prediction"][1], runs[1].position[1], **rounding
  )
  true = found.truth.trajectory.state.position
  np.testing.assert_allclose(arrays["truth"][1], true[1, 1:], **rounding)
  np.testing.assert_allclose(
    arrays["leapfrog"], board.solved("leapfrog", 4).position[0], **rounding
  )
  # What has not been timed, or badly, has no cost to be equal to.
  assert "leapfrog" not in previews.of_rollouts(case(board, runs), worst)


def test_page_data_of_a_rollout_that_diverged(board):
  position = board.ballistic().position.copy()
  position[0, 5:] = np.nan
  runs = (State(position, position),)
  preview = previews.of_rollouts(case(board, runs), [])
  times = np.round(preview["time"], 4).tolist()
  # The data may count from elsewhere than the given state.
  later = {**preview, "time": preview["time"] + 3.0}
  shown = previews.page_data(later, times)
  assert shown["times"] == times
  text = json.dumps(shown, allow_nan=False)
  assert json.loads(text)["prediction"][5][0] == [None, None]
  assert shown["worst"] == []
  assert shown["leapfrog"] is None
  assert previews.page_data({}, []) is None


@pytest.mark.parametrize("num_particles", [5, 100, 2000])
def test_previews_are_small(num_particles, board):
  task, truth = board.truth()
  task = dataclasses.replace(task, num_steps=200)
  rng = np.random.default_rng(0)
  shape = 2, 201, num_particles, 2
  positions = rng.normal(size=shape)
  trajectory = truth.trajectory._replace(
    time=np.linspace(0, 1, 201), state=State(positions, positions)
  )
  large = truth._replace(trajectory=trajectory)
  runs = (float32(positions[:, 1:], positions[:, 1:]),)
  found = case(board, runs)._replace(task=task, truth=large)
  last = int(truth.trajectory_id[-1])
  worst = [{"seed": 3, "trajectory_id": last, "value": 1.0}] * 5
  arrays = previews.of_rollouts(found, worst)
  assert sum(x.nbytes for x in arrays.values()) < 200_000
  assert arrays["prediction"].shape[1] >= 6
