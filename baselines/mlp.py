"""MLP: a multilayer perceptron that learns the rates of all coordinates.

The baseline of Greydanus, Dzamba and Yosinski, "Hamiltonian Neural Networks"
(2019): two layers of 200 tanh units from (q, p) to (q', p'), Runge-Kutta 4. It
knows a number of particles, and takes no other. 43,600 parameters for two
bodies in the plane.
"""

import dataclasses

import tensorflow as tf

from nbody_bench import dynamics, flat_networks
from nbody_bench.cards import ModelCard
from nbody_bench.problems import Problem
from nbody_bench.recipes import Recipe
from nbody_bench.states import State

CARD = ModelCard(
  name="MLP",
  paper="https://arxiv.org/abs/1906.01563",
  division="learned-closed",
  physics_given=("masses", "charges", "stiffnesses"),
  fixed_num_particles=True,
)
RECIPE = Recipe(
  train_steps=10_000, batch_size=200, learning_rate=1e-3, schedule="constant"
)


@dataclasses.dataclass(frozen=True)
class Config(dynamics.Settings):
  """Settings; the defaults are the published ones, but for the objective.

  Published: "derivatives", which the true law provides.

  Attributes:
    widths: of the layers.
    activation: a row of `flat_networks.ACTIVATIONS`.
    constants: whether masses and the like are inputs. Published: False.
  """

  widths: tuple[int, ...] = (200, 200)
  activation: str = "tanh"
  constants: bool = False


TESTING = (
  Config(widths=(8,)),
  Config(
    widths=(8, 8), constants=True, objective="derivatives", integrator="euler"
  ),
)


class Simulator(dynamics.Derivative):
  """MLP."""

  def __init__(self, config: Config, problem: Problem):
    super().__init__(config, problem, name="mlp")
    self._config = config
    self._network = None

  def rates(self, structure, state, particles, domain):
    """See base class."""
    batch, n, num_dims = state.position.shape
    if self._network is None:
      outputs = 2 * n * num_dims
      layers = flat_networks.layers(
        self._config.widths, outputs, self._config.activation, final_bias=False
      )
      self._network = flat_networks.FlatNetwork(
        layers, self.problem, self._config.constants
      )
    position = domain.wrap(state.position)
    rates = self._network([position, state.velocity], particles)
    rates = tf.reshape(rates, [batch, 2, n, num_dims])
    return State(*tf.unstack(rates, axis=1))
