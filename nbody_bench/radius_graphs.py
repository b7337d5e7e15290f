"""Radius graphs with periodic images, of static size.

An edge goes to each particle from every particle, and from every image of one,
that is nearer than a cutoff: from its own images too, where the box is that
small. In O(N) where density is bounded: images are listed one by one
(`periodic_images`), and pairs found by the cells of a grid (`near_pairs`).
"""

import math
import warnings
from typing import NamedTuple

import tensorflow as tf

from nbody_bench import capacity, near_pairs, periodic_images, runs
from nbody_bench.arrays import Array
from nbody_bench.states import Domain, Particles

# Where equal distances are told apart; along no axis or plane of a crystal.
_TILT = (0.5467, 0.3851, 0.7434)
_TILTED = 1e-4


class RadiusGraph(NamedTuple):
  """Who is nearer than the cutoff to whom.

  Rows are the B N particles of the batch and one of padding after them.

  Attributes:
    senders: `[E]` rows; that of padding for an unused edge.
    receivers: `[E]` rows, ascending, likewise.
    image: `[E, D]`, what is added to the sender's position (a lattice vector).
    edge: `[E]`, 1 for an edge and 0 for an unused one.
  """

  senders: Array
  receivers: Array
  image: Array
  edge: Array


def build(
  position: Array,
  particles: Particles,
  domain: Domain,
  cutoff: float,
  max_neighbours: int,
) -> RadiusGraph:
  """Returns the radius graph of each sample.

  The nearest `max_neighbours` senders of each receiver are kept. Distances that
  differ by less than a part in 10^4 are told apart by the direction of the
  edge, in the same way at every receiver, so that it is not rounding that
  decides which of the equal neighbours in a crystal are kept. Eagerly a warning
  says when some are dropped; a compiled program drops them too, and cannot say
  it. Nothing else is ever lost: see `capacity`; in a `tf.function` of your own,
  where there is room for about two boxes within the cutoff and for 2^22 pairs
  to look at, images are NaN when it does not suffice.

  A sample with a coordinate that is not finite has no edges. No gradient flows:
  who is near is piecewise constant.

  Args:
    position: `[B, N, D]`, inside the box or not.
    particles: only the mask is read; padding has no edges.
    domain: box `[B, D]`, with a cell if it is oblique.
    cutoff: a length; a neighbour is nearer.
    max_neighbours: K.

  Raises:
    ValueError: for a cutoff or K that is not positive, or (eagerly) a box
      without size.
    CapacityError: eagerly, if there are more images or pairs than fit.
  """
  if not 0 < cutoff < math.inf or max_neighbours < 1:
    raise ValueError(
      f"cutoff is {cutoff} and max_neighbours {max_neighbours}; both must be "
      "positive and finite"
    )
  if tf.executing_eagerly():
    domain.check()
  batch, n, num_dims = position.shape
  lattice = tf.stop_gradient(domain.lattice())
  wrapped = periodic_images.wrap(
    tf.stop_gradient(position), particles.mask, domain
  )
  images = periodic_images.find(wrapped, lattice, cutoff)
  pairs = near_pairs.find(wrapped, images, cutoff)
  tilt = tf.constant(_TILT[:num_dims], position.dtype)
  tilt = 1 + _TILTED / cutoff * tf.reduce_sum(pairs.vector * tilt, -1)
  receivers, found = _nearest(
    pairs, pairs.squared * tilt, batch * n, max_neighbours
  )

  edge = receivers < batch * n
  senders = tf.where(edge, tf.gather(images.row, found), batch * n)
  passed = tf.reshape(wrapped.count, [-1, num_dims])
  passed = tf.pad(passed, [[0, 1], [0, 0]])
  count = tf.gather(images.count, found) + tf.gather(passed, receivers)
  count -= tf.gather(passed, senders)
  sample = tf.minimum(receivers // n, batch - 1)
  image = periodic_images.times(
    tf.cast(count, position.dtype)[:, None], tf.gather(lattice, sample)
  )[:, 0]
  image = tf.where(edge[:, None], image, tf.zeros_like(image))
  image = tf.where(pairs.complete, image, math.nan)
  return RadiusGraph(senders, receivers, image, tf.cast(edge, position.dtype))


def vectors(position: Array, graph: RadiusGraph) -> Array:
  """Returns x_sender + image - x_receiver `[E, D]`, 0 for an unused edge.

  Args:
    position: `[B, N, D]`, that the graph was built of; gradients flow.
    graph: the edges.
  """
  rows = tf.reshape(position, [-1, position.shape[-1]])
  rows = tf.pad(rows, [[0, 1], [0, 0]])
  apart = tf.gather(rows, graph.senders) - tf.gather(rows, graph.receivers)
  used = graph.edge[:, None] > 0
  return tf.where(used, apart + graph.image, tf.zeros_like(apart))


def _nearest(pairs, distance, num_rows, max_neighbours):
  """Returns the nearest of each receiver, at most K.

  Args:
    pairs: all that are near.
    distance: `[P]`, any increasing function of it, not negative.
    num_rows: of receivers.
    max_neighbours: K.

  Returns:
    Receivers `[E]`, ascending, `num_rows` where unused, and images `[E]`.
  """
  # Positive numbers order like their bits: one integer orders pairs.
  bits = tf.bitcast(tf.cast(distance, tf.float32), tf.int32)
  key = tf.cast(pairs.receivers, tf.int64) * 2**32 + tf.cast(bits, tf.int64)
  order = tf.argsort(tf.where(pairs.used, key, tf.int64.max), stable=True)
  found = tf.math.unsorted_segment_sum(
    tf.cast(pairs.used, tf.int32), pairs.receivers, num_rows
  )
  if tf.executing_eagerly():
    _warn(found, max_neighbours)
  kept = tf.minimum(found, max_neighbours)
  size = capacity.fit(
    "radius_edges", runs.total(kept), num_rows * max_neighbours
  )
  run, place, used = runs.lay(kept, size)
  entry = tf.gather(tf.cumsum(found, exclusive=True), run) + place
  entry = tf.gather(order, tf.where(used, entry, 0))
  return tf.where(used, run, num_rows), tf.gather(pairs.images, entry)


def _warn(found, max_neighbours):
  if tf.reduce_any(found > max_neighbours):
    # Without numbers: the same words are shown once.
    warnings.warn(
      f"some particles have more than {max_neighbours} neighbours within the "
      "cutoff, of which the nearest are kept. Raise max_neighbours, or lower "
      "the cutoff, to keep all",
      stacklevel=4,
    )
