"""Pairs of a particle and an image that are nearer than a cutoff.

All images are sorted by the cells of a grid as wide as the cutoff, and looked
for in the cells around a particle: in O(N) where density is bounded.
"""

from typing import NamedTuple

import tensorflow as tf

from nbody_bench import capacity, cell_lists, periodic_images, runs
from nbody_bench.arrays import Array
from nbody_bench.periodic_images import Images, Wrapped

# A side of a cell in cutoffs: rounding must not take neighbours further apart
# than one cell.
_CELL = 1.01
# Cells along a side of the grid, which is as sparse as the particles are: one
# number for a cell in space and a sample of the batch has to fit in 64 bits.
_CELLS_PER_SIDE = 2**14
# Pairs to look at, where a program tells no sizes.
_MOST_BLIND = 2**22


class Pairs(NamedTuple):
  """Who is near.

  Attributes:
    receivers: `[P]`, rows of particles, ascending.
    images: `[P]`, which image.
    vector: `[P, D]`, from the particle to the image.
    squared: `[P]`, its length squared.
    used: `[P]` booleans.
    complete: whether there was room for all, a boolean scalar.
  """

  receivers: Array
  images: Array
  vector: Array
  squared: Array
  used: Array
  complete: Array


def find(wrapped: Wrapped, images: Images, cutoff: float) -> Pairs:
  """Returns all pairs nearer than `cutoff` but those of a particle and itself.

  Args:
    wrapped: particles in their boxes.
    images: of them.
    cutoff: a length.
  """
  receivers, found, used, complete = _candidates(wrapped, images, cutoff)
  inside = tf.reshape(wrapped.position, [-1, wrapped.position.shape[-1]])
  vector = tf.gather(images.position, found) - tf.gather(inside, receivers)
  squared = tf.reduce_sum(vector**2, -1)
  itself = tf.reduce_all(tf.gather(images.count, found) == 0, -1)
  itself &= tf.gather(images.row, found) == receivers
  near = used & (squared < cutoff**2) & ~itself
  need = tf.reduce_sum(tf.cast(near, tf.int32))
  size = capacity.fit("radius_pairs", need, near.shape[0])
  near, used = runs.chosen(near, size)
  return Pairs(
    receivers=tf.gather(receivers, near),
    images=tf.gather(found, near),
    vector=tf.gather(vector, near),
    squared=tf.gather(squared, near),
    used=used,
    complete=images.complete & complete,
  )


def _candidates(wrapped, images, cutoff):
  """Returns the pairs whose cells touch.

  Returns:
    Receivers `[C]`, ascending; images `[C]`; whether used `[C]`; and whether
    there was room for all, a scalar.
  """
  batch, n, num_dims = wrapped.position.shape
  there = wrapped.there[..., None]
  huge = wrapped.position.dtype.max
  low = tf.reduce_min(tf.where(there, wrapped.position, huge), 1)
  high = tf.reduce_max(tf.where(there, wrapped.position, -huge), 1)
  side = (high - low) / (_CELLS_PER_SIDE - 4)
  side = tf.maximum(side, _CELL * cutoff)

  def cells(position, sample):
    """Returns coordinates; 0 is left for images beyond the first."""
    share = (position - tf.gather(low, sample)) / tf.gather(side, sample)
    known = tf.math.is_finite(share)
    share = tf.where(known, share, tf.zeros_like(share))
    share = tf.clip_by_value(share, -2, _CELLS_PER_SIDE)
    return tf.cast(tf.floor(share), tf.int64) + 1

  def numbered(cell, sample):
    sample = tf.cast(sample, tf.int64)
    return cell_lists.index(cell, sample, _CELLS_PER_SIDE)

  sample = images.row // n
  blind = min(batch * n * sample.shape[0], _MOST_BLIND)
  known = tf.minimum(sample, batch - 1)
  cell = cells(images.position, known)
  inside = tf.reduce_all((cell >= 0) & (cell < _CELLS_PER_SIDE), -1)
  number = numbered(cell, known)
  number = tf.where(inside & (sample < batch), number, tf.int64.max)
  order = tf.argsort(number, stable=True)
  number = tf.gather(number, order)

  # Cells that touch along the last axis follow one another.
  sample = tf.range(batch * n) // n
  cell = cells(tf.reshape(wrapped.position, [-1, num_dims]), sample)
  ahead = tf.constant(cell_lists.block(1, num_dims - 1), tf.int64)
  ahead = tf.pad(ahead, [[0, 0], [0, 1]])
  middle = numbered(cell[:, None] + ahead, sample[:, None])
  first = runs.begins_at(number, middle - 1)
  length = runs.begins_at(number, middle + 2) - first
  length = tf.where(tf.reshape(there, [-1, 1]), length, 0)
  need = runs.total(length)
  size = periodic_images.room("radius_candidates", need, blind)
  run, place, used = runs.lay(tf.reshape(length, [-1]), size)
  found = tf.gather(tf.reshape(first, [-1]), run) + place
  found = tf.gather(order, tf.where(used, found, 0))
  return run // middle.shape[1], found, used, need <= size
