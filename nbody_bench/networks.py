"""Small network parts that several models share."""

from collections.abc import Sequence
from typing import NamedTuple

import sonnet as snt
import tensorflow as tf

from nbody_bench.arrays import Array


class UniformFanIn(snt.initializers.Initializer):
  """Uniform in +-1/sqrt(fan in), for weights and biases alike.

  PyTorch's default for linear layers, with which most of the published numbers
  were reached.
  """

  def __init__(self, fan_in: int):
    self._bound = fan_in**-0.5

  def __call__(self, shape, dtype):
    """Returns a tensor of the given shape."""
    return tf.random.uniform(shape, -self._bound, self._bound, dtype)


class Linear(snt.Module):
  """An affine map whose variables are drawn by `UniformFanIn`."""

  def __init__(self, width: int, name: str = "linear"):
    super().__init__(name=name)
    self._width = width

  @snt.once
  def _initialize(self, fan_in):
    draw = UniformFanIn(fan_in)
    self._linear = snt.Linear(self._width, w_init=draw, b_init=draw)

  def __call__(self, inputs: tf.Tensor) -> tf.Tensor:
    """Maps `[..., F]` to `[..., width]`."""
    self._initialize(inputs.shape[-1])
    return self._linear(inputs)


class SmallLinear(snt.Module):
  """A linear map without bias that begins near zero.

  Glorot's uniform distribution times 0.001: the last layer of what moves
  positions in EGNN.
  """

  def __init__(self, width: int, name: str = "linear"):
    super().__init__(name=name)
    self._width = width

  @snt.once
  def _initialize(self, fan_in):
    bound = 0.001 * (6 / (fan_in + self._width)) ** 0.5
    draw = snt.initializers.RandomUniform(-bound, bound)
    self._linear = snt.Linear(self._width, with_bias=False, w_init=draw)

  def __call__(self, inputs: tf.Tensor) -> tf.Tensor:
    """Maps `[..., F]` to `[..., width]`."""
    self._initialize(inputs.shape[-1])
    return self._linear(inputs)


class Energy(snt.Module):
  """A linear map to one number.

  Its constant stays as it was drawn: no motion depends on the zero of energy,
  so that there is nothing to train it by.
  """

  def __init__(self, name: str = "energy"):
    super().__init__(name=name)

  @snt.once
  def _initialize(self, fan_in, dtype):
    draw = UniformFanIn(fan_in)
    self._w = tf.Variable(draw([fan_in, 1], dtype), name="linear_0/w")
    self._b = tf.Variable(draw([1], dtype), name="linear_0/b", trainable=False)

  def __call__(self, inputs: Array) -> Array:
    """Maps `[B, F]` to `[B]`."""
    self._initialize(inputs.shape[-1], inputs.dtype)
    return (inputs @ self._w + self._b)[:, 0]


def mlp(
  widths: Sequence[int],
  activation=tf.nn.relu,
  activate_final: bool = False,
  name: str = "mlp",
) -> snt.Sequential:
  """Returns linear layers with `activation` between them.

  Args:
    widths: of the layers, the output's last.
    activation: a function of a tensor.
    activate_final: whether it follows the last layer too.
    name: of the module.
  """
  layers = []
  for i, width in enumerate(widths):
    layers.append(Linear(width, name=f"linear_{i}"))
    if i < len(widths) - 1 or activate_final:
      layers.append(activation)
  return snt.Sequential(layers, name=name)


class Gathered(NamedTuple):
  """Inputs `[n, F]` of which row `rows[e]` goes to output e.

  Attributes:
    values: `[n, F]`.
    rows: `[E]`.
  """

  values: Array
  rows: Array


class JoinedMLP(snt.Module):
  """`mlp` of inputs joined side by side, for edges between nodes.

  Where `mlp` would need them gathered and concatenated, here the first layer is
  split: W [a, b, c] = W_a a + W_b b + W_c c, and the features of a node are
  multiplied once for the node, not once for each of its edges. Same function,
  same variables, `linear_0/w` having the rows of the inputs in their order;
  another order of summation.
  """

  # Few features are gathered and concatenated before one product instead,
  # which moves less memory.
  _FEW = 16

  def __init__(
    self,
    widths: Sequence[int],
    activation=tf.nn.relu,
    activate_final: bool = False,
    name: str = "mlp",
  ):
    super().__init__(name=name)
    if not widths:
      raise ValueError(
        "an MLP of no widths; give at least one, that of outputs"
      )
    self._width = widths[0]
    rest: list = []
    for i, width in enumerate(widths):
      if i:
        rest.append(Linear(width, name=f"linear_{i}"))
      if i < len(widths) - 1 or activate_final:
        rest.append(activation)
    self._rest = rest

  @snt.once
  def _initialize(self, fan_in, dtype):
    draw = UniformFanIn(fan_in)
    self._w = tf.Variable(draw([fan_in, self._width], dtype), name="linear_0/w")
    self._b = tf.Variable(draw([self._width], dtype), name="linear_0/b")

  def __call__(self, *inputs: Array | Gathered) -> Array:
    """Returns `[E, width]`.

    Args:
      *inputs: each `[E, F]`, `Gathered` rows, or numbers `[F]` that are the
        same for all.
    """
    values = [x.values if isinstance(x, Gathered) else x for x in inputs]
    sizes = [v.shape[-1] for v in values]
    self._initialize(sum(sizes), values[0].dtype)
    weights = tf.split(self._w, sizes)
    total, few = tf.convert_to_tensor(self._b), []
    for x, value, weight in zip(inputs, values, weights, strict=True):
      if value.shape.rank == 1:
        total += tf.linalg.matvec(weight, value, transpose_a=True)
      elif value.shape[-1] > self._FEW and isinstance(x, Gathered):
        total += tf.gather(value @ weight, x.rows)
      else:
        rows = tf.gather(value, x.rows) if isinstance(x, Gathered) else value
        few.append((rows, weight))
    if few:
      rows, weights = zip(*few, strict=True)
      total += tf.concat(rows, -1) @ tf.concat(weights, 0)
    for layer in self._rest:
      total = layer(total)
    return total
