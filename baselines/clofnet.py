"""ClofNet: messages and moves in a frame of each edge.

Du et al., "SE(3) Equivariant Graph Neural Networks with Complete Local Frames"
(2022): two bodies and the centre of the system span a frame in which vectors
become numbers without loss, and in which a body can be pushed across the line
to another, as EGNN cannot. Four layers of width 64, edges told positions and
velocities in their frame at the start.

One of the three vectors is a cross product, which a reflection turns round: the
model tells left from right, in space. On planes and lines, where vectors are
given zeros for what is missing to three dimensions, that one is across and
moves nothing. 148,420 parameters: the published 160,964 less the last node
network and its normalisation, which nothing reads.
"""

import dataclasses

import sonnet as snt
import tensorflow as tf

from nbody_bench import geometry, jumps, networks
from nbody_bench.arrays import Array
from nbody_bench.cards import ModelCard
from nbody_bench.egnn_layers import LARGEST_SHIFT, Nodes
from nbody_bench.geometry import Edges
from nbody_bench.problems import Problem
from nbody_bench.recipes import Recipe
from nbody_bench.states import Domain

CARD = ModelCard(
  name="ClofNet",
  paper="https://arxiv.org/abs/2110.14811",
  division="learned-closed",
  physics_given=("masses", "charges", "stiffnesses", "boundaries"),
  symmetries=("permutation", "rotation", "translation"),
)
# Published: 400 epochs of 23 full batches. There the rate is multiplied by 0.9
# after each eighth of them, to half of it in the end; here it stays.
RECIPE = Recipe(
  train_steps=9_200, batch_size=128, learning_rate=1e-2, schedule="constant"
)

# Added to both lengths of a cosine, as published.
_SMALL = 1e-5


@dataclasses.dataclass(frozen=True)
class Config:
  """Settings; the defaults are the published ones.

  Attributes:
    num_layers: L.
    width: of all hidden layers, but half of it for what edges are told.
  """

  num_layers: int = 4
  width: int = 64

  def __post_init__(self):
    if self.num_layers < 1:
      raise ValueError(f"num_layers is {self.num_layers}; it must be >= 1")
    if self.width < 2:
      raise ValueError(
        f"width is {self.width}; it must be >= 2, for edges have half of it"
      )


TESTING = (Config(num_layers=2, width=10),)


class Simulator(jumps.JumpSimulator):
  """ClofNet."""

  def __init__(self, config: Config, problem: Problem):
    super().__init__(name="clofnet")
    self._problem = problem
    half = config.width // 2
    self._embedding = networks.mlp([config.width], name="embedding")
    self._edge_embedding = networks.mlp(
      [half, half], tf.nn.silu, True, "edge_embedding"
    )
    self._layers = [
      FrameLayer(
        config.width, last=i == config.num_layers - 1, name=f"layer_{i}"
      )
      for i in range(config.num_layers)
    ]

  def jump(self, state, particles, domain):
    """See base class."""
    edges = geometry.edges(self._problem, state.position, particles)
    apart = geometry.displacement(state.position, edges, domain)
    squared = tf.reduce_sum(apart**2, -1, keepdims=True)
    centred = geometry.centred(state.position, particles, domain)
    origin = state.position - centred
    seen = _in_frame(centred, state.velocity, apart, edges)
    told = self._edge_embedding(tf.concat([edges.features, squared, seen], -1))
    scalars = self._embedding(geometry.scalars(self._problem, state, particles))
    nodes = Nodes(*state, scalars)
    for layer in self._layers:
      nodes = layer(nodes, origin, edges, told, domain)
    return nodes.position


