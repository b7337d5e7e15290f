"""What the board keeps of roll-outs beyond their scores."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nbody_bench import evaluation
from nbody_bench.leaderboard import resampling
from nbody_bench.tasks import Task

NUM_WORST = 5
# Of values over seeds and trajectories: one standard deviation of a normal one.
_BAND = (0.16, 0.84)
_DIGITS = 4
Values = Mapping[str, np.ndarray]


def of_trajectories(task: Task, each: Sequence[Values]) -> dict[str, Any]:
  """Returns what every seed and trajectory adds to each score.

  Args:
    task: names steps.
    each: of `evaluation.values`, one for each seed.

  Returns:
    `{"<metric>@<k>": [S, B]}` float32, of `Reduction.of_steps`.
  """
  return {
    resampling.column(name, k): np.stack(
      [
        evaluation.metric(name).reduce.of_steps(values[name][:, 1 : k + 1])
        for values in each
      ]
    ).astype(np.float32)
    for name in each[0]
    for k in task.report_steps
  }


def per_seed(name: str, summaries: Sequence[Mapping[str, Any]]) -> Any:
  """Returns `{k: [one number for each seed]}` of `evaluation.summaries`."""
  return {
    k: [s[name]["at"][k] for s in summaries] for k in summaries[0][name]["at"]
  }


def band(name: str, each: Sequence[Values]) -> list[list[float]]:
  """Returns the values below which 16 and 84 of 100 are, at each step.

  Of all seeds and trajectories; lists of one number a step, from step 1.
  """
  reduce = evaluation.metric(name).reduce
  values = np.concatenate([x[name] for x in each])
  edges = [
    np.quantile(reduce.over(reduce.of_steps(values[:, k : k + 1])), _BAND)
    for k in range(1, values.shape[1])
  ]
  return [[rounded(x) for x in side] for side in np.transpose(edges)]


def survival(each: Sequence[Values], times: np.ndarray) -> list[float]:
  """Returns the share of roll-outs that have not failed, at each step.

  Args:
    each: as above; what counts as failure is up to `time_to_failure`.
    times: `[P]` of the steps, after the given frame.

  Returns:
    One number a step, from step 1; empty if the task has not that metric.
  """
  if "time_to_failure" not in each[0]:
    return []
  valid = np.concatenate([x["time_to_failure"] for x in each])
  alive = valid[:, 1:] >= times * (1 - 1e-9)
  return np.mean(alive, 0).tolist()


def worst(
  task: Task,
  values: Values,
  seeds: Sequence[int],
  trajectory_id: np.ndarray,
) -> list[dict[str, Any]]:
  """Returns the worst roll-outs by the first metric at the last step.

  Args:
    task: names metric and step.
    values: of `of_trajectories`.
    seeds: of its first axis.
    trajectory_id: of its second one.
  """
  metric = evaluation.metric(task.metrics[0])
  column = resampling.column(task.metrics[0], task.report_steps[-1])
  found = metric.reduce.over(values[column].astype(np.float64))
  cost = found if metric.better == "lower" else -found
  places = np.argsort(-cost, axis=None, kind="stable")[:NUM_WORST]
  return [
    {
      "trajectory_id": int(trajectory_id[b]),
      "seed": int(seeds[s]),
      "value": float(found[s, b]),
    }
    for s, b in zip(*np.unravel_index(places, found.shape), strict=True)
  ]


def rounded(value: float) -> float:
  """Returns a number with as many digits as a picture shows."""
  return float(f"{value:.{_DIGITS}g}")
