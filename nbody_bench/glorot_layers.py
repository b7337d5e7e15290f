"""Linear layers with Glorot's uniform weights, for nodes and edges of graphs.

Glorot and Bengio (2010); biases are zero. What networks of forces are made of.
"""

from collections.abc import Callable
from typing import NamedTuple

import sonnet as snt
import tensorflow as tf

from nbody_bench.arrays import Array
from nbody_bench.masked_batch_norm import MaskedBatchNorm
from nbody_bench.networks import Gathered


class Linear(snt.Module):
  """x w + b."""

  def __init__(self, width: int, name: str = "linear"):
    super().__init__(name=name)
    self.width = width

  @snt.once
  def _initialize(self, fan_in, dtype):
    draw = snt.initializers.VarianceScaling(1.0, "fan_avg", "uniform")
    self.w = tf.Variable(draw([fan_in, self.width], dtype), name="w")
    self.b = tf.Variable(tf.zeros([self.width], dtype), name="b")

  def weights(self, fan_in: int, dtype: tf.DType) -> tuple[Array, Array]:
    """Returns w `[fan_in, width]` and b `[width]`."""
    self._initialize(fan_in, dtype)
    return self.w, self.b

  def __call__(self, inputs: Array) -> Array:
    """Maps `[n, F]` to `[n, width]`."""
    w, b = self.weights(inputs.shape[-1], inputs.dtype)
    return inputs @ w + b


class Mapped(NamedTuple):
  """Inputs `linear(values)`, which need not be computed on their own.

  Attributes:
    values: `[E, F]`.
    linear: a layer.
  """

  values: Array
  linear: Linear


class JoinedLinear(Linear):
  """`Linear` of inputs joined side by side, for edges between nodes.

  As `networks.JoinedMLP`: the weights are split, and what is a node's is
  multiplied once for the node. Those of a `Mapped` input are multiplied by the
  weights of that layer: with no nonlinearity between, two layers are one, with
  as many inputs as the first.
  """

  def __call__(self, *inputs: Array | Gathered | Mapped) -> Array:
    """Returns `[E, width]`; each input is `[E, F]`, or stands for that."""
    widths = [
      x.linear.width if isinstance(x, Mapped) else _values(x).shape[-1]
      for x in inputs
    ]
    w, b = self.weights(sum(widths), _values(inputs[0]).dtype)
    total = tf.convert_to_tensor(b)
    for x, weight in zip(inputs, tf.split(w, widths), strict=True):
      if isinstance(x, Gathered):
        total += tf.gather(x.values @ weight, x.rows)
      elif isinstance(x, Mapped):
        first, bias = x.linear.weights(x.values.shape[-1], x.values.dtype)
        total += x.values @ (first @ weight)
        total += tf.linalg.matvec(weight, bias, transpose_a=True)
      else:
        total += x @ weight
    return total


def _values(x):
  return x.values if isinstance(x, (Gathered, Mapped)) else x


class NormedMLP(snt.Module):
  """Linear, batch normalisation, activation, linear."""

  def __init__(
    self,
    width: int,
    num_outputs: int,
    activation: Callable[[Array], Array],
    name: str = "normed_mlp",
  ):
    super().__init__(name=name)
    self.linear = Linear(width), Linear(num_outputs)
    self.norm = MaskedBatchNorm()
    self._activation = activation

  def __call__(self, inputs: Array, mask: Array) -> Array:
    """Maps `[n, F]` to `[n, num_outputs]`; `mask` `[n]` is 0 for padding."""
    first, last = self.linear
    return last(self._activation(self.norm(first(inputs), mask)))


class NormedLinear(snt.Module):
  """Linear, batch normalisation."""

  def __init__(self, width: int, name: str = "normed_linear"):
    super().__init__(name=name)
    self.linear = Linear(width)
    self.norm = MaskedBatchNorm()

  def __call__(self, inputs: Array, mask: Array) -> Array:
    """Maps `[n, F]` to `[n, width]`; `mask` `[n]` is 0 for padding."""
    return self.norm(self.linear(inputs), mask)
