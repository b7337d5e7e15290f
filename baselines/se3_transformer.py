"""SE(3)-Transformer: attention with steerable kernels.

Fuchs et al. (2020), for charged bodies in the setting of Satorras, Hoogeboom
and Welling (2021), who compare with it: charges and velocities go through four
blocks of attention (one head, no skip connections) with norm nonlinearities,
features of degrees 0 to 2 with 21 channels each, and a convolution to the
vector that, times a learned number, is added to the position. What it predicts
is the position one frame on.
"""

import dataclasses
from collections.abc import Mapping

import sonnet as snt
import tensorflow as tf

from nbody_bench import geometry, jumps, se3_kernels, se3_layers, steerable
from nbody_bench.cards import ModelCard
from nbody_bench.problems import Problem
from nbody_bench.recipes import Recipe
from nbody_bench.se3_kernels import EdgeBasis, Kernel
from nbody_bench.steerable import Features

CARD = ModelCard(
  name="SE(3)-Transformer",
  paper="https://arxiv.org/abs/2006.10503",
  division="learned-closed",
  physics_given=("masses", "charges", "stiffnesses", "boundaries"),
  symmetries=("permutation", "rotation", "translation"),
)
RECIPE = Recipe(
  train_steps=300_000, batch_size=100, learning_rate=5e-3, schedule="constant"
)


@dataclasses.dataclass(frozen=True)
class Config:
  """Settings; the defaults are the published ones.

  Attributes:
    num_layers: blocks of attention, before the convolution.
    num_degrees: of the features between them, from 0 on.
    channels: of each degree, also of keys.
    radial_width: of the hidden layers of the radial networks.
    output_scale: of the vector that is added to the position, at first.
  """

  num_layers: int = 4
  num_degrees: int = 3
  channels: int = 21
  radial_width: int = 32
  output_scale: float = 0.01

  def __post_init__(self):
    for name, least in (
      ("num_layers", 1),
      ("num_degrees", 2),
      # Layer normalisation leaves nothing of one number.
      ("channels", 2),
      ("radial_width", 2),
    ):
      if getattr(self, name) < least:
        raise ValueError(
          f"{name} is {getattr(self, name)}; it must be >= {least}"
        )


TESTING = (
  Config(num_layers=2, num_degrees=2, channels=4, radial_width=8),
  Config(num_layers=1, channels=4, radial_width=4),
)


class Simulator(jumps.JumpSimulator):
  """SE(3)-Transformer."""

  def __init__(self, config: Config, problem: Problem):
    super().__init__(name="se3_transformer")
    self._config = config
    self._problem = problem
    widths = dict.fromkeys(range(config.num_degrees), config.channels)
    self._blocks = [
      (
        Attention(widths, config.radial_width, name=f"attention_{i}"),
        se3_layers.NormNonlinearity(linear=False, name=f"norm_{i}"),
      )
      for i in range(config.num_layers)
    ]
    self._last = se3_layers.Convolution(
      {1: 1}, config.radial_width, name="last"
    )

  @snt.once
  def _initialize(self, dtype):
    self._scale = tf.Variable(
      tf.constant(self._config.output_scale, dtype), name="output_scale"
    )

  def jump(self, state, particles, domain):
    """See base class."""
    self._initialize(state.position.dtype)
    edges = geometry.edges(self._problem, state.position, particles)
    apart = geometry.displacement(state.position, edges, domain)
    basis = se3_kernels.edge_basis(
      geometry.in_space(apart), edges, self._config.num_degrees
    )
    features = se3_layers.inputs(self._problem, state, particles)
    for attention, norm in self._blocks:
      features = norm(attention(features, basis))
    (shift,) = self._last(features, basis).values()
    shift = self._scale * shift[:, :, : state.position.shape[-1], 0]
    return state.position + shift


class Attention(snt.Module):
  """Messages weighted by how their keys suit the receiver's query; one head."""

  def __init__(self, widths: Mapping[int, int], radial_width: int, name: str):
    """Makes the layer.

    Args:
      widths: channels of the result, by degree.
      radial_width: of the hidden layers of the radial networks.
      name: of the module.
    """
    super().__init__(name=name)
    self._widths = dict(widths)
    self._radial_width = radial_width
    self.value = Kernel(widths, radial_width, name="value")
    self.query = se3_layers.Mixing(widths, name="query")

  @snt.once
  def _initialize(self, degrees):
    # A query has no other degrees than the features have.
    widths = {d: self._widths[d] for d in degrees}
    self.key = Kernel(widths, self._radial_width, name="key")

  def __call__(self, features: Features, basis: EdgeBasis) -> Features:
    """Maps features `[B, N, 2l + 1, C]`."""
    self._initialize(sorted(features))
    _, sent = steerable.ends(features, basis.edges)
    weight = self._weight(features, sent, basis)[..., None, None]
    messages = {d: weight * x for d, x in self.value(sent, basis).items()}
    return steerable.gathered(geometry.total, messages, basis.edges)

  def _weight(self, features, sent, basis):
    """Returns the softmax over a receiver's edges, `[B, N, K]`."""
    keys, queries = self.key(sent, basis), self.query(features)
    score = tf.add_n(
      [
        tf.reduce_sum(key * queries[degree][:, :, None], [-2, -1])
        for degree, key in keys.items()
      ]
    )
    size = sum(key.shape[-2] * key.shape[-1] for key in keys.values())
    is_edge = basis.edges.mask[..., 0] > 0
    lowest = tf.fill(score.shape, tf.constant(score.dtype.min, score.dtype))
    return tf.nn.softmax(tf.where(is_edge, score / size**0.5, lowest))
