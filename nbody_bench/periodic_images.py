"""The images of particles that may be within a cutoff of others.

With these added, a periodic system is an open one.
"""

from typing import NamedTuple

import tensorflow as tf

from nbody_bench import capacity, cell_lists, runs
from nbody_bench.arrays import Array
from nbody_bench.states import Domain

# Of a cutoff: rounding must not lose an image. Too many do no harm.
_MARGIN = 1.001
# Boxes along one side: images beyond are far more than can be listed, and of a
# particle beyond a float no longer tells the place in its box.
_MOST_ALONG = 2**20
# Of one particle, where a program tells no sizes: cutoffs of two boxes.
_MOST_BLIND = 5


class Wrapped(NamedTuple):
  """Particles inside their boxes.

  Attributes:
    position: `[B, N, D]`.
    count: `[B, N, D]`, boxes that were passed along each side, integers.
    there: `[B, N]`; see `cell_lists.present`.
    reciprocal: `[B, D, D]`, whose columns give the share of a side.
    periodic: `[B, 1, D]`.
  """

  position: Array
  count: Array
  there: Array
  reciprocal: Array
  periodic: Array

  @property
  def share(self) -> Array:
    """Positions in units of the sides, `[B, N, D]`."""
    return times(self.position, self.reciprocal)


class Images(NamedTuple):
  """Particles and their images, in no order.

  Attributes:
    row: `[G]`, of the particle among the B N; B N for an unused one.
    count: `[G, D]`, of sides from the particle in its box to the image.
    position: `[G, D]`.
    complete: whether there was room for all, a boolean scalar.
  """

  row: Array
  count: Array
  position: Array
  complete: Array


def wrap(position: Array, mask: Array | None, domain: Domain) -> Wrapped:
  """Returns particles in their boxes, also where those are oblique.

  A sample with a coordinate that is not finite, or that is too many boxes away
  to tell where in its box it is, counts as absent.

  Args:
    position: `[B, N, D]`.
    mask: `[B, N]` or None.
    domain: box `[B, D]`.
  """
  lattice = domain.lattice()
  if domain.cell is None:
    reciprocal = tf.linalg.diag(1 / tf.linalg.diag_part(lattice))
  else:
    reciprocal = tf.linalg.inv(lattice)
  periodic = ~tf.math.is_inf(domain.box)[:, None]
  boxes = tf.floor(times(position, reciprocal) + 0.5)
  boxes = tf.where(periodic, boxes, tf.zeros_like(boxes))
  inside = position - times(boxes, lattice)
  lost = tf.abs(times(inside, reciprocal)) > 0.6
  lost = periodic & (lost | (tf.abs(boxes) > _MOST_ALONG))
  nowhere = tf.constant(float("nan"), position.dtype)
  there = cell_lists.present(tf.where(lost, nowhere, inside), mask)
  zero = tf.zeros_like(position)
  return Wrapped(
    tf.where(there[..., None], inside, zero),
    tf.cast(tf.where(there[..., None], boxes, zero), tf.int32),
    there,
    reciprocal,
    periodic,
  )


def find(wrapped: Wrapped, lattice: Array, cutoff: float) -> Images:
  """Returns all particles and images within `cutoff` of where particles are.

  Of the parallelepiped along the sides of the box that holds those of a
  sample. Along open directions nothing is repeated.

  Args:
    wrapped: particles in their boxes.
    lattice: `[B, D, D]`, the sides.
    cutoff: a length.

  Raises:
    CapacityError: eagerly, if there are more than fit.
  """
  batch, n, num_dims = wrapped.position.shape
  share, real = wrapped.share, wrapped.there[..., None]
  # How far apart, in sides, what is one cutoff apart can be.
  reach = _MARGIN * cutoff * tf.norm(wrapped.reciprocal, axis=1)[:, None]
  huge = share.dtype.max
  low = tf.reduce_min(tf.where(real, share, huge), 1, True) - reach
  high = tf.reduce_max(tf.where(real, share, -huge), 1, True) + reach
  first = _counted(tf.math.ceil(low - share), wrapped.periodic)
  last = _counted(tf.floor(high - share), wrapped.periodic)
  along = tf.where(real, last - first + 1, 0)
  along, first = (tf.reshape(x, [-1, num_dims]) for x in (along, first))
  number = tf.reduce_prod(tf.cast(along, tf.int64), -1)
  needed = tf.reduce_sum(tf.minimum(number, tf.int32.max))
  if tf.executing_eagerly() and int(needed) > capacity.LARGEST:
    raise capacity.CapacityError(
      f"a cutoff of {cutoff} reaches {int(needed)} images of particles, and at "
      f"most {capacity.LARGEST} fit; take a smaller cutoff or a larger box"
    )
  number = tf.cast(tf.minimum(number, capacity.LARGEST), tf.int32)
  need = runs.total(number)
  size = room("radius_images", need, batch * n * _MOST_BLIND**num_dims)
  row, place, used = runs.lay(number, size)
  along, count = tf.gather(along, row), []
  for sides in reversed(tf.unstack(tf.maximum(along, 1), axis=-1)):
    count.append(place % sides)
    place //= sides
  count = tf.stack(count[::-1], -1) + tf.gather(first, row)
  position = tf.gather(tf.reshape(wrapped.position, [-1, num_dims]), row)
  position += times(
    tf.cast(count, lattice.dtype)[:, None], tf.gather(lattice, row // n)
  )[:, 0]
  return Images(tf.where(used, row, batch * n), count, position, need <= size)


def times(vectors: Array, matrix: Array) -> Array:
  """Returns `vectors` `[B, N, D]` times `[B, D, D]`.

  Not by `@`, which on some devices rounds to ten bits.
  """
  return tf.reduce_sum(vectors[..., None] * matrix[:, None], -2)


def room(name: str, need: Array, blind: int) -> int:
  """As `capacity.fit`, of what has no bound that would be of use.

  Args:
    name: see there.
    need: see there.
    blind: the size in a program that tells none; it may be too small.
  """
  told = name in capacity.current().sizes
  return capacity.fit(name, need, capacity.LARGEST if told else blind)


def _counted(boxes, periodic):
  boxes = tf.clip_by_value(boxes, -_MOST_ALONG, _MOST_ALONG)
  return tf.cast(tf.where(periodic, boxes, tf.zeros_like(boxes)), tf.int32)
