"""LGNN: a graph network that learns the Lagrangian.

After Bhattoo, Ranu and Krishnan, "Learning the Dynamics of Particle-based
Systems with Lagrangian Graph Neural Networks" (2022): nodes know their masses,
edges their length; one message pass with residuals,

  h_ij' = s(h_ij + phi_e(h_i + h_j)),  h_i' = s(h_i + phi_v(sum_j h_ij')),

s the squareplus, then L = sum_i T(h_i, v_i^2) - sum_i V_n(h_i') - sum_ij
V_e(h_ij'). With `kinetic=given` T is m v^2 / 2. The Euler-Lagrange equation is
solved in general, Runge-Kutta 4. Trained on accelerations, which the true law
provides. 520 parameters where bodies differ in mass alone.
"""

import dataclasses
from typing import Literal

import sonnet as snt
import tensorflow as tf

from nbody_bench import dynamics, graphs, increments
from nbody_bench.cards import ModelCard
from nbody_bench.flat_networks import layers, squareplus
from nbody_bench.problems import Problem
from nbody_bench.recipes import Recipe

CARD = ModelCard(
  name="LGNN",
  paper="https://arxiv.org/abs/2209.01476",
  division="learned-open",
  physics_given=(
    "masses",
    "charges",
    "stiffnesses",
    "boundaries",
    "lagrangian mechanics",
  ),
  symmetries=("permutation", "reflection", "rotation", "translation"),
)
RECIPE = Recipe(
  train_steps=10_000,
  batch_size=100,
  learning_rate=1e-3,
  schedule="constant",
  clip_norm=1000.0,
)


@dataclasses.dataclass(frozen=True)
class Config(dynamics.Settings):
  """Settings; the defaults are the published ones.

  Attributes:
    objective: a row of `objectives.OBJECTIVES`.
    embedding: width of h_i and h_ij.
    widths: hidden layers of all networks.
    kinetic: "learned" with the rest, or "given".
  """

  objective: str = "accelerations"
  embedding: int = 5
  widths: tuple[int, ...] = (5, 5)
  kinetic: Literal["learned", "given"] = "learned"

  def __post_init__(self):
    super().__post_init__()
    if self.embedding < 1:
      raise ValueError(f"embedding is {self.embedding}; it must be at least 1")


TESTING = (
  Config(kinetic="given", integrator="euler"),
  Config(kinetic="given", objective="states", embedding=3, integrator="euler"),
)


class Simulator(dynamics.Lagrangian):
  """LGNN."""

  def __init__(self, config: Config, problem: Problem):
    super().__init__(config, problem, name="lgnn")

    def network(num_outputs, final_bias=True):
      return layers(config.widths, num_outputs, "squareplus", final_bias)

    self._node_embedding = network(config.embedding)
    self._edge_embedding = network(config.embedding)
    self._edge = network(config.embedding)
    self._node = network(config.embedding)
    # No motion depends on the zero of energy.
    self._node_energy = network(1, final_bias=False)
    self._edge_energy = network(1, final_bias=False)
    self._kinetic = None
    if config.kinetic == "learned":
      self._kinetic = network(1, final_bias=False)

  def lagrangian(self, structure, state, particles, domain):
    """See base class."""
    position, velocity = state
    neighbours = graphs.fully_connected(position, particles)
    displacement = graphs.edge_displacement(position, neighbours, domain)
    squared = tf.reduce_sum(displacement**2, -1, keepdims=True)
    # Two bodies in one place have no direction to be pushed in.
    length = tf.sqrt(tf.maximum(squared, 1e-12))
    constants = increments.constants(self.problem, particles)

    nodes = squareplus(_apply(self._node_embedding, constants))
    edges = squareplus(_apply(self._edge_embedding, length))
    both = nodes[:, :, None] + graphs.sent_by(nodes, neighbours)
    edges = squareplus(edges + _apply(self._edge, both))
    masked = edges
    if neighbours.mask is not None:
      masked *= neighbours.mask[..., None]
    received = tf.reduce_sum(masked, 2)
    updated = squareplus(nodes + _apply(self._node, received))

    of_nodes = -_apply(self._node_energy, updated)[..., 0]
    if self._kinetic is not None:
      speed = tf.reduce_sum(velocity**2, -1, keepdims=True)
      inputs = tf.concat([nodes, speed], -1)
      of_nodes += _apply(self._kinetic, inputs)[..., 0]
    of_edges = _apply(self._edge_energy, edges)[..., 0]
    if neighbours.mask is not None:
      of_nodes *= particles.mask
      of_edges *= neighbours.mask
    total = tf.reduce_sum(of_nodes, 1) - tf.reduce_sum(of_edges, [1, 2])
    if self._kinetic is None:
      total += dynamics.kinetic_energy(velocity, particles)
    return total


def _apply(network: snt.Module, values):
  """Returns `network` of the last axis."""
  flat = network(tf.reshape(values, [-1, values.shape[-1]]))
  return tf.reshape(flat, [*values.shape[:-1], flat.shape[-1]])
