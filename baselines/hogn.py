"""HOGN: a graph network that learns the Hamiltonian.

Sanchez-Gonzalez et al., "Hamiltonian Graph Networks with ODE Integrators"
(2019), as in Martinkus, Lucchi and Perraudin (AAAI 2021), section 3.3. For
particle i with features n_i = (m, [charge,] p), p = m v,

  e_ij = phi_e(n_j, n_i, d_ij)
  h_i = phi_v(n_i, sum_j e_ij)
  H = linear(phi_u(sum_i h_i, sum_ij e_ij))

with softplus after every layer; q' = dH/dp and p' = -dH/dq by automatic
differentiation, Runge-Kutta 4 with the time step of the data. 94,901 parameters
(95,301 with charges) at the published widths.
"""

import dataclasses

import tensorflow as tf
from graph_nets import blocks

from nbody_bench import graphs, hamiltonians, increments, networks
from nbody_bench.cards import ModelCard
from nbody_bench.problems import Problem
from nbody_bench.recipes import Recipe

CARD = ModelCard(
  name="HOGN",
  paper="https://arxiv.org/abs/1909.12790",
  division="learned-closed",
  physics_given=("masses", "charges", "boundaries", "hamiltonian mechanics"),
  symmetries=("translation", "permutation"),
)
RECIPE = Recipe()


@dataclasses.dataclass(frozen=True)
class Config:
  """Settings; the defaults are the published ones.

  Attributes:
    edge_widths: layers of phi_e.
    node_widths: layers of phi_v.
    global_widths: layers of phi_u.
    integrator: a Runge-Kutta row of `integrators.INTEGRATORS`.
  """

  edge_widths: tuple[int, ...] = (150, 150)
  node_widths: tuple[int, ...] = (100, 100, 100)
  global_widths: tuple[int, ...] = (100, 100)
  integrator: str = "rk4"

  def __post_init__(self):
    widths = (*self.edge_widths, *self.node_widths, *self.global_widths)
    if min(widths) < 1:
      raise ValueError(f"all widths must be >= 1, got {widths}")
    hamiltonians.runge_kutta(self.integrator)


TESTING = (
  Config(edge_widths=(8, 8), node_widths=(8, 8), global_widths=(8, 8)),
)


class Simulator(hamiltonians.HamiltonianSimulator):
  """HOGN."""

  def __init__(self, config: Config, problem: Problem):
    super().__init__(config.integrator, name="hogn")
    self._problem = problem

    def network(widths):
      return networks.mlp(widths, tf.nn.softplus, activate_final=True)

    self._edge_block = blocks.EdgeBlock(
      lambda: network(config.edge_widths), use_globals=False
    )
    self._node_block = blocks.NodeBlock(
      lambda: network(config.node_widths),
      use_globals=False,
      received_edges_reducer=graphs.sum_received,
    )
    self._global = network(config.global_widths)
    self._energy = networks.Energy()

  def hamiltonian(self, structure, state, particles, domain):
    """See base class."""
    position, momentum = state
    neighbours = graphs.fully_connected(state, particles)
    batch, n, k = neighbours.senders.shape
    constants = increments.constants(self._problem, particles)
    features = tf.concat([constants, momentum], -1)
    displacement = graphs.edge_displacement(position, neighbours, domain)
    graph = graphs.interaction_graph(features, displacement, neighbours)
    graph = self._edge_block(graph)
    if neighbours.mask is not None:
      graph = graph.replace(
        edges=graph.edges * tf.reshape(neighbours.mask, [-1, 1])
      )
    graph = self._node_block(graph)
    nodes = tf.reshape(graph.nodes, [batch, n, -1])
    if particles.mask is not None:
      nodes *= particles.mask[..., None]
    edges = tf.reshape(graph.edges, [batch, n * k, graph.edges.shape[-1]])
    total = tf.concat([tf.reduce_sum(x, 1) for x in (nodes, edges)], -1)
    return self._energy(self._global(total))
