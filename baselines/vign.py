"""VIGN: a graph network that learns the potential, in a variational integrator.

Desai and Roberts, "VIGN: Variational Integrator Graph Networks" (2020): the
block of `graph_networks` without momenta, a linear layer from its global to
V(q); q' = p / m, p' = -dV/dq. 26,048 parameters on springs in the plane.

The published orders are explicit: order 1 is `euler`, and order 4, `rk4`, is
Runge-Kutta on a separable system, which is not symplectic. `leapfrog` and
`yoshida4` are the variational integrators of orders 2 and 4 that the name
promises. Long-range training is `horizon=40`.
"""

import dataclasses

from nbody_bench import dynamics, increments, networks
from nbody_bench.cards import ModelCard
from nbody_bench.graph_networks import PhaseSpaceNetwork
from nbody_bench.problems import Problem
from nbody_bench.recipes import Recipe

CARD = ModelCard(
  name="VIGN",
  paper="https://arxiv.org/abs/2004.13688",
  division="learned-closed",
  physics_given=(
    "masses",
    "charges",
    "stiffnesses",
    "boundaries",
    "kinetic energy",
    "hamiltonian mechanics",
  ),
  symmetries=("permutation",),
)
RECIPE = Recipe(
  train_steps=100_000, batch_size=40, learning_rate=1e-3, schedule="constant"
)


@dataclasses.dataclass(frozen=True)
class Config(dynamics.Settings):
  """Settings; the defaults are the published ones (order 4).

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
    _SMALL,
    positions="relative",
    integrator="yoshida4",
    horizon=2,
    likelihood=True,
  ),
)


class Simulator(dynamics.Potential):
  """VIGN."""

  def __init__(self, config: Config, problem: Problem):
    super().__init__(config, problem, name="vign")
    self._network = PhaseSpaceNetwork(config.widths, config.positions)
    self._energy = networks.Energy()

  def potential(self, structure, position, particles, domain):
    """See base class."""
    constants = increments.constants(self.problem, particles)
    _, total = self._network(constants, position, particles, domain)
    return self._energy(total)
