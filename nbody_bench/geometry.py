"""What geometric networks are told of particles and edges, and sums over them.

Arrays of edges are `[B, N, K, F]`: N receivers with K senders each, all others
or those that the data tie together by bonds, or near ones.
"""

from typing import NamedTuple

import tensorflow as tf

from nbody_bench import capacity, graphs
from nbody_bench.arrays import Array
from nbody_bench.graphs import Neighbours
from nbody_bench.networks import Gathered
from nbody_bench.problems import Problem
from nbody_bench.states import Domain, Particles, State


class Edges(NamedTuple):
  """Who acts on whom, and what is known of it beside the geometry.

  Attributes:
    neighbours: the senders.
    features: `[B, N, K, 1]`: the product of the charges (or of what else the
      law acts on); with bonds 1 for a bond and 2 for two in a row; of contacts
      the distance.
    mask: `[B, N, K, 1]`, 0 for what is no edge.
  """

  neighbours: Neighbours
  features: Array
  mask: Array


class Rows(NamedTuple):
  """The edges that there are, one below the other.

  For networks of edges: where some particles have far more neighbours than most
  (a hip and a hand), half of `[B, N, K]` is padding, which they need not see.

  Attributes:
    senders: `[M]` rows of `[B N]` particles.
    receivers: `[M]`, likewise.
    shape: (B, N, K).
    place: `[M]` rows of `[B N K]`; None where all are edges.
    row: `[B, N, K]`, which of the M an edge is, M for what is none; or None.
  """

  senders: Array
  receivers: Array
  shape: tuple[int, int, int]
  place: Array | None = None
  row: Array | None = None

  def of_nodes(self, values: Array) -> tuple[Gathered, Gathered]:
    """Returns rows of `[B, N, F]` for receivers and for senders, `[M, F]`."""
    flat = tf.reshape(values, [-1, values.shape[-1]])
    return Gathered(flat, self.receivers), Gathered(flat, self.senders)

  def of_edges(self, values: Array) -> Array:
    """Returns `[M, F]` of `[B, N, K, F]`."""
    flat = tf.reshape(values, [-1, values.shape[-1]])
    return flat if self.place is None else tf.gather(flat, self.place)

  def spread(self, values: Array) -> Array:
    """Returns `[B, N, K, F]` of `[M, F]`, 0 for what is no edge."""
    if self.row is None:
      return tf.reshape(values, [*self.shape, values.shape[-1]])
    return tf.gather(tf.pad(values, [[0, 1], [0, 0]]), self.row)


def rows(edges: Edges) -> Rows:
  """Returns the edges that there are; all, where none is padding."""
  senders, mask = edges.neighbours
  batch, n, k = senders.shape
  particle = tf.reshape(tf.range(batch * n), [batch, n, 1])
  senders = tf.reshape(particle[:, :1] + senders, [-1])
  receivers = tf.reshape(tf.broadcast_to(particle, [batch, n, k]), [-1])
  if mask is None:
    return Rows(senders, receivers, (batch, n, k))
  is_edge = tf.reshape(mask, [-1]) > 0
  before = tf.cumsum(tf.cast(is_edge, tf.int32), exclusive=True)
  need = tf.reduce_sum(tf.cast(is_edge, tf.int32))
  count = capacity.fit("real_edges", need, batch * n * k)
  row = tf.where(is_edge, tf.minimum(before, count), count)
  # Rows to spare are those of the first place, and go nowhere.
  place = tf.math.unsorted_segment_sum(tf.range(batch * n * k), row, count + 1)[
    :count
  ]
  return Rows(
    tf.gather(senders, place),
    tf.gather(receivers, place),
    (batch, n, k),
    place,
    tf.reshape(row, [batch, n, k]),
  )


def edges(problem: Problem, position: Array, particles: Particles) -> Edges:
  """Returns the edges of the data.

  Bonds if there are any, else contacts if the problem has a radius of them,
  else all pairs.
  """
  if particles.bonds is not None:
    return _bonded(position, particles)
  if problem.contact_radius is not None:
    return _contacts(position, particles, problem.contact_radius)
  neighbours = graphs.fully_connected(position, particles)
  source = getattr(particles, problem.system.source)[..., None]
  features = source[:, :, None] * graphs.sent_by(source, neighbours)
  mask = neighbours.mask
  if mask is None:
    mask = tf.ones(neighbours.senders.shape, position.dtype)
  return Edges(neighbours, features, mask[..., None])


