"""Models that predict the change of the state."""

import abc

import tensorflow as tf

from nbody_bench import simulators
from nbody_bench.arrays import Array
from nbody_bench.problems import Problem
from nbody_bench.states import Domain, Particles, State


class IncrementSimulator(simulators.LearnedSimulator):
  """Base class of models with (q, v)(t + dt) = (q, v)(t) + network.

  Subclasses define `increments`. If normalised, the network's outputs are
  increments in units of their standard deviation in the training data,
  positions counted from the ballistic flight v dt, in loss and prediction
  alike: with it far fewer steps are needed, as raw increments are tiny.
  """

  def __init__(self, problem: Problem, normalize: bool, name: str):
    super().__init__(name=name)
    self._problem = problem
    self._normalize = normalize

  @abc.abstractmethod
  def increments(
    self,
    state: State,
    particles: Particles,
    domain: Domain,
    time_step: Array,
  ) -> Array:
    """Returns the network's output, position then velocity, `[B, N, 2 D]`."""

  def step(self, state, particles, domain, time_step):
    """See base class."""
    position, velocity = state
    output = self.increments(state, particles, domain, time_step)
    delta_q, delta_v = tf.split(output, 2, axis=-1)
    if self._normalize:
      scale = self._problem.statistics
      delta_q = time_step * velocity + scale["position_increment_std"] * delta_q
      delta_v = scale["velocity_increment_std"] * delta_v
    return State(domain.wrap(position + delta_q), velocity + delta_v)

  def loss(self, window):
    """See base class; in units of the standard deviations if normalised."""
    if not self._normalize:
      return super().loss(window)
    (q0, v0), (q1, v1) = window.frame(0), window.frame(1)
    time_step = window.time[1] - window.time[0]
    scale = self._problem.statistics
    moved = window.domain.displacement(q0, q1) - time_step * v0
    target = tf.concat(
      [
        moved / scale["position_increment_std"],
        (v1 - v0) / scale["velocity_increment_std"],
      ],
      -1,
    )
    predicted = self.increments(
      window.frame(0), window.particles, window.domain, time_step
    )
    error = predicted - target
    return simulators.masked_mean(error**2, window.particles.mask)


def constants(problem: Problem, particles: Particles) -> Array:
  """Returns what a network is told of each particle, `[B, N, 1 or more]`.

  Its mass, and its charge and stiffness where the data have them.

  Raises:
    ValueError: if the law acts on charges, or stiffnesses, and there are none.
  """
  source = problem.system.source
  if getattr(particles, source) is None:
    raise ValueError(
      f"particles have no {source}, and the law of {problem.dataset} acts on "
      f"it; give `Particles(mass=..., {source}=...)`"
    )
  known = (particles.mass, particles.charge, particles.stiffness)
  return tf.stack([x for x in known if x is not None], -1)
