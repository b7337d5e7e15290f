"""From states to `graph_nets` graphs.

All graphs here have the same number of incoming edges at each node, sorted by
receiver, so that sums over incoming edges are reductions of a dense array
(`sum_received`) and all shapes are static.
"""

import math
from typing import NamedTuple

import graph_nets as gn
import tensorflow as tf

from nbody_bench import capacity, cell_lists
from nbody_bench.arrays import Array
from nbody_bench.states import Domain, Particles, State

# Of a search by cells, in cells; where bodies cluster so much that it does not
# suffice, all are searched.
_LARGEST_REACH = 3
# Contents of the unit ball by number of dimensions.
_BALLS = {1: 2.0, 2: math.pi, 3: 4 / 3 * math.pi}


class Neighbours(NamedTuple):
  """Who acts on whom.

  Attributes:
    senders: `[B, N, K]` indices of particles within their own sample.
    mask: `[B, N, K]`, 0 for an edge from or to padding; None if all are real.
  """

  senders: Array
  mask: Array | None


def fully_connected(position: Array, particles: Particles) -> Neighbours:
  """Returns all N (N - 1) ordered pairs without self edges."""
  batch, n, _ = position.shape
  receiver = tf.range(n)[:, None]
  slot = tf.range(n - 1)[None, :]
  senders = tf.where(slot < receiver, slot, slot + 1)
  senders = tf.broadcast_to(senders[None], [batch, n, n - 1])
  return Neighbours(senders, _edge_mask(senders, particles.mask))


