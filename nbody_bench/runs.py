"""Runs of unequal lengths laid end to end, in arrays of static size.

What lists pairs and triplets: so many neighbours of each particle, so many
candidates of each cell. The sizes of the arrays come from `capacity`; what is
beyond them is cut off.
"""

from typing import NamedTuple

import tensorflow as tf

from nbody_bench.arrays import Array


class Laid(NamedTuple):
  """Runs end to end.

  Attributes:
    run: `[size]`, which run an entry belongs to; any for an unused one.
    place: `[size]`, which entry of its run it is, from 0 on.
    used: `[size]` booleans.
  """

  run: Array
  place: Array
  used: Array


def total(lengths: Array) -> Array:
  """Returns the sum of `lengths`, at most what 32 bits hold, a scalar."""
  value = tf.reduce_sum(tf.cast(lengths, tf.int64))
  return tf.cast(tf.minimum(value, tf.int32.max), tf.int32)


def lay(lengths: Array, size: int) -> Laid:
  """Returns runs of `lengths` `[n]` end to end."""
  first = tf.cumsum(lengths, exclusive=True)
  # How many have begun at an entry or before says which run it belongs to.
  begun = tf.math.unsorted_segment_sum(
    tf.ones_like(first), tf.minimum(first, size), size + 1
  )
  run = tf.maximum(tf.cumsum(begun[:-1]) - 1, 0)
  entry = tf.range(size)
  return Laid(run, entry - tf.gather(first, run), entry < total(lengths))


def chosen(flags: Array, size: int) -> tuple[Array, Array]:
  """Returns where `flags` `[n]` are true, in order.

  Returns:
    Indices `[size]`, any for an unused one, and booleans `[size]`.
  """
  ones = tf.cast(flags, tf.int32)
  entry = tf.minimum(tf.cumsum(ones, exclusive=True), size)
  index = tf.math.unsorted_segment_sum(
    tf.range(tf.size(flags)), tf.where(flags, entry, size), size + 1
  )
  return index[:-1], tf.range(size) < tf.reduce_sum(ones)


def begins_at(ascending: Array, values: Array) -> Array:
  """Returns where the entries that are not below a value begin.

  As `tf.searchsorted`, which XLA compiles to a comparison of all with all.

  Args:
    ascending: `[n]`.
    values: of any shape.
  """
  size = ascending.shape[0]
  place = tf.zeros(values.shape, tf.int32)
  for bit in reversed(range(size.bit_length())):
    probe = place + 2**bit
    below = tf.gather(ascending, tf.minimum(probe, size) - 1) < values
    place = tf.where((probe <= size) & below, probe, place)
  return place
