"""VIN: a multilayer perceptron that learns the potential.

Saemundsson et al., "Variational Integrator Networks for Physically Structured
Embeddings" (2020), with the velocity form of the Stoermer-Verlet method: one
layer of 500 units from the positions to V(q), leapfrog. It knows a number of
particles, and takes no other. 6,000 parameters for five bodies in the plane.
"""

import dataclasses

import tensorflow as tf

from nbody_bench import dynamics, flat_networks
from nbody_bench.cards import ModelCard
from nbody_bench.problems import Problem
from nbody_bench.recipes import Recipe

CARD = ModelCard(
  name="VIN",
  paper="https://arxiv.org/abs/1910.09349",
  division="learned-closed",
  physics_given=(
    "masses",
    "charges",
    "stiffnesses",
    "kinetic energy",
    "hamiltonian mechanics",
  ),
  fixed_num_particles=True,
)
RECIPE = Recipe(
  train_steps=10_000, batch_size=200, learning_rate=1e-3, schedule="constant"
)


@dataclasses.dataclass(frozen=True)
class Config(dynamics.Settings):
  """Settings; the defaults are the published ones.

  Attributes:
    integrator: a row of `integrators.INTEGRATORS`.
    widths: of the layers.
    activation: a row of `flat_networks.ACTIVATIONS`.
    constants: whether masses and the like are inputs. Published: False.
  """

  integrator: str = "leapfrog"
  widths: tuple[int, ...] = (500,)
  activation: str = "tanh"
  constants: bool = False


TESTING = (
  Config(widths=(8, 8)),
  Config(widths=(8,), constants=True, integrator="rk4", horizon=2),
)


class Simulator(dynamics.Potential):
  """VIN."""

  def __init__(self, config: Config, problem: Problem):
    super().__init__(config, problem, name="vin")
    layers = flat_networks.layers(
      config.widths, 1, config.activation, final_bias=False
    )
    self._network = flat_networks.FlatNetwork(layers, problem, config.constants)

  def potential(self, structure, position, particles, domain):
    """See base class."""
    inputs = [domain.wrap(position)]
    return tf.squeeze(self._network(inputs, particles), 1)
