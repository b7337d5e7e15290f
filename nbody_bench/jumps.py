"""Models that are trained on positions alone, over long steps.

Equivariant networks are published as maps from the state of one frame to the
positions of a later one, or of several. Here the first are steps, whose length
is that of the frames that they are trained on, and the second predict many
times at once; neither is told velocities of later frames in training, and those
that a prediction has are differences of its positions.
"""

import abc
from collections.abc import Callable

import tensorflow as tf

from nbody_bench import simulators
from nbody_bench.arrays import Array
from nbody_bench.states import Domain, Particles, State, Trajectory


class JumpSimulator(simulators.LearnedSimulator):
  """Base class of models that predict positions one frame on.

  Subclasses define `jump`.
  """

  @abc.abstractmethod
  def jump(self, state: State, particles: Particles, domain: Domain) -> Array:
    """Returns positions `[B, N, D]` one frame on; they may leave the box."""

  def step(self, state, particles, domain, time_step):
    """See base class."""
    state = State(domain.wrap(state.position), state.velocity)
    position = self.jump(state, particles, domain)
    velocity = (position - state.position) / time_step
    return State(domain.wrap(position), velocity)

  def loss(self, window):
    """See base class; the mean squared error of the position."""
    return position_loss(self, window.frames(0, 2))


class SequenceSimulator(simulators.LearnedSimulator):
  """Base class of models that predict positions of several frames at once.

  Subclasses define `sequence`.

  Attributes:
    window_length: frames that `loss` needs.
  """

  def __init__(self, num_frames: int, name: str):
    """Makes the model.

    Args:
      num_frames: P of the training.
      name: of the module.
    """
    super().__init__(name=name)
    self.window_length = num_frames + 1

  @abc.abstractmethod
  def sequence(
    self, state: State, particles: Particles, domain: Domain, times: Array
  ) -> Array:
    """Returns positions `[B, P, N, D]`; they may leave the box."""

  def step(self, state, particles, domain, time_step):
    """See base class."""
    times = tf.reshape(tf.cast(time_step, state.position.dtype), [1])
    return self.predict(state, particles, domain, times).frame(0)

  def predict(self, state, particles, domain, times):
    """See `simulators.Simulator`."""
    return predict_in_parts(
      self.sequence, times.shape[0], state, particles, domain, times
    )

  def loss(self, window):
    """See base class; the mean squared error of the positions."""
    return position_loss(self, window)


def predict_in_parts(
  sequence: Callable[[State, Particles, Domain, Array], Array],
  num_frames: int,
  state: State,
  particles: Particles,
  domain: Domain,
  times: Array,
) -> Trajectory:
  """Returns positions at all times, and their differences as velocities.

  Args:
    sequence: maps (state, particles, domain, times) to positions
      `[B, P, N, D]`, which may leave the box.
    num_frames: the most that it can; what is later goes on from the last.
    state: `[B, N, D]`.
    particles: `[B, N]`.
    domain: box `[B, D]`.
    times: `[P]`.
  """
  times = tf.convert_to_tensor(times, state.position.dtype)
  parts = []
  for first in range(0, times.shape[0], num_frames):
    state = State(domain.wrap(state.position), state.velocity)
    begin = times[first - 1] if first else tf.zeros_like(times[0])
    ends = times[first : first + num_frames] - begin
    position = sequence(state, particles, domain, ends)
    before = tf.concat([state.position[:, None], position[:, :-1]], 1)
    passed = ends - tf.concat([tf.zeros_like(ends[:1]), ends[:-1]], 0)
    velocity = (position - before) / passed[:, None, None]
    parts.append(State(domain.wrap(position), velocity))
    state = State(position[:, -1], velocity[:, -1])
  states = State(*(tf.concat(x, 1) for x in zip(*parts, strict=True)))
  return Trajectory(times, states, particles, domain)


def position_loss(simulator: simulators.Simulator, window: Trajectory) -> Array:
  """Returns the mean squared error of positions, a scalar.

  Over batch, frames after the first, real particles and coordinates, by minimum
  image (Xu et al., Equivariant Graph Neural Operator, 2024, section 4).
  """
  predicted = simulator.predict(
    window.frame(0),
    window.particles,
    window.domain,
    window.time[1:] - window.time[0],
  ).state.position
  truth = window.state.position[:, 1:]
  squared = window.domain.displacement(truth, predicted) ** 2
  return simulators.masked_mean(
    tf.reduce_mean(squared, 1), window.particles.mask
  )
