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

import functools
import itertools
import math
from typing import NamedTuple

import graph_nets as gn
import numpy as np
import tensorflow as tf

from nbody_bench import capacity, cell_lists
from nbody_bench.arrays import Array
from nbody_bench.states import Domain, Particles

# The 2 x 2 level is dropped: all its cells are adjacent.
_TOP_LEVEL = 2


class Level(NamedTuple):
  """Nodes of one level, particles or cells, and the edges among them.

  Attributes:
    sample: `[n]`, the sample of each node; B for padding.
    real: `[n]`, 1 for a node and 0 for padding.
    parent: `[n]` rows in the level above, or None at the top.
    senders: `[E]` rows; the last row (padding) for unused edges.
    receivers: `[E]` rows, ascending, likewise.
    num_edges: scalar, used ones; they come first.
    box: `[n, D]`, sides of each node's domain.
  """

  sample: Array
  real: Array
  parent: Array | None
  senders: Array
  receivers: Array
  num_edges: Array
  box: Array

  def displacement(self, origin: Array, target: Array, rows=None) -> Array:
    """Returns `target - origin` by minimum image, `[m, D]`.

    Args:
      origin: `[m, D]`.
      target: `[m, D]`.
      rows: `[m]` nodes of this level that the vectors belong to; default all.
    """
    box = self.box if rows is None else tf.gather(self.box, rows)
    return Domain(box).displacement(origin, target)

  def sum_received(self, edges: Array) -> Array:
    """Returns the sum over each node's incoming edges, `[n, F]`."""
    return self.sum_to(edges, self.receivers)

  def sum_to(self, values: Array, rows: Array) -> Array:
    """Returns the sum of `values` `[m, F]` that go to each row, `[n, F]`."""
    total = tf.math.unsorted_segment_sum(values, rows, self.real.shape[0])
    return total * tf.cast(self.real, total.dtype)[:, None]

  def graph(self, nodes: Array, edges: Array) -> gn.graphs.GraphsTuple:
    """Returns the samples' graphs, and one of padding after them.

    Args:
      nodes: features `[n, F]`.
      edges: features `[E, G]`.
    """
    batch = tf.reduce_max(self.sample)  # that of padding
    of_edge = tf.gather(self.sample, self.receivers)

    def counts(samples):
      ids = tf.range(batch + 1)[:, None]
      return tf.reduce_sum(tf.cast(samples[None] == ids, tf.int32), 1)

    return gn.graphs.GraphsTuple(
      nodes=nodes,
      edges=edges,
      senders=self.senders,
      receivers=self.receivers,
      globals=None,
      n_node=counts(self.sample),
      n_edge=counts(of_edge),
    )