class FrameLayer(snt.Module):
  """One message-passing layer, e_ij being what edges are told.

  m_ij = edge [h_i, h_j, |x_ij|^2, e_ij]
  x_i += mean_j frame(m_ij) (a_ij, b_ij, c_ij) + velocity(h_i) v_i
  h_i  = layer_norm(2 h_i + node [h_i, sum_j m_ij])
  """

  def __init__(self, width: int, *, last: bool, name: str):
    """Makes the layer.

    Args:
      width: H, and of all hidden layers.
      last: whether nothing reads the scalars afterwards.
      name: of the module.
    """
    super().__init__(name=name)
    silu = tf.nn.silu
    self.edge = networks.mlp([width] * 3, silu, True, "edge")
    self.frame = snt.Sequential(
      [
        networks.Linear(width, name="linear_0"),
        silu,
        networks.SmallLinear(3, name="linear_1"),
      ],
      name="frame",
    )
    self.velocity = networks.mlp([width, 1], silu, name="velocity")
    self.node = self.layer_norm = None
    if not last:
      self.node = networks.mlp([width, width], silu, name="node")
      self.layer_norm = snt.LayerNorm(-1, True, True, name="layer_norm")

  def __call__(
    self, nodes: Nodes, origin: Array, edges: Edges, told: Array, domain: Domain
  ) -> Nodes:
    """Returns the next `Nodes`.

    Args:
      nodes: the present ones.
      origin: that positions are counted from in frames, `[B, N, D]`: the
        centre of the system as each body sees it.
      edges: who acts on whom.
      told: features of edges, `[B, N, K, F]`.
      domain: box `[B, D]`.
    """
    position, velocity, scalars = nodes
    apart = geometry.displacement(position, edges, domain)
    squared = tf.reduce_sum(apart**2, -1, keepdims=True)
    received, sent = geometry.ends(scalars, edges)
    message = self.edge(tf.concat([received, sent, squared, told], -1))
    along = self.frame(message)[..., None] * _frames(position - origin, apart)
    push = tf.reduce_sum(along, -2)[..., : position.shape[-1]]
    # Published as a bound on each coordinate, which would not be equivariant.
    push *= tf.minimum(1.0, LARGEST_SHIFT / geometry.length(push))
    shift = geometry.mean(push, edges)
    position += shift + self.velocity(scalars) * velocity
    if self.node is None or self.layer_norm is None:
      return Nodes(position, velocity, None)
    heard = geometry.total(message, edges)
    update = self.node(tf.concat([scalars, heard], -1)) + scalars
    # Once more, as in the public code.
    return Nodes(position, velocity, self.layer_norm(update + scalars))


def _frames(centred, apart):
  """Returns the three vectors of edges, `[B, N, K, 3, 3]`.

  They are a = x_ij, b = y_i x y_j, both shortened, and a x b, where y_j is the
  image of j that is the nearest to i: b is at a right angle to a in a periodic
  box too.

  Args:
    centred: y, `[B, N, D]`.
    apart: x_ij, `[B, N, K, D]`.
  """
  apart = geometry.in_space(apart)
  received = tf.broadcast_to(
    geometry.in_space(centred)[:, :, None], apart.shape
  )
  # y_i x y_j = x_ij x y_i, with less to cancel.
  across = tf.linalg.cross(apart, received)
  a, b = (x / (geometry.length(x) + 1) for x in (apart, across))
  return tf.stack([a, b, tf.linalg.cross(a, b)], -2)


def _in_frame(centred, velocity, apart, edges):
  """Returns both ends' positions and velocities in frames, `[B, N, K, 14]`.

  With the sine and the cosine between the two positions before them.
  """
  frames = _frames(centred, apart)
  position = geometry.in_space(centred)[:, :, None]
  velocities = geometry.ends(geometry.in_space(velocity), edges)
  vectors = (position, position - geometry.in_space(apart), *velocities)
  seen = [tf.reduce_sum(frames * x[..., None, :], -1) for x in vectors]
  return tf.concat([*_angle(*seen[:2]), *seen], -1)


def _angle(one, other):
  """Returns sine and cosine `[..., 1]` between vectors `[..., 3]`.

  The cosine is that of lengths n + 1e-5, and the sine sqrt(1 - cosine^2), here
  as a sum of what is positive: the difference would lose half of the digits
  where vectors are parallel, and its root have no gradient there.
  """
  n, m = geometry.length(one), geometry.length(other)
  lengths = (n + _SMALL) * (m + _SMALL)
  cosine = tf.reduce_sum(one * other, -1, keepdims=True) / lengths
  added = (n + m + _SMALL) * _SMALL  # lengths - n m
  squared = tf.reduce_sum(tf.linalg.cross(one, other) ** 2, -1, keepdims=True)
  return tf.sqrt(squared + added * (lengths + n * m)) / lengths, cosine
