"""MCLNN: a Lagrangian network of pairs, which conserves momentum.

"Momentum Conserving Lagrangian Neural Networks" (2021): with
L = sum m v^2 / 2 - sum_{i<j} V(r_ij), one small network V(r) with squareplus
for all pairs, the Euler-Lagrange equation collapses to m v' = -dV/dq. Leapfrog;
trained on the positions of the following 19 frames. As V depends on distances
alone, linear and angular momentum are conserved for any number of bodies. 140
parameters: the published 141 less a constant that no motion depends on.
"""

import dataclasses

import tensorflow as tf

from nbody_bench import dynamics, flat_networks, graphs
from nbody_bench.cards import ModelCard
from nbody_bench.problems import Problem
from nbody_bench.recipes import Recipe

CARD = ModelCard(
  name="MCLNN",
  division="learned-closed",
  physics_given=(
    "masses",
    "boundaries",
    "kinetic energy",
    "pair potential",
    "lagrangian mechanics",
  ),
  symmetries=("permutation", "reflection", "rotation", "translation"),
)
RECIPE = Recipe(
  train_steps=100_000, batch_size=100, learning_rate=1e-3, schedule="constant"
)


@dataclasses.dataclass(frozen=True)
class Config(dynamics.Settings):
  """Settings; the defaults are the published ones.

  Attributes:
    integrator: a row of `integrators.INTEGRATORS`.
    objective: a row of `objectives.OBJECTIVES`.
    horizon: frames predicted in training.
    widths: of the layers of V(r).
    activation: a row of `flat_networks.ACTIVATIONS`.
  """

  integrator: str = "leapfrog"
  objective: str = "positions"
  horizon: int = 19
  widths: tuple[int, ...] = (10, 10)
  activation: str = "squareplus"


TESTING = (
  Config(widths=(4, 4), horizon=3),
  Config(widths=(4,), horizon=1, integrator="rk4", likelihood=True),
)


class Simulator(dynamics.Potential):
  """MCLNN."""

  def __init__(self, config: Config, problem: Problem):
    super().__init__(config, problem, name="mclnn")
    self._pair = flat_networks.layers(
      config.widths, 1, config.activation, final_bias=False
    )

  def pair_potential(self, distance):
    """Returns V(r) of distances `[...]`, up to a constant."""
    return tf.reshape(
      self._pair(tf.reshape(distance, [-1, 1])), tf.shape(distance)
    )

  def potential(self, structure, position, particles, domain):
    """See base class."""
    neighbours = graphs.fully_connected(position, particles)
    displacement = graphs.edge_displacement(position, neighbours, domain)
    squared = tf.reduce_sum(displacement**2, -1)
    # Two bodies in one place have no direction to be pushed in.
    distance = tf.sqrt(tf.maximum(squared, 1e-12))
    energy = self.pair_potential(distance)
    if neighbours.mask is not None:
      energy *= neighbours.mask
    return 0.5 * tf.reduce_sum(energy, [1, 2])  # each pair is listed twice
