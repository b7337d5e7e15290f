"""Pair sums in float64, compiled by Numba: ground truth and scoring.

Numbers lie in *rows* of lanes side by side, which the compiler turns into
vector instructions. There are two layouts:

  * small systems are advanced `NUM_LANES` at a time: a row is one particle of
    all of them, a system in each lane;
  * a large system is advanced alone: a row is a tile of its particles, one in
    each lane. Large systems come in few trajectories, and many of them side by
    side would not fit in the cache.

In both each pair is visited once (Newton's third law). The layout follows from
the number of particles alone, and the arithmetic of a system never depends on
what other lanes hold, so a trajectory has the same bytes whichever others are
made beside it.
"""

import functools
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numba
import numpy as np

from nbody_bench import systems
from nbody_bench.bodies import Bodies
from nbody_bench.integrators import Splitting
from nbody_bench.states import Domain

# A whole number of vectors on any machine, as are the numbers below.
NUM_LANES = 32
# From this number of particles on, a system is advanced alone.
_MIN_LARGE = 256
_TILE = 64

# Sums may be reordered and fused. NaN and infinity keep their meaning: a
# collision of bodies without softening must not pass for a number.
_FAST_MATH = {"reassoc", "contract", "arcp", "nsz", "afn"}
_LINE = 64  # bytes in a line of the cache
_jit = functools.partial(
  numba.njit, fastmath=_FAST_MATH, nogil=True, error_model="numpy"
)
_inline = functools.partial(
  _jit, forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True
)


