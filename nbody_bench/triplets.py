"""Pairs of edges k -> j -> i that follow each other, of static size.

Grouped by j: each group has some of the edges that leave j and all that arrive
there, so that what is summed over k is a product of small dense matrices. That
takes far less memory than a list of the triplets, of which there are as many to
each edge as a particle has neighbours.
"""

from typing import NamedTuple

import tensorflow as tf

from nbody_bench import capacity, runs
from nbody_bench.arrays import Array
from nbody_bench.forces import Inputs

# Edges that leave j in a group: more repeat less, and leave more places empty.
_LEAVING = 32
# Of the cutoff. Places nearer than this are one: rounding sets them apart, and
# images of one atom are further away.
_SAME = 1e-3


class Triplets(NamedTuple):
  """Groups of M edges that leave a particle and K that arrive there.

  Attributes:
    first: `[C, K]`, the edges k -> j.
    second: `[C, M]`, the edges j -> i; E, one too many, for an unused one.
    cosine: `[C, M, K]`, of the angle by which the way from k to i turns at j, 1
      if it is straight.
    used: `[C, M, K]`, 1 for a triplet and 0 for an unused one.
  """

  first: Array
  second: Array
  cosine: Array
  used: Array

  def to_edges(self, values: Array, num_edges: int) -> Array:
    """Returns `[C, M, F]` of the second edges by edge, `[E, F]`."""
    return tf.math.unsorted_segment_sum(
      tf.reshape(values, [-1, values.shape[-1]]),
      tf.reshape(self.second, [-1]),
      num_edges + 1,
    )[:-1]


def build(inputs: Inputs, cutoff: float, max_neighbours: int) -> Triplets:
  """Returns all triplets of a graph but those that go back, k = i.

  An image of i is another k. Gradients flow through the cosine.

  Args:
    inputs: the graph.
    cutoff: that it was made with.
    max_neighbours: that it was made with.
  """
  num_rows, num_edges = inputs.real.shape[0], inputs.edge.shape[0]
  edge = tf.cast(inputs.edge > 0, tf.int32)
  arriving, leaving = (
    tf.math.unsorted_segment_sum(edge, x, num_rows)
    for x in (inputs.receivers, inputs.senders)
  )
  # Unused edges have the last row at both ends, and come last.
  by_sender = tf.argsort(inputs.senders, stable=True)
  groups = -(-leaving // _LEAVING)
  size = capacity.fit("triplet_groups", runs.total(groups), num_edges)
  width = capacity.fit(
    "triplet_neighbours", tf.reduce_max(arriving), max_neighbours
  )
  middle, place, used = runs.lay(groups, size)

  place = place[:, None] * _LEAVING + tf.range(_LEAVING)
  has_second = used[:, None] & (place < tf.gather(leaving, middle)[:, None])
  place += tf.gather(tf.cumsum(leaving, exclusive=True), middle)[:, None]
  second = tf.gather(by_sender, tf.where(has_second, place, 0))
  place = tf.range(width)
  has_first = place < tf.gather(arriving, middle)[:, None]
  place += tf.gather(tf.cumsum(arriving, exclusive=True), middle)[:, None]
  first = tf.where(has_first, place, 0)

  ahead = tf.gather(inputs.vector, second)[:, :, None]
  behind = tf.gather(inputs.vector, first)[:, None]
  ends = tf.gather(inputs.receivers, second), tf.gather(inputs.senders, first)
  apart = tf.reduce_sum(tf.stop_gradient(ahead + behind) ** 2, -1)
  back = apart < (_SAME * cutoff) ** 2
  back &= ends[0][:, :, None] == ends[1][:, None]
  used = has_second[:, :, None] & has_first[:, None] & ~back
  lengths = tf.gather(inputs.distance, second)[:, :, None]
  lengths *= tf.gather(inputs.distance, first)[:, None]
  cosine = tf.reduce_sum(ahead * behind, -1) / lengths
  return Triplets(
    first,
    tf.where(has_second, second, num_edges),
    cosine,
    tf.cast(used, cosine.dtype),
  )
