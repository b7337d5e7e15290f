"""Layers of the Tensor Field Network and of the SE(3)-Transformer.

Thomas et al. (2018) and Fuchs et al. (2020), in the form of the latter's code.
Features are `steerable.Features` of particles, `[B, N, 2l + 1, C]`.
"""

from collections.abc import Mapping

import sonnet as snt
import tensorflow as tf

from nbody_bench import geometry, steerable
from nbody_bench.networks import UniformFanIn
from nbody_bench.problems import Problem
from nbody_bench.se3_kernels import EdgeBasis, Kernel
from nbody_bench.states import Particles, State
from nbody_bench.steerable import Features


def inputs(problem: Problem, state: State, particles: Particles) -> Features:
  """Returns the law's source, what else is told (no speed), the velocity."""
  source = getattr(particles, problem.system.source)[..., None]
  told = geometry.scalars(problem, state, particles)[..., 1:]
  scalars = tf.concat([source, told], -1)
  velocity = geometry.in_space(state.velocity)
  return {0: scalars[:, :, None], 1: velocity[..., None]}


class Mixing(snt.Module):
  """A linear map of the channels of each degree: self-interaction.

  Drawn from a normal distribution of variance 1 / fan in, as published.
  """

  def __init__(self, widths: Mapping[int, int], name: str = "mixing"):
    """Makes the layer.

    Args:
      widths: channels of the result, by degree.
      name: of the module.
    """
    super().__init__(name=name)
    self._widths = dict(widths)

  @snt.once
  def _initialize(self, channels, dtype):
    self.weights = {
      str(degree): tf.Variable(
        tf.random.normal([width, self._widths[degree]], 0, width**-0.5, dtype),
        name=f"degree_{degree}/w",
      )
      for degree, width in channels.items()
    }

  def __call__(self, features: Features) -> Features:
    """Maps those degrees that the result is to have and the features do."""
    features = {d: x for d, x in features.items() if d in self._widths}
    channels = {d: x.shape[-1] for d, x in features.items()}
    self._initialize(channels, next(iter(features.values())).dtype)
    return {
      d: tf.tensordot(x, self.weights[str(d)], 1) for d, x in features.items()
    }


class Convolution(snt.Module):
  """The mean of the messages plus self-interaction."""

  def __init__(self, widths: Mapping[int, int], radial_width: int, name: str):
    """Makes the layer.

    Args:
      widths: channels of the result, by degree.
      radial_width: of the hidden layers of the radial networks.
      name: of the module.
    """
    super().__init__(name=name)
    self.kernel = Kernel(widths, radial_width)
    self.mixing = Mixing(widths)

  def __call__(self, features: Features, basis: EdgeBasis) -> Features:
    """Maps features `[B, N, 2l + 1, C]`."""
    _, sent = steerable.ends(features, basis.edges)
    messages = self.kernel(sent, basis)
    found = steerable.gathered(geometry.mean, messages, basis.edges)
    own = self.mixing(features)
    return {d: x + own[d] if d in own else x for d, x in found.items()}


class NormNonlinearity(snt.Module):
  """Acts on the lengths of features and keeps their directions.

  Layer normalisation of the lengths over channels, ReLU, and where asked for a
  linear layer.
  """

  def __init__(self, *, linear: bool, name: str):
    """Makes the layer.

    Args:
      linear: whether a linear layer is the last part.
      name: of the module.
    """
    super().__init__(name=name)
    self._linear = linear

  @snt.once
  def _initialize(self, channels):
    self.norms, self.layers = {}, {}
    for degree, width in channels.items():
      name, draw = f"degree_{degree}", UniformFanIn(width)
      self.norms[str(degree)] = snt.LayerNorm(
        -1, create_scale=True, create_offset=True, name=f"{name}_norm"
      )
      if self._linear:
        self.layers[str(degree)] = snt.Linear(
          width, w_init=draw, b_init=draw, name=f"{name}_linear"
        )

  def __call__(self, features: Features) -> Features:
    """Maps features `[B, N, 2l + 1, C]`."""
    self._initialize({d: x.shape[-1] for d, x in features.items()})
    found = {}
    for degree, x in features.items():
      squared = tf.reduce_sum(x**2, -2)
      is_zero = squared < 1e-24
      # Selected twice: the root has no gradient at zero, even where not
      # selected.
      length = tf.sqrt(tf.where(is_zero, tf.ones_like(squared), squared))
      new = tf.where(is_zero, tf.zeros_like(length), length)
      new = tf.nn.relu(self.norms[str(degree)](new))
      if self._linear:
        new = self.layers[str(degree)](new)
      scale = tf.where(is_zero, tf.zeros_like(new), new / length)
      found[degree] = x * scale[..., None, :]
    return found
