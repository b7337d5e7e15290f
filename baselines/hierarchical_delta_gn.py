"""Hierarchical DeltaGN: DeltaGN on a quadtree, linear in N.

Martinkus, Lucchi and Perraudin, "Scalable Graph Networks for Particle
Simulations" (AAAI 2021), section 3.2. `delta_gn` with edges among particles of
adjacent cells only; what is further away acts through messages up and down the
hierarchy, of which each particle receives one from its finest cell:

  e_ij = phi_e(n_j, n_i, d_ij, dt)
  h_i = phi_v(n_i, sum_j e_ij + message_i, dt)
  (q, v)(t + dt) = (q, v)(t) + decode(h_i).

The tree is rebuilt from each state. 285,604 parameters (287,404 with charges)
at the published widths. A cell's charge is the sum of its particles', in
training and roll-out alike (the public roll-outs average it).
"""

import dataclasses

import tensorflow as tf

from nbody_bench import hierarchy, increments, levels, networks
from nbody_bench.cards import ModelCard
from nbody_bench.hierarchical_passing import (
  HierarchicalPassing,
  edge_displacement,
)
from nbody_bench.networks import Gathered
from nbody_bench.problems import Problem
from nbody_bench.recipes import Recipe

CARD = ModelCard(
  name="Hierarchical DeltaGN",
  paper="https://arxiv.org/abs/2010.06948",
  division="learned-closed",
  physics_given=("masses", "charges", "stiffnesses", "boundaries"),
  # The grid stands still: a shifted system falls into other cells.
  symmetries=("permutation",),
)
RECIPE = Recipe()


@dataclasses.dataclass(frozen=True)
class Config:
  """Settings; the defaults are the published ones.

  Attributes:
    num_levels: L, with 2^L cells a side at the finest; 0 for round(log4 N) of
      the system at hand, to be set where samples of a batch differ in N.
    edge_widths: layers of the networks of edges.
    node_widths: layers of the networks of nodes.
    normalize: see `increments.IncrementSimulator`. Published: False.
  """

  num_levels: int = 0
  edge_widths: tuple[int, ...] = (150, 150)
  node_widths: tuple[int, ...] = (100, 100, 100)
  normalize: bool = False

  def __post_init__(self):
    if min(*self.edge_widths, *self.node_widths) < 1:
      raise ValueError(
        "all of edge_widths and node_widths must be >= 1, got "
        f"{self.edge_widths}, {self.node_widths}"
      )
    hierarchy.check_num_levels(self.num_levels or None)


_SMALL = Config(num_levels=2, edge_widths=(8, 8), node_widths=(8, 8))
TESTING = (
  _SMALL,
  dataclasses.replace(_SMALL, num_levels=3, normalize=True),
)


class Simulator(increments.IncrementSimulator):
  """Hierarchical DeltaGN."""

  def __init__(self, config: Config, problem: Problem):
    super().__init__(problem, config.normalize, name="hierarchical_delta_gn")
    self._num_levels = config.num_levels or None
    self._passing = HierarchicalPassing(config.edge_widths, config.node_widths)
    self._edge = networks.JoinedMLP(
      config.edge_widths, activate_final=True, name="edge"
    )
    self._node = networks.JoinedMLP(
      config.node_widths, activate_final=True, name="node"
    )
    self._decoder = networks.mlp([2 * problem.num_dims], name="decoder")

  def increments(self, state, particles, domain, time_step):
    """See base class."""
    graph = hierarchy.build(state.position, particles, domain, self._num_levels)
    level = graph.particles
    constants = graph.rows(increments.constants(self._problem, particles))
    # The image that the tree has of each particle, or centres would jump.
    position = graph.rows(domain.wrap(state.position))
    velocity = graph.rows(state.velocity)
    features = tf.concat([constants, velocity], 1)
    cells = [
      (tf.concat([c.constants, c.velocity], 1), c.position)
      for c in levels.cell_states(
        graph, constants, position, constants[:, :1] * velocity
      )
    ]
    dt = tf.cast(time_step, features.dtype)[None]
    message = self._passing(graph, features, position, cells, dt)
    edges = self._edge(
      Gathered(features, level.senders),
      Gathered(features, level.receivers),
      edge_displacement(level, position),
      dt,
    )
    received = level.sum_received(edges) + message
    nodes = self._node(features, received, dt)
    return graph.unrows(self._decoder(nodes))
