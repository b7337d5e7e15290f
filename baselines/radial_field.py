"""RF: radial fields, which know distances and nothing else.

Koehler, Klein and Noe, "Equivariant Flows: Sampling Configurations for
Multi-Body Systems with Symmetric Energies" (2019), in the form with velocities
that Satorras, Hoogeboom and Welling, "E(n) Equivariant Graph Neural Networks"
(2021) compare with: four layers of width 64 that move bodies along their
differences and their velocities, by functions of one distance and of one speed.
Nothing passes between nodes but their positions. 2,052 parameters, as
published.
"""

import dataclasses

import sonnet as snt
import tensorflow as tf

from nbody_bench import geometry, jumps, networks
from nbody_bench.arrays import Array
from nbody_bench.cards import ModelCard
from nbody_bench.geometry import Edges
from nbody_bench.problems import Problem
from nbody_bench.recipes import Recipe
from nbody_bench.states import Domain, State

CARD = ModelCard(
  name="RF",
  paper="https://arxiv.org/abs/1910.00753",
  division="learned-closed",
  physics_given=("masses", "charges", "stiffnesses", "boundaries"),
  symmetries=("permutation", "reflection", "rotation", "translation"),
)
RECIPE = Recipe(
  train_steps=300_000, batch_size=100, learning_rate=2e-4, schedule="constant"
)


@dataclasses.dataclass(frozen=True)
class Config:
  """Settings; the defaults are the published ones.

  Attributes:
    num_layers: L.
    width: of all hidden layers.
  """

  num_layers: int = 4
  width: int = 64

  def __post_init__(self):
    if min(self.num_layers, self.width) < 1:
      raise ValueError(
        f"num_layers and width must be >= 1, got {self.num_layers} and "
        f"{self.width}"
      )


# With random weights a step moves bodies by about the square of their speed:
# rolled out they leave to where nothing can be compared. Of one unit each, the
# layers do not.
TESTING = (Config(num_layers=2, width=1),)


class Simulator(jumps.JumpSimulator):
  """RF."""

  def __init__(self, config: Config, problem: Problem):
    super().__init__(name="radial_field")
    self._problem = problem
    self._layers = [
      RadialLayer(config.width, name=f"layer_{i}")
      for i in range(config.num_layers)
    ]

  def jump(self, state, particles, domain):
    """See base class."""
    edges = geometry.edges(self._problem, state.position, particles)
    apart = geometry.displacement(state.position, edges, domain)
    squared = tf.reduce_sum(apart**2, -1, keepdims=True)
    told = tf.concat([edges.features, squared], -1)
    for layer in self._layers:
      position = layer(state, edges, told, domain)
      state = State(position, state.velocity)
    return state.position


class RadialLayer(snt.Module):
  """One move of all bodies, `a_ij` being what edges are told.

  x_i += mean_j x_ij tanh edge [|x_ij|, a_ij] + velocity(|v_i|) v_i
  """

  def __init__(self, width: int, name: str):
    super().__init__(name=name)
    self.edge = snt.Sequential(
      [
        networks.Linear(width, name="linear_0"),
        tf.nn.silu,
        networks.SmallLinear(1, name="linear_1"),
      ],
      name="edge",
    )
    self.velocity = networks.mlp([width, 1], tf.nn.silu, name="velocity")

  def __call__(
    self, state: State, edges: Edges, told: Array, domain: Domain
  ) -> Array:
    """Returns the next positions `[B, N, D]`.

    Args:
      state: the present positions, and the velocities at the start.
      edges: who acts on whom.
      told: features of edges beside the geometry, `[B, N, K, F]`.
      domain: box `[B, D]`.
    """
    apart = geometry.displacement(state.position, edges, domain)
    strength = self.edge(tf.concat([geometry.length(apart), told], -1))
    # Without tanh training diverges (Satorras et al.): nothing else keeps a
    # body from being moved further than the others are away.
    shift = geometry.mean(apart * tf.tanh(strength), edges)
    speed = geometry.length(state.velocity)
    return state.position + shift + self.velocity(speed) * state.velocity
