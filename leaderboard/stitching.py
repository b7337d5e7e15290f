"""Roll-outs that were put together from parts.

A step of a predictor starts from its own state: it does not know its error.
The true law takes the state before a step one frame ahead; what the step adds
to that is its defect, and the error there is what earlier steps have left. A
defect that takes away most of that error knows the truth, and a defect far
above all others is where one predictor ends and another begins.
"""

import numpy as np

from nbody_bench.leaderboard.evidence import (
  Evidence,
  difference,
  finding,
  size,
)
from nbody_bench.metrics import local_defect
from nbody_bench.states import State

# A step that leaves less than this of the error in so many of the trajectories.
# Measured on ten data sets: integrators and models of all kinds at most 0.06 of
# the trajectories at any step, roll-outs that go over to labels or to a better
# predictor all.
_LEFT, _OF_TRAJECTORIES = 0.2, 0.75
# The first steps may go up and down; and what is no larger than this many
# least possible errors is noise.
_FIRST, _ABOVE_LEAST = 3, 10.0
# The defect of one step over those of its neighbours and of the first step, the
# lower quartile over trajectories: honest ones at most 1.1, most stitched ones
# 12 and more.
_JUMP = 8.0
_NEIGHBOURS = 5
_FEWEST_TRAJECTORIES = 8
# Share of the error that the median step takes away: honest ones at most 0.4,
# labels with noise 0.98 and more.
_CORRECTED = 0.9
_FEWEST_STEPS = 20


def stitched(evidence: Evidence) -> list[dict[str, str]]:
  """Finds steps where another predictor, or the truth, takes over."""
  if not evidence.is_stepped or len(evidence.sample.time) < _FIRST + 2:
    return []
  found = []
  for entry, sample in zip(
    evidence.content["predictions"], evidence.samples, strict=True
  ):
    steps = Steps(evidence, sample)
    share, at = steps.largest_correction()
    jump, place = steps.largest_jump()
    share_of_all = steps.median_correction()
    if share >= _OF_TRAJECTORIES:
      found.append(
        finding(
          "stitched",
          "reject",
          f"seed {entry['seed']}: step {at} takes away most of the error of "
          f"all steps before, in {100 * share:.0f} % of the trajectories; a "
          "predictor does not know its error. All frames must come from one "
          "roll-out of one model",
        )
      )
    elif jump > _JUMP:
      found.append(
        finding(
          "stitched",
          "reject",
          f"seed {entry['seed']}: the defect of step {place} is {jump:.2g} "
          "times those of its neighbours and of the first step; all frames "
          "must come from one roll-out of one model",
        )
      )
    elif share_of_all > _CORRECTED:
      found.append(
        finding(
          "noisy labels",
          "flag",
          f"seed {entry['seed']}: every step takes away "
          f"{100 * share_of_all:.0f} % of the error before it, as labels with "
          "noise do, or a model that predicts each frame by itself",
        )
      )
  return found


class Steps:
  """The steps of one roll-out, seen from the true law."""

  def __init__(self, evidence: Evidence, sample):
    """Steps each state of a roll-out.

    Args:
      evidence: with the truth.
      sample: one of `evidence.samples`, `[B, P + 1, N, D]`.
    """
    num_steps = len(sample.time) - 1
    ahead = local_defect.step_ahead(
      evidence.problem.system, sample, np.arange(num_steps)
    )
    true, reached = (
      State(*(x[:, 1:] for x in each.state))
      for each in (evidence.sample, sample)
    )
    with np.errstate(all="ignore"):
      defect = difference(sample, ahead, reached)
      before = difference(sample, true, ahead)
      self.defect = np.nan_to_num(size(defect), nan=np.inf)
      before_size = size(before)
      self.matters = before_size > _ABOVE_LEAST * evidence.least_error
      self.matters[:, :_FIRST] = False
      after = size(difference(sample, true, reached))
      self.left = np.nan_to_num(after / before_size, nan=np.inf)
      taken = -np.sum(defect * before, (2, 3)) / np.sum(before**2, (2, 3))
      self.taken = np.nan_to_num(taken, nan=0.0)

  def largest_correction(self) -> tuple[float, int]:
    """Returns the share of trajectories corrected by one step, and the step."""
    if len(self.left) < 2:
      return 0.0, 0
    share = np.mean(self.matters & (self.left < _LEFT), 0)
    return float(share.max()), int(share.argmax()) + 1

  def largest_jump(self) -> tuple[float, int]:
    """Returns the largest of one step's defect over others', and the step.

    0 of few trajectories, where the jump may be that of an encounter.
    """
    num_steps = self.defect.shape[1]
    if len(self.defect) < _FEWEST_TRAJECTORIES:
      return 0.0, 0
    best = (0.0, 0)
    for k in range(1, num_steps):
      before = self.defect[:, max(0, k - _NEIGHBOURS) : k]
      after = self.defect[:, k + 1 : k + 1 + _NEIGHBOURS]
      level = np.median(before, 1)
      if after.shape[1]:
        level = np.maximum(level, np.median(after, 1))
      level = np.maximum(level, self.defect[:, 0])
      with np.errstate(all="ignore"):
        jump = np.nan_to_num(self.defect[:, k] / level, nan=0.0)
      best = max(best, (float(np.quantile(jump, 0.25)), k + 1))
    return best

  def median_correction(self) -> float:
    """Returns the share of the error that the median step takes away."""
    if np.mean(self.matters) < 0.5 or self.taken.shape[1] < _FEWEST_STEPS:
      return 0.0
    return float(np.median(self.taken[self.matters]))
