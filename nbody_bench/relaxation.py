"""Relaxation: structures follow the forces of a model until these vanish.

By limited-memory BFGS with the rules of the relaxations of ASE and OC20: no
line search, and a step that is cut where an atom would move too far. The last
pairs s = x' - x and y = F - F', and the curvature alpha before there are any,
stand for the inverse Hessian H in the step H F (Nocedal 1980):

  q = F;        from the newest pair:  a_i = (s_i . q) / (s_i . y_i),
                                       q <- q - a_i y_i;
  q <- q / alpha;  from the oldest:    b_i = (y_i . q) / (s_i . y_i),
                                       q <- q + (a_i - b_i) s_i.
"""

import dataclasses
import math
from typing import Any, NamedTuple

import tensorflow as tf

from nbody_bench import capacity
from nbody_bench.arrays import Array
from nbody_bench.simulators import ForceModel
from nbody_bench.states import FIXED, Domain, Particles, State, Trajectory


@dataclasses.dataclass(frozen=True)
class Settings:
  """When to stop, and how to step; lengths in Angstrom, energies in eV.

  Defaults are those that OC20 publishes for relaxations with learned forces.

  Attributes:
    num_steps: at most.
    force_tolerance: a structure is relaxed when no free atom feels more.
    max_step: that any atom moves at once.
    memory: pairs that are kept.
    curvature: alpha above, energy over length squared.
    damping: factor of each step, after it was cut.
  """

  num_steps: int = 200
  force_tolerance: float = 0.01
  max_step: float = 0.04
  memory: int = 50
  curvature: float = 70.0
  damping: float = 1.0

  def __post_init__(self):
    for name, value in dataclasses.asdict(self).items():
      if not value > 0:
        raise ValueError(f"{name} is {value}; it must be positive")


class Relaxed(NamedTuple):
  """How a relaxation ended.

  Attributes:
    position: `[B, N, D]`, inside the box; NaN where a force was not finite.
    force: `[B, N, D]` there, 0 on atoms that are not free.
    num_steps: `[B]`, taken.
    converged: `[B]`, whether forces are within the tolerance.
  """

  position: Array
  force: Array
  num_steps: Array
  converged: Array


class _Pairs(NamedTuple):
  """The last M pairs, the i-th at place i modulo M.

  Pairs that are not there are zero, and so take no part.

  Attributes:
    count: of all so far, a scalar.
    moves: s, `[M, B, N, D]`.
    drops: y, likewise.
    weights: 1 / (s . y), `[M, B, 1, 1]`.
  """

  count: Array
  moves: Array
  drops: Array
  weights: Array


class _Carry(NamedTuple):
  """What the loop carries."""

  position: Array  # as it moves, not wrapped: pairs are differences of it
  force: Array
  active: Array
  num_steps: Array
  pairs: _Pairs