def _zeros(*shape: int) -> np.ndarray:
  """Returns zeros whose vectors do not straddle two lines of the cache."""
  size = math.prod(shape)
  spare = np.zeros(size + _LINE // 8)
  start = -spare.ctypes.data % _LINE // 8
  return spare[start : start + size].reshape(shape)


def block_size(num_particles: int) -> int:
  """Returns how many systems of this size a `Block` holds."""
  return NUM_LANES if num_particles < _MIN_LARGE else 1


def forces(law: str, bodies: Bodies) -> np.ndarray:
  """Returns the pair force on each particle.

  Args:
    law: a row of `systems.LAWS`.
    bodies: any number of systems.

  Returns:
    `[B, N, D]`.
  """
  return np.concatenate([block.forces() for block in _blocks(law, bodies)])


def potentials(law: str, bodies: Bodies) -> np.ndarray:
  """Returns the pair potential `[B]`; arguments as in `forces`."""
  return np.concatenate([block.potentials() for block in _blocks(law, bodies)])


def _blocks(law: str, bodies: Bodies) -> Iterator["Block"]:
  size = block_size(bodies.position.shape[1])
  for start in range(0, len(bodies.position), size):
    yield Block(law, bodies.select(slice(start, start + size)))


class Block:
  """At most `block_size` systems, advanced together.

  Raises:
    ValueError: if there are more.
  """

  def __init__(self, law: str, bodies: Bodies):
    batch, num_particles, num_dims = bodies.position.shape
    size = block_size(num_particles)
    if batch > size:
      raise ValueError(
        f"a block holds at most {size} systems of {num_particles} particles, "
        f"{batch} given; make a block for each {size}"
      )
    self._batch, self._num_particles = batch, num_particles
    self._is_large = size == 1
    self._field, self._trap = bodies.field, bodies.trap
    self._is_magnetic = bool(np.any(bodies.magnetic_field))
    self._kernels = _kernels(law, num_dims, self._is_large)
    self._layout = part = self._kernels.layout
    strength = self._to_rows(bodies.strength)
    self._rows = _zeros(len(strength), part.size)
    for start, array in (
      (0, self._to_rows(Domain(bodies.box).wrap(bodies.position))),
      (part.strength, strength),
      (part.apart, strength == 0),
      (part.velocity, self._to_rows(bodies.velocity)),
      (part.inverse_mass, self._to_rows(bodies.inverse_mass)),
    ):
      self._rows[:, start : start + array.shape[1]] = array
    # Of an open side both length and inverse are set to 0: the nearest image
    # x - L ceil(x / L - 1/2) is x then, without a branch.
    constants = (
      np.where(np.isinf(bodies.box), 0, bodies.box),
      1 / bodies.box,
      bodies.coupling[:, None],
      bodies.length[:, None],
    )
    constants = np.concatenate(constants, 1)[self._lanes()].T.ravel()
    # Two particles and the constants: what the rows are visited with.
    self._held = _zeros(1, part.side + len(constants))
    self._held[0, part.side :] = constants
    self._is_current = False

  def _lanes(self):
    # Spare lanes repeat the last system, so that they hold something harmless.
    return np.minimum(np.arange(self._layout.width), self._batch - 1)

  def _to_rows(self, array):
    """Returns `[B, N, ...]` as rows `[K, parts * width]`."""
    array = array.reshape(*array.shape[:2], -1)
    if self._is_large:
      padding = -self._num_particles % self._layout.width
      array = np.pad(array[0], [(0, padding), (0, 0)])
      array = array.reshape(-1, self._layout.width, array.shape[-1])
      array = array.transpose(0, 2, 1)
    else:
      array = array[self._lanes()].transpose(1, 2, 0)
    return array.reshape(len(array), -1)

  def _from_rows(self, start, num_parts):
    """Returns parts of the rows as a new array, `[B, N, num_parts]`."""
    width = self._layout.width
    array = self._rows[:, start : start + num_parts * width]
    array = array.reshape(-1, num_parts, width)
    if self._is_large:
      array = array.transpose(0, 2, 1).reshape(1, -1, num_parts)
    else:
      array = array.transpose(2, 0, 1)
    return array[: self._batch, : self._num_particles].copy()

  def forces(self) -> np.ndarray:
    """Returns the pair force on each particle, `[B, N, D]`."""
    self._kernels.forces(self._rows, self._held, self._num_particles)
    self._is_current = True
    return self._from_rows(self._layout.force, self._layout.num_dims)

  def potentials(self) -> np.ndarray:
    """Returns the pair potential `[B]`."""
    self._kernels.potentials(self._rows, self._held, self._num_particles)
    self._is_current = False
    # Each pair is in the sums of both its particles.
    return 0.5 * self._from_rows(self._layout.force, 1).sum((1, 2))

  def advance(
    self, integrator: Splitting, time_step: float, num_substeps: int
  ) -> None:
    """Advances by `time_step` in equal sub-steps.

    Raises:
      ValueError: if there is a magnetic field.
    """
    if self._is_magnetic:
      raise ValueError(
        "a splitting needs a force that does not depend on velocity, and there "
        "is a magnetic field; use the solver AdaptiveSteps, or FixedSteps with "
        "integrator 'rk4'"
      )
    self._is_current = self._kernels.advance(
      self._rows,
      self._held,
      self._num_particles,
      np.array(integrator.kicks),
      np.array(integrator.drifts),
      self._field,
      self._trap,
      time_step / num_substeps,
      num_substeps,
      self._is_current,
    )

  def state(self) -> tuple[np.ndarray, np.ndarray]:
    """Returns copies of position and velocity, `[B, N, D]`."""
    part = self._layout
    return (
      self._from_rows(0, part.num_dims),
      self._from_rows(part.velocity, part.num_dims),
    )


class _Layout(NamedTuple):
  """Where parts begin in a row, and after two of them in `held`.

  Attributes:
    width: lanes in a part.
    num_dims: D, the parts at 0 that hold the position.
    strength: 1 part.
    apart: 1 part, added to squared distances: 1 for particles of strength 0,
      which may lie on top of others, where a law may be infinite and inf * 0 is
      NaN.
    force: D parts; the potential takes the first.
    velocity: D parts.
    inverse_mass: 1 part.
    size: of a row.
    side: D parts of `held`, as are the following.
    per_side: D parts, 1 / side.
    coupling: 1 part.
    length: 1 part.
  """

  width: int
  num_dims: int
  strength: int
  apart: int
  force: int
  velocity: int
  inverse_mass: int
  size: int
  side: int
  per_side: int
  coupling: int
  length: int


def _layout(num_dims: int, width: int) -> _Layout:
  d = num_dims
  size = 3 * d + 3
  in_row = (d, d + 1, d + 2, 2 * d + 2, 3 * d + 2, size)
  in_held = (2 * size + i for i in (0, d, 2 * d, 2 * d + 1))
  return _Layout(width, d, *(width * i for i in (*in_row, *in_held)))


class _Kernels(NamedTuple):
  """Compiled loops for one law, number of dimensions and layout.

  The two sums leave their result in the rows, where the force is.
  """

  layout: _Layout
  forces: Callable  # (rows, held, num_particles)
  potentials: Callable  # (rows, held, num_particles)
  advance: Callable  # as in `_advance`


@functools.cache
def _kernels(law: str, num_dims: int, is_large: bool) -> _Kernels:
  """Returns the loops for a row of `systems.LAWS`, compiled at first use."""
  layout = _layout(num_dims, _TILE if is_large else NUM_LANES)
  sweep = _sweep_tiles if is_large else _sweep_systems
  pair_force = _inline(systems.LAWS[law].force)
  pair_potential = _inline(systems.LAWS[law].potential)

  @_inline
  def pull(squared, length, weight, x, y, z):
    factor = weight * pair_force(squared, length)
    return factor * x, factor * y, factor * z

  @_inline
  def energy(squared, length, weight, x, y, z):
    return weight * pair_potential(squared, length), 0.0, 0.0

  forces = sweep(layout, pull, num_dims, -1.0)
  potentials = sweep(layout, energy, 1, 1.0)
  return _Kernels(layout, forces, potentials, _advance(layout, forces))


# The loops below are fast for reasons that Numba does not show. Offsets in a
# row are constants, so the compiler knows that the parts do not overlap.
# Components are in tuples, which it keeps in registers, unlike small arrays.
# Loops over lanes have constant bounds, which rules out negative indices.


def _lane_functions(layout, term):
  """Returns what the sweeps do in one lane."""
  num_dims, width = layout.num_dims, layout.width

  @_inline
  def load_vector(rows, i, at):
    return (
      rows[i, at],
      rows[i, at + width] if num_dims > 1 else 0.0,
      rows[i, at + 2 * width] if num_dims > 2 else 0.0,
    )

  @_inline
  def load_particle(rows, i, at):
    return (
      load_vector(rows, i, at),
      rows[i, layout.strength + at],
      rows[i, layout.apart + at],
    )

  @_inline
  def load_constants(held, lane):
    return (
      load_vector(held, 0, layout.side + lane),
      load_vector(held, 0, layout.per_side + lane),
      held[0, layout.length + lane],
    )

  @_inline
  def pair(own, other, constants):
    (a, b, c), strength, apart = own
    (u, v, w), other_strength, other_apart = other
    (side_x, side_y, side_z), (per_x, per_y, per_z), length = constants
    x = a - u
    y = b - v
    z = c - w
    x -= side_x * np.ceil(x * per_x - 0.5)
    y -= side_y * np.ceil(y * per_y - 0.5)
    z -= side_z * np.ceil(z * per_z - 0.5)
    squared = x * x + y * y + z * z + (apart + other_apart)
    return term(squared, length, strength * other_strength, x, y, z)

  return load_particle, load_constants, pair


def _sweep_systems(layout, term, num_components, sign):
  """Returns the loop over all pairs, a system in each lane.

  Args:
    layout: of the rows, one for each particle.
    term: function of a pair that returns three components.
    num_components: that are summed.
    sign: of the term for the second particle of a pair.
  """
  load_particle, load_constants, pair = _lane_functions(layout, term)
  width, start, stop = layout.width, layout.force, layout.velocity
  second = layout.size

  @_inline
  def hold(held, slot, rows, i):
    for m in range(stop):
      held[0, slot + m] = rows[i, m]
    for lane in range(width):
      held[0, slot + layout.strength + lane] *= held[0, layout.coupling + lane]

  @_inline
  def visit(held, rows, j):
    for lane in range(width):
      constants = load_constants(held, lane)
      other = load_particle(rows, j, lane)
      a = pair(load_particle(held, 0, lane), other, constants)
      b = pair(load_particle(held, 0, second + lane), other, constants)
      at = start + lane
      rows[j, at] += sign * (a[0] + b[0])
      held[0, at] += a[0]
      held[0, second + at] += b[0]
      if num_components > 1:
        at = start + width + lane
        rows[j, at] += sign * (a[1] + b[1])
        held[0, at] += a[1]
        held[0, second + at] += b[1]
      if num_components > 2:
        at = start + 2 * width + lane
        rows[j, at] += sign * (a[2] + b[2])
        held[0, at] += a[2]
        held[0, second + at] += b[2]

  @_jit
  def sweep(rows, held, num_particles):
    rows[:, start:stop] = 0.0
    # Two particles are held at a time: that halves the traffic of the others.
    for i in range(0, num_particles - 1, 2):
      hold(held, 0, rows, i)
      # The first alone meets its partner, then both meet the rest.
      for lane in range(width):
        held[0, second + layout.strength + lane] = 0.0
        held[0, second + layout.apart + lane] = 1.0
      visit(held, rows, i + 1)
      hold(held, second, rows, i + 1)
      for j in range(i + 2, num_particles):
        visit(held, rows, j)
      for m in range(start, stop):
        rows[i, m] = held[0, m]
        rows[i + 1, m] = held[0, second + m]

  return sweep


def _sweep_tiles(layout, term, num_components, sign):
  """Returns the loop over all pairs of one system, a particle in each lane.

  Args:
    layout: of the rows, one for each tile of particles.
    term: see `_sweep_systems`.
    num_components: see `_sweep_systems`.
    sign: see `_sweep_systems`.
  """
  load_particle, load_constants, pair = _lane_functions(layout, term)
  width, start, stop = layout.width, layout.force, layout.velocity
  strength, apart = layout.strength, layout.apart
  half = width // 2

  @_inline
  def visit(own, rows, j, first, end, constants):
    x = y = z = 0.0
    for lane in range(first, end):
      a = pair(own, load_particle(rows, j, lane), constants)
      at = start + lane
      rows[j, at] += sign * a[0]
      x += a[0]
      if num_components > 1:
        rows[j, at + width] += sign * a[1]
        y += a[1]
      if num_components > 2:
        rows[j, at + 2 * width] += sign * a[2]
        z += a[2]
    return x, y, z

  @_jit
  def sweep(rows, held, num_particles):
    num_tiles = rows.shape[0]
    constants = load_constants(held, 0)
    rows[:, start:stop] = 0.0
    for k in range(num_tiles):
      for m in range(strength, start):
        held[0, m] = rows[k, m]
      for j in range(k, num_tiles):
        fits_half = num_particles - j * width <= half
        for c in range(min(width, num_particles - k * width)):
          position, _, _ = load_particle(rows, k, c)
          scaled = held[0, layout.coupling] * held[0, strength + c]
          own = position, scaled, held[0, apart + c]
          if j == k:
            # Each particle in turn leaves its tile and meets who is left.
            rows[k, strength + c] = 0.0
            rows[k, apart + c] = 1.0
          if j == k and c >= half:
            total = visit(own, rows, j, half, width, constants)
          elif fits_half:
            total = visit(own, rows, j, 0, half, constants)
          else:
            total = visit(own, rows, j, 0, width, constants)
          rows[k, start + c] += total[0]
          if num_components > 1:
            rows[k, start + width + c] += total[1]
          if num_components > 2:
            rows[k, start + 2 * width + c] += total[2]
      for m in range(strength, start):
        rows[k, m] = held[0, m]

  return sweep


def _advance(layout, forces):
  """Returns the loop over the kicks and drifts of all sub-steps."""
  num_dims, width = layout.num_dims, layout.width

  @_inline
  def kick(rows, field, trap, step):
    for i in range(rows.shape[0]):
      for d in range(num_dims):
        for lane in range(width):
          at = d * width + lane
          total = rows[i, layout.force + at] + field[d] - trap * rows[i, at]
          rows[i, layout.velocity + at] += (
            step * rows[i, layout.inverse_mass + lane] * total
          )

  @_inline
  def drift(rows, held, step):
    for i in range(rows.shape[0]):
      for at in range(num_dims * width):
        x = rows[i, at] + step * rows[i, layout.velocity + at]
        turns = np.floor(x * held[0, layout.per_side + at] + 0.5)
        rows[i, at] = x - held[0, layout.side + at] * turns

  @_jit
  def advance(
    rows,
    held,
    num_particles,
    kicks,
    drifts,
    field,
    trap,
    step,
    num_substeps,
    is_current,
  ):
    """Returns whether the forces in the rows belong to the positions."""
    for _ in range(num_substeps):
      for stage in range(len(kicks)):
        if kicks[stage] != 0.0:
          if not is_current:
            forces(rows, held, num_particles)
            is_current = True
          kick(rows, field, trap, kicks[stage] * step)
        if stage < len(drifts):
          drift(rows, held, drifts[stage] * step)
          is_current = False
    return is_current

  return advance