class Hierarchy(NamedTuple):
  """Who interacts with whom, on every level.

  Attributes:
    particles: the lowest level; `parent` is the finest cell.
    cells: levels from the coarsest (4 cells a side) to the finest.
    order: `[B N + 1]`, which particle of the batch is at each row of
      `particles`, the padding last.
    valid: `[B, 1]`, whether all coordinates of a sample are finite.
  """

  particles: Level
  cells: tuple[Level, ...]
  order: Array
  valid: Array

  def rows(self, values: Array) -> Array:
    """Returns `[B, N, F]` as rows of `particles`, `[B N + 1, F]`."""
    flat = tf.reshape(values, [-1, values.shape[-1]])
    rows = tf.gather(tf.pad(flat, [[0, 1], [0, 0]]), self.order)
    # Padding may hold anything.
    return tf.where(self.particles.real[:, None] > 0, rows, 0)

  def unrows(self, rows: Array) -> Array:
    """Returns rows of `particles` as `[B, N, F]`.

    NaN throughout a sample that holds a coordinate which is not finite: none of
    its particles is independent of that one.
    """
    batch = self.valid.shape[0]
    places = tf.range(self.order.shape[0])
    back = tf.math.unsorted_segment_sum(places, self.order, places.shape[0])
    values = tf.reshape(
      tf.gather(rows, back[:-1]),
      [batch, (rows.shape[0] - 1) // batch, rows.shape[-1]],
    )
    return tf.where(self.valid[..., None], values, math.nan)

  def sum(self, rows: Array) -> Array:
    """Returns the sum over the particles of each sample, `[B, F]`."""
    batch = self.valid.shape[0]
    total = tf.math.unsorted_segment_sum(
      rows, self.particles.sample, batch + 1
    )[:-1]
    # A product, so that derivatives are NaN too.
    return total * tf.where(self.valid, 1.0, math.nan)


def default_num_levels(num_particles: int, num_dims: int) -> int:
  """Returns round(log4 N) (in space log8 N), at least 2 (paper, section 3.1).

  >>> [default_num_levels(n, 2) for n in (20, 50, 100, 1000, 10_000)]
  [2, 3, 3, 5, 7]
  """
  levels = math.log(max(num_particles, 1), 2**num_dims)
  return max(_TOP_LEVEL, round(levels))


def check_num_levels(num_levels: int | None) -> None:
  """Raises ValueError for a number of levels that no hierarchy has."""
  if num_levels is not None and num_levels < _TOP_LEVEL:
    raise ValueError(
      f"num_levels is {num_levels}; it must be at least {_TOP_LEVEL}, as on "
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
      side=extent.side + tf.where(extent.periodic, 0, leaf_side)
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
  for level in range(_TOP_LEVEL, num_levels + 1):
    cell, parents[level] = _cells(rows, space, level, num_levels, batch)
    cells.append(cell)
  # Cells learn their parents from any of their particles.
  linked = [cells[0].level]
  for level, cell in enumerate(cells[1:], _TOP_LEVEL + 1):
    above = tf.gather(parents[level - 1], cell.some_particle)
    top = cells[level - _TOP_LEVEL - 1].level
    above = tf.where(cell.level.real > 0, above, top.real.shape[0] - 1)
    linked.append(cell.level._replace(parent=above))
  lowest = _particles(rows, listed, space, 2**num_levels, num_cells)
  return Hierarchy(
    lowest._replace(parent=parents[num_levels]),
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
  senders, receivers, num_edges = _far_edges(
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


def _far_edges(coordinates, sample, real, table, space, level, batch):
  """Returns the edges among the cells of a level."""
  num_dims = coordinates.shape[-1]
  side = 2**level
  size = real.shape[0]
  offsets = _interaction_list(level, num_dims)
  # Which list: by the place of a cell in its parent; at the top by the cell.
  period = side if level == _TOP_LEVEL else 2
  kind = cell_lists.index(coordinates % period, 0, period)
  offsets = tf.gather(tf.constant(offsets), kind)
  ring = tf.gather(space.periodic, sample)
  number = cell_lists.shifted(
    coordinates, sample, offsets, ring, side, batch * side**num_dims
  )
  sender = tf.gather(table, number)
  exists = real[:, None] & (sender != size - 1)
  if level == _TOP_LEVEL:
    # Here what is far across the grid may be near around the ring.
    distance = tf.abs(offsets)
    around = tf.minimum(distance, side - distance)
    distance = tf.where(ring[:, None, :], around, distance)
    exists &= tf.reduce_max(distance, -1) > 1
  width = offsets.shape[1]
  exists = tf.reshape(exists, [-1])
  count = tf.reduce_sum(tf.cast(exists, tf.int32))
  num_edges = capacity.fit(
    f"level_{level}_edges", count, (size - 1) * min(width, size)
  )
  place = tf.cumsum(tf.cast(exists, tf.int32), exclusive=True)
  place = tf.where(exists, tf.minimum(place, num_edges), num_edges)
  flat = tf.math.unsorted_segment_sum(
    tf.range(size * width), place, num_edges + 1
  )[:-1]
  used = tf.range(num_edges) < count
  receivers = tf.where(used, flat // width, size - 1)
  flat = tf.where(used, flat, 0)
  senders = tf.gather(tf.reshape(sender, [-1]), flat)
  return tf.where(used, senders, size - 1), receivers, count


@functools.lru_cache
def _interaction_list(level: int, num_dims: int) -> np.ndarray:
  """Returns offsets to the cells that may be in a cell's interaction list.

  Args:
    level: of the cell.
    num_dims: D.

  Returns:
    `[kinds, K, D]`, one list for each place of a cell in its parent; at the
    top, where the list is all cells that are not adjacent, for each cell. There
    shorter lists are filled up with zeros.
  """
  period = 2**level if level == _TOP_LEVEL else 2
  lists = []
  for cell in itertools.product(range(period), repeat=num_dims):
    low, high = (0, period) if level == _TOP_LEVEL else (-2, 4)
    targets = itertools.product(range(low, high), repeat=num_dims)
    offsets = np.array(list(targets)) - cell
    lists.append(offsets[np.max(np.abs(offsets), -1) > 1])
  width = max(map(len, lists))
  table = np.zeros((len(lists), width, num_dims), np.int32)
  for row, offsets in zip(table, lists, strict=True):
    row[: len(offsets)] = offsets
  return table


def _particles(rows, listed, space, side, num_cells):
  """Returns the particles with the edges among adjacent cells."""
  n = rows.there.shape[0]
  num_dims = rows.leaf.shape[-1]
  offsets = cell_lists.block(1, num_dims)
  near = cell_lists.shifted(
    rows.leaf,
    rows.sample,
    tf.constant(offsets),
    tf.gather(space.periodic, rows.sample),
    side,
    num_cells,
  )
  near = tf.where(rows.there[:, None], near, num_cells)
  starts, counts = _without_self(rows, listed, near)
  width = starts.shape[1]
  starts, counts = tf.reshape(starts, [-1]), tf.reshape(counts, [-1])
  # N^2 of them may be more than an index can hold.
  total = tf.reduce_sum(tf.cast(counts, tf.int64))
  total = tf.cast(tf.minimum(total, tf.int32.max), tf.int32)
  batch = space.box.shape[0] - 1
  per_sample = (n - 1) // batch
  most = batch * per_sample * (per_sample - 1)
  size = capacity.fit("particle_edges", total, most)
  # Each run of senders begins at a place in the list of edges; how many have
  # begun there or before says which run an edge belongs to.
  place = tf.cumsum(counts, exclusive=True)
  begun = tf.math.unsorted_segment_sum(
    tf.ones_like(place), tf.minimum(place, size), size + 1
  )
  run = tf.maximum(tf.cumsum(begun[:-1]) - 1, 0)
  used = tf.range(size) < total
  receivers = tf.where(used, run // width, n - 1)
  senders = tf.gather(starts, run) + tf.range(size) - tf.gather(place, run)
  senders = tf.where(used, senders, n - 1)
  return Level(
    sample=rows.sample,
    real=tf.cast(rows.there, space.box.dtype),
    parent=None,
    senders=senders,
    receivers=receivers,
    num_edges=total,
    box=tf.gather(space.box, rows.sample),
  )


def _without_self(rows, listed, near):
  """Returns the runs of rows that are each particle's senders.

  Those of a cell are one run, but for the particle's own cell, which has one
  before it and one after it.

  Returns:
    First rows and lengths, `[n, K + 1]`.
  """
  count, first = tf.gather(listed.count, near), tf.gather(listed.first, near)
  middle = near.shape[1] // 2
  place = tf.range(near.shape[0])
  before = tf.where(rows.there, place - first[:, middle], 0)
  after = tf.maximum(count[:, middle] - before - 1, 0)
  starts = [first[:, : middle + 1], place[:, None] + 1, first[:, middle + 1 :]]
  counts = [
    count[:, :middle],
    before[:, None],
    after[:, None],
    count[:, middle + 1 :],
  ]
  return tf.concat(starts, 1), tf.concat(counts, 1)


def _valid(position, mask):
  finite = tf.reduce_all(tf.math.is_finite(position), -1)
  if mask is not None:
    finite |= mask <= 0
  return tf.reduce_all(finite, 1, keepdims=True)


class CellState(NamedTuple):
  """What the cells of a level are made of.

  Attributes:
    constants: `[cells, C]`, sums of masses and charges.
    position: `[cells, D]`, the centre of mass.
    momentum: `[cells, D]`, the sum.
    velocity: `[cells, D]`, of the centre of mass.
  """

  constants: Array
  position: Array
  momentum: Array
  velocity: Array


def cell_states(
  hierarchy: Hierarchy, constants: Array, position: Array, momentum: Array
) -> list[CellState]:
  """Returns the cells of each level, from the coarsest. Differentiable.

  Args:
    hierarchy: of the particles.
    constants: rows `[n, C]`, the mass first.
    position: rows `[n, D]`.
    momentum: rows `[n, D]`.
  """
  sums = tf.concat([constants, constants[:, :1] * position, momentum], 1)
  child = hierarchy.particles
  sizes = [x.shape[-1] for x in (constants, position, momentum)]
  result = []
  for level in reversed(hierarchy.cells):
    sums = level.sum_to(sums, child.parent)
    total, moment, momenta = tf.split(sums, sizes, 1)
    mass = tf.where(total[:, :1] > 0, total[:, :1], 1)
    result.append(CellState(total, moment / mass, momenta, momenta / mass))
    child = level
  return result[::-1]
