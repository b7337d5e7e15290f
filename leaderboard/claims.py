"""What authors say of their own scores, beside what the arrays say."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from nbody_bench import evaluation, submissions, tables

# Both sides add the same numbers in the same order; room for another machine's
# rounding only.
_AGREEMENT = 1e-6


class Difference(NamedTuple):
  """A claimed number that re-scoring does not confirm.

  Attributes:
    where: metric, step and what of it, such as "rollout_rmse @20 mean".
    claimed: by the authors; None for "not known".
    actual: of the arrays.
  """

  where: str
  claimed: float | None
  actual: float | None

  def __str__(self) -> str:
    """As it is shown."""
    return f"{self.where}: claimed {self.claimed}, is {self.actual}"

  @property
  def relative(self) -> float:
    """Of the larger one; infinite where one of them is not there."""
    if self.claimed is None or self.actual is None:
      return math.inf
    larger = max(abs(self.claimed), abs(self.actual))
    return abs(self.claimed - self.actual) / larger


def disagreements(
  claims: Mapping[str, Any], scores: Mapping[str, Any]
) -> list[Difference]:
  """Returns the claimed numbers that re-scoring does not confirm.

  Args:
    claims: `{metric: {k: {"mean", "std"}}}`; what is not scored is the author's
      own extra step or metric, and left out.
    scores: `{metric: {"at": {k: {"mean", "std"}}}}`.
  """
  found = []
  for name, steps in claims.items():
    for k, claim in steps.items():
      actual = scores.get(name, {}).get("at", {}).get(k)
      if actual is None:
        continue
      for part in ("mean", "std"):
        one, other = claim[part], actual[part]
        if (one is None) != (other is None) or (
          one is not None
          and not math.isclose(one, other, rel_tol=_AGREEMENT, abs_tol=1e-12)
        ):
          found.append(Difference(f"{name} @{k} {part}", one, other))
  return found


def table(submission: submissions.Submission, result: Mapping[str, Any]) -> str:
  """Returns claimed and re-scored numbers side by side, as text."""
  rows = [["", "claimed", "re-scored", "label error"]]
  for name, score in result["scores"].items():
    metric = evaluation.metric(name)
    for k, value in score["at"].items():
      claim = submission.content["claims"].get(name, {}).get(k)
      rows.append(
        [
          f"{metric.label} @{k}",
          tables.spread(claim) if claim else "-",
          tables.spread(value),
          tables.floor_of(result["floor"], name, k),
        ]
      )
  return f"{submission.key}\n{tables.align(rows)}"
