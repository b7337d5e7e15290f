"""From states to `graph_nets` graphs.

All graphs here have the same number of incoming edges at each node, sorted by
receiver, so that sums over incoming edges are reductions of a dense array
(`sum_received`) and all shapes are static.
"""

from typing import NamedTuple

import graph_nets as gn
import tensorflow as tf

from nbody_bench.arrays import Array
from nbody_bench.states import Domain, Particles, State


class Neighbours(NamedTuple):
  """Who acts on whom.

  Attributes:
    senders: `[B, N, K]` indices of particles within their own sample.
    mask: `[B, N, K]`, 0 for an edge from or to padding; None if all are real.
  """

  senders: Array
  mask: Array | None


def fully_connected(state: State, particles: Particles) -> Neighbours:
  """Returns all N (N - 1) ordered pairs without self edges."""
  batch, n = _batch_and_size(state)
  receiver = tf.range(n)[:, None]
  slot = tf.range(n - 1)[None, :]
  senders = tf.where(slot < receiver, slot, slot + 1)
  senders = tf.broadcast_to(senders[None], [batch, n, n - 1])
  return Neighbours(senders, _edge_mask(senders, particles.mask))


def nearest(
  state: State, particles: Particles, domain: Domain, num_neighbours: int
) -> Neighbours:
  """Returns the nearest particles by minimum-image distance.

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
  x = state.position
  displacement = domain.displacement(x[:, :, None, :], x[:, None, :, :])
  squared = tf.reduce_sum(displacement * displacement, -1)
  far = tf.constant(float("inf"), x.dtype)
  squared = tf.where(tf.eye(n, dtype=tf.bool)[None], far, squared)
  if particles.mask is not None:
    squared = tf.where(particles.mask[:, None, :] > 0, squared, far)
  _, senders = tf.math.top_k(-squared, num_neighbours, sorted=False)
  return Neighbours(senders, _edge_mask(senders, particles.mask))


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
  sent = tf.gather(position, neighbours.senders, batch_dims=1)
  return domain.displacement(position[:, :, None, :], sent)


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


def _batch_and_size(state):
  return state.position.shape[0], state.position.shape[1]
