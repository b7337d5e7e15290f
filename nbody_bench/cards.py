"""What a model says of itself on the leaderboard."""

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class ModelCard:
  """Facts that a baseline file declares as `CARD`.

  Attributes:
    name: as shown.
    paper: https address, or "".
    code: https address, or "".
    division: learned on the training split alone, learned with other data or
      knowledge too, or a classical method that knows the law.
    physics_given: what the model is told beyond positions and velocities.
    symmetries: that hold by construction.
    fixed_num_particles: whether the model, once called, takes no other number
      of particles than it was called with.
    authors: of the implementation.
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
  authors: tuple[str, ...] = ("nbody_bench",)
  notes: str = ""

  def for_task(self, kind: str) -> "ModelCard":
    """Returns the card on tasks of a kind of `predictions.KINDS`.

    Accelerations are among the data where forces are asked for; where motion
    is, only the law tells them.
    """
    told = kind == "motion" and "accelerations" in self.physics_given
    if told and self.division == "learned-closed":
      return dataclasses.replace(self, division="learned-open")
    return self