def nearest(
  state: State, particles: Particles, domain: Domain, num_neighbours: int
) -> Neighbours:
  """Returns the nearest particles by minimum-image distance.

  Large systems are searched cell by cell, in O(N) where bodies are spread
  evenly; the result is that of a search among all.

  Args:
    state: `[B, N, D]`.
    particles: padding is never a neighbour of a real particle, unless there
      are too few real ones; such edges are masked.
    domain: box `[B, D]`.
    num_neighbours: K.

  Raises:
    ValueError: if N is not larger than K.
  """
  n = state.position.shape[1]
  if n <= num_neighbours:
    raise ValueError(
      f"{num_neighbours} nearest neighbours need more than {num_neighbours} "
      f"particles, got {n}; choose fewer neighbours or the fully connected "
      "graph"
    )
  num_dims = state.position.shape[-1]
  # So many bodies a cell that within two cells' length are three times as many
  # as are looked for: if they are spread evenly, hardly ever too few.
  ball = _BALLS[num_dims] * 2**num_dims
  cells_per_side = int((n * ball / (3 * num_neighbours)) ** (1 / num_dims))
  # Beyond, a block would meet itself, or be no smaller job than all.
  most = min((cells_per_side - 1) // 2, _LARGEST_REACH)

  def within(reach):
    if reach > most:
      return _nearest_of_all(state, particles, domain, num_neighbours), True
    return _nearest_in_cells(
      state, particles, domain, num_neighbours, cells_per_side, reach
    )

  senders = capacity.attempt("nearest_reach", 2, max(most, 1) + 1, within)
  return Neighbours(senders, _edge_mask(senders, particles.mask))


def _nearest_of_all(state, particles, domain, num_neighbours):
  """Returns the senders `[B, N, K]`, by all N^2 distances."""
  x = state.position
  displacement = domain.displacement(x[:, :, None, :], x[:, None, :, :])
  squared = tf.reduce_sum(displacement * displacement, -1)
  far = tf.constant(float("inf"), x.dtype)
  squared = tf.where(tf.eye(x.shape[1], dtype=tf.bool)[None], far, squared)
  if particles.mask is not None:
    squared = tf.where(particles.mask[:, None, :] > 0, squared, far)
  _, senders = tf.math.top_k(-squared, num_neighbours, sorted=False)
  return senders


def _nearest_in_cells(
  state, particles, domain, num_neighbours, cells_per_side, reach
):
  """Returns the senders among cells up to `reach` away, and whether those do.

  They do if every particle has its neighbours nearer than what lies outside the
  block of cells, or all others of its system inside.
  """
  batch, n, num_dims = state.position.shape
  num_cells = cell_lists.check_size(batch, cells_per_side, num_dims)
  position = domain.wrap(tf.stop_gradient(state.position))
  there = cell_lists.present(position, particles.mask)
  extent = cell_lists.extent(position, there, domain)
  cell = cell_lists.divide(position, extent, cells_per_side)
  sample = tf.broadcast_to(tf.range(batch)[:, None], [batch, n])
  listed = cell_lists.sort(
    cell_lists.index(cell, sample, cells_per_side), there, num_cells
  )

  # What a cell's particles have around them is the same for all of them.
  grid = [range(batch), *[range(cells_per_side)] * num_dims]
  grid = tf.stack(tf.meshgrid(*grid, indexing="ij"), -1)
  grid = tf.reshape(grid, [num_cells, 1 + num_dims])
  near = cell_lists.shifted(
    grid[:, 1:],
    grid[:, 0],
    tf.constant(cell_lists.block(reach, num_dims)),
    tf.gather(extent.periodic[:, 0], grid[:, 0]),
    cells_per_side,
    num_cells,
  )
  ends = tf.cumsum(tf.gather(listed.count, near), axis=1)
  most = tf.reduce_max(ends)
  width = capacity.fit("nearest_candidates", most, n)
  width = max(width, num_neighbours)
  place = tf.broadcast_to(tf.range(width), [num_cells, width])
  which = tf.searchsorted(ends, place, side="right")
  begin = tf.gather(tf.pad(ends, [[0, 0], [1, 0]]), which, batch_dims=1)
  near = tf.pad(tf.gather(listed.first, near), [[0, 0], [0, 1]])
  found = tf.gather(near, which, batch_dims=1) + place - begin
  found = tf.where(place < ends[:, -1:], found, -1)

  def rows(x):
    x = tf.reshape(tf.broadcast_to(x, [batch, n, x.shape[-1]]), [batch * n, -1])
    return tf.gather(x, listed.order[:-1])

  row = tf.range(batch * n)[:, None]
  own = tf.minimum(listed.cell[:-1], num_cells - 1)
  found, total = tf.gather(found, own), tf.gather(ends[:, -1:], own)
  x, box = rows(position), Domain(rows(domain.box[:, None]))
  sent = tf.gather(x, tf.maximum(found, 0))
  displacement = box.displacement(x[:, None], sent)
  squared = tf.reduce_sum(displacement**2, -1)
  far = tf.constant(float("inf"), squared.dtype)
  squared = tf.where((found >= 0) & (found != row), squared, far)
  chosen, furthest = _smallest(squared, found, num_neighbours)
  # Where there are too few, the particle itself, which counts as no edge.
  chosen = tf.where(chosen < 0, row, chosen)

  margin = reach * rows(tf.reduce_min(extent.side, -1, True) / cells_per_side)
  reached = furthest <= margin**2
  everyone = tf.reduce_sum(tf.cast(there, tf.int32), 1, True)
  complete = total == rows(everyone[..., None])
  fits = tf.reduce_all(reached | complete | ~rows(there[..., None]))
  # With candidates cut off nothing can be said of the reach.
  fits |= most > width

  senders = tf.gather(listed.order[:-1], chosen) % n
  back = tf.math.unsorted_segment_sum(row[:, 0], listed.order[:-1], batch * n)
  senders = tf.gather(senders, back)
  return tf.reshape(senders, [batch, n, num_neighbours]), fits


def _smallest(values, labels, count):
  """Returns the labels of each row's `count` smallest values, and the largest.

  Args:
    values: `[n, W]`, not negative, infinite where there is none.
    labels: `[n, W]`, none twice in a row.
    count: of them.

  Returns:
    Labels `[n, count]`, -1 where there are no more; their largest value
    `[n, 1]`, infinite if there are too few.
  """
  # Value and label in one integer, as positive numbers order like their bits:
  # `count` passes that keep to the cache, faster than sorting the rows.
  bits = tf.cast(tf.bitcast(tf.cast(values, tf.float32), tf.int32), tf.int64)
  keys = bits * 2**32 + tf.cast(tf.maximum(labels, 0), tf.int64)
  chosen, least = [], -tf.ones_like(keys[:, :1])
  for _ in range(count):
    least = tf.reduce_min(tf.where(keys > least, keys, tf.int64.max), 1, True)
    chosen.append(least)
  chosen = tf.concat(chosen, 1)
  found = tf.bitcast(tf.cast(chosen // 2**32, tf.int32), tf.float32)
  labels = tf.cast(chosen % 2**32, tf.int32)
  none = ~tf.math.is_finite(found)
  largest = tf.where(none[:, -1:], math.inf, found[:, -1:])
  return tf.where(none, -1, labels), largest


def interaction_graph(
  features: Array,
  edges: Array,
  neighbours: Neighbours,
) -> gn.graphs.GraphsTuple:
  """Returns a batch of graphs as one `GraphsTuple`.

  Args:
    features: of nodes, `[B, N, F]`.
    edges: features `[B, N, K, G]`, N receivers with K senders each.
    neighbours: the senders.

  Returns:
    Nodes `[B N, F]`, edges `[B N K, G]` sorted by receiver, no globals.
  """
  batch, n, k = neighbours.senders.shape
  first = n * tf.range(batch)[:, None, None]
  receivers = tf.broadcast_to(tf.range(n)[None, :, None], [batch, n, k])
  return gn.graphs.GraphsTuple(
    nodes=tf.reshape(features, [batch * n, features.shape[-1]]),
    edges=tf.reshape(edges, [batch * n * k, edges.shape[-1]]),
    senders=tf.reshape(first + neighbours.senders, [-1]),
    receivers=tf.reshape(first + receivers, [-1]),
    globals=None,
    n_node=tf.fill([batch], n),
    n_edge=tf.fill([batch], n * k),
  )


def edge_displacement(
  position: Array, neighbours: Neighbours, domain: Domain
) -> Array:
  """Returns q_sender - q_receiver by minimum image, `[B, N, K, D]`."""
  sent = sent_by(position, neighbours)
  return domain.displacement(position[:, :, None, :], sent)


def sent_by(values: Array, neighbours: Neighbours) -> Array:
  """Returns the values `[B, N, F]` of each sender, `[B, N, K, F]`."""
  batch, n, size = values.shape
  # One axis: XLA cannot compile second derivatives of a batched `tf.gather`
  # inside a loop.
  rows = n * tf.range(batch)[:, None, None] + neighbours.senders
  return tf.gather(tf.reshape(values, [batch * n, size]), rows)


def sum_received(edges: Array, receivers: Array, num_nodes: Array) -> Array:
  """Returns the sum over each node's incoming edges, `[B N, F]`.

  A `reducer` for `graph_nets` blocks on graphs of this module: as each node
  has equally many incoming edges, in order, no scatter is needed.
  """
  del receivers
  if edges.shape[0] == 0:  # N = 1: nobody sends
    return tf.zeros([num_nodes, edges.shape[-1]], edges.dtype)
  return tf.reduce_sum(
    tf.reshape(edges, [num_nodes, -1, edges.shape[-1]]), axis=1
  )


def _edge_mask(senders, mask):
  if mask is None:
    return None
  # Where real neighbours run out, the particle itself may have been chosen.
  receiver = tf.range(mask.shape[1])[None, :, None]
  other = tf.cast(senders != receiver, mask.dtype)
  return tf.gather(mask, senders, batch_dims=1) * mask[:, :, None] * other
