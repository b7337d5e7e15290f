"""Individual time steps: each particle takes halves of halves of a base step.

A particle of acceleration a steps by base_step / 2^n, with the smallest level n
(up to `MAX_LEVEL`) for which that is at most accuracy * sqrt(length / |a|). It
may go to a finer level when a step of its own ends, to a coarser one when a
coarser step begins there too, so that all particles meet at the end of each
base step. The two schemes differ in where the others are when the force on a
particle is taken:

* predicted: kick-drift-kick; all particles drift to the time of the force.
* frozen: those in the middle of a step are where it began, and so are those of
  another level that began a step together with it. This is the published
  generator of Martinkus, Lucchi and Perraudin (2021), kept to reproduce its
  data: of first order between levels, and not symplectic.
"""

import functools
from collections.abc import Callable, Mapping

import numba
import numpy as np

from nbody_bench import systems
from nbody_bench.bodies import Bodies
from nbody_bench.states import Domain

MAX_LEVEL = 20
# Time is counted in steps of the finest level: integers compare exactly.
_BASE_TICKS = 1 << MAX_LEVEL

# Sums may be reordered and fused; infinities keep their meaning, for they are
# the sides of an open box.
_FAST_MATH = {"reassoc", "contract", "arcp", "nsz", "afn"}
_jit = functools.partial(
  numba.njit, fastmath=_FAST_MATH, nogil=True, error_model="numpy"
)


def advance(
  law: str,
  bodies: Bodies,
  base_step: float,
  num_base_steps: int,
  accuracy: float,
  frozen: bool = False,
) -> int:
  """Advances systems in place; positions end in the box.

  Args:
    law: a row of `systems.LAWS`.
    bodies: systems `[B, N, D]`; their positions and velocities are changed.
    base_step: the longest step, at whose ends all particles meet.
    num_base_steps: how many of them to take.
    accuracy: eta in the step eta sqrt(length / |a|).
    frozen: which scheme, see above.

  Returns:
    The number of evaluations of the law, two for a pair seen from both sides.

  Raises:
    ValueError: if the criterion or the forces do not cover these bodies.
  """
  if not accuracy > 0:
    raise ValueError(f"accuracy {accuracy} must be positive; 0.001 is usual")
  if not (bodies.length > 0).all():
    raise ValueError(
      f"block steps follow from the length in the law {law!r}, its softening "
      f"or rest length, which is {bodies.length.min()}; give a positive one, "
      f"or use solvers.AdaptiveSteps"
    )
  if bodies.trap or bodies.field.any() or bodies.magnetic_field.any():
    raise ValueError(
      "block steps know pair forces only, no trap, field or magnetic_field; "
      "use solvers.AdaptiveSteps"
    )
  kernel = _kernels(law)[frozen]
  num_evaluations = 0
  bodies.position[:] = Domain(bodies.box).wrap(bodies.position)
  for b in range(len(bodies.position)):
    # Particles last, so that loops over them become vector instructions.
    position = np.ascontiguousarray(bodies.position[b].T)
    velocity = np.ascontiguousarray(bodies.velocity[b].T)
    # What `level` reads beside the acceleration.
    criterion = (float(bodies.length[b]), float(base_step), float(accuracy))
    num_evaluations += kernel(
      bodies, b, position, velocity, criterion, num_base_steps
    )
    bodies.position[b], bodies.velocity[b] = position.T, velocity.T
  return num_evaluations


@_jit
def level(size, length, base_step, accuracy):
  """Returns the level n of a particle whose acceleration has this size."""
  if not size > 0.0:
    return 0
  longest = accuracy * np.sqrt(length / size)
  n = 0
  while base_step > longest and n < MAX_LEVEL:
    base_step *= 0.5
    n += 1
  return n


@_jit
def _select(indices, array, value):
  """Returns the indices at which an array has this value."""
  selected, count = np.empty_like(indices), 0
  for i in indices:
    if array[i] == value:
      selected[count] = i
      count += 1
  return selected[:count]


@_jit
def _begin(active, now, acceleration, criterion, ticks, end):
  """Sets the lengths and ends, in ticks, of the steps that begin now."""
  coarsest = 0
  while now % (_BASE_TICKS >> coarsest) != 0:
    coarsest += 1
  for i in active:
    squared = 0.0
    for d in range(len(acceleration)):
      squared += acceleration[d, i] ** 2
    n = level(np.sqrt(squared), *criterion)
    ticks[i] = _BASE_TICKS >> max(n, coarsest)
    end[i] = now + ticks[i]


@_jit
def _kick(active, velocity, acceleration, ticks, tick):
  """Gives the active particles half of the kick of their steps."""
  for i in active:
    for d in range(len(velocity)):
      velocity[d, i] += 0.5 * tick * ticks[i] * acceleration[d, i]


