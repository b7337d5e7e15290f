"""The two contracts of the suite, and how everything else is lifted to them.

A **simulator** predicts states at given times:

    predict(state, particles, domain, times) -> Trajectory

with `state` at time 0 and `times` `[P]`, increasing and positive. Box, masks
and the number of particles come with the call, never in a constructor, so that
what was trained on 100 bodies runs on 1000.

A **step** `(state, particles, domain, time_step) -> State` is lifted to a
simulator by repetition; a **force model** `(state, particles, domain) -> force`
by an integrator. Roll-outs, metrics, timing and the leaderboard know nothing
but `predict`.
"""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import sonnet as snt
import tensorflow as tf

from nbody_bench import capacity
from nbody_bench.arrays import Array
from nbody_bench.integrators import Integrator
from nbody_bench.states import Domain, Particles, State, Trajectory
from nbody_bench.systems import safe_mass

Step = Callable[[State, Particles, Domain, Array], State]
ForceModel = Callable[[State, Particles, Domain], Array]


@runtime_checkable
class Simulator(Protocol):
  """Whatever predicts states at given times.

  An attribute `compilable = False` keeps it out of XLA; see `rollouts`.
  """

  def predict(
    self, state: State, particles: Particles, domain: Domain, times: Array
  ) -> Trajectory:
    """Returns the states at `times`.

    Args:
      state: `[B, N, D]` at time 0.
      particles: `[B, N]`; entries where `mask` is 0 are padding, finite
        numbers that must change nothing.
      domain: box `[B, D]`.
      times: `[P]`, increasing, the first one positive; any P from 1 on.

    Returns:
      A trajectory of P frames; positions inside the box where it is finite.
    """
    ...


def unroll(
  advance: Callable[[Any, Array], Any],
  start: Any,
  state_of: Callable[[Any], State],
  times: Array,
  *,
  state_is_all: bool = False,
) -> State:
  """Repeats `advance` from time 0 through `times`, in one loop of the program.

  The loop ends early when what `advance` builds does not fit the sizes that the
  program was compiled for; `rollouts.compiled` then takes larger ones.

  Args:
    advance: maps (carry, time step) to the next carry.
    start: the carry at time 0, a structure of tensors.
    state_of: maps a carry to the `State` to record.
    times: `[P]`.
    state_is_all: whether the recorded state determines all that follows, so
      that a roll-out can go on from it; else it begins anew.

  Returns:
    Recorded states `[B, P, N, D]`.
  """
  room = capacity.current()
  times = tf.convert_to_tensor(times)
  time_steps = times - tf.concat([tf.zeros_like(times[:1]), times[:-1]], 0)
  num_times = times.shape[0] or tf.shape(times)[0]
  shape = state_of(start).position.shape
  record = State(
    *(
      tf.TensorArray(x.dtype, num_times, element_shape=shape)
      for x in state_of(start)
    )
  )

  def body(i, carry, record, needs):
    with room.inside_loop() as inner:
      carry = advance(carry, time_steps[i])
    written = (
      r.write(i, x) for r, x in zip(record, state_of(carry), strict=True)
    )
    return i + 1, carry, State(*written), tf.maximum(needs, inner.needs)

  end, _, record, needs = tf.while_loop(
    lambda i, carry, record, needs: (i < num_times) & ~room.exceeded_by(needs),
    body,
    (tf.convert_to_tensor(room.first), start, record, room.needs),
    maximum_iterations=num_times,
  )
  room.needs = needs
  if state_is_all:
    # The last step, if any, was taken with too little room.
    room.done = tf.maximum(end - tf.cast(room.overflow, tf.int32), room.first)
  return State(*(tf.transpose(r.stack(), [1, 0, 2, 3]) for r in record))


@dataclasses.dataclass(frozen=True)
class StepSimulator:
  """A step, repeated: one call for each output time.

  Attributes:
    step: maps (state, particles, domain, time_step) to the next state.
    compilable: whether XLA can compile it; False for a step that leaves
      TensorFlow, such as a NumPy function.
  """

  step: Step
  compilable: bool = True

  def predict(self, state, particles, domain, times):
    """See `Simulator`."""
    states = unroll(
      lambda s, time_step: State(*self.step(s, particles, domain, time_step)),
      state,
      lambda s: s,
      times,
      state_is_all=True,
    )
    return Trajectory(times, states, particles, domain)


