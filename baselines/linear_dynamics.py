"""Linear dynamics: x + t v, with one learned number.

The first baseline of Satorras, Hoogeboom and Welling, "E(n) Equivariant Graph
Neural Networks" (2021): free flight for a time t that is trained, not given, so
that it is shorter than the step where bodies slow down on their way. 1
parameter.
"""

import dataclasses
import math

import tensorflow as tf

from nbody_bench import jumps
from nbody_bench.cards import ModelCard
from nbody_bench.problems import Problem
from nbody_bench.recipes import Recipe

CARD = ModelCard(
  name="Linear",
  paper="https://arxiv.org/abs/2102.09844",
  division="learned-closed",
  physics_given=("boundaries",),
  symmetries=("permutation", "reflection", "rotation", "translation"),
  notes="No interactions: the best that one time of free flight can do.",
)
RECIPE = Recipe(
  train_steps=300_000, batch_size=100, learning_rate=5e-4, schedule="constant"
)


@dataclasses.dataclass(frozen=True)
class Config:
  """Settings; the default is the published one.

  Attributes:
    initial_time: that t begins as, in the unit of time of the data set. What it
      was published for are steps of 1.
  """

  initial_time: float = 0.7

  def __post_init__(self):
    if not math.isfinite(self.initial_time):
      raise ValueError(
        f"initial_time is {self.initial_time}; it must be a finite number"
      )


class Simulator(jumps.JumpSimulator):
  """Free flight for a learned time.

  Attributes:
    time: t, in the unit of time of the data set.
  """

  def __init__(self, config: Config, problem: Problem):
    del problem
    super().__init__(name="linear_dynamics")
    self.time = tf.Variable(config.initial_time, name="time", dtype=tf.float32)

  def jump(self, state, particles, domain):
    """See base class."""
    del particles, domain
    return state.position + self.time * state.velocity
