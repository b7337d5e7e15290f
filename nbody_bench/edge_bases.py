"""Bases that atoms and the edges between them are described in.

Hu et al. (2021), "ForceNet", appendix A: a network tells apart numbers that
differ little when each is spread out over many functions of it.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import sonnet as snt
import tensorflow as tf

from nbody_bench import spherical
from nbody_bench.arrays import Array
from nbody_bench.forces import Inputs
from nbody_bench.glorot_layers import Linear

# Distances less the radii of atoms may be negative, and are no shorter.
_SHORTEST = 1e-3
_NUM_DEGREES = 3  # of the harmonics


def raw(inputs: Inputs, cutoff: float) -> tuple[Array, Array]:
  """Returns what is known of edges: directions `[E, 3]`, distances `[E, 4]`.

  The direction is from receiver to sender. The distances, in units of the
  cutoff, are between the centres of the atoms, from the surface of the one and
  of the other, and between the surfaces.
  """
  d = inputs.distance
  sender = tf.gather(inputs.radius, inputs.senders)
  receiver = tf.gather(inputs.radius, inputs.receivers)
  distances = tf.stack([d, d - sender, d - receiver, d - sender - receiver], -1)
  return inputs.vector / d[:, None], tf.maximum(distances / cutoff, _SHORTEST)


def identity(values: Array, num_functions: int) -> Array:
  """Returns `[n, F]` as they are."""
  del num_functions
  return values


def sine(values: Array, num_functions: int) -> Array:
  """Returns sin(1.1^j x), j = 0 ... J - 1, all inputs for each, `[n, J F]`."""
  frequency = tf.constant([1.1**j for j in range(num_functions)], values.dtype)
  return _flat(tf.sin(frequency[:, None] * values[:, None]))


def gauss(values: Array, num_functions: int) -> Array:
  """Returns Gaussians about J centres in [0, 1], `[n, J F]`, as `sine`.

  Their standard deviation is the distance between centres.
  """
  centre = tf.linspace(tf.zeros([], values.dtype), 1, num_functions)
  apart = (values[:, None] - centre[:, None]) * (num_functions - 1)
  return _flat(tf.exp(-0.5 * apart**2))


class Basis(NamedTuple):
  """A way to spread numbers out.

  Attributes:
    function: maps `[n, F]` and J to `[n, J F]`.
    learned: whether a linear layer of J F units and the activation follow.
    positive: whether it is made for [0, 1], so that directions are moved there.
    harmonic: whether directions, where there are any, have harmonics instead.
    mixed: whether a layer of its own maps it to the width of the network, else
      it is appended to the features of nodes.
  """

  function: Callable[[Array, int], Array]
  learned: bool = False
  positive: bool = False
  harmonic: bool = False
  mixed: bool = True


BASES = {
  "none": Basis(identity, mixed=False),
  "identity": Basis(identity),
  "linear_act": Basis(identity, learned=True),
  "gauss": Basis(gauss, positive=True),
  "sine": Basis(sine),
  "spherical": Basis(sine, harmonic=True),
}


class Expansion(snt.Module):
  """Numbers in a basis."""

  def __init__(
    self,
    basis: Basis,
    num_functions: int,
    activation: Callable[[Array], Array],
    name: str = "expansion",
  ):
    """Makes the expansion.

    Args:
      basis: a row of `BASES`.
      num_functions: J, of each number.
      activation: of the network; where the basis is learned.
      name: of the module.
    """
    super().__init__(name=name)
    self._basis, self._num_functions = basis, num_functions
    self._activation = activation

  @snt.once
  def _initialize(self, num_inputs):
    self.linear = Linear(self._num_functions * num_inputs)

  def __call__(self, values: Array) -> Array:
    """Maps `[n, F]` to `[n, J F]`, or `[n, F]` where nothing is spread out."""
    expanded = self._basis.function(values, self._num_functions)
    if not self._basis.learned:
      return expanded
    self._initialize(values.shape[-1])
    return self._activation(self.linear(expanded))


class EdgeExpansion(snt.Module):
  """Directions and distances of edges in a basis.

  The harmonic one is the outer product of the harmonics of directions with as
  many learned combinations of functions of distances as there are distances.
  """

  def __init__(
    self,
    basis: Basis,
    num_functions: int,
    num_distances: int,
    activation: Callable[[Array], Array],
    name: str = "edge_expansion",
  ):
    """Makes the expansion; see `Expansion` for what is not said here.

    Args:
      basis: a row of `BASES`.
      num_functions: J.
      num_distances: K, of an edge.
      activation: of the network.
      name: of the module.
    """
    super().__init__(name=name)
    self._basis = basis
    self.expansion = Expansion(basis, num_functions, activation)
    self.radial = Linear(num_distances)

  def __call__(self, direction: Array | None, distances: Array) -> Array:
    """Returns `[E, F]`.

    Args:
      direction: `[E, 3]`; None where networks are not told of it.
      distances: `[E, K]`.
    """
    if direction is None:
      return self.expansion(distances)
    if self._basis.harmonic:
      radial = self.radial(self.expansion(distances))
      return _flat(harmonics(direction)[:, :, None] * radial[:, None])
    if self._basis.positive:
      direction = (direction + 1) / 2
    return self.expansion(tf.concat([direction, distances], -1))


def harmonics(direction: Array) -> Array:
  """Returns the complex harmonics of degrees 0 to 2 as real numbers, `[E, 9]`.

  About the z axis and with the sign of Condon and Shortley: those of order 0 by
  degree, then the real parts of the others by degree and order (not multiplied
  by the root of 2, as real harmonics are), then the imaginary parts.
  """
  x, y, z = tf.unstack(direction, axis=-1)
  # There y is the axis, and azimuth 0 at z.
  real = spherical.harmonics(
    tf.stack([y, z, x], -1), _NUM_DEGREES - 1, "integral"
  )
  degrees = range(_NUM_DEGREES)
  columns = [real[l][:, l] for l in degrees]
  for part in (1, -1):
    columns += [
      (-1) ** m / math.sqrt(2) * real[l][:, l + part * m]
      for l in degrees
      for m in range(1, l + 1)
    ]
  return tf.stack(columns, -1)


def _flat(values):
  return tf.reshape(values, [-1, values.shape[1] * values.shape[2]])