def _bonded(position, particles):
  n = position.shape[1]
  bonds = tf.cast(particles.bonds, tf.int32)
  # A bond of a particle with itself is padding.
  sides = tf.one_hot(bonds, n, dtype=position.dtype)
  tied = tf.einsum("bei,bej->bij", sides[:, :, 0], sides[:, :, 1])
  near = tf.cast(tied + tf.linalg.matrix_transpose(tied) > 0, position.dtype)
  near *= 1 - tf.eye(n, dtype=position.dtype)
  twice = tf.cast(near @ near > 0, position.dtype)
  twice *= (1 - near) * (1 - tf.eye(n, dtype=position.dtype))
  hops = near + 2 * twice
  if particles.mask is not None:
    hops *= particles.mask[:, :, None] * particles.mask[:, None]
  most = tf.reduce_max(tf.reduce_sum(tf.cast(hops > 0, tf.int32), 2))
  width = capacity.fit("bonded_reach", most, n - 1)
  # Bonds first: 1 is nearer than 2, and 0 is no neighbour.
  order = tf.where(hops > 0, 3 - hops, 0)
  found, senders = tf.math.top_k(order, max(1, width))
  mask = tf.cast(found > 0, position.dtype)
  features = tf.where(found > 0, 3 - found, 0)[..., None]
  return Edges(Neighbours(senders, mask), features, mask[..., None])


def _contacts(position, particles, radius):
  n = position.shape[1]
  apart = tf.stop_gradient(position[:, :, None] - position[:, None])
  near = tf.reduce_sum(apart**2, -1) < radius**2
  near &= ~tf.eye(n, dtype=tf.bool)
  if particles.mask is not None:
    there = particles.mask > 0
    near &= there[:, :, None] & there[:, None]
  near = tf.cast(near, position.dtype)
  most = tf.reduce_max(tf.reduce_sum(tf.cast(near, tf.int32), 2))
  width = capacity.fit("contacts", most, n - 1)
  mask, senders = tf.math.top_k(near, max(1, width))
  neighbours = Neighbours(senders, mask)
  apart = position[:, :, None] - graphs.sent_by(position, neighbours)
  return Edges(neighbours, length(apart), mask[..., None])


def scalars(problem: Problem, state: State, particles: Particles) -> Array:
  """Returns what a particle is told beside vectors, `[B, N, 1 to 3]`.

  Its speed; over the largest in its system its species, where there are
  species, and its charge, where no known law has told edges the charges.
  """
  told = [tf.norm(_safe(state.velocity), axis=-1, keepdims=True)]
  if particles.species is not None:
    species = tf.cast(particles.species, told[0].dtype)
    told.append((species / tf.reduce_max(species, 1, keepdims=True))[..., None])
  if particles.charge is not None and not problem.system.is_known:
    largest = tf.reduce_max(tf.abs(particles.charge), 1, keepdims=True)
    charge = tf.math.divide_no_nan(particles.charge, largest)
    told.append(charge[..., None])
  return tf.concat(told, -1)


def displacement(position: Array, edges: Edges, domain: Domain) -> Array:
  """Returns q_receiver - q_sender by minimum image, `[B, N, K, D]`."""
  return -graphs.edge_displacement(position, edges.neighbours, domain)


def ends(values: Array, edges: Edges) -> tuple[Array, Array]:
  """Returns values `[B, N, F]` of receivers and of senders, `[B, N, K, F]`."""
  sent = graphs.sent_by(values, edges.neighbours)
  return tf.broadcast_to(values[:, :, None], sent.shape), sent


def total(values: Array, edges: Edges) -> Array:
  """Returns the sum over edges of `[B, N, K, F]`, `[B, N, F]`."""
  return tf.reduce_sum(values * edges.mask, 2)


def mean(values: Array, edges: Edges) -> Array:
  """Returns the mean over edges; 0 without any."""
  count = tf.reduce_sum(edges.mask, 2)
  return total(values, edges) / tf.maximum(count, 1)


def centred(position: Array, particles: Particles, domain: Domain) -> Array:
  """Returns positions counted from the mean of the system, `[B, N, D]`.

  By the mean over all particles of the minimum-image displacement from them, so
  that in a periodic box too it does not depend on where the origin is.
  """
  apart = domain.displacement(position[:, None], position[:, :, None])
  if particles.mask is None:
    return tf.reduce_mean(apart, 2)
  weight = particles.mask / tf.reduce_sum(particles.mask, 1, keepdims=True)
  return tf.reduce_sum(weight[:, None, :, None] * apart, 2)


def in_space(vectors: Array) -> Array:
  """Returns vectors `[..., D]` as those of three dimensions, zeros added."""
  missing = 3 - vectors.shape[-1]
  return tf.pad(vectors, [[0, 0]] * (len(vectors.shape) - 1) + [[0, missing]])


def length(vectors: Array) -> Array:
  """Returns the norm `[..., 1]`, with a gradient at zero."""
  return tf.norm(_safe(vectors), axis=-1, keepdims=True)


def _safe(vectors):
  """Returns vectors whose norm has a gradient: zeros as they are, elsewhere."""
  small = tf.reduce_sum(vectors**2, -1, keepdims=True) < 1e-24
  return tf.where(small, tf.stop_gradient(vectors) + 1e-12, vectors)
