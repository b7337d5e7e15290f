"""What an entry's arrays tell of how they were made.

Each check looks at one way to cheat, and finds nothing where it does not apply.
Where honest entries could look alike it does not reject: thresholds stand
beside what was measured, where they are defined.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from nbody_bench.leaderboard import duplicates, shadow, stitching
from nbody_bench.leaderboard.cases import Case
from nbody_bench.leaderboard.claims import Difference
from nbody_bench.leaderboard.evidence import Evidence, Other, finding

# Velocities that say nothing of how positions move, over the velocities
# themselves; of the labels, whose frames may be far apart, well below.
_INCONSISTENT, _OF_THE_LABELS = 1.0, 0.2
# Of a claim: chaos and all, the arrays are given, and rounding adds 1e-6.
_EDITED = 1e-2


def edited_numbers(evidence: Evidence) -> list[dict[str, str]]:
  """Finds claims that re-scoring does not confirm.

  What another machine's rounding could explain is said; beyond that somebody
  has written other numbers, or other arrays.
  """
  wrong = evidence.disagreements
  if not wrong:
    return []
  verdict = "reject" if max(d.relative for d in wrong) > _EDITED else "flag"
  return [
    finding(
      "edited numbers",
      verdict,
      "claims differ from the scores of the arrays: "
      + "; ".join(map(str, wrong[:5])),
    )
  ]


def size_of_the_test(evidence: Evidence) -> list[dict[str, str]]:
  """Finds models that have room for the answers."""
  parameters = 4 * evidence.content["training"]["num_parameters"]
  answers = sum(4 * x.size for x in evidence.predictions[0])
  if parameters <= answers:
    return []
  return [
    finding(
      "room for the answers",
      "flag",
      f"its parameters take {parameters} bytes, all numbers asked for "
      f"{answers}: they could be a table",
    )
  ]


def inconsistent_velocities(evidence: Evidence) -> list[dict[str, str]]:
  """Finds positions and velocities that belong to different motions."""
  if not evidence.is_stepped or len(evidence.sample.time) < 3:
    return []
  if _mismatch(evidence.sample) > _OF_THE_LABELS:
    return []
  return [
    finding(
      "velocities",
      "flag",
      f"seed {entry['seed']}: positions move by other velocities than those "
      f"predicted, off by {_mismatch(sample):.2g} of them",
    )
    for entry, sample in zip(
      evidence.content["predictions"], evidence.samples, strict=True
    )
    if _mismatch(sample) > _INCONSISTENT
  ]


def _mismatch(trajectory):
  """Returns |dx / dt - v| over |v|, medians of roots of mean squares."""
  position, velocity = trajectory.state
  steps = np.diff(trajectory.time)[None, :, None, None]
  with np.errstate(all="ignore"):
    moved = trajectory.domain.displacement(position[:, :-1], position[:, 1:])
    mean = (velocity[:, :-1] + velocity[:, 1:]) / 2
    off = np.sqrt(np.mean((moved / steps - mean) ** 2, (1, 2, 3)))
    speed = np.sqrt(np.mean(velocity**2, (1, 2, 3)))
    return float(np.median(np.nan_to_num(off / speed, nan=0.0)))


CHECKS: tuple[Callable[[Evidence], list[dict[str, str]]], ...] = (
  duplicates.copied_files,
  duplicates.copied_errors,
  duplicates.copied_seeds,
  shadow.leaked_labels,
  shadow.solver_grade,
  shadow.mixed_trajectories,
  stitching.stitched,
  duplicates.broken_symmetry,
  duplicates.many_versions,
  size_of_the_test,
  inconsistent_velocities,
  edited_numbers,
)


def findings(
  case: Case,
  others: Iterable[Other],
  disagreements: Sequence[Difference] = (),
) -> list[dict[str, str]]:
  """Returns what all checks find.

  Args:
    case: the entry beside the truth.
    others: entries on the board.
    disagreements: claims that re-scoring does not confirm.

  Returns:
    `{"kind", "verdict", "reason"}` each; the verdict is "reject", "unranked"
    (shown without a rank), "redivision" (to classical) or "flag" (said, nothing
    else).
  """
  evidence = Evidence(
    case.submission.content,
    case.task,
    case.predictions,
    case.truth,
    case.problem,
    tuple(others),
    disagreements,
  )
  return [found for check in CHECKS for found in check(evidence)]


def division(claimed: str, found: Iterable[Mapping[str, str]]) -> str:
  """Returns the division after findings."""
  moved = any(each["verdict"] == "redivision" for each in found)
  return "classical" if moved else claimed
