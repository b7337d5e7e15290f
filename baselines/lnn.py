"""LNN: a multilayer perceptron that learns the Lagrangian.

Cranmer et al., "Lagrangian Neural Networks" (2020): two layers of 128 softplus
units from (q, v) to L, the Euler-Lagrange equation solved for the acceleration,
Runge-Kutta 4. With `kinetic=given` the network learns V(q) alone and
L = sum m v^2 / 2 - V, the baseline of the momentum-conserving paper. It knows a
number of particles, and takes no other. 17,281 parameters for two degrees of
freedom.

As published it is trained on accelerations, which the true law provides. Not as
published: layers start orthogonal, not from normal draws that the depth widens,
and the mass matrix is solved for, not pseudo-inverted.
"""

import dataclasses
from typing import Literal

import tensorflow as tf

from nbody_bench import dynamics, flat_networks
from nbody_bench.cards import ModelCard
from nbody_bench.problems import Problem
from nbody_bench.recipes import Recipe

CARD = ModelCard(
  name="LNN",
  paper="https://arxiv.org/abs/2003.04630",
  physics_given=(
    "masses",
    "charges",
    "stiffnesses",
    "lagrangian mechanics",
  ),
  fixed_num_particles=True,
)
RECIPE = Recipe(
  train_steps=100_000,
  batch_size=100,
  learning_rate=1e-3,
  schedule="steps",
  boundaries=(33_333, 66_667),
)


@dataclasses.dataclass(frozen=True)
class Config(dynamics.Settings):
  """Settings; the defaults are the published ones.

  Attributes:
    objective: a row of `objectives.OBJECTIVES`.
    widths: of the layers.
    activation: a row of `flat_networks.ACTIVATIONS`.
    kinetic: "learned" with the rest, or "given".
    constants: whether masses and the like are inputs. Published: False.
  """

  objective: str = "accelerations"
  widths: tuple[int, ...] = (128, 128)
  activation: str = "softplus"
  kinetic: Literal["learned", "given"] = "learned"
  constants: bool = False


TESTING = (
  Config(widths=(8, 8), kinetic="given", integrator="euler"),
  Config(
    widths=(8, 8),
    kinetic="given",
    constants=True,
    objective="states",
    integrator="euler",
  ),
)


class Simulator(dynamics.Lagrangian):
  """LNN."""

  def __init__(self, config: Config, problem: Problem):
    super().__init__(config, problem, name="lnn")
    self._kinetic = config.kinetic
    layers = flat_networks.layers(
      config.widths,
      1,
      config.activation,
      final_bias=config.kinetic == "learned",
    )
    self._network = flat_networks.FlatNetwork(layers, problem, config.constants)

  def lagrangian(self, structure, state, particles, domain):
    """See base class."""
    position = domain.wrap(state.position)
    if self._kinetic == "learned":
      inputs = [position, state.velocity]
      return tf.squeeze(self._network(inputs, particles), 1)
    potential = tf.squeeze(self._network([position], particles), 1)
    return dynamics.kinetic_energy(state.velocity, particles) - potential
