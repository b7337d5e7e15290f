"""The hierarchical graph: a quadtree (octree) as arrays of static size.

Martinkus, Lucchi and Perraudin, "Scalable Graph Networks for Particle
Simulations" (AAAI 2021), section 3.1. The box is divided into 2^l cells a side
on the levels l = 2 .. L. Particles interact with those of their own and of
adjacent cells of the finest level; cells of a level interact where their
parents are equal or adjacent and they themselves are neither. So each ordered
pair of particles is covered exactly once, directly or by one pair of ancestors,
with O(N) edges. Empty cells do not exist.

`build` runs inside XLA programs. How many cells and edges there are is known
only there; `capacity` says how that goes with static sizes. Each level ends
with a row of padding that unused edges point at.
"""

import math
from typing import NamedTuple

import tensorflow as tf

from nbody_bench import capacity, cell_lists, hierarchy_edges
from nbody_bench.arrays import Array
from nbody_bench.hierarchy_edges import TOP_LEVEL
from nbody_bench.levels import Hierarchy, Level
from nbody_bench.states import Domain, Particles


def default_num_levels(num_particles: int, num_dims: int) -> int:
  """Returns round(log4 N) (in space log8 N), at least 2 (paper, section 3.1).

  >>> [default_num_levels(n, 2) for n in (20, 50, 100, 1000, 10_000)]
  [2, 3, 3, 5, 7]
  """
  levels = math.log(max(num_particles, 1), 2**num_dims)
  return max(TOP_LEVEL, round(levels))


def check_num_levels(num_levels: int | None) -> None:
  """Raises ValueError for a number of levels that no hierarchy has."""
  if num_levels is not None and num_levels < TOP_LEVEL:
    raise ValueError(
      f"num_levels is {num_levels}; it must be at least {TOP_LEVEL}, as on "
      "coarser grids all cells are adjacent"
    )


def build(
  position: Array,
  particles: Particles,
  domain: Domain,
  num_levels: int | None = None,
  shift: float = 0.0,
) -> Hierarchy:
  """Returns the hierarchical graph of each sample.

  Along open directions the grid spans the particles of the sample. Positions
  are taken into the box first. No gradient flows: who interacts is piecewise
  constant.

  Args:
    position: `[B, N, D]`.
    particles: only the mask is read; padding has no edges.
    domain: box `[B, D]`.
    num_levels: L; None for `default_num_levels` of N.
    shift: of the grid along all axes, in finest cells, in [0, 1).

  Raises:
    ValueError: for levels below 2 or, as they would depend on the padding, not
      given where there is a mask; for more cells than can be indexed; or
      (eagerly) for a box without size.
  """
  batch, n, num_dims = position.shape
  if num_levels is None:
    if particles.mask is not None:
      raise ValueError(
        "num_levels is not given, and samples of a batch differ in N: the "
        "number of levels would depend on the padding. Set num_levels, e.g. "
        f"{default_num_levels(n, num_dims)} for N={n}"
      )
    num_levels = default_num_levels(n, num_dims)
  check_num_levels(num_levels)
  num_cells = cell_lists.check_size(batch, 2**num_levels, num_dims)
  if tf.executing_eagerly():
    domain.check()
  position = domain.wrap(tf.stop_gradient(position))
  there = cell_lists.present(position, particles.mask)
  extent = cell_lists.extent(position, there, domain)
  moved = position
  if shift:
    leaf_side = extent.side / 2**num_levels
    # Along open directions the grid begins further out, with a cell more.
    moved = domain.wrap(position + shift * leaf_side)
    extent = extent._replace(
      side=extent.side
      + tf.where(extent.periodic, tf.zeros_like(leaf_side), leaf_side)
    )
  leaf = cell_lists.bisect(moved, extent, num_levels)
  sample = tf.broadcast_to(tf.range(batch)[:, None], [batch, n])
  listed = cell_lists.sort(
    cell_lists.index(leaf, sample, 2**num_levels), there, num_cells
  )
  # The constants of a sample, with a row for padding.
  space = _Space(
    tf.pad(extent.periodic[:, 0], [[0, 1], [0, 0]]),
    tf.pad(domain.box, [[0, 1], [0, 0]], constant_values=1),
  )
  rows = _Rows.of(listed, leaf, there)
  cells, parents = [], {}
  for level in range(TOP_LEVEL, num_levels + 1):
    cell, parents[level] = _cells(rows, space, level, num_levels, batch)
    cells.append(cell)
  # Cells learn their parents from any of their particles.
  linked = [cells[0].level]
  for level, cell in enumerate(cells[1:], TOP_LEVEL + 1):
    above = tf.gather(parents[level - 1], cell.some_particle)
    top = cells[level - TOP_LEVEL - 1].level
    above = tf.where(cell.level.real > 0, above, top.real.shape[0] - 1)
    linked.append(cell.level._replace(parent=above))
  senders, receivers, num_edges = hierarchy_edges.near(
    rows, listed, space, 2**num_levels, num_cells
  )
  lowest = Level(
    sample=rows.sample,
    real=tf.cast(rows.there, space.box.dtype),
    parent=parents[num_levels],
    senders=senders,
    receivers=receivers,
    num_edges=num_edges,
    box=tf.gather(space.box, rows.sample),
  )
  return Hierarchy(
    lowest,
    tuple(linked),
    listed.order,
    _valid(position, particles.mask),
  )


