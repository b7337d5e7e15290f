"""MPNN: message passing between bodies that are told where they are.

Gilmer et al., "Neural Message Passing for Quantum Chemistry" (2017), in the
form that Satorras, Hoogeboom and Welling, "E(n) Equivariant Graph Neural
Networks" (2021) compare with: four layers of width 64 on absolute positions and
velocities, edges told the product of charges alone, and the position one frame
on read off the nodes, itself absolute. 104,387 parameters in space, as
published.
"""

import dataclasses

import sonnet as snt
import tensorflow as tf

from nbody_bench import geometry, jumps, networks
from nbody_bench.arrays import Array
from nbody_bench.cards import ModelCard
from nbody_bench.geometry import Edges
from nbody_bench.problems import Problem
from nbody_bench.recipes import Recipe

CARD = ModelCard(
  name="MPNN",
  paper="https://arxiv.org/abs/1704.01212",
  division="learned-closed",
  physics_given=("masses", "charges", "stiffnesses", "boundaries"),
  symmetries=("permutation",),
)
RECIPE = Recipe(
  train_steps=300_000, batch_size=100, learning_rate=1e-3, schedule="constant"
)


@dataclasses.dataclass(frozen=True)
class Config:
  """Settings; the defaults are the published ones.

  Attributes:
    num_layers: L.
    width: of all hidden layers.
  """

  num_layers: int = 4
  width: int = 64

  def __post_init__(self):
    if min(self.num_layers, self.width) < 1:
      raise ValueError(
        f"num_layers and width must be >= 1, got {self.num_layers} and "
        f"{self.width}"
      )


TESTING = (Config(num_layers=2, width=8),)


class Simulator(jumps.JumpSimulator):
  """MPNN."""

  def __init__(self, config: Config, problem: Problem):
    super().__init__(name="mpnn")
    self._problem = problem
    self._embedding = networks.mlp([config.width], name="embedding")
    self._layers = [
      MessageLayer(config.width, name=f"layer_{i}")
      for i in range(config.num_layers)
    ]
    self._decoder = networks.mlp(
      [config.width, problem.num_dims], tf.nn.silu, name="decoder"
    )

  def jump(self, state, particles, domain):
    """See base class."""
    edges = geometry.edges(self._problem, state.position, particles)
    # Edges know no distances: where bodies are is told by the positions alone,
    # in a periodic box those counted from its centre.
    nodes = self._embedding(tf.concat([state.position, state.velocity], -1))
    for layer in self._layers:
      nodes = layer(nodes, edges)
    return self._decoder(nodes)


class MessageLayer(snt.Module):
  """One layer of messages, added to what the nodes hold.

  m_ij = edge [h_i, h_j, a_ij],  h_i += node [h_i, sum_j m_ij]
  """

  def __init__(self, width: int, name: str):
    super().__init__(name=name)
    silu = tf.nn.silu
    # The products of nodes are taken once for a node, not for each edge.
    self.edge = networks.JoinedMLP([width, width], silu, True, "edge")
    self.node = networks.mlp([width, width], silu, name="node")

  def __call__(self, nodes: Array, edges: Edges) -> Array:
    """Returns the next values of nodes, `[B, N, H]`."""
    rows = geometry.rows(edges)
    features = rows.of_edges(edges.features)
    message = self.edge(*rows.of_nodes(nodes), features)
    heard = geometry.total(rows.spread(message), edges)
    return nodes + self.node(tf.concat([nodes, heard], -1))
