"""What a model says of itself on the leaderboard."""

import dataclasses
from typing import Literal

# Those that the conformance tests test.
SYMMETRIES = ("permutation", "reflection", "rotation", "translation")
# What models are told; the board can be searched for these words.
PHYSICS = (
  *("masses", "charges", "stiffnesses", "elements", "boundaries"),
  *("accelerations", "kinetic energy", "potential energy", "pair potential"),
  *("force law", "form of the force law", "constants"),
  *("hamiltonian mechanics", "lagrangian mechanics"),
)
# The divisions, by how much a model is told.
_DIVISIONS = ("learned-closed", "learned-open", "classical")
ACCELERATIONS = "accelerations"
# Rows of `objectives.OBJECTIVES` that compare with the accelerations of the
# true law.
TELL_ACCELERATIONS = ("accelerations", "derivatives")


@dataclasses.dataclass(frozen=True)
class ModelCard:
  """Facts that a baseline file declares as `CARD`.

  Attributes:
    name: as shown.
    paper: https address, or "".
    code: https address, or "".
    division: learned on the training split alone, learned with other data or
      knowledge too, or a classical method that knows the law.
    physics_given: what the model is told beyond positions and velocities, of
      `PHYSICS`.
    symmetries: of `SYMMETRIES`, those that hold by construction.
    fixed_num_particles: whether the model, once called, takes no other number
      of particles than it was called with.
    authors: of the implementation; `plugins.load_model` fills in ours.
    notes: one or two sentences.
  """

  name: str
  paper: str = ""
  code: str = ""
  division: Literal["learned-closed", "learned-open", "classical"] = (
    "learned-closed"
  )
  physics_given: tuple[str, ...] = ()
  symmetries: tuple[str, ...] = ()
  fixed_num_particles: bool = False
  authors: tuple[str, ...] = ()
  notes: str = ""

  def __post_init__(self):
    """Refuses words that nobody would find or test."""
    for field, known in (
      ("division", _DIVISIONS),
      ("physics_given", PHYSICS),
      ("symmetries", SYMMETRIES),
    ):
      given = getattr(self, field)
      words = (given,) if field == "division" else given
      if isinstance(words, str) or set(words) - set(known):
        raise ValueError(
          f"{field}={given!r} of the model card {self.name!r}: choose of "
          f"{', '.join(known)}; `notes` has room for anything else"
        )

  def for_task(self, kind: str, objective: str = "") -> "ModelCard":
    """Returns the card of a model that was trained for a task.

    Accelerations are among the data where forces are asked for; where motion
    is, only the law tells them.

    Args:
      kind: of the task, one of `predictions.KINDS`.
      objective: what it was trained for, if it has a choice.
    """
    given = self.physics_given
    if objective in TELL_ACCELERATIONS and ACCELERATIONS not in given:
      given = (*given, ACCELERATIONS)
    division = self.division
    if kind == "motion" and ACCELERATIONS in given:
      division = max(division, "learned-open", key=_DIVISIONS.index)
    return dataclasses.replace(self, physics_given=given, division=division)
