"""Loops over all pairs, compiled by Numba for one law: what `pair_sums` calls.

They are fast for reasons that Numba does not show. Offsets in a row are
constants, so the compiler knows that the parts do not overlap. Components are
in tuples, which it keeps in registers, unlike small arrays. Loops over lanes
have constant bounds, which rules out negative indices.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numba
import numpy as np

from nbody_bench import systems

# A whole number of vectors on any machine, as is the tile.
NUM_LANES = 32
_TILE = 64

# Sums may be reordered and fused. NaN and infinity keep their meaning: a
# collision of bodies without softening must not pass for a number.
_FAST_MATH = {"reassoc", "contract", "arcp", "nsz", "afn"}
_jit = functools.partial(
  numba.njit, fastmath=_FAST_MATH, nogil=True, error_model="numpy"
)
_inline = functools.partial(
  _jit, forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True
)


class Layout(NamedTuple):
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


def _layout(num_dims: int, width: int) -> Layout:
  d = num_dims
  size = 3 * d + 3
  in_row = (d, d + 1, d + 2, 2 * d + 2, 3 * d + 2, size)
  in_held = (2 * size + i for i in (0, d, 2 * d, 2 * d + 1))
  return Layout(width, d, *(width * i for i in (*in_row, *in_held)))


class Kernels(NamedTuple):
  """Compiled loops for one law, number of dimensions and layout.

  The two sums leave their result in the rows, where the force is.
  """

  layout: Layout
  forces: Callable  # (rows, held, num_particles)
  potentials: Callable  # (rows, held, num_particles)
  advance: Callable  # as in `_advance`


@functools.cache
def kernels(law: str, num_dims: int, is_large: bool) -> Kernels:
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
  return Kernels(layout, forces, potentials, _advance(layout, forces))


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
