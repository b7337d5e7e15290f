"""What scores might have been: a hierarchical bootstrap of one entry.

A score is a mean over seeds of a number that comes from the mean over
trajectories. Both are samples, and all seeds meet the same trajectories.

Trajectories are drawn with replacement (Efron 1979), the same draws for all
entries of a task, so that two entries can be compared trajectory by trajectory.

Seeds are three to five, too few to be drawn with replacement: of three, no draw
leaves their range, and intervals that should hold 95 of 100 times hold 75. The
mean over seeds is drawn from Student's t with S - 1 degrees of freedom instead,
whose scale is the seeds' own standard error on the drawn trajectories, relative
to the mean and on a logarithmic scale, as errors are positive.

All draws follow from the task and the entry alone: no entry changes another's.
"""

import functools
import hashlib
from collections.abc import Mapping

import numpy as np

from nbody_bench import evaluation

NUM_DRAWS = 2000
CONFIDENCE = 0.95


def draws(
  task_id: str, key: str, values: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
  """Returns `NUM_DRAWS` draws of each score of an entry.

  Args:
    task_id: draws of two entries are paired if it is the same.
    key: of the entry; the draws of its seeds follow from it.
    values: `{"<metric>@<k>": [S, B]}`, `Reduction.of_steps` of every seed and
      trajectory.

  Returns:
    `{"<metric>@<k>": [NUM_DRAWS]}`.
  """
  columns = list(values)
  # A logarithm of zero, times a weight of zero, would be no number.
  stack = np.stack([values[c] for c in columns]).astype(np.float32)
  stack = np.maximum(stack, -1e9)
  num_seeds, num_trajectories = stack.shape[1:]
  flat = stack.reshape(-1, num_trajectories).T
  means = (_weights(task_id, num_trajectories) @ flat).reshape(
    NUM_DRAWS, len(columns), num_seeds
  )
  student = np.zeros(NUM_DRAWS)
  if num_seeds > 1:
    generator = _generator(f"{task_id}/{key}")
    student = generator.standard_t(num_seeds - 1, NUM_DRAWS)
  result = {}
  for i, column in enumerate(columns):
    metric = evaluation.metric(metric_of(column))
    each = metric.reduce.over(means[:, i].astype(np.float64))
    largest = metric.reduce(np.full((1, 1), metric.cap))
    result[column] = np.minimum(_over_seeds(each, student), largest)
  return result


def _over_seeds(each, student):
  """Returns drawn means over seeds `[R]` of scores `[R, S]`."""
  mean = np.mean(each, 1)
  num_seeds = each.shape[1]
  if num_seeds == 1:
    return mean
  error = np.std(each, 1, ddof=1) / np.sqrt(num_seeds)
  relative = np.divide(error, mean, out=np.zeros_like(mean), where=mean > 0)
  # Beyond e^700 there are no floating-point numbers.
  return mean * np.exp(np.clip(student * relative, -700, 700))


def interval(drawn: np.ndarray) -> tuple[float, float]:
  """Returns the central interval `[NUM_DRAWS]` that holds `CONFIDENCE`."""
  tail = (1 - CONFIDENCE) / 2
  low, high = np.quantile(drawn, [tail, 1 - tail])
  return float(low), float(high)


def column(metric: str, step: int | str) -> str:
  """Returns the name of a score: that of an array of `values.npz`."""
  return f"{metric}@{step}"


def metric_of(column: str) -> str:
  """Returns the metric that a score is of."""
  return column.partition("@")[0]


@functools.lru_cache(maxsize=1)
def _weights(task_id, num_trajectories):
  """Returns weights `[NUM_DRAWS, B]` of the trajectories of a task."""
  share = np.full(num_trajectories, 1 / num_trajectories)
  counts = _generator(task_id).multinomial(num_trajectories, share, NUM_DRAWS)
  return (counts / num_trajectories).astype(np.float32)


def _generator(text):
  digest = hashlib.sha256(text.encode()).digest()
  return np.random.default_rng(int.from_bytes(digest[:16], "big"))
