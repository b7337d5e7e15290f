"""Hierarchical HOGN: HOGN on a quadtree, linear in N.

Martinkus, Lucchi and Perraudin, "Scalable Graph Networks for Particle
Simulations" (AAAI 2021), section 3.3: the hierarchy of
`hierarchical_delta_gn` with momenta for velocities, softplus, no time step, and
the Hamiltonian of `hogn` from the sums over particles and over all edges that
they receive, those from their cells included. The graph of the state at its
start holds through a Runge-Kutta step; the centres and momenta (sums) of the
cells follow the particles, and H is differentiated through them (the public
code stops the gradient at the centres of the finest cells). 319,501 parameters
(321,301 with charges) at the published widths.
"""

import dataclasses

import tensorflow as tf

from nbody_bench import (
  dynamics,
  hierarchy,
  increments,
  levels,
  networks,
)
from nbody_bench.cards import ModelCard
from nbody_bench.hierarchical_passing import (
  HierarchicalPassing,
  edge_displacement,
)
from nbody_bench.networks import Gathered
from nbody_bench.problems import Problem
from nbody_bench.recipes import Recipe

CARD = ModelCard(
  name="Hierarchical HOGN",
  paper="https://arxiv.org/abs/2010.06948",
  division="learned-closed",
  physics_given=(
    "masses",
    "charges",
    "stiffnesses",
    "boundaries",
    "hamiltonian mechanics",
  ),
  # The grid stands still: a shifted system falls into other cells.
  symmetries=("permutation",),
)
RECIPE = Recipe()


@dataclasses.dataclass(frozen=True)
class Config(dynamics.Settings):
  """Settings; the defaults are the published ones.

  Attributes:
    num_levels: L, with 2^L cells a side at the finest; 0 for round(log4 N) of
      the system at hand, to be set where samples of a batch differ in N.
    edge_widths: layers of the networks of edges.
    node_widths: layers of the networks of nodes.
    global_widths: layers of the network of sums.
  """

  num_levels: int = 0
  edge_widths: tuple[int, ...] = (150, 150)
  node_widths: tuple[int, ...] = (100, 100, 100)
  global_widths: tuple[int, ...] = (100, 100)

  def __post_init__(self):
    super().__post_init__()
    widths = (*self.edge_widths, *self.node_widths, *self.global_widths)
    if min(widths) < 1:
      raise ValueError(f"all widths must be >= 1, got {widths}")
    hierarchy.check_num_levels(self.num_levels or None)


TESTING = (
  Config(
    num_levels=2,
    edge_widths=(8, 8),
    node_widths=(8, 8),
    global_widths=(8, 8),
  ),
)


class Simulator(dynamics.Hamiltonian):
  """Hierarchical HOGN."""

  def __init__(self, config: Config, problem: Problem):
    super().__init__(config, problem, name="hierarchical_hogn")
    self._num_levels = config.num_levels or None

    def network(widths, name):
      return networks.JoinedMLP(
        widths, tf.nn.softplus, activate_final=True, name=name
      )

    self._passing = HierarchicalPassing(
      config.edge_widths, config.node_widths, tf.nn.softplus
    )
    self._edge = network(config.edge_widths, "edge")
    self._node = network(config.node_widths, "node")
    self._global = network(config.global_widths, "global")
    self._energy = networks.Energy()

  def structure(self, state, particles, domain):
    """See base class."""
    return hierarchy.build(state.position, particles, domain, self._num_levels)

  def hamiltonian(self, structure, state, particles, domain):
    """See base class."""
    graph, level = structure, structure.particles
    constants = graph.rows(increments.constants(self.problem, particles))
    position, momentum = map(graph.rows, state)
    features = tf.concat([constants, momentum], 1)
    cells = [
      (tf.concat([c.constants, c.momentum], 1), c.position)
      for c in levels.cell_states(graph, constants, position, momentum)
    ]
    message = self._passing(graph, features, position, cells)
    edges = self._edge(
      Gathered(features, level.senders),
      Gathered(features, level.receivers),
      edge_displacement(level, position),
    )
    received = level.sum_received(edges) + message
    nodes = self._node(features, received)
    sums = self._global(graph.sum(nodes), graph.sum(received))
    return self._energy(sums)
