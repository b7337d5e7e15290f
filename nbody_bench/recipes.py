"""How a model is trained, as data."""

import dataclasses
import math
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Recipe:
  """How a model is trained; the defaults are DeltaGN's published ones.

  Martinkus, Lucchi and Perraudin (2021), section 4.2 and public code: Adam at
  3e-4, multiplied by 0.1 after 200,000 and 400,000 of 500,000 steps, batch 100,
  the weights after the last step.

  Attributes:
    train_steps: optimiser steps; 0 for weights that are there.
    batch_size: windows in a batch.
    learning_rate: at its highest.
    schedule: "steps" multiplies it by `decay` at `boundaries`; "cosine" lets it
      fall to zero over `train_steps`; "constant" leaves it.
    boundaries: of the schedule "steps".
    decay: likewise.
    warmup_steps: over which it rises linearly from zero.
    min_learning_rate: a floor, except in the warm-up.
    clip_norm: largest global norm of a gradient; 0 leaves gradients alone.
    num_trajectories: of the training split, its first; 0 for all.
    compile: whether the steps are compiled by XLA; "large" decides by the
      number of bodies in a batch, "auto" also by that of steps.
  """

  train_steps: int = 500_000
  batch_size: int = 100
  learning_rate: float = 3e-4
  schedule: Literal["steps", "cosine", "constant"] = "steps"
  boundaries: tuple[int, ...] = (200_000, 400_000)
  decay: float = 0.1
  warmup_steps: int = 0
  min_learning_rate: float = 1e-7
  clip_norm: float = 0.0
  num_trajectories: int = 0
  compile: Literal["auto", "large", "always", "never"] = "auto"

  def __post_init__(self):
    for name in ("batch_size", "learning_rate", "decay"):
      if not getattr(self, name) > 0:
        raise ValueError(f"{name} is {getattr(self, name)}; it must be > 0")
    for name in (
      *("train_steps", "num_trajectories"),
      *("warmup_steps", "clip_norm", "min_learning_rate"),
    ):
      if not getattr(self, name) >= 0:
        raise ValueError(f"{name} is {getattr(self, name)}; it must be >= 0")
    if 0 < self.train_steps <= self.warmup_steps:
      raise ValueError(
        f"warmup_steps is {self.warmup_steps}: in {self.train_steps} "
        "train_steps the learning rate would never be reached; set "
        "--recipe.warmup_steps, or more --train_steps"
      )

  def learning_rate_at(self, step: int) -> float:
    """Returns the learning rate of the step after `step` finished ones.

    >>> Recipe(learning_rate=1.0, boundaries=(10,)).learning_rate_at(10)
    0.1
    """
    if step < self.warmup_steps:
      return self.learning_rate * (step + 1) / self.warmup_steps
    rate = self.learning_rate
    if self.schedule == "steps":
      rate *= self.decay ** sum(step >= b for b in self.boundaries)
    elif self.schedule == "cosine":
      rate *= 0.5 * (1 + math.cos(math.pi * step / self.train_steps))
    return max(rate, self.min_learning_rate)
