"""What is wrong with data: in a row of a batch, and as it is told."""

import dataclasses
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import numpy as np

Severity = Literal["error", "warning"]


@dataclasses.dataclass(frozen=True)
class Finding:
  """One thing that is wrong.

  Attributes:
    severity: "error" for what gives wrong results, "warning" for what a user
      should know.
    where: the part of the data set, such as "train trajectory 3".
    message: a sentence: the value, what is allowed, the mend.
  """

  severity: Severity
  where: str
  message: str

  def __str__(self) -> str:
    return f"{self.severity}: {self.where}: {self.message}"


class Fault(NamedTuple):
  """Something wrong with one trajectory of a batch, or with a whole split.

  Attributes:
    row: of the trajectory in the batch; None for the split.
    amount: how bad it is; of the faults of one kind the worst is shown.
    message: as of a `Finding`.
    severity: likewise.
  """

  row: int | None
  amount: float
  message: str
  severity: Severity = "error"


def firsts(wrong: np.ndarray) -> Iterator[tuple[int, int, tuple]]:
  """Yields each row where something is wrong, how much is, and where first."""
  for row in np.flatnonzero(wrong.reshape(len(wrong), -1).any(1)):
    place = tuple(int(i) for i in np.argwhere(wrong[row])[0])
    yield int(row), int(wrong[row].sum()), place


def worsts(
  amount: np.ndarray, limit: Any
) -> Iterator[tuple[int, float, tuple]]:
  """Yields each row that exceeds its limit, by what, and where most."""
  excess = np.where(np.isnan(amount), np.inf, amount - limit)
  for row in np.flatnonzero(excess.reshape(len(excess), -1).max(1) > 0):
    place = np.unravel_index(np.argmax(excess[row]), excess[row].shape)
    yield int(row), float(excess[row].max()), tuple(int(i) for i in place)
