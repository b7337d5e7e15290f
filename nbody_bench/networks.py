"""Small network parts that several models share."""

from collections.abc import Sequence

import sonnet as snt
import tensorflow as tf


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
