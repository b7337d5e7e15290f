"""Kernels of the Tensor Field Network and of the SE(3)-Transformer.

Thomas et al. (2018) and Fuchs et al. (2020), in the form of the latter's code:
a message is the sender's features times a kernel, whose dependence on the
direction of the edge is fixed by equivariance and that on its length learned.
Features are `steerable.Features`. Unlike products of `steerable`, kernels use
all couplings, cross products too: rotations are kept, reflections are not.
"""

import functools
import itertools
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import sonnet as snt
import tensorflow as tf

from nbody_bench import geometry, spherical
from nbody_bench.arrays import Array
from nbody_bench.geometry import Edges
from nbody_bench.networks import UniformFanIn
from nbody_bench.steerable import Features


class EdgeBasis(NamedTuple):
  """What kernels know of edges.

  Attributes:
    edges: who acts on whom.
    distance: `[B, N, K, 1]`.
    angular: by degrees i of the sender's and o of the receiver's features,
      `[B, N, K, (2o + 1) F, 2i + 1]`, F = 2 min(i, o) + 1 the number of ways
      to couple them.
  """

  edges: Edges
  distance: Array
  angular: dict[tuple[int, int], Array]


def edge_basis(apart: Array, edges: Edges, num_degrees: int) -> EdgeBasis:
  """Returns the basis for features of degrees below `num_degrees`.

  Args:
    apart: positions of receivers less those of senders, `[B, N, K, 3]`.
    edges: who acts on whom.
    num_degrees: of the features; harmonics up to twice the highest are used.
  """
  # Published with the Condon-Shortley sign and -y for the polar axis: together
  # a factor (-1)^l, which is what the opposite direction gives.
  values = spherical.harmonics(-apart, 2 * num_degrees - 2, "integral")
  joined = tf.concat(values, -1)
  angular = {}
  for i, o in itertools.product(range(num_degrees), repeat=2):
    tensor = tf.constant(_couplings(i, o, joined.shape[-1]), apart.dtype)
    ways = (2 * o + 1) * (2 * min(i, o) + 1)
    shape = [*apart.shape[:-1], ways, 2 * i + 1]
    angular[i, o] = tf.reshape(tf.tensordot(joined, tensor, 1), shape)
  return EdgeBasis(edges, geometry.length(apart), angular)


@functools.cache
def _couplings(i, o, size):
  """Returns all couplings of two degrees, `[size, (2o + 1) F (2i + 1)]`.

  The rows are harmonics, `size` of them from degree 0 on.
  """
  degrees = range(abs(i - o), i + o + 1)
  tensor = np.zeros((size, 2 * o + 1, len(degrees), 2 * i + 1))
  for f, degree in enumerate(degrees):
    coupling = spherical.coupling(o, i, degree)
    tensor[degree**2 : (degree + 1) ** 2, :, f] = np.moveaxis(coupling, -1, 0)
  return tensor.reshape(size, -1)


class RadialNetworks(snt.Module):
  """Networks of the distance, one for each of several kernels.

  Two hidden layers with layer normalisation and ReLU. Their products are taken
  together, as there are many and they are small.
  """

  def __init__(self, sizes: list[int], width: int, name: str = "radial"):
    """Makes the networks.

    Args:
      sizes: numbers of their outputs.
      width: of the hidden layers.
      name: of the module.
    """
    super().__init__(name=name)
    self._sizes = sizes
    self._width = width

  @snt.once
  def _initialize(self, dtype):
    count, width = len(self._sizes), self._width
    self.hidden = []
    for i, fan_in in enumerate((1, width)):
      shape, norm = [count, 1, width], f"layer_norm_{i}"
      self.hidden.append(
        (
          *_linear([count, fan_in, width], shape, f"linear_{i}", dtype),
          tf.Variable(tf.ones(shape, dtype), name=f"{norm}/scale"),
          tf.Variable(tf.zeros(shape, dtype), name=f"{norm}/offset"),
        )
      )
    self.last = [
      _linear([width, size], [size], f"linear_2_{i}", dtype)
      for i, size in enumerate(self._sizes)
    ]

  def __call__(self, distance: Array) -> list[Array]:
    """Maps `[..., 1]` to `[E, size]` for each size, E the product of `...`."""
    self._initialize(distance.dtype)
    x = tf.reshape(distance, [1, -1, 1])
    for weights, bias, scale, offset in self.hidden:
      x = tf.matmul(x, weights) + bias
      mean, variance = tf.nn.moments(x, -1, keepdims=True)
      x = (x - mean) * tf.math.rsqrt(variance + 1e-5)
      x = tf.nn.relu(x * scale + offset)
    return [
      tf.matmul(y, weights) + bias
      for y, (weights, bias) in zip(tf.unstack(x), self.last, strict=True)
    ]


def _linear(shape, bias_shape, name, dtype):
  """Returns weights for ReLU (He et al. 2015), as published, and biases."""
  fan_in = shape[-2]
  bound = (6 / fan_in) ** 0.5
  return (
    tf.Variable(
      tf.random.uniform(shape, -bound, bound, dtype), name=f"{name}/w"
    ),
    tf.Variable(UniformFanIn(fan_in)(bias_shape, dtype), name=f"{name}/b"),
  )


class Kernel(snt.Module):
  """Messages along edges: kernels times the sender's features, summed."""

  def __init__(
    self, widths: Mapping[int, int], radial_width: int, name: str = "kernel"
  ):
    """Makes the kernels.

    Args:
      widths: channels of the messages, by degree.
      radial_width: of the hidden layers of the radial networks.
      name: of the module.
    """
    super().__init__(name=name)
    self._widths = dict(widths)
    self._radial_width = radial_width

  @snt.once
  def _initialize(self, channels):
    self.pairs = [(i, o) for i in channels for o in self._widths]
    sizes = [
      (2 * min(i, o) + 1) * channels[i] * self._widths[o] for i, o in self.pairs
    ]
    self.radial = RadialNetworks(sizes, self._radial_width)

  def __call__(self, sent: Features, basis: EdgeBasis) -> Features:
    """Returns messages `[B, N, K, 2o + 1, C]`.

    Args:
      sent: features of senders, `[B, N, K, 2i + 1, C']`.
      basis: of the edges.
    """
    self._initialize({i: x.shape[-1] for i, x in sent.items()})
    found: Features = {}
    radial = self.radial(basis.distance)
    for (i, o), weights in zip(self.pairs, radial, strict=True):
      # Angle first, [o, F C']: then all couplings are one product with the
      # radial part, [F C', C].
      turned = tf.matmul(basis.angular[i, o], sent[i])
      start, size = turned.shape[:-2], (2 * min(i, o) + 1) * sent[i].shape[-1]
      message = tf.matmul(
        tf.reshape(turned, [*start, 2 * o + 1, size]),
        tf.reshape(weights, [*start, size, self._widths[o]]),
      )
      found[o] = found[o] + message if o in found else message
    return found
