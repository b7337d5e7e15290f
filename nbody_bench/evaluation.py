"""Scores of a roll-out: task and prediction in, numbers out.

The harness and the leaderboard both call `score`, on the same arrays, so a
claim and its re-scoring can differ only if the arrays do.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from nbody_bench import plugins, predictions, simulation
from nbody_bench.metrics import Metric
from nbody_bench.pipelines import Split
from nbody_bench.systems import System
from nbody_bench.tasks import Task

# Label errors of given frames that are rounding and chaos, not a coarse method.
_EXACT = 1e-3
# Pairs that are followed from there, which takes half a minute: the first 2000
# systems of five.
_FOLLOWED = 50_000


def metric(name: str) -> Metric:
  """Returns the metric of a file in `metrics/`."""
  return plugins.load("metrics", name).METRIC


def check(names: Iterable[str], kind: str) -> None:
  """Raises ValueError for a metric of predictions of another kind."""
  for name in names:
    judged = metric(name).kind
    if judged != kind:
      fitting = [k for k in plugins.names("metrics") if metric(k).kind == kind]
      raise ValueError(
        f"--metrics: {name} judges {judged}, and the task asks for {kind}; "
        f"choose of {', '.join(fitting)}"
      )


def values(
  task: Task, prediction: Any, truth: Split, system: System
) -> dict[str, np.ndarray]:
  """Returns the values `[B, T]` of every metric of one roll-out, by name.

  Args:
    task: names metrics.
    prediction: of the task's kind (see `predictions`), arrays
      `[B, task.num_steps, ...]`, steps 1 onward. From its first non-finite
      frame on a trajectory counts as diverged.
    truth: the task's trajectories, frame 0 included.
    system: the true law.
  """
  kind = predictions.KINDS[task.kind]
  aligned = kind.aligned(truth.trajectory, task.num_steps)
  whole = kind.whole(prediction, aligned)
  return {
    name: metric(name).values(whole, aligned, system) for name in task.metrics
  }


def summaries(task: Task, each: dict[str, np.ndarray]) -> dict[str, Any]:
  """Returns `{name: Metric.summary}` of what `values` returned."""
  return {
    name: metric(name).summary(x, task.report_steps) for name, x in each.items()
  }


def diverged(task: Task, prediction: Any) -> int:
  """Returns the number of trajectories with a non-finite frame."""
  kind = predictions.KINDS[task.kind]
  return int(np.sum(kind.first_non_finite(prediction) >= 0))


def score(
  task: Task, prediction: Any, truth: Split, system: System
) -> dict[str, Any]:
  """Returns all scores of one roll-out; arguments as of `values`.

  Returns:
    `{"metrics": {name: Metric.summary}, "diverged": number of trajectories}`.
  """
  each = values(task, prediction, truth, system)
  return {
    "metrics": summaries(task, each),
    "diverged": diverged(task, prediction),
  }


def floor(task: Task, truth: Split, system: System) -> dict[str, Any]:
  """Returns what the error of the labels alone gives, by metric.

  Stored errors count from time 0. Where the frame that is given is in error
  itself, what counts is how far the law leads from there: the score of
  `baselines/true_law`, of many bodies on the first trajectories.

  Empty where the law is not known: nobody knows that error either.
  """
  if not system.is_known:
    return {}
  kind = predictions.KINDS[task.kind]
  aligned = kind.aligned(truth.trajectory, task.num_steps)
  label_error = truth.label_error[:, : task.num_steps + 1]
  metrics = {name: metric(name) for name in task.metrics}
  metrics = {name: found for name, found in metrics.items() if found.floor}
  if np.max(label_error[:, 0]) > _EXACT and not system.is_many_body:
    _, n, _ = aligned.frame(0).position.shape
    aligned = aligned.select(slice(max(1, _FOLLOWED // n**2)))
    times = aligned.time[1:] - aligned.time[0]
    given = aligned.frame(0), aligned.particles, aligned.domain
    law = kind.whole(simulation.followed(system, *given, times), aligned)
    each = {k: m.values(law, aligned, system) for k, m in metrics.items()}
  else:
    each = {
      k: m.floor_values(aligned, label_error, system)
      for k, m in metrics.items()
    }
  return summaries(task, each)


def over_seeds(scores: list[dict[str, Any]]) -> dict[str, Any]:
  """Returns mean and standard deviation over seeds.

  Args:
    scores: of `score`, one for each seed.

  Returns:
    `{metric: {"at": {k: {"mean", "std"}}, "curve": mean over seeds}}`; "std" is
    that of the sample (n - 1), None for a single seed.
  """
  result = {}
  for name, first in scores[0]["metrics"].items():
    each = [s["metrics"][name] for s in scores]
    result[name] = {
      "at": {k: _spread([s["at"][k] for s in each]) for k in first["at"]},
      "curve": np.mean([s["curve"] for s in each], 0).tolist(),
    }
  return result


def _spread(values):
  std = float(np.std(values, ddof=1)) if len(values) > 1 else None
  return {"mean": float(np.mean(values)), "std": std}
