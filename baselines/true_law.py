"""The true law to rounding: how far the labels are from it.

Adaptive Runge-Kutta steps in float64, the method that labels of few bodies are
made with. From the state that a task gives its error is the error of the labels
alone: what is ahead of it has learned how they are wrong. It leaves TensorFlow,
so that its cost says little.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from nbody_bench import simulation
from nbody_bench.cards import ModelCard
from nbody_bench.problems import Problem
from nbody_bench.states import Trajectory, map_arrays

CARD = ModelCard(
  name="True law",
  division="classical",
  physics_given=("masses", "charges", "force law", "constants", "boundaries"),
  symmetries=("translation", "permutation", "rotation", "reflection"),
  notes="Adaptive Runge-Kutta steps of order 8, float64: for few bodies.",
)


@dataclasses.dataclass(frozen=True)
class Config:
  """Settings.

  Attributes:
    tolerance: of the error of a step, relative and absolute.
  """

  tolerance: float = 1e-10

  def __post_init__(self):
    if not 1e-14 <= self.tolerance < 1:
      raise ValueError(
        f"tolerance is {self.tolerance}; it must be from 1e-14, where float64 "
        "ends, to below 1"
      )


class Simulator:
  """Adaptive steps with the true law.

  Raises:
    ValueError: if the law is withheld or not known; when called, of a law that
      is none of pairs.
  """

  compilable = False

  def __init__(self, config: Config, problem: Problem):
    self._system = problem.known_law("true_law")
    self._tolerance = config.tolerance

  def predict(self, state, particles, domain, times):
    """See `simulators.Simulator`."""
    given = map_arrays(np.asarray, (state, particles, domain))
    times = tf.convert_to_tensor(times)
    found = simulation.followed(
      self._system, *given, times.numpy(), self._tolerance
    )
    dtype = tf.convert_to_tensor(state.position).dtype
    states = map_arrays(lambda x: tf.cast(x, dtype), found)
    # Rounding may have led out of the box.
    states = states._replace(position=domain.wrap(states.position))
    return Trajectory(times, states, particles, domain)
