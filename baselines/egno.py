"""EGNO: equivariant graph neural operator, which predicts a trajectory at once.

Xu et al., "Equivariant Graph Neural Operator for Modeling 3D Dynamics" (2024):
the initial state, repeated for each of P output frames and told its place by an
embedding, goes through L blocks of a convolution in time, on the lowest Fourier
modes, and an EGNN layer that all frames share. `convolution` names what the
first acts on: all three as published, fewer for its ablations, none for the
embedding alone. 189,256 parameters: the published 201,672 less the last node
network, which nothing reads.
"""

import dataclasses
from typing import Literal

import sonnet as snt
import tensorflow as tf

from nbody_bench import geometry, jumps, networks
from nbody_bench.cards import ModelCard
from nbody_bench.egnn_layers import EquivariantLayer, Nodes
from nbody_bench.geometry import Edges
from nbody_bench.problems import Problem
from nbody_bench.recipes import Recipe
from nbody_bench.states import map_arrays
from nbody_bench.temporal import TemporalConvolution, embedding

CARD = ModelCard(
  name="EGNO",
  paper="https://arxiv.org/abs/2401.11037",
  division="learned-closed",
  physics_given=("masses", "charges", "stiffnesses", "boundaries"),
  symmetries=("permutation", "reflection", "rotation", "translation"),
)
RECIPE = Recipe(
  train_steps=150_000, batch_size=100, learning_rate=1e-4, schedule="constant"
)


@dataclasses.dataclass(frozen=True)
class Config:
  """Settings; the defaults are the published ones for charges.

  Attributes:
    num_frames: P of the training; any other can be predicted.
    num_modes: I, of the lowest, with which the convolution is learned.
    convolution: on which of h (scalars), x (positions), v (velocities), such as
      "hxv"; empty for none.
    num_layers: L.
    width: of all hidden layers.
    embedding: whether a frame is told its "index" (published) or its "time", in
      units of the data set's, which means the same with another P.
    embedding_width: of it.
  """

  num_frames: int = 5
  num_modes: int = 2
  convolution: str = "hxv"
  num_layers: int = 4
  width: int = 64
  embedding: Literal["index", "time"] = "index"
  embedding_width: int = 32

  def __post_init__(self):
    for name in ("num_frames", "num_modes", "num_layers", "width"):
      if getattr(self, name) < 1:
        raise ValueError(f"{name} is {getattr(self, name)}; it must be >= 1")
    if self.embedding_width < 4 or self.embedding_width % 2:
      raise ValueError(
        f"embedding_width is {self.embedding_width}; it must be even, 4 or more"
      )
    if set(self.convolution) - {"h", "x", "v"}:
      raise ValueError(
        f"convolution is {self.convolution!r}; it may have h, x and v"
      )


_SMALL = Config(num_frames=2, num_layers=2, width=8, embedding_width=4)
TESTING = (
  _SMALL,
  dataclasses.replace(_SMALL, convolution="x", embedding="time"),
)


class Simulator(jumps.SequenceSimulator):
  """EGNO."""

  def __init__(self, config: Config, problem: Problem):
    super().__init__(config.num_frames, name="egno")
    self._config = config
    self._problem = problem
    self._embedding = networks.mlp([config.width], name="embedding")
    self._blocks = [
      Block(config, last=i == config.num_layers - 1, name=f"block_{i}")
      for i in range(config.num_layers)
    ]

  def sequence(self, state, particles, domain, times):
    """See base class."""
    return self.trajectory(state, particles, domain, times).position

  def trajectory(self, state, particles, domain, times) -> Nodes:
    """Returns positions and velocities of all frames, `[B, P, N, D]`.

    Velocities are what the network holds; nothing trains them as such.
    """
    batch, n, num_dims = state.position.shape
    count = times.shape[0]
    place = tf.range(count, dtype=times.dtype)
    if self._config.embedding == "time":
      place = times / self._problem.time_step
    told = embedding(place, self._config.embedding_width)
    told = tf.broadcast_to(
      told[None, :, None], [batch, count, n, told.shape[-1]]
    )

    def repeat(x):
      return tf.repeat(x, count, axis=0)

    edges = geometry.edges(self._problem, state.position, particles)
    apart = geometry.displacement(state.position, edges, domain)
    squared = tf.reduce_sum(apart**2, -1, keepdims=True)
    origin = state.position - geometry.centred(
      state.position, particles, domain
    )
    scalars = repeat(geometry.scalars(self._problem, state, particles))
    told = tf.reshape(told, [batch * count, n, told.shape[-1]])
    scalars = self._embedding(tf.concat([scalars, told], -1))
    attributes = repeat(tf.concat([edges.features, squared], -1))
    edges, domain = map_arrays(repeat, (edges, domain))
    nodes = Nodes(repeat(state.position), repeat(state.velocity), scalars)
    for block in self._blocks:
      nodes = block(nodes, repeat(origin), count, edges, attributes, domain)
    shape = [batch, count, n, num_dims]
    position, velocity = (tf.reshape(x, shape) for x in nodes[:2])
    return Nodes(position, velocity, None)


class Block(snt.Module):
  """Convolution in time, then a layer in space."""

  def __init__(self, config: Config, last: bool, name: str):
    super().__init__(name=name)
    on = config.convolution
    self.scalars = self.vectors = None
    if "h" in on:
      self.scalars = TemporalConvolution(config.num_modes, name="scalars")
    self._on = [k for k in ("x", "v") if k in on]
    if self._on:
      self.vectors = TemporalConvolution(
        config.num_modes, scale=0.1, name="vectors"
      )
    self.layer = EquivariantLayer(
      config.width, residual=False, last=last, name="layer"
    )

  def __call__(self, nodes, origin, count, edges: Edges, attributes, domain):
    """Returns the next `Nodes`, `[B P, N, ...]`."""
    position, velocity, scalars = nodes
    if self.scalars:
      update = _along_time(self.scalars, scalars, count)
      scalars += tf.nn.leaky_relu(update, 0.01)
    if self.vectors:
      values = {"x": position - origin, "v": velocity}
      channels = tf.stack([values[k] for k in self._on], -1)
      channels += _along_time(self.vectors, channels, count)
      values |= dict(zip(self._on, tf.unstack(channels, axis=-1), strict=True))
      position, velocity = values["x"] + origin, values["v"]
    return self.layer(
      Nodes(position, velocity, scalars), edges, attributes, domain
    )


def _along_time(convolution, x, count):
  """Returns the convolution of `[B P, ..., F]`, of the same shape."""
  flat = tf.reshape(x, [x.shape[0] // count, count, -1, x.shape[-1]])
  return tf.reshape(convolution(flat), x.shape)
