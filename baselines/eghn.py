"""EGHN: equivariant graph hierarchy network.

Han et al., "Equivariant Graph Hierarchy-Based Neural Networks" (2022): bodies
exchange messages as in EGNN; by what came of it, and by messages along local
edges, each is shared out among C clusters; these move by messages of their own,
and each body by what its clusters and itself did. Local edges are bonds where
the data have any, within rigid groups in the paper, else all: then clusters are
what training makes of them. Beside the error of the position, the cut loss is
trained, that local edges be within clusters.

Predicted is the position one frame on. At the published settings for
simulations 348,261 parameters: the public code's 361,326 less two networks that
nothing reads there, of the pooling's last vectors and the decoder's last
scalars.
"""

import dataclasses
from typing import NamedTuple

import sonnet as snt
import tensorflow as tf

from nbody_bench import eghn_layers, geometry, jumps, networks, simulators
from nbody_bench.arrays import Array
from nbody_bench.cards import ModelCard
from nbody_bench.eghn_layers import Graph
from nbody_bench.egnn_layers import Nodes
from nbody_bench.problems import Problem
from nbody_bench.recipes import Recipe
from nbody_bench.states import Domain, Particles, State, Trajectory

CARD = ModelCard(
  name="EGHN",
  paper="https://arxiv.org/abs/2202.10643",
  division="learned-closed",
  physics_given=("masses", "charges", "stiffnesses", "boundaries"),
  symmetries=("permutation", "reflection", "rotation", "translation"),
)
RECIPE = Recipe(
  train_steps=300_000, batch_size=100, learning_rate=5e-4, schedule="constant"
)


@dataclasses.dataclass(frozen=True)
class Config:
  """Settings; the defaults are the published ones for simulations.

  Attributes:
    num_clusters: C; one would leave nothing to assign.
    num_message_layers: between bodies, and again between clusters.
    num_pooling_layers: of what assigns bodies to clusters.
    num_decoder_layers: of what brings clusters' moves back to bodies.
    width: of all hidden layers.
    cut_weight: of the cut loss in training.
  """

  num_clusters: int = 3
  num_message_layers: int = 3
  num_pooling_layers: int = 3
  num_decoder_layers: int = 1
  width: int = 64
  cut_weight: float = 1.0

  def __post_init__(self):
    for name, least in (
      ("num_clusters", 2),
      ("num_message_layers", 1),
      ("num_pooling_layers", 1),
      ("num_decoder_layers", 1),
      ("width", 1),
      ("cut_weight", 0),
    ):
      value = getattr(self, name)
      if not value >= least:
        raise ValueError(f"{name} is {value}; it must be >= {least}")


# Rolled out with random weights, many sizes throw bodies beyond what float32
# holds, or rounding errors beyond what tests allow; these do not.
TESTING = (
  Config(
    num_message_layers=2, num_pooling_layers=2, num_decoder_layers=2, width=4
  ),
  Config(num_message_layers=1, num_pooling_layers=1, width=8, cut_weight=0.0),
)


class Outcome(NamedTuple):
  """What a hierarchy predicts.

  Attributes:
    position: `[B, N, D]`, which may leave the box.
    assignment: `[B, N, C]`, shares of bodies in clusters, their sum 1, or 0 for
      padding.
    cut_loss: a scalar; see `eghn_layers.cut_loss`.
  """

  position: Array
  assignment: Array
  cut_loss: Array


