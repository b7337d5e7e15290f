"""Hierarchical VIGN: a potential from the hierarchy, symplectically followed.

Not published: the potential of `vign`, on edges with displacements, with the
messages up and down the tree of Martinkus, Lucchi and Perraudin (2021), section
3.2, cost linear in N. All that enters are constants and displacements, of
particles and of centres of mass, so that forces add up to zero: momentum is
conserved to rounding. Energy is, as far as leapfrog goes, while no particle
changes its cell; then V jumps, and with it the energy. With `num_grids` G, V is
the mean over G trees whose grids are shifted against each other by 1/G of a
cell's diagonal: jumps are G times as many and G times smaller, at G times the
cost. 315,900 parameters (317,700 with charges) at the published widths.
"""

import dataclasses

import tensorflow as tf

from nbody_bench import dynamics, hierarchy, increments, levels, networks
from nbody_bench.cards import ModelCard
from nbody_bench.hierarchical_passing import (
  HierarchicalPassing,
  edge_displacement,
)
from nbody_bench.networks import Gathered
from nbody_bench.problems import Problem
from nbody_bench.recipes import Recipe

CARD = ModelCard(
  name="Hierarchical VIGN",
  division="learned-closed",
  physics_given=(
    "masses",
    "charges",
    "stiffnesses",
    "boundaries",
    "kinetic energy",
    "hamiltonian mechanics",
  ),
  # The grid stands still: a shifted system falls into other cells.
  symmetries=("permutation",),
)
RECIPE = Recipe()


@dataclasses.dataclass(frozen=True)
class Config(dynamics.Settings):
  """Settings.

  Attributes:
    integrator: a row of `integrators.INTEGRATORS`.
    num_levels: L, with 2^L cells a side at the finest; 0 for round(log4 N) of
      the system at hand, to be set where samples of a batch differ in N.
    num_grids: trees whose potentials are averaged.
    edge_widths: layers of the networks of edges.
    node_widths: layers of the networks of nodes.
    global_widths: layers of the network of sums.
  """

  integrator: str = "leapfrog"
  num_levels: int = 0
  num_grids: int = 1
  edge_widths: tuple[int, ...] = (150, 150)
  node_widths: tuple[int, ...] = (100, 100, 100)
  global_widths: tuple[int, ...] = (100, 100)

  def __post_init__(self):
    super().__post_init__()
    widths = (*self.edge_widths, *self.node_widths, *self.global_widths)
    if min(widths) < 1:
      raise ValueError(f"all widths must be >= 1, got {widths}")
    if self.num_grids < 1:
      raise ValueError(f"num_grids is {self.num_grids}; it must be at least 1")
    hierarchy.check_num_levels(self.num_levels or None)


_SMALL = Config(
  num_levels=2, edge_widths=(8, 8), node_widths=(8, 8), global_widths=(8, 8)
)
TESTING = (_SMALL, dataclasses.replace(_SMALL, num_grids=2))


class Simulator(dynamics.Potential):
  """Hierarchical VIGN."""

  def __init__(self, config: Config, problem: Problem):
    super().__init__(config, problem, name="hierarchical_vign")
    self._config = config

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
    """See base class; trees with shifts of the grid."""
    levels = self._config.num_levels or None
    count = self._config.num_grids
    return [
      hierarchy.build(state.position, particles, domain, levels, i / count)
      for i in range(count)
    ]

  def potential(self, structure, position, particles, domain):
    """See base class."""
    values = [self._of_tree(graph, position, particles) for graph in structure]
    return tf.add_n(values) / len(values)

  def _of_tree(self, graph, position, particles):
    level = graph.particles
    constants = graph.rows(increments.constants(self.problem, particles))
    position = graph.rows(position)
    cells = [
      (c.constants, c.position)
      for c in levels.cell_states(graph, constants, position, 0 * position)
    ]
    message = self._passing(graph, constants, position, cells)
    edges = self._edge(
      Gathered(constants, level.senders),
      Gathered(constants, level.receivers),
      edge_displacement(level, position),
    )
    received = level.sum_received(edges) + message
    nodes = self._node(constants, received)
    return self._energy(self._global(graph.sum(nodes), graph.sum(received)))
