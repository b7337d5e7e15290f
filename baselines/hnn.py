"""HNN: a multilayer perceptron that learns the Hamiltonian.

Greydanus, Dzamba and Yosinski, "Hamiltonian Neural Networks" (2019): two layers
of 200 tanh units from (q, p) to two outputs, of which the second is H;
q' = dH/dp, p' = -dH/dq, Runge-Kutta 4. Trained on q' and p' themselves with
`objective=derivatives`, as published, or on what a step leads to. It knows a
number of particles, and takes no other. 42,200 parameters for two bodies in the
plane: the published 42,400 less an output that nothing reads.
"""

import dataclasses

import tensorflow as tf

from nbody_bench import dynamics, flat_networks
from nbody_bench.cards import ModelCard
from nbody_bench.problems import Problem
from nbody_bench.recipes import Recipe

CARD = ModelCard(
  name="HNN",
  paper="https://arxiv.org/abs/1906.01563",
  division="learned-closed",
  physics_given=(
    "masses",
    "charges",
    "stiffnesses",
    "hamiltonian mechanics",
  ),
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
  Config(widths=(8, 8)),
  Config(widths=(8, 8), constants=True, objective="derivatives"),
)


class Simulator(dynamics.Hamiltonian):
  """HNN."""

  def __init__(self, config: Config, problem: Problem):
    super().__init__(config, problem, name="hnn")
    layers = flat_networks.layers(
      config.widths, 1, config.activation, final_bias=False
    )
    self._network = flat_networks.FlatNetwork(layers, problem, config.constants)

  def hamiltonian(self, structure, state, particles, domain):
    """See base class."""
    phase = [domain.wrap(state.position), state.velocity]
    return tf.squeeze(self._network(phase, particles), 1)