@dataclasses.dataclass(frozen=True)
class Relaxer:
  """A force model where relaxed structures are asked for.

  Each structure of a batch is relaxed as if it were alone: it stops when it is
  relaxed, and where a force is not finite.

  Attributes:
    force_model: maps (state, particles, domain) to the force `[B, N, D]`.
    settings: see `Settings`.
  """

  force_model: ForceModel
  settings: Settings = Settings()

  def __post_init__(self):
    if not callable(self.force_model):
      raise ValueError(
        f"{type(self.force_model).__name__} is no force model, and structures "
        "are relaxed by forces: it must be callable as `(state, particles, "
        "domain) -> force`, such as what is based on forces.LearnedForce"
      )

  @property
  def compilable(self) -> bool:
    """See `simulators.Simulator`."""
    return getattr(self.force_model, "compilable", True)

  def predict(
    self, state: State, particles: Particles, domain: Domain, times: Any
  ) -> Trajectory:
    """Returns the relaxed structures, at rest, as the only frame.

    Raises:
      ValueError: if more frames are asked for.
    """
    if times.shape[0] != 1:
      raise ValueError(
        f"{times.shape[0]} frames are asked for, and a relaxation has one, the "
        "relaxed structure; pass a single time"
      )
    position = self.relax(state, particles, domain).position[:, None]
    frames = State(position, tf.zeros_like(position))
    return Trajectory(times, frames, particles, domain)

  def relax(
    self, state: State, particles: Particles, domain: Domain
  ) -> Relaxed:
    """Returns where structures end, and how; velocities are not looked at."""
    free = _free(particles)

    def force_at(position):
      inside = domain.wrap(position)
      force = self.force_model(
        State(inside, tf.zeros_like(inside)), particles, domain
      )
      return tf.where(free, force, 0.0)

    def step(carry):
      return self._step(carry, force_at)

    force = force_at(state.position)
    start = _Carry(
      state.position,
      force,
      self._goes_on(force),
      tf.zeros(force.shape[:1], tf.int32),
      _no_pairs(self.settings.memory, force),
    )
    end = capacity.repeat(
      self.settings.num_steps,
      step,
      start,
      condition=lambda carry: tf.reduce_any(carry.active),
    )
    largest = _largest(end.force)
    failed = ~tf.math.is_finite(largest)[:, None, None]
    if particles.mask is not None:
      failed &= particles.mask[..., None] > 0
    nan = tf.constant(math.nan, end.position.dtype)
    position = tf.where(failed, nan, end.position)
    return Relaxed(
      domain.wrap(position),
      end.force,
      end.num_steps,
      largest < self.settings.force_tolerance,
    )

  def _goes_on(self, force):
    largest = _largest(force)
    relaxed = largest < self.settings.force_tolerance
    return ~relaxed & tf.math.is_finite(largest)

  def _step(self, carry, force_at):
    told = self.settings
    active = carry.active[:, None, None]
    step = _direction(carry.pairs, carry.force, told.curvature)
    longest = _largest(step)[:, None, None]
    cut = told.max_step / tf.maximum(longest, told.max_step)
    step *= cut * told.damping
    # What overflows is no step: the structure stays where it is.
    moves = active & tf.math.is_finite(longest)
    position = tf.where(moves, carry.position + step, carry.position)
    force = tf.where(active, force_at(position), carry.force)
    return _Carry(
      position,
      force,
      carry.active & self._goes_on(force),
      carry.num_steps + tf.cast(carry.active, tf.int32),
      # As they came out: rounding is part of the pair.
      _added(carry.pairs, position - carry.position, carry.force - force),
    )


def _free(particles):
  """Returns which atoms may move, `[B, N, 1]`."""
  free = tf.ones(particles.mass.shape, tf.bool)
  if particles.tag is not None:
    free &= particles.tag != FIXED
  if particles.mask is not None:
    free &= particles.mask > 0
  return free[..., None]


def _largest(vectors):
  """Returns the length of the longest of `[B, N, D]`, `[B]`."""
  return tf.sqrt(tf.reduce_max(tf.reduce_sum(vectors**2, -1), -1))


def _dot(one, other):
  return tf.reduce_sum(one * other, [1, 2], keepdims=True)


def _no_pairs(memory, like):
  zeros = tf.zeros([memory, *like.shape], like.dtype)
  return _Pairs(tf.constant(0), zeros, zeros, zeros[..., :1, :1])


def _added(pairs, move, drop):
  """Returns the pairs with one more for each structure.

  A pair says nothing of a structure that did not move, or whose forces did not
  change along the way.
  """
  product = _dot(move, drop)
  told = (product != 0) & tf.math.is_finite(product)
  weight = tf.where(told, 1 / tf.where(told, product, 1.0), 0.0)
  memory = pairs.moves.shape[0]
  here = tf.reshape(tf.range(memory) == pairs.count % memory, [-1, 1, 1, 1])
  values = (tf.where(told, move, 0.0), tf.where(told, drop, 0.0), weight)
  return _Pairs(
    pairs.count + 1,
    *(
      tf.where(here, new, old)
      for new, old in zip(values, pairs[1:], strict=True)
    ),
  )


def _direction(pairs, force, curvature):
  """Returns H F `[B, N, D]`; see the top of the file."""
  memory = pairs.moves.shape[0]

  def down(i, q, factors):
    k = (pairs.count - 1 - i) % memory
    factor = pairs.weights[k] * _dot(pairs.moves[k], q)
    return i + 1, q - factor * pairs.drops[k], factors.write(k, factor)

  def up(i, q):
    k = (pairs.count + i) % memory
    factor = factors.read(k) - pairs.weights[k] * _dot(pairs.drops[k], q)
    return i + 1, q + factor * pairs.moves[k]

  def all_pairs(i, *_):
    return i < memory

  factors = tf.TensorArray(
    force.dtype, memory, element_shape=pairs.weights.shape[1:]
  )
  limit = {"maximum_iterations": memory}
  _, q, factors = tf.while_loop(all_pairs, down, (0, force, factors), **limit)
  return tf.while_loop(all_pairs, up, (0, q / curvature), **limit)[1]
