"""Who interacts with whom in a hierarchy; see `hierarchy`."""

import functools
import itertools

import numpy as np
import tensorflow as tf

from nbody_bench import capacity, cell_lists

# The 2 x 2 level is dropped: all its cells are adjacent.
TOP_LEVEL = 2


def far(coordinates, sample, real, table, space, level, batch):
  """Returns senders, receivers and number of the edges among cells.

  Those in the interaction list of each cell of a level.
  """
  num_dims = coordinates.shape[-1]
  side = 2**level
  size = real.shape[0]
  offsets = _interaction_list(level, num_dims)
  # Which list: by the place of a cell in its parent; at the top by the cell.
  period = side if level == TOP_LEVEL else 2
  kind = cell_lists.index(coordinates % period, 0, period)
  offsets = tf.gather(tf.constant(offsets), kind)
  ring = tf.gather(space.periodic, sample)
  number = cell_lists.shifted(
    coordinates, sample, offsets, ring, side, batch * side**num_dims
  )
  sender = tf.gather(table, number)
  exists = real[:, None] & (sender != size - 1)
  if level == TOP_LEVEL:
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
  period = 2**level if level == TOP_LEVEL else 2
  lists = []
  for cell in itertools.product(range(period), repeat=num_dims):
    low, high = (0, period) if level == TOP_LEVEL else (-2, 4)
    targets = itertools.product(range(low, high), repeat=num_dims)
    offsets = np.array(list(targets)) - cell
    lists.append(offsets[np.max(np.abs(offsets), -1) > 1])
  width = max(map(len, lists))
  table = np.zeros((len(lists), width, num_dims), np.int32)
  for row, offsets in zip(table, lists, strict=True):
    row[: len(offsets)] = offsets
  return table


def near(rows, listed, space, side, num_cells):
  """Returns senders, receivers and number of the edges among particles.

  Those of adjacent cells of the finest level.
  """
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
  return senders, receivers, total


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