class _Space(NamedTuple):
  """Constants of each sample, `[B + 1, D]`, the last row for padding."""

  periodic: Array
  box: Array


class _Rows(NamedTuple):
  """The sorted particles: sample `[n]`, leaf coordinates `[n, D]`, presence."""

  sample: Array
  leaf: Array
  there: Array

  @classmethod
  def of(cls, listed, leaf, there):
    batch, n, num_dims = leaf.shape
    flat = tf.pad(tf.reshape(leaf, [-1, num_dims]), [[0, 1], [0, 0]])
    there = tf.pad(tf.reshape(there, [-1]), [[0, 1]])
    there = tf.gather(there, listed.order)
    sample = tf.where(there, listed.order // n, batch)
    return cls(sample, tf.gather(flat, listed.order), there)


class _Cells(NamedTuple):
  level: Level
  some_particle: Array


def _cells(rows, space, level, num_levels, batch):
  """Returns the occupied cells of a level, and each particle's cell."""
  num_dims = rows.leaf.shape[-1]
  side = 2**level
  num_cells = batch * side**num_dims
  coordinates = rows.leaf // 2 ** (num_levels - level)
  number = cell_lists.index(coordinates, rows.sample, side)
  number = tf.where(rows.there, number, num_cells)
  occupied = tf.math.unsorted_segment_sum(
    tf.cast(rows.there, tf.int32), number, num_cells + 1
  )
  occupied = tf.cast(occupied[:-1] > 0, tf.int32)
  count = tf.reduce_sum(occupied)
  # One more for padding, to which all that does not fit is sent.
  size = capacity.fit(
    f"level_{level}_cells",
    count + 1,
    min(num_cells, rows.there.shape[0] - 1) + 1,
  )
  slot = tf.minimum(tf.cumsum(occupied, exclusive=True), size - 1)
  table = tf.where(occupied > 0, slot, size - 1)
  table = tf.concat([table, [size - 1]], 0)
  of_particle = tf.gather(table, number)
  places = tf.range(rows.there.shape[0])
  # Which of its particles a cell takes is all the same.
  some = tf.math.unsorted_segment_min(places, of_particle, size)
  some = tf.minimum(some, rows.there.shape[0] - 1)
  real = tf.range(size) < tf.minimum(count, size - 1)
  sample = tf.where(real, tf.gather(rows.sample, some), batch)
  senders, receivers, num_edges = hierarchy_edges.far(
    tf.gather(coordinates, some), sample, real, table, space, level, batch
  )
  result = Level(
    sample=sample,
    real=tf.cast(real, space.box.dtype),
    parent=None,
    senders=senders,
    receivers=receivers,
    num_edges=num_edges,
    box=tf.gather(space.box, sample),
  )
  return _Cells(result, some), of_particle


def _valid(position, mask):
  finite = tf.reduce_all(tf.math.is_finite(position), -1)
  if mask is not None:
    finite |= mask <= 0
  return tf.reduce_all(finite, 1, keepdims=True)