@dataclasses.dataclass(frozen=True)
class ForceSimulator:
  """A force model in an integrator: classical methods and learned forces.

  A splitting takes the force before the kick for the force during it: what
  depends on velocity needs a Runge-Kutta method.

  Attributes:
    force: maps (state, particles, domain) to `[B, N, D]`.
    integrator: a row of `integrators.INTEGRATORS`.
    num_substeps: equal integration steps between output times.
  """

  force: ForceModel
  integrator: Integrator
  num_substeps: int = 1

  def __post_init__(self):
    if self.num_substeps < 1:
      raise ValueError(f"num_substeps is {self.num_substeps}; it must be >= 1")
    owner = getattr(self.force, "__self__", None)
    if self.integrator.symplectic and getattr(owner, "magnetic_field", ()):
      raise ValueError(
        "a splitting needs a force that does not depend on velocity, and "
        "here a magnetic field acts; use integrators.INTEGRATORS['rk4']"
      )

  def predict(self, state, particles, domain, times):
    """See `Simulator`."""
    mass = safe_mass(particles)

    def acceleration(state):
      return self.force(state, particles, domain) / mass

    def advance(carry, time_step):
      step = time_step / self.num_substeps
      return capacity.repeat(
        self.num_substeps,
        lambda carry: self.integrator.step(acceleration, domain, carry, step),
        carry,
      )

    start = (state, acceleration(state))
    states = unroll(
      advance, start, lambda carry: carry[0], times, state_is_all=True
    )
    return Trajectory(times, states, particles, domain)


class LearnedSimulator(snt.Module, abc.ABC):
  """Base class of learned one-step models; subclasses define `step`."""

  @abc.abstractmethod
  def step(
    self,
    state: State,
    particles: Particles,
    domain: Domain,
    time_step: Array,
  ) -> State:
    """Returns the state one `time_step` later."""

  def predict(self, state, particles, domain, times):
    """See `Simulator`."""
    return StepSimulator(self.step).predict(state, particles, domain, times)

  def loss(self, window: Trajectory) -> Array:
    """Returns the training loss of a window of `[B, 2]` frames, a scalar."""
    return one_step_loss(self.step, window)


def one_step_loss(step: Step, window: Trajectory) -> Array:
  """Returns the mean squared one-step error, a scalar.

  Over batch, real particles and the 2 D phase-space coordinates, positions by
  minimum image (Martinkus, Lucchi and Perraudin 2021).
  """
  predicted = step(
    window.frame(0),
    window.particles,
    window.domain,
    window.time[1] - window.time[0],
  )
  truth = window.frame(1)
  position = window.domain.displacement(predicted.position, truth.position)
  velocity = truth.velocity - predicted.velocity
  squared = tf.concat([position, velocity], -1) ** 2
  return masked_mean(squared, window.particles.mask)


def prediction_loss(simulator: Simulator, window: Trajectory) -> Array:
  """Returns the mean squared error over all predicted frames, a scalar.

  As `one_step_loss`, for models that predict many frames at once: the first
  frame of the `[B, K + 1, N, D]` window is given, the other K are predicted.
  """
  prediction = simulator.predict(
    window.frame(0), window.particles, window.domain, window.time[1:]
  )
  truth = window.frames(1)
  position = window.domain.displacement(
    prediction.state.position, truth.state.position
  )
  velocity = truth.state.velocity - prediction.state.velocity
  squared = tf.concat([position, velocity], -1) ** 2
  per_particle = tf.reduce_mean(squared, 1)  # over frames
  return masked_mean(per_particle, window.particles.mask)


def masked_mean(values: Array, mask: Array | None) -> Array:
  """Returns the mean of `[B, N, F]` over all entries of real particles."""
  if mask is None:
    return tf.reduce_mean(values)
  total = tf.reduce_sum(tf.reduce_mean(values, -1) * mask)
  return total / tf.reduce_sum(mask)


def as_simulator(model: Any) -> Simulator:
  """Returns a simulator for anything that can be one.

  Args:
    model: has `predict` as in `Simulator`; or is callable as a step, such as a
      function, a `tf.Module` or a `keras.Model` (whose own `predict` means
      something else and is not used).

  Raises:
    TypeError: if it is neither.
  """
  if isinstance(model, tf.keras.Model):
    return StepSimulator(model.__call__)
  if isinstance(model, Simulator):
    return model
  if callable(model):
    return StepSimulator(model)
  raise TypeError(
    f"{type(model).__name__} is no simulator: give it a method "
    "`predict(state, particles, domain, times)` or make it callable as "
    "`(state, particles, domain, time_step) -> State`"
  )
