"""Entries that are too good: leaked labels, and solvers.

Chaos is the witness. The state that a model is given is rounded to float32, and
the rounding grows as any small error does; no predictor can undo it, only who
knows the labels lies below it. And only who solves the true law stays close to
it all the way.
"""

import itertools

import numpy as np

from nbody_bench import predictions as kinds
from nbody_bench.leaderboard.evidence import (
  Evidence,
  difference,
  finding,
  size,
)
from nbody_bench.solvers import FixedSteps

# Measured on nbody_gravity/n20: labels 0.05 of the grown rounding (two smoke
# trajectories of 40 steps: 0.3), with noise of 1e-6 0.4; the solver itself from
# the rounded state 1.0, leapfrog with 16 steps a frame 17.
_LEAST_RATIO = 0.5
# A trajectory where the rounding has grown less than so much tells nothing.
_LEAST_GROWTH = 2.0
# Of the numbers of labels, as float32, that are hit exactly: labels 1; solvers
# that are converged, in the one trajectory where it is most, 0.38 on
# nbody_gravity/n20 and 0.84 on nbody_spring/five.
_MOST_EQUAL = 0.98
_FEWEST_NUMBERS = 200
# Errors over the least possible one at eight horizons: leapfrog with 16 steps a
# frame at most 5.3, Runge-Kutta with 4 at most 11; learned models 20,000.
_SOLVER_GRADE = 20.0
# Such trajectories beside ones that are worse by so much: of honest models the
# best of all was at 2,600, on nbody_spring/three_linear.
_MIXED, _UNLIKE = 0.1, 10.0
# Labels that are hardly better than inertia tell nothing of solvers.
_GOOD_LABELS = 1e-3
# What is entered as a model although it is one of these, with so many steps a
# frame. Two runs of one, in float32 and float64, differ by 0.02 of their error,
# runs with 15 and 16 by 0.12, learned models from any by 0.37 and more. The
# first frames tell: what is off later comes from there.
_KNOWN = ("euler", "symplectic_euler", "leapfrog", "yoshida4", "rk4")
_MOST_STEPS, _EARLY_FRAMES = 16, 8
_ALIKE = 0.045


def leaked_labels(evidence: Evidence) -> list[dict[str, str]]:
  """Finds predictions that know the labels.

  What is entered as classical may have started from the state in float64. It is
  no fraud then, and nothing that others can be compared with.
  """
  verdict = "unranked" if evidence.division == "classical" else "reject"
  found = []
  for entry, prediction, sample in zip(
    evidence.content["predictions"],
    evidence.predictions,
    evidence.samples if evidence.is_stepped else evidence.predictions,
    strict=True,
  ):
    equal = equal_shares(evidence, prediction)
    name = max(equal, key=lambda k: equal[k], default="")
    reason = ""
    if name and equal[name] > _MOST_EQUAL:
      reason = (
        f"{100 * equal[name]:.0f} % of its late {name} numbers, of all or of "
        "one trajectory, are those of the labels to the last bit"
      )
    if not reason and evidence.is_stepped:
      ratio = shadow_ratio(evidence, sample)
      if ratio < _LEAST_RATIO:
        reason = (
          f"its error is {ratio:.2g} of what the rounding of the given state "
          "to float32 has grown to"
        )
    if reason:
      found.append(
        finding(
          "leaked labels",
          verdict,
          f"seed {entry['seed']}: {reason}; a prediction from the state as "
          "float32 cannot be so close. Predict with nbody_bench.run, which "
          "gives that state and nothing else",
        )
      )
  return found


def equal_shares(evidence: Evidence, prediction) -> dict[str, float]:
  """Returns the share of numbers that equal the labels', by array.

  Of the later half of the steps, and of numbers that have changed since the
  start; of all, or of the trajectory where it is largest. Where there are few
  such numbers they are left out.
  """
  kind = kinds.KINDS[evidence.task.kind]
  truth = kind.aligned(evidence.truth.trajectory, evidence.task.num_steps)
  source = truth.state if evidence.task.kind != "forces" else truth
  shares = {}
  for name in kind.judged:
    label = getattr(source, name).astype(np.float32)
    half = label.shape[1] // 2
    # Of forces there is one frame, which is given nothing of.
    moved = label[:, half:] != label[:, :1]
    if kind.repeats_first:
      moved = label[:, half:] != 0
    equal = getattr(prediction, name)[:, half - 1 :] == label[:, half:]
    axes = tuple(range(1, moved.ndim))
    counts = np.append(np.sum(moved, axes), np.sum(moved))
    hits = np.append(np.sum(equal & moved, axes), np.sum(equal & moved))
    enough = counts >= _FEWEST_NUMBERS
    if enough.any():
      shares[name] = float(np.max(hits[enough] / counts[enough]))
  return shares


