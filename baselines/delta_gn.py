"""DeltaGN: one graph-network block predicts the change of the state.

Martinkus, Lucchi and Perraudin, "Scalable Graph Networks for Particle
Simulations" (AAAI 2021), section 3.2. For particle i with features
n_i = (m, [charge,] v) and minimum-image differences d_ij,

  e_ij = phi_e(n_j, n_i, d_ij, dt)
  h_i = phi_v(n_i, sum_j e_ij, dt)
  (q, v)(t + dt) = (q, v)(t) + decode(h_i).

60,254 parameters (60,654 with charges) at the published widths.
"""

import dataclasses
from typing import Literal

import tensorflow as tf
from graph_nets import blocks

from nbody_bench import graphs, increments, networks
from nbody_bench.cards import ModelCard
from nbody_bench.problems import Problem
from nbody_bench.recipes import Recipe

CARD = ModelCard(
  name="DeltaGN",
  paper="https://arxiv.org/abs/2010.06948",
  division="learned-closed",
  physics_given=("masses", "charges", "stiffnesses", "boundaries"),
  symmetries=("translation", "permutation"),
)
# Section 4.2 and the public code; the loss is `one_step_loss`.
RECIPE = Recipe()


@dataclasses.dataclass(frozen=True)
class Config:
  """Settings; the defaults are the published ones.

  Attributes:
    graph: who interacts with whom; "nearest" rebuilds the graph at each step.
    num_neighbours: of the nearest-neighbour graph.
    edge_widths: layers of phi_e.
    node_widths: layers of phi_v.
    normalize: whether the decoder's outputs are increments in units of their
      standard deviation in the training data, positions counted from the
      ballistic flight v dt, in loss and prediction alike. Published: False.
      With it far fewer steps are needed, as raw increments are tiny.
  """

  graph: Literal["fully_connected", "nearest"] = "fully_connected"
  num_neighbours: int = 15
  edge_widths: tuple[int, ...] = (150, 150)
  node_widths: tuple[int, ...] = (100, 100, 100)
  normalize: bool = False

  def __post_init__(self):
    if min(*self.edge_widths, *self.node_widths, self.num_neighbours) < 1:
      raise ValueError(
        "num_neighbours and all of edge_widths and node_widths must be >= 1, "
        f"got {self.num_neighbours}, {self.edge_widths}, {self.node_widths}"
      )


_SMALL = Config(edge_widths=(8, 8), node_widths=(8, 8))
# What `tests/conformance_test.py` runs: every graph, small widths.
TESTING = (
  _SMALL,
  dataclasses.replace(_SMALL, graph="nearest", num_neighbours=3),
  dataclasses.replace(_SMALL, normalize=True),
)


class Simulator(increments.IncrementSimulator):
  """DeltaGN."""

  def __init__(self, config: Config, problem: Problem):
    super().__init__(problem, config.normalize, name="delta_gn")
    self._config = config
    self._edge_block = blocks.EdgeBlock(
      lambda: networks.mlp(config.edge_widths, activate_final=True),
      use_globals=False,
    )
    self._node_block = blocks.NodeBlock(
      lambda: networks.mlp(config.node_widths, activate_final=True),
      use_globals=False,
      received_edges_reducer=graphs.sum_received,
    )
    self._decoder = networks.mlp([2 * problem.num_dims], name="decoder")

  def increments(self, state, particles, domain, time_step):
    """See base class."""
    neighbours = self._neighbours(state, particles, domain)
    batch, n, k = neighbours.senders.shape
    constants = increments.constants(self._problem, particles)
    features = tf.concat([constants, state.velocity], -1)
    displacement = graphs.edge_displacement(state.position, neighbours, domain)
    dt = tf.cast(time_step, features.dtype)
    edges = tf.concat([displacement, tf.fill([batch, n, k, 1], dt)], -1)

    graph = graphs.interaction_graph(features, edges, neighbours)
    graph = self._edge_block(graph)
    if neighbours.mask is not None:
      # An edge of padding is not zero by itself: the network has biases.
      mask = tf.reshape(neighbours.mask, [-1, 1])
      graph = graph.replace(edges=graph.edges * mask)
    nodes = tf.concat([graph.nodes, tf.fill([batch * n, 1], dt)], -1)
    graph = self._node_block(graph.replace(nodes=nodes))
    return tf.reshape(self._decoder(graph.nodes), [batch, n, -1])

  def _neighbours(self, state, particles, domain):
    if self._config.graph == "fully_connected":
      return graphs.fully_connected(state.position, particles)
    return graphs.nearest(state, particles, domain, self._config.num_neighbours)
