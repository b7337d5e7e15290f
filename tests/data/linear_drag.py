"""Linear drag: a model of one number, to copy when adding your own."""

import dataclasses

import tensorflow as tf

from nbody_bench import simulators
from nbody_bench.cards import ModelCard
from nbody_bench.states import State

CARD = ModelCard(name="Linear drag", physics_given=("boundaries",))


@dataclasses.dataclass(frozen=True)
class Config:
  """Settings, each a flag `--config.<field>`.

  Attributes:
    start: of the drag coefficient.
  """

  start: float = 0.0


class Simulator(simulators.LearnedSimulator):
  """dv = -drag v dt, the drag learned."""

  def __init__(self, config, problem):
    super().__init__()
    del problem
    self.drag = tf.Variable(config.start)

  def step(self, state, particles, domain, time_step):
    """See base class."""
    position, velocity = state
    push = -self.drag * velocity
    return State(
      domain.wrap(position + time_step * velocity),
      velocity + time_step * push,
    )
