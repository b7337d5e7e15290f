"""OGN: a graph network that learns the rates of position and momentum.

As in Desai and Roberts, "Variational Integrator Graph Networks" (2020), after
Sanchez-Gonzalez et al. (2019): a full graph-network block on the complete
graph, a linear layer from each node to (q', p'), Runge-Kutta (`euler` or
`rk4`). 14,148 parameters on springs in the plane: the published 26,628 less the
12,480 of a network of the global, which nothing reads.
"""

import dataclasses

import tensorflow as tf

from nbody_bench import dynamics, increments, networks
from nbody_bench.cards import ModelCard
from nbody_bench.graph_networks import PhaseSpaceNetwork
from nbody_bench.problems import Problem
from nbody_bench.recipes import Recipe
from nbody_bench.states import State

CARD = ModelCard(
  name="OGN",
  paper="https://arxiv.org/abs/2004.13688",
  division="learned-closed",
  physics_given=("masses", "charges", "stiffnesses", "boundaries"),
  symmetries=("permutation",),
)
RECIPE = Recipe(
  train_steps=100_000, batch_size=40, learning_rate=1e-3, schedule="constant"
)


@dataclasses.dataclass(frozen=True)
class Config(dynamics.Settings):
  """Settings; the defaults are the published ones.

  Attributes:
    widths: layers of the networks of edges, nodes and globals.
    positions: one of `graph_networks.POSITIONS`. Published: centred.
  """

  widths: tuple[int, ...] = (64, 64)
  positions: str = "centred"


_SMALL = Config(widths=(8, 8))
TESTING = (
  _SMALL,
  dataclasses.replace(
    _SMALL, positions="relative", integrator="euler", horizon=3, likelihood=True
  ),
)


class Simulator(dynamics.Derivative):
  """OGN."""

  def __init__(self, config: Config, problem: Problem):
    super().__init__(config, problem, name="ogn")
    self._network = PhaseSpaceNetwork(
      config.widths, config.positions, has_global=False
    )
    self._decoder = networks.mlp([2 * problem.num_dims], name="decoder")

  def rates(self, structure, state, particles, domain):
    """See base class."""
    constants = increments.constants(self.problem, particles)
    features = tf.concat([state.velocity, constants], -1)
    nodes, _ = self._network(features, state.position, particles, domain)
    return State(*tf.split(self._decoder(nodes), 2, axis=-1))