def shadow_ratio(evidence: Evidence, sample) -> float:
  """Returns the late error over the grown rounding, infinity if it is tame.

  The median over trajectories that are sensitive and the last tenth of steps.
  """
  growth = evidence.growth
  sensitive = growth[:, -1] > _LEAST_GROWTH * growth[:, 0]
  if np.sum(sensitive) < 2:
    return float("inf")
  error = size(difference(sample, evidence.sample.state, sample.state))[:, 1:]
  late = slice(9 * growth.shape[1] // 10, None)
  with np.errstate(all="ignore"):
    ratio = error[sensitive, late] / growth[sensitive, late]
  return float(np.median(np.nan_to_num(ratio, nan=np.inf)))


def solver_grade(evidence: Evidence) -> list[dict[str, str]]:
  """Finds solvers of the true law among what is entered as learned."""
  if not evidence.is_stepped or evidence.division == "classical":
    return []
  found = []
  for entry, sample in zip(
    evidence.content["predictions"], evidence.samples, strict=True
  ):
    worst = error_ratio(evidence, sample)
    distance, name = known(evidence, sample)
    if worst < _SOLVER_GRADE:
      reason = (
        f"its error stays within {worst:.2g} of the least possible at all "
        "horizons: a converged solver of the true law"
      )
    elif distance < _ALIKE:
      reason = (
        f"its errors are those of {name} with the true law, but for "
        f"{100 * distance:.2g} %"
      )
    else:
      continue
    found.append(
      finding(
        "solver",
        "redivision",
        f"seed {entry['seed']}: {reason}; it competes on cost, in the division "
        "'classical'",
      )
    )
  return found


def mixed_trajectories(evidence: Evidence) -> list[dict[str, str]]:
  """Finds labels, or a solver, in place of a model's worst trajectories."""
  if not evidence.is_stepped or evidence.division == "classical":
    return []
  found = []
  for entry, sample in zip(
    evidence.content["predictions"], evidence.samples, strict=True
  ):
    error, least = _errors(evidence, sample)
    # After a close encounter the rounding can have grown to as much as this
    # model is off as a rule: whoever is as near there need not know the law.
    telling = _SOLVER_GRADE * least < np.median(error, 0)
    ratio = _ratio(error, least)
    solved = np.max(ratio, 1, where=telling, initial=0.0) < _SOLVER_GRADE
    share = np.mean(solved & telling.any(1))
    usual = np.median(np.max(ratio, 1, initial=0.0))
    if share >= _MIXED and usual > _UNLIKE * _SOLVER_GRADE:
      found.append(
        finding(
          "mixed trajectories",
          "reject",
          f"seed {entry['seed']}: in {100 * share:.0f} % of the trajectories "
          "its error stays within that of a converged solver of the true law, "
          f"in most it is {usual:.2g} times the least possible; all must come "
          "from one model",
        )
      )
  return found


def error_ratio(evidence: Evidence, sample) -> float:
  """Returns the largest, over horizons, of error over least possible error.

  Each the median over trajectories. Infinity where the labels are too poor to
  tell.
  """
  ratios = _ratio(*_errors(evidence, sample))
  if not ratios.shape[1]:
    return float("inf")
  return float(np.max(np.median(ratios, 0)))


def _errors(evidence, sample):
  """Returns the errors and the least possible ones, `[B, horizons]`.

  Of no horizon where the labels are too poor to tell.
  """
  least = evidence.least_error
  num_steps = least.shape[1]
  horizons = np.unique(np.geomspace(1, num_steps, 8).astype(int)) - 1
  error = size(difference(sample, evidence.sample.state, sample.state))[:, 1:]
  with np.errstate(all="ignore"):
    inertia = evidence.ballistic_error[:, horizons]
    good = np.median(least[:, horizons] / inertia, 0) < _GOOD_LABELS
  if np.mean(good) < 0.5:
    good[:] = False
  return error[:, horizons][:, good], least[:, horizons][:, good]


def _ratio(error, least):
  with np.errstate(all="ignore"):
    return np.nan_to_num(error / least, nan=np.inf)


def known(evidence: Evidence, sample) -> tuple[float, str]:
  """Returns the integrator of `_KNOWN` whose errors are most like, and how far.

  The distance of errors over their size; median over trajectories and steps
  where the error is well above the least possible one.
  """
  truth, own = (
    x.frames(0, 1 + _EARLY_FRAMES) for x in (evidence.sample, sample)
  )
  own = difference(truth, truth.state, own.state)[:, 1:]
  least = evidence.least_error[:, : own.shape[1]]
  best = (float("inf"), "")
  for integrator, num_steps in itertools.product(
    _KNOWN, range(1, 1 + _MOST_STEPS)
  ):
    if evidence.problem.system.magnetic_field and integrator not in (
      "euler",
      "rk4",
    ):
      continue
    solver = FixedSteps(num_steps, integrator)
    state = evidence.solved(None, solver, len(truth.time))
    with np.errstate(all="ignore"):
      other = difference(truth, truth.state, state)[:, 1:]
      apart = size(own - other) / np.maximum(size(own), size(other))
      counts = np.minimum(size(own), size(other)) > 10 * least
    if np.mean(counts) >= 0.25:
      distance = float(np.median(np.nan_to_num(apart[counts], nan=1.0)))
      name = f"{integrator} ({num_steps} a frame)"
      best = min(best, (distance, name))
  return best
