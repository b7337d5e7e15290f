"""Parts of the equivariant graph hierarchy network, for bodies and clusters.

Han et al., "Equivariant Graph Hierarchy-Based Neural Networks" (2022). Vectors
of a body are the columns of Z, `[B, N, D, V]`; all that networks see of them
are scalar products, so that nothing here depends on axes or handedness.
"""

from typing import NamedTuple

import sonnet as snt
import tensorflow as tf

from nbody_bench import geometry, networks
from nbody_bench.arrays import Array
from nbody_bench.egnn_layers import EquivariantLayer, Nodes
from nbody_bench.geometry import Edges
from nbody_bench.graphs import Neighbours
from nbody_bench.problems import Problem
from nbody_bench.states import Domain, Particles


class Graph(NamedTuple):
  """Edges between bodies.

  Attributes:
    edges: all of them.
    local: of those the ones along which bodies are pooled.
    attributes: `[B, N, K, 3]`: the edges' own feature, 1 if they are local, the
      squared distance.
  """

  edges: Edges
  local: Edges
  attributes: Array


def graph(
  problem: Problem,
  position: Array,
  particles: Particles,
  domain: Domain,
  local: Array | None = None,
) -> Graph:
  """Returns the edges of the data, and which of them are local.

  Args:
    problem: whose law says what acts.
    position: `[B, N, D]`.
    particles: `[B, N]`.
    domain: box `[B, D]`.
    local: `[B, N, K, 1]`, 1 or 0; default bonds where the data have any, else
      all edges.
  """
  edges = geometry.edges(problem, position, particles)
  if local is None:
    local = tf.ones_like(edges.mask)
    if particles.bonds is not None:
      # The other edges are two bonds in a row.
      local = tf.cast(edges.features == 1, local.dtype)
  local *= edges.mask
  apart = geometry.displacement(position, edges, domain)
  squared = tf.reduce_sum(apart**2, -1, keepdims=True)
  attributes = tf.concat([edges.features, local, squared], -1)
  return Graph(edges, edges._replace(mask=local), attributes)


class MessageNetwork(snt.Module):
  """Layers of EGNN after an embedding of the scalars.

  Attributes:
    embedding: of the scalars, linear.
    layers: those of EGNN.
  """

  def __init__(self, width: int, num_layers: int, name: str):
    super().__init__(name=name)
    self.embedding = networks.Linear(width, name="embedding")
    self.layers = [
      EquivariantLayer(width, residual=False, last=False, name=f"layer_{i}")
      for i in range(num_layers)
    ]

  def __call__(self, nodes: Nodes, edges: Edges, told: Array, domain: Domain):
    """Returns the next `Nodes`; arguments as of `EquivariantLayer`."""
    nodes = nodes._replace(scalars=self.embedding(nodes.scalars))
    for layer in self.layers:
      nodes = layer(nodes, edges, told, domain)
    return nodes


