"""The layers of DimeNet++; see `baselines/dimenet_pp.py`."""

import sonnet as snt
import tensorflow as tf

from nbody_bench.arrays import Array
from nbody_bench.energy_layers import linear
from nbody_bench.forces import Inputs
from nbody_bench.triplets import Triplets


class Interaction(snt.Module):
  """One round of messages between edges.

  Attributes:
    radial: the layers of the functions of distance.
    spherical: the weights of the layers of those of distance and angle.
    own: the layer of what a message is to itself.
    heard: the layer of what it is to others.
    down: to the width of triplets.
    up: and back.
    before: residual layers before the input is added.
    final: the layer after these.
    after: residual layers after that.
  """

  def __init__(
    self,
    width: int,
    triplet_width: int,
    basis_width: int,
    num_before: int,
    num_after: int,
    name: str,
  ):
    """Makes the block.

    Args:
      width: of messages.
      triplet_width: of messages where they are multiplied by angles.
      basis_width: between a basis and what it multiplies.
      num_before: residual layers before the input is added.
      num_after: and after that.
      name: of the module.
    """
    super().__init__(name=name)
    self._basis_width = basis_width
    self.radial = [
      linear(size, f"radial_{i}", with_bias=False)
      for i, size in enumerate((basis_width, width))
    ]
    self.own, self.heard = linear(width, "own"), linear(width, "heard")
    self.down = linear(triplet_width, "down", with_bias=False)
    self.up = linear(width, "up", with_bias=False)
    self.final = linear(width, "final")
    self.before, self.after = (
      [Residual(width, name=f"{kind}_{i}") for i in range(count)]
      for kind, count in (("before", num_before), ("after", num_after))
    )

  def __call__(
    self,
    messages: Array,
    radial: Array,
    spherical: Array,
    angular: Array,
    found: Triplets,
  ) -> Array:
    """Returns the next messages, `[E, F]`.

    Args:
      messages: `[E, F]`.
      radial: `[E, R]`, functions of distance.
      spherical: `[E, L, R]`, those that go with angles of degree l.
      angular: `[C, M, K, L]`, functions of angle.
      found: the triplets.
    """
    first, last = self.radial
    sent = tf.nn.silu(self.heard(messages)) * last(first(radial))
    sent = tf.nn.silu(self.down(sent))
    heard = self._heard(sent, spherical, angular, found)
    heard = found.to_edges(heard, messages.shape[0])
    result = tf.nn.silu(self.own(messages)) + tf.nn.silu(self.up(heard))
    for layer in self.before:
      result = layer(result)
    result = tf.nn.silu(self.final(result)) + messages
    for layer in self.after:
      result = layer(result)
    return result

  @snt.once
  def _initialize(self, fan_in, fan_out, dtype):
    draw = snt.initializers.VarianceScaling(1.0, "fan_avg", "uniform")
    self.spherical = [
      tf.Variable(draw(shape, dtype), name=f"spherical_{i}")
      for i, shape in enumerate(
        ([fan_in, self._basis_width], [self._basis_width, fan_out])
      )
    ]

  def _heard(self, sent, spherical, angular, found):
    """Returns sums over k of what is sent times both layers of angles.

    Both layers are linear, and functions of angle the last to be multiplied by.

    Args:
      sent: `[E, F]`.
      spherical: `[E, L, R]`.
      angular: `[C, M, K, L]`.
      found: the triplets.

    Returns:
      `[C, M, F]`.
    """
    _, num_degrees, count = spherical.shape
    groups, leaving, _, _ = angular.shape
    width = sent.shape[-1]
    self._initialize(num_degrees * count, width, sent.dtype)
    first, last = self.spherical
    weights = tf.reshape(first, [num_degrees, count, -1])
    factor = tf.einsum("elr,lrb->elb", spherical, weights) @ last
    sent = tf.gather(factor * sent[:, None], found.first)  # [C, K, L, F]
    angular = tf.reshape(angular, [groups, leaving, -1])
    return angular @ tf.reshape(sent, [groups, -1, width])


class Residual(snt.Module):
  """x plus two layers of x."""

  def __init__(self, width: int, name: str):
    """Makes the layers.

    Args:
      width: of x.
      name: of the module.
    """
    super().__init__(name=name)
    self.layers = [linear(width, f"dense_{i}") for i in (0, 1)]

  def __call__(self, x: Array) -> Array:
    """Maps `[E, F]` to `[E, F]`."""
    result = x
    for layer in self.layers:
      result = tf.nn.silu(layer(result))
    return x + result


class Output(snt.Module):
  """The energy of atoms, of what they hear.

  Attributes:
    radial: the layer of the functions of distance.
    up: the layer that follows the sum.
    dense: hidden layers.
    final: the layer of the energy, 0 at first.
  """

  def __init__(self, width: int, output_width: int, num_layers: int, name: str):
    """Makes the network.

    Args:
      width: of messages.
      output_width: of the hidden layers.
      num_layers: of them.
      name: of the module.
    """
    super().__init__(name=name)
    self.radial = linear(width, "radial", with_bias=False)
    self.up = linear(output_width, "up", with_bias=False)
    self.dense = [linear(output_width, f"dense_{i}") for i in range(num_layers)]
    self.final = snt.Linear(
      1, with_bias=False, w_init=snt.initializers.Zeros(), name="final"
    )

  def __call__(self, messages: Array, radial: Array, inputs: Inputs) -> Array:
    """Returns `[rows, 1]`.

    Args:
      messages: `[E, F]`.
      radial: `[E, R]`.
      inputs: the graph.
    """
    heard = self.up(inputs.sum_received(self.radial(radial) * messages))
    for layer in self.dense:
      heard = tf.nn.silu(layer(heard))
    return self.final(heard)
