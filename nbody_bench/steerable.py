"""Features of several degrees: on edges, and products with attributes.

`Features` are what spherical harmonics are the pattern of: those of degree l,
`[..., 2l + 1, C]`, turn by `spherical.representation` as the system turns.
Layers are linear in the channels C and couple degrees by `spherical.coupling`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import sonnet as snt
import tensorflow as tf

from nbody_bench import geometry, spherical
from nbody_bench.arrays import Array
from nbody_bench.geometry import Edges
from nbody_bench.networks import UniformFanIn

# By degree.
Features: TypeAlias = dict[int, Array]
# By degrees before and after: matrices `[..., 2c + 1, 2a + 1]`.
Coupled: TypeAlias = dict[tuple[int, int], list[Array]]

# To unit second moment under a normal distribution: those that the published
# library draws by sampling (exact: 1.6765 and 1.8462).
_SILU_FACTOR = 1.6791767923989418
_SIGMOID_FACTOR = 1.8467055342154763


def ends(features: Features, edges: Edges) -> tuple[Features, Features]:
  """Returns those of receivers and of senders, `[B, N, K, 2l + 1, C]`.

  Args:
    features: of particles, `[B, N, 2l + 1, C]`.
    edges: who acts on whom.
  """
  received, sent = {}, {}
  for degree, x in features.items():
    pair = geometry.ends(_flat(x), edges)
    received[degree], sent[degree] = (
      tf.reshape(y, [*y.shape[:-1], *x.shape[-2:]]) for y in pair
    )
  return received, sent


def gathered(
  gather: Callable[[Array, Edges], Array], features: Features, edges: Edges
) -> Features:
  """Returns `geometry.total` or `mean` over edges, `[B, N, 2l + 1, C]`.

  Args:
    gather: one of the two.
    features: of edges, `[B, N, K, 2l + 1, C]`.
    edges: who acts on whom.
  """
  found = {}
  for degree, x in features.items():
    y = gather(_flat(x), edges)
    found[degree] = tf.reshape(y, [*y.shape[:-1], *x.shape[-2:]])
  return found


def joined(*features: Features) -> Features:
  """Returns all channels of each degree, in the order given."""
  degrees = sorted(set().union(*features))
  return {
    degree: tf.concat([x[degree] for x in features if degree in x], -1)
    for degree in degrees
  }


def paths(max_degree: int, attribute_degree: int) -> list[tuple[int, int, int]]:
  """Returns (a, b, c): features of degree a, attribute of b, result of c.

  Only those with a + b + c even: the parity of all is (-1)^l, and the others,
  of which the cross product is the lowest, would mirror with the other sign.
  """
  return [
    (a, b, c)
    for c in range(max_degree + 1)
    for a in range(max_degree + 1)
    for b in range(attribute_degree + 1)
    if abs(a - b) <= c <= a + b and (a + b + c) % 2 == 0
  ]


def coupled(attribute: Sequence[Array], max_degree: int) -> Coupled:
  """Returns what products with an attribute do to features of each degree.

  Args:
    attribute: by degree, `[..., 2b + 1]`, one channel each.
    max_degree: of the features.
  """
  found: Coupled = {}
  for a, b, c in paths(max_degree, len(attribute) - 1):
    tensor = (2 * c + 1) ** 0.5 * spherical.coupling(a, b, c)
    tensor = tf.constant(tensor, attribute[b].dtype)
    matrix = tf.einsum("abc,...b->...ca", tensor, attribute[b])
    found.setdefault((a, c), []).append(matrix)
  return found


class Product(snt.Module):
  """The tensor product of features with an attribute, all paths weighted.

  Linear in either; the steerable linear layer of Brandstetter et al. (2022),
  drawn like a linear layer of all paths to a degree, as in their public code.
  """

  def __init__(self, widths: Mapping[int, int], name: str = "product"):
    """Makes the layer.

    Args:
      widths: channels of the result, by degree.
      name: of the module.
    """
    super().__init__(name=name)
    self._widths = dict(widths)

  @snt.once
  def _initialize(self, fan_in, dtype):
    self.weights = {}
    self.bias = None
    for degree, width in self._widths.items():
      draw = UniformFanIn(fan_in[degree])
      value = draw([fan_in[degree], width], dtype)
      self.weights[str(degree)] = tf.Variable(value, name=f"degree_{degree}/w")
      if degree == 0:
        self.bias = tf.Variable(draw([width], dtype), name="degree_0/b")

  def __call__(self, features: Features, attribute: Coupled) -> Features:
    """Returns the product, `[..., 2c + 1, C]`."""
    inputs = {}
    for c in self._widths:
      parts = [
        tf.matmul(matrix, x)
        for a, x in features.items()
        for matrix in attribute.get((a, c), ())
      ]
      inputs[c] = tf.concat(parts, -1)
    fan_in = {c: x.shape[-1] for c, x in inputs.items()}
    self._initialize(fan_in, next(iter(features.values())).dtype)
    found = {
      c: tf.tensordot(x, self.weights[str(c)], 1) for c, x in inputs.items()
    }
    if self.bias is not None:
      found[0] += self.bias
    return found


class GatedProduct(snt.Module):
  """A `Product` and a nonlinearity: SiLU of scalars, gates for the rest."""

  def __init__(self, width: int, max_degree: int, name: str):
    """Makes the layer.

    Args:
      width: channels of each degree of the result.
      max_degree: of the result.
      name: of the module.
    """
    super().__init__(name=name)
    self._width = width
    widths = dict.fromkeys(range(max_degree + 1), width)
    widths[0] = width * (max_degree + 1)
    self.product = Product(widths)

  def __call__(self, features: Features, attribute: Coupled) -> Features:
    """Returns the gated product, `[..., 2c + 1, width]`."""
    found = self.product(features, attribute)
    count = found[0].shape[-1] // self._width
    scalars, *gates = tf.split(found[0], count, -1)
    found[0] = _SILU_FACTOR * tf.nn.silu(scalars)
    for degree, gate in enumerate(gates, 1):
      found[degree] *= _SIGMOID_FACTOR * tf.sigmoid(gate)
    return found


def _flat(x):
  return tf.reshape(x, [*x.shape[:-2], x.shape[-2] * x.shape[-1]])
