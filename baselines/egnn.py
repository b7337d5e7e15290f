"""EGNN: E(n)-equivariant graph network, in three readings.

Satorras, Hoogeboom and Welling, "E(n) Equivariant Graph Neural Networks"
(2021): four layers of width 64 that move positions along differences and
velocities, scalars beginning as the speed, edges told the product of charges
and the squared distance. What it predicts is the position one frame on: trained
on one long frame it jumps (as published), on several it is rolled out (EGNN-R).
With `reading=sequence` frame p is read after layer p (EGNN-S, Xu et al. 2024).
121,604 parameters: the published 134,020 less the last node network, which
nothing reads.
"""

import dataclasses
from typing import Literal

import tensorflow as tf

from nbody_bench import geometry, jumps, networks
from nbody_bench.cards import ModelCard
from nbody_bench.egnn_layers import EquivariantLayer, Nodes
from nbody_bench.problems import Problem
from nbody_bench.recipes import Recipe

CARD = ModelCard(
  name="EGNN",
  paper="https://arxiv.org/abs/2102.09844",
  division="learned-closed",
  physics_given=("masses", "charges", "stiffnesses", "boundaries"),
  symmetries=("permutation", "reflection", "rotation", "translation"),
)
RECIPE = Recipe(
  train_steps=300_000, batch_size=100, learning_rate=5e-4, schedule="constant"
)


@dataclasses.dataclass(frozen=True)
class Config:
  """Settings; the defaults are the published ones.

  Attributes:
    reading: "step" for the position one frame on, after the last layer;
      "sequence" for those of several, one after each layer.
    num_layers: L.
    width: of all hidden layers.
    num_frames: that are predicted at once in training, with "sequence": L at
      most, which 0 stands for.
  """

  reading: Literal["step", "sequence"] = "step"
  num_layers: int = 4
  width: int = 64
  num_frames: int = 0

  def __post_init__(self):
    if min(self.num_layers, self.width) < 1:
      raise ValueError(
        f"num_layers and width must be >= 1, got {self.num_layers} and "
        f"{self.width}"
      )
    if not 0 <= self.num_frames <= self.num_layers:
      raise ValueError(
        f"num_frames is {self.num_frames}; frames are read after layers, so it "
        f"must be at most num_layers, {self.num_layers}"
      )


TESTING = (
  Config(width=16, num_layers=2),
  Config(width=16, num_layers=3, num_frames=2, reading="sequence"),
)


class Simulator(jumps.JumpSimulator):
  """EGNN."""

  def __init__(self, config: Config, problem: Problem):
    super().__init__(name="egnn")
    self._config = config
    self._problem = problem
    self._embedding = networks.mlp([config.width], name="embedding")
    self._layers = [
      EquivariantLayer(
        config.width,
        residual=True,
        last=i == config.num_layers - 1,
        name=f"layer_{i}",
      )
      for i in range(config.num_layers)
    ]
    if config.reading == "sequence":
      self.window_length = (config.num_frames or config.num_layers) + 1

  def jump(self, state, particles, domain):
    """See base class."""
    return self._positions(state, particles, domain)[-1]

  def predict(self, state, particles, domain, times):
    """See base class."""
    if self._config.reading == "step":
      return super().predict(state, particles, domain, times)
    return jumps.predict_in_parts(
      self._read, len(self._layers), state, particles, domain, times
    )

  def loss(self, window):
    """See base class."""
    if self._config.reading == "step":
      return super().loss(window)
    return jumps.position_loss(self, window)

  def _read(self, state, particles, domain, times):
    """Returns positions after layers, the last one's last, `[B, P, N, D]`."""
    found = self._positions(state, particles, domain)
    count = times.shape[0]
    layers = [-(-(p + 1) * len(found) // count) - 1 for p in range(count)]
    return tf.stack([found[i] for i in layers], 1)

  def _positions(self, state, particles, domain):
    """Returns the positions after each layer."""
    edges = geometry.edges(self._problem, state.position, particles)
    apart = geometry.displacement(state.position, edges, domain)
    squared = tf.reduce_sum(apart**2, -1, keepdims=True)
    told = tf.concat([edges.features, squared], -1)
    scalars = self._embedding(geometry.scalars(self._problem, state, particles))
    nodes, positions = Nodes(*state, scalars), []
    for layer in self._layers:
      nodes = layer(nodes, edges, told, domain)
      positions.append(nodes.position)
    return positions