class PoolingLayer(snt.Module):
  """One layer of what assigns bodies to clusters, along local edges.

      m_ij = edge [unit(Z_j^T Z_i), h_i, h_j, a_ij]
      Z_i += mean_j Z_j vector(m_ij)
      h_i += node [h_i, sum_j m_ij]

  unit divides by the Euclidean norm; vector gives V x V weights.
  """

  def __init__(self, width: int, num_vectors: int, *, last: bool, name: str):
    """Makes the layer.

    Args:
      width: H, and of all hidden layers.
      num_vectors: V.
      last: whether nothing reads the vectors afterwards; they stay then.
      name: of the module.
    """
    super().__init__(name=name)

    def network(last_width, activate_final, part):
      return networks.mlp([width, last_width], tf.nn.silu, activate_final, part)

    self.edge = network(width, True, "edge")
    self.vector = None if last else network(num_vectors**2, False, "vector")
    self.node = network(width, False, "node")

  def __call__(self, vectors: Array, scalars: Array, graph: Graph):
    """Returns the next `[B, N, D, V]` and `[B, N, H]`."""
    edges = graph.local
    shape = [*edges.neighbours.senders.shape, *vectors.shape[2:]]
    flat = tf.reshape(vectors, [*vectors.shape[:2], shape[3] * shape[4]])
    received, sent = (tf.reshape(x, shape) for x in geometry.ends(flat, edges))
    products = tf.einsum("bnkdv,bnkdw->bnkvw", sent, received)
    message = self.edge(
      tf.concat(
        [_unit(products), *geometry.ends(scalars, edges), graph.attributes], -1
      )
    )
    heard = geometry.total(message, edges)
    scalars += self.node(tf.concat([scalars, heard], -1))
    if self.vector is None:
      return vectors, scalars
    mix = tf.reshape(self.vector(message), products.shape)
    push = tf.einsum("bnkdv,bnkvw->bnkdw", sent, mix)
    push = geometry.mean(tf.reshape(push, [*shape[:3], flat.shape[-1]]), edges)
    return vectors + tf.reshape(push, vectors.shape), scalars


class DecoderLayer(snt.Module):
  """One layer of what brings clusters' moves back to bodies.

      t  = scalar [unit(Z^T Z), h]
      Z <- [Z, Z vector(t)]
      h <- output(t)

  A body's own move is the last vector of the last layer.
  """

  def __init__(self, width: int, num_vectors: int, *, last: bool, name: str):
    """Makes the layer; arguments as of `PoolingLayer`, `last` of scalars."""
    super().__init__(name=name)
    silu = tf.nn.silu
    self.scalar = networks.mlp([width, width], silu, True, "scalar")
    self.vector = networks.mlp([width, num_vectors], silu, name="vector")
    self.output = None
    if not last:
      self.output = networks.mlp([width, width], silu, name="output")

  def __call__(self, vectors: Array, scalars: Array):
    """Returns the next `[B, N, D, V + 1]` and `[B, N, H]`, None if last."""
    products = tf.einsum("bndv,bndw->bnvw", vectors, vectors)
    told = self.scalar(tf.concat([_unit(products), scalars], -1))
    found = tf.einsum("bndv,bnv->bnd", vectors, self.vector(told))
    vectors = tf.concat([vectors, found[..., None]], -1)
    return vectors, None if self.output is None else self.output(told)


def all_pairs(features: Array) -> Edges:
  """Returns edges from all clusters to all, each to itself too.

  Args:
    features: `[B, C, C, F]` of receivers and senders.
  """
  batch, count = features.shape[:2]
  senders = tf.broadcast_to(tf.range(count), [batch, count, count])
  mask = tf.ones_like(features[..., :1])
  return Edges(Neighbours(senders, None), features, mask)


def coarsened(assignment: Array, edges: Edges) -> Array:
  """Returns S^T A S `[B, C, C]` of S `[B, N, C]`, A being 1 for an edge."""
  _, sent = geometry.ends(assignment, edges)
  return tf.einsum("bnc,bne->bce", assignment, geometry.total(sent, edges))


def cut_loss(assignment: Array, local: Edges) -> Array:
  """Returns how far local edges run between clusters, a scalar.

  The mean over samples of |R - 1|, in the Frobenius norm, R being S^T A S with
  rows divided by their norms: 0 where every cluster has edges, none of them to
  another cluster.
  """
  found = coarsened(assignment, local)
  rows = found / geometry.length(found)
  off = rows - tf.eye(rows.shape[-1], dtype=rows.dtype)
  off = tf.reshape(off, [off.shape[0], off.shape[1] ** 2])
  return tf.reduce_mean(geometry.length(off))


def _unit(matrices):
  """Returns `[..., V, W]` as `[..., V W]`, divided by their norms."""
  *shape, rows, columns = matrices.shape
  flat = tf.reshape(matrices, [*shape, rows * columns])
  return flat / geometry.length(flat)