@_jit
def _drift(position, velocity, step, box):
  """Moves particles; also wraps them into [-side / 2, side / 2)."""
  for d in range(len(position)):
    side = box[d]
    for i in range(position.shape[1]):
      position[d, i] += step * velocity[d, i]
    if not np.isinf(side):
      for i in range(position.shape[1]):
        x = position[d, i]
        x -= side * np.floor(x / side + 0.5)
        # Rounding may leave it on the upper side.
        position[d, i] = -0.5 * side if x >= 0.5 * side else x


@functools.cache
def _kernels(law: str) -> Mapping[bool, Callable]:
  """Returns the loops of a law, frozen or not, compiled at first use."""
  pair_force = _jit(systems.LAWS[law].force)

  @_jit
  def accelerate(bodies, b, active, position, out):
    strength, length = bodies.strength[b], bodies.length[b]
    num_dims, num_particles = position.shape
    displacement = np.empty((num_dims, num_particles))
    squared = np.empty(num_particles)
    factor = np.empty(num_particles)
    padding = np.zeros(num_particles)
    for j in range(num_particles):
      # It may lie on another particle, where a law need not be finite.
      padding[j] = 1.0 if strength[j] == 0.0 else 0.0
    num_evaluations = 0
    for i in active:
      scale = bodies.coupling[b] * strength[i] * bodies.inverse_mass[b, i]
      if scale == 0.0:
        continue
      for j in range(num_particles):
        squared[j] = padding[j]
      for d in range(num_dims):
        here, side = position[d, i], bodies.box[b, d]
        for j in range(num_particles):
          # By selection: positions lie in the box, so one side is enough.
          x = here - position[d, j]
          x -= side if x > 0.5 * side else 0.0
          x += side if x <= -0.5 * side else 0.0
          displacement[d, j] = x
          squared[j] += x * x
      # Its own displacement is 0: any finite factor will do.
      squared[i] = 1.0
      for j in range(num_particles):
        factor[j] = strength[j] * pair_force(squared[j], length)
      for d in range(num_dims):
        total = 0.0
        for j in range(num_particles):
          total += factor[j] * displacement[d, j]
        out[d, i] = scale * total
      num_evaluations += num_particles - 1
    return num_evaluations

  @_jit
  def predicted(bodies, b, position, velocity, criterion, num_base_steps):
    acceleration = np.zeros_like(position)
    # As if steps of length 0 had ended now.
    everyone = np.arange(position.shape[1])
    ticks, end = np.zeros_like(everyone), np.zeros_like(everyone)
    tick = criterion[1] / _BASE_TICKS
    now, num_evaluations = 0, 0
    while True:
      active = _select(everyone, end, now)
      num_evaluations += accelerate(bodies, b, active, position, acceleration)
      _kick(active, velocity, acceleration, ticks, tick)
      if now == num_base_steps * _BASE_TICKS:
        break
      _begin(active, now, acceleration, criterion, ticks, end)
      _kick(active, velocity, acceleration, ticks, tick)
      next_end = end.min()
      _drift(position, velocity, tick * (next_end - now), bodies.box[b])
      now = next_end
    return num_evaluations

  @_jit
  def frozen(bodies, b, position, velocity, criterion, num_base_steps):
    acceleration = np.zeros_like(position)
    # Of those in the middle of a step, what will hold at its end.
    next_position, next_velocity = position.copy(), velocity.copy()
    next_acceleration = np.zeros_like(position)
    everyone = np.arange(position.shape[1])
    ticks, end = np.zeros_like(everyone), np.zeros_like(everyone)
    tick = criterion[1] / _BASE_TICKS
    now, num_evaluations = 0, 0
    while True:
      active = _select(everyone, end, now)
      for i in active:
        position[:, i] = next_position[:, i]
        velocity[:, i] = next_velocity[:, i]
      if now == num_base_steps * _BASE_TICKS:
        break
      num_evaluations += accelerate(bodies, b, active, position, acceleration)
      _begin(active, now, acceleration, criterion, ticks, end)
      for n in range(MAX_LEVEL + 1):
        group = _select(active, ticks, _BASE_TICKS >> n)
        if len(group) == 0:
          continue
        # The others of this array stand still.
        moved, kicked = position.copy(), np.zeros_like(velocity)
        for i in group:
          kicked[:, i] = velocity[:, i]
        _kick(group, kicked, acceleration, ticks, tick)
        _drift(moved, kicked, tick * (_BASE_TICKS >> n), bodies.box[b])
        num_evaluations += accelerate(
          bodies, b, group, moved, next_acceleration
        )
        _kick(group, kicked, next_acceleration, ticks, tick)
        for i in group:
          next_position[:, i] = moved[:, i]
          next_velocity[:, i] = kicked[:, i]
      now = end.min()
    return num_evaluations

  return {False: predicted, True: frozen}
