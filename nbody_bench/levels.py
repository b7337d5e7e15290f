"""The levels of a hierarchy: nodes, edges among them, what cells hold."""

import math
from typing import NamedTuple

import graph_nets as gn
import tensorflow as tf

from nbody_bench.arrays import Array
from nbody_bench.states import Domain


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
