"""Metrics: how far a predicted trajectory is from the truth.

A metric is a file of this folder that defines `METRIC`. Its function maps
(prediction, truth, system) to values `[B, T]` that keep samples and time; how
they become one number for the first k steps is its `reduce`. Values are in the
physical units of the data set.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from nbody_bench.states import Trajectory
from nbody_bench.systems import System

# Raised whenever a change alters any score; the board then re-scores all.
METRIC_VERSION = 1

Function = Callable[[Trajectory, Trajectory, System], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Reduction:
  """How values of single trajectories and steps become one number.

  It is `over(mean of counted(values))`. Trajectories are averaged in between,
  so that whoever resamples them needs one number of each: that of `of_steps`.

  Attributes:
    counted: maps values `[B, k]` of steps 1..k to `[B, j]`, those that count.
    over: maps a mean of what `counted` returns to the number; increasing.
  """

  counted: Callable[[np.ndarray], np.ndarray]
  over: Callable[[np.ndarray], np.ndarray]

  def __call__(self, values: np.ndarray) -> float:
    """Returns the number for values `[B, k]`."""
    return float(self.over(np.mean(self.counted(values))))

  def of_steps(self, values: np.ndarray) -> np.ndarray:
    """Returns the number `[B]` of each trajectory, before `over`."""
    return np.mean(self.counted(values), -1)


def _identity(values):
  return values


def _last(values):
  return values[:, -1:]


def _log_of_last(values):
  with np.errstate(divide="ignore"):
    return np.log(values[:, -1:])


# At the last step; over all steps; and the geometric mean at the last one.
at_last_step = Reduction(_last, _identity)
mean = Reduction(_identity, _identity)
root_mean = Reduction(_identity, np.sqrt)
geometric_mean_at_last_step = Reduction(_log_of_last, np.exp)


@dataclasses.dataclass(frozen=True)
class Metric:
  """One metric.

  Attributes:
    label: as shown in tables.
    description: formula and source.
    function: maps (prediction, truth, system) to `[B, T]`. Both trajectories
      start with the given initial state; from the first non-finite state on a
      prediction is NaN, and so may be the value.
    cap: what a non-finite or larger value counts as. Nothing is dropped: a
      diverged roll-out costs this much.
    reduce: how values `[B, k]` of steps 1..k become one number.
    floor: maps (truth, label_error `[B, T]`, system) to the values `[B, T]`
      that the error of the labels themselves gives; below it a score means
      nothing. None where there is no such number.
    better: "lower" or "higher".
    kind: of the predictions that it judges, of `predictions.KINDS`.
  """

  label: str
  description: str
  function: Function
  cap: float
  reduce: Reduction = at_last_step
  floor: Callable[[Trajectory, np.ndarray, System], np.ndarray] | None = None
  better: str = "lower"
  kind: str = "motion"

  def values(
    self, prediction: Trajectory, truth: Trajectory, system: System
  ) -> np.ndarray:
    """Returns the capped values `[B, T]`.

    Raises:
      ValueError: if the function returns another shape.
    """
    values = self.function(prediction, truth, system)
    wanted = (len(truth.domain.box), len(truth.time))
    if np.shape(values) != wanted:
      raise ValueError(
        f"the function of the metric {self.label!r} returns values of shape "
        f"{list(np.shape(values))}; it must be [B, T], here {list(wanted)}: "
        "one of each trajectory and frame, frame 0 included"
      )
    return self._capped(values)

  def floor_values(
    self, truth: Trajectory, label_error: np.ndarray, system: System
  ) -> np.ndarray:
    """Returns the capped values `[B, T]` of the labels themselves.

    Raises:
      TypeError: if the metric has no floor.
    """
    if self.floor is None:
      raise TypeError(f"{self.label} has no floor")
    return self._capped(self.floor(truth, label_error, system))

  def summary(
    self, values: np.ndarray, report_steps: tuple[int, ...]
  ) -> dict[str, Any]:
    """Returns numbers for the first k steps, and a curve over all steps.

    Args:
      values: `[B, T]`, frame 0 included.
      report_steps: the k's.

    Returns:
      `{"at": {"k": number}, "curve": [one number a step, from step 1]}`.
    """
    steps = values[:, 1:]
    return {
      "at": {str(k): self.reduce(steps[:, :k]) for k in report_steps},
      "curve": [
        self.reduce(steps[:, k : k + 1]) for k in range(steps.shape[1])
      ],
    }

  def _capped(self, values):
    return np.where(values < self.cap, values, self.cap)
