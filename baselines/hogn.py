"""HOGN: a graph network that learns the Hamiltonian.

Sanchez-Gonzalez et al., "Hamiltonian Graph Networks with ODE Integrators"
(2019), in two published forms. With `network=scalable`, as in Martinkus, Lucchi
and Perraudin (AAAI 2021), section 3.3: for particle i with features
n_i = (m, [charge,] p), p = m v,

  e_ij = phi_e(n_j, n_i, d_ij)
  h_i = phi_v(n_i, sum_j e_ij)
  H = linear(phi_u(sum_i h_i, sum_ij e_ij))

with softplus after every layer, 94,901 parameters (95,301 with charges). With
`network=vign`, as in Desai and Roberts (2020), the block of `graph_networks`,
26,432 parameters on springs in the plane. Then q' = dH/dp and p' = -dH/dq by
automatic differentiation, and Runge-Kutta with the time step of the data.
"""

import dataclasses
from typing import Literal

import sonnet as snt
import tensorflow as tf
from graph_nets import blocks

from nbody_bench import dynamics, graphs, increments, networks
from nbody_bench.cards import ModelCard
from nbody_bench.graph_networks import PhaseSpaceNetwork
from nbody_bench.problems import Problem
from nbody_bench.recipes import Recipe

CARD = ModelCard(
  name="HOGN",
  paper="https://arxiv.org/abs/1909.12790",
  division="learned-closed",
  physics_given=(
    "masses",
    "charges",
    "stiffnesses",
    "boundaries",
    "hamiltonian mechanics",
  ),
  symmetries=("permutation",),
)
RECIPE = Recipe()


@dataclasses.dataclass(frozen=True)
class Config(dynamics.Settings):
  """Settings; the defaults are the published ones.

  Attributes:
    network: "scalable" (widths below) or "vign".
    edge_widths: layers of phi_e.
    node_widths: layers of phi_v.
    global_widths: layers of phi_u.
    vign_widths: layers of all three networks of "vign".
    positions: that "vign" is told, one of `graph_networks.POSITIONS`.
  """

  network: Literal["scalable", "vign"] = "scalable"
  edge_widths: tuple[int, ...] = (150, 150)
  node_widths: tuple[int, ...] = (100, 100, 100)
  global_widths: tuple[int, ...] = (100, 100)
  vign_widths: tuple[int, ...] = (64, 64)
  positions: str = "centred"

  def __post_init__(self):
    super().__post_init__()
    widths = (*self.edge_widths, *self.node_widths, *self.global_widths)
    if min(widths) < 1:
      raise ValueError(f"all widths must be >= 1, got {widths}")


TESTING = (
  Config(edge_widths=(8, 8), node_widths=(8, 8), global_widths=(8, 8)),
  Config(network="vign", vign_widths=(8, 8), integrator="euler"),
)


class Simulator(dynamics.Hamiltonian):
  """HOGN."""

  def __init__(self, config: Config, problem: Problem):
    super().__init__(config, problem, name="hogn")
    if config.network == "vign":
      self._network = PhaseSpaceNetwork(config.vign_widths, config.positions)
    else:
      self._network = _ScalableNetwork(config)
    self._energy = networks.Energy()

  def hamiltonian(self, structure, state, particles, domain):
    """See base class."""
    constants = increments.constants(self.problem, particles)
    features = tf.concat([constants, state.velocity], -1)
    _, total = self._network(features, state.position, particles, domain)
    return self._energy(total)


class _ScalableNetwork(snt.Module):
  """Edges hold displacements; arguments and results as `PhaseSpaceNetwork`."""

  def __init__(self, config):
    super().__init__(name="scalable")

    def network(widths):
      return networks.mlp(widths, tf.nn.softplus, activate_final=True)

    self._edges = blocks.EdgeBlock(
      lambda: network(config.edge_widths), use_globals=False
    )
    self._nodes = blocks.NodeBlock(
      lambda: network(config.node_widths),
      use_globals=False,
      received_edges_reducer=graphs.sum_received,
    )
    self._global = network(config.global_widths)

  def __call__(self, features, position, particles, domain):
    neighbours = graphs.fully_connected(position, particles)
    batch, n, k = neighbours.senders.shape
    displacement = graphs.edge_displacement(position, neighbours, domain)
    graph = graphs.interaction_graph(features, displacement, neighbours)
    graph = self._edges(graph)
    if neighbours.mask is not None:
      graph = graph.replace(
        edges=graph.edges * tf.reshape(neighbours.mask, [-1, 1])
      )
    graph = self._nodes(graph)
    nodes = tf.reshape(graph.nodes, [batch, n, -1])
    if particles.mask is not None:
      nodes *= particles.mask[..., None]
    edges = tf.reshape(graph.edges, [batch, n * k, graph.edges.shape[-1]])
    total = tf.concat([tf.reduce_sum(x, 1) for x in (nodes, edges)], -1)
    return nodes, self._global(total)