class Simulator(jumps.JumpSimulator):
  """EGHN."""

  def __init__(self, config: Config, problem: Problem):
    super().__init__(name="eghn")
    self._config = config
    self._problem = problem
    self._input = networks.Linear(config.width, name="input")
    self._low = eghn_layers.MessageNetwork(
      config.width, config.num_message_layers, name="low"
    )
    self._hierarchy = Hierarchy(config)

  def jump(self, state, particles, domain):
    """See base class."""
    return self.outcome(state, particles, domain).position

  def loss(self, window):
    """See base class; the cut loss is added."""
    window = window.frames(0, 2)
    found = self.outcome(window.frame(0), window.particles, window.domain)
    error = position_error(found.position[:, None], window)
    return error + self._config.cut_weight * found.cut_loss

  def outcome(
    self,
    state: State,
    particles: Particles,
    domain: Domain,
    local: Array | None = None,
  ) -> Outcome:
    """Returns all that is predicted; `local` as in `eghn_layers.graph`."""
    graph = eghn_layers.graph(
      self._problem, state.position, particles, domain, local
    )
    scalars = self._input(geometry.scalars(self._problem, state, particles))
    nodes = Nodes(state.position, state.velocity, scalars)
    nodes = self._low(nodes, graph.edges, graph.attributes, domain)
    return self._hierarchy(state.position, nodes, graph, particles, domain)


class Hierarchy(snt.Module):
  """All that follows the messages between bodies."""

  def __init__(self, config: Config):
    super().__init__(name="hierarchy")
    width = config.width
    count = config.num_pooling_layers
    # Position, push and velocity.
    self.pooling = [
      eghn_layers.PoolingLayer(
        width, 3, last=i == count - 1, name=f"pooling_{i}"
      )
      for i in range(count)
    ]
    self.assignment = networks.mlp(
      [8 * width, config.num_clusters], tf.tanh, name="assignment"
    )
    self.high = eghn_layers.MessageNetwork(
      width, config.num_message_layers, name="high"
    )
    count = config.num_decoder_layers
    self.decoder = [
      eghn_layers.DecoderLayer(
        width, 4 + i, last=i == count - 1, name=f"decoder_{i}"
      )
      for i in range(count)
    ]

  def __call__(
    self,
    start: Array,
    nodes: Nodes,
    graph: Graph,
    particles: Particles,
    domain: Domain,
  ) -> Outcome:
    """Returns what is predicted.

    Args:
      start: positions `[B, N, D]` before the messages between bodies.
      nodes: after them.
      graph: of the bodies.
      particles: `[B, N]`.
      domain: box `[B, D]`.
    """
    push = nodes.position - start
    # Means of positions need an origin that does not depend on the box's.
    position = geometry.centred(start, particles, domain)
    velocity, scalars = nodes.velocity, nodes.scalars
    vectors, told = tf.stack([position, push, velocity], -1), scalars
    for layer in self.pooling:
      vectors, told = layer(vectors, told, graph)
    shares = tf.nn.softmax(self.assignment(told))
    if particles.mask is not None:
      shares *= particles.mask[..., None]
    weight = tf.maximum(tf.reduce_sum(shares, 1), 1e-5)[..., None]

    def pooled(x):
      return tf.einsum("bnc,bnf->bcf", shares, x) / weight

    before = Nodes(pooled(position), pooled(velocity), pooled(scalars))
    ties = eghn_layers.coarsened(shares, graph.edges)[..., None]
    after = self.high(before, eghn_layers.all_pairs(ties), ties, domain)
    moves = [
      shares @ (after.position - before.position),
      position - shares @ before.position,
      velocity - shares @ before.velocity,
      push,
    ]
    vectors = tf.stack(moves, -1)
    told = tf.concat([scalars, shares @ after.scalars], -1)
    for layer in self.decoder:
      vectors, told = layer(vectors, told)
    shift = shares @ after.position - position + vectors[..., -1]
    cut_loss = eghn_layers.cut_loss(shares, graph.local)
    return Outcome(start + shift, shares, cut_loss)


def position_error(position: Array, window: Trajectory) -> Array:
  """Returns the mean squared error of positions, a scalar.

  That of `jumps.position_loss`, of positions that are known already.

  Args:
    position: `[B, P, N, D]`, predicted.
    window: of P + 1 frames.
  """
  truth = window.state.position[:, 1:]
  squared = window.domain.displacement(truth, position) ** 2
  return simulators.masked_mean(
    tf.reduce_mean(squared, 1), window.particles.mask
  )
