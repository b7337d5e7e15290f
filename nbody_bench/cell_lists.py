"""Particles sorted into the cells of a grid, for neighbours in O(N).

Rows: the B N particles of a batch in one array, and after them one row of
padding, so that an index that means nobody can point there. Cells: those of all
B grids in one array, and after them a cell that is nowhere, which holds the
particles that are not there (padding) and counts as empty.
"""

import itertools
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from nbody_bench.arrays import Array
from nbody_bench.states import Domain

# Keys are 32-bit integers, and tables have an entry a cell.
_MOST_CELLS = 2**27


class Extent(NamedTuple):
  """The part of space that a grid divides.

  Attributes:
    lower: `[B, 1, D]` corner.
    side: `[B, 1, D]`, positive.
    periodic: `[B, 1, D]`, whether the grid closes to a ring.
  """

  lower: Array
  side: Array
  periodic: Array


class CellList(NamedTuple):
  """Particles in the order of their cells.

  Attributes:
    order: `[B N + 1]`, which row of the batch comes at each place.
    cell: `[B N + 1]`, the cell of each place, ascending.
    first: `[cells + 1]`, place of a cell's first particle.
    count: `[cells + 1]`, of particles in a cell.
  """

  order: Array
  cell: Array
  first: Array
  count: Array


def present(position: Array, mask: Array | None) -> Array:
  """Returns which particles are there, `[B, N]`.

  Those that are not padding, in samples without a coordinate that is not
  finite: a roll-out that has diverged has no neighbours any more.
  """
  real = tf.ones(position.shape[:2], tf.bool) if mask is None else mask > 0
  finite = tf.reduce_all(tf.math.is_finite(position), -1)
  return real & tf.reduce_all(finite | ~real, 1, keepdims=True)


def extent(position: Array, there: Array, domain: Domain) -> Extent:
  """Returns the box; along open directions the bounds of the particles."""
  box = domain.box[:, None, :]
  periodic = ~tf.math.is_inf(box)
  huge = position.dtype.max
  low = tf.where(there[..., None], position, huge)
  high = tf.where(there[..., None], position, -huge)
  low, high = tf.reduce_min(low, 1, True), tf.reduce_max(high, 1, True)
  some = high > low  # not so for a single particle
  lower = tf.where(periodic, -box / 2, tf.where(some, low, 0))
  side = tf.where(periodic, box, tf.where(some, high - low, 1))
  return Extent(lower, side, periodic)


def bisect(position: Array, extent: Extent, num_levels: int) -> Array:
  """Returns cell coordinates `[B, N, D]` on a grid of 2^num_levels a side.

  By comparison with the middle, level after level, so that a particle has the
  same ancestors on every grid; one on a border goes up.
  """
  lower, side = extent.lower, extent.side
  cell = tf.zeros(position.shape, tf.int32)
  for _ in range(num_levels):
    side = side / 2
    upper = position >= lower + side
    lower = tf.where(upper, lower + side, lower)
    cell = 2 * cell + tf.cast(upper, tf.int32)
  return cell


def divide(position: Array, extent: Extent, cells_per_side: int) -> Array:
  """Returns cell coordinates `[B, N, D]` on any grid, by division."""
  share = (position - extent.lower) / extent.side
  # A NaN would become any integer.
  share = tf.where(tf.math.is_finite(share), share, 0)
  cell = tf.cast(tf.floor(share * cells_per_side), tf.int32)
  return tf.clip_by_value(cell, 0, cells_per_side - 1)


def check_size(batch: int, cells_per_side: int, num_dims: int) -> int:
  """Returns the number of cells of all grids.

  Raises:
    ValueError: if there are too many to index.
  """
  num_cells = batch * cells_per_side**num_dims
  if num_cells > _MOST_CELLS:
    raise ValueError(
      f"{batch} grids of {cells_per_side}^{num_dims} cells are {num_cells}, "
      f"and at most {_MOST_CELLS} can be indexed; take fewer levels or a "
      "smaller batch"
    )
  return num_cells


def index(cell: Array, sample: Array, cells_per_side: int) -> Array:
  """Returns the number of a cell among all, from coordinates `[..., D]`."""
  number = sample
  for x in tf.unstack(cell, axis=-1):
    number = number * cells_per_side + x
  return number


def sort(cell: Array, there: Array, num_cells: int) -> CellList:
  """Returns the particles in the order of their cells.

  Args:
    cell: `[B, N]` numbers of cells.
    there: `[B, N]`; those that are not go to the last cell.
    num_cells: without that one.
  """
  cell = tf.reshape(tf.where(there, cell, num_cells), [-1])
  cell = tf.concat([cell, [num_cells]], 0)
  order = tf.argsort(cell, stable=True)
  count = tf.math.unsorted_segment_sum(tf.ones_like(cell), cell, num_cells + 1)
  first = tf.cumsum(count, exclusive=True)
  nowhere = tf.range(num_cells + 1) == num_cells
  return CellList(
    order, tf.gather(cell, order), first, tf.where(nowhere, 0, count)
  )


def shifted(
  cell: Array,
  sample: Array,
  offsets: Array,
  periodic: Array,
  cells_per_side: int,
  num_cells: int,
) -> Array:
  """Returns the numbers of cells at offsets from others.

  Args:
    cell: coordinates `[n, D]`.
    sample: `[n]`.
    offsets: `[K, D]` or `[n, K, D]`, shorter than a side.
    periodic: `[n, D]`.
    cells_per_side: of the grid.
    num_cells: of all grids, the number that stands for outside.

  Returns:
    `[n, K]`.
  """
  moved = cell[:, None, :] + offsets
  ring = periodic[:, None, :]
  inside = tf.reduce_all(ring | ((moved >= 0) & (moved < cells_per_side)), -1)
  # Once around is enough, and cheaper than a remainder.
  around = tf.cast(moved < 0, tf.int32) - tf.cast(
    moved >= cells_per_side, tf.int32
  )
  moved = tf.where(ring, moved + cells_per_side * around, moved)
  number = index(moved, sample[:, None], cells_per_side)
  # Padding has the sample after the last.
  return tf.where(inside, tf.minimum(number, num_cells), num_cells)


def block(reach: int, num_dims: int) -> np.ndarray:
  """Returns the offsets `[K, D]` of all cells up to `reach` away, 0 included.

  >>> block(1, 1)
  array([[-1],
         [ 0],
         [ 1]], dtype=int32)
  """
  steps = range(-reach, reach + 1)
  return np.array(list(itertools.product(steps, repeat=num_dims)), np.int32)
