"""Real spherical harmonics and the couplings of their representations.

Degree l has 2l + 1 functions, m = -l ... l, with the y axis as the polar one
and the azimuth counted from z to x, without the Condon-Shortley sign: degree 1
is (x, y, z). They are the basis in which features of degree l are written,
which a rotation turns by `representation`; what is defined with harmonics in
another order, axis or sign than here differs by a change of basis.
"""

import functools
import math
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from nbody_bench.arrays import Array

Normalization = Literal["norm", "component", "integral"]


def harmonics(
  vectors: Array, max_degree: int, normalization: Normalization = "norm"
) -> list[Array]:
  """Returns the harmonics of the vectors' directions.

  Args:
    vectors: `[..., 3]`, of any length; at zero, which has no direction, all but
      degree 0 vanish, and gradients with them.
    max_degree: L.
    normalization: "norm": |Y_l| = 1; "component": |Y_l|^2 = 2l + 1; "integral":
      orthonormal over the sphere.

  Returns:
    Y_0 ... Y_L, `[..., 2l + 1]`.
  """
  squared = tf.reduce_sum(vectors**2, -1, keepdims=True)
  is_zero = squared < 1e-24
  # Selected twice: the root has no gradient at zero, even where not selected.
  length = tf.sqrt(tf.where(is_zero, tf.ones_like(squared), squared))
  unit = tf.where(is_zero, tf.zeros_like(vectors), vectors / length)
  found = _polynomials(tf.unstack(unit, axis=-1), max_degree)
  return [
    _FACTORS[normalization](degree) * tf.stack(values, -1)
    for degree, values in enumerate(found)
  ]


_FACTORS = {
  "norm": lambda degree: 1.0,
  "component": lambda degree: math.sqrt(2 * degree + 1),
  "integral": lambda degree: math.sqrt((2 * degree + 1) / (4 * math.pi)),
}


def _polynomials(unit: Iterable[Any], max_degree: int) -> list[list[Any]]:
  """Returns the harmonics of a unit vector as lists, normalised to length 1.

  Homogeneous polynomials by recurrence: P_l^m(cos t) = sin^m(t) Q_l^m(cos t),
  with Q_l^m in y and powers of z + ix for what depends on the azimuth.
  """
  x, y, z = unit
  squared = x * x + y * y + z * z
  cosine, sine = [z * 0 + 1], [z * 0]
  for _ in range(max_degree):
    c, s = cosine[-1], sine[-1]
    cosine.append(z * c - x * s)
    sine.append(x * c + z * s)
  legendre: dict[tuple[int, int], Any] = {}
  for m in range(max_degree + 1):
    legendre[m, m] = (z * 0 + 1) * math.prod(range(1, 2 * m, 2))
    for l in range(m + 1, max_degree + 1):
      above = (2 * l - 1) * y * legendre[l - 1, m]
      if l - 2 >= m:
        above -= (l + m - 1) * squared * legendre[l - 2, m]
      legendre[l, m] = above / (l - m)

  def value(l, m):
    k = abs(m)
    scale = math.sqrt(math.factorial(l - k) / math.factorial(l + k))
    scale *= math.sqrt(2) if m else 1
    return scale * legendre[l, k] * (sine[k] if m < 0 else cosine[k])

  return [
    [value(l, m) for m in range(-l, l + 1)] for l in range(max_degree + 1)
  ]


def representation(degree: int, rotation: np.ndarray) -> np.ndarray:
  """Returns D with Y_l(R u) = D Y_l(u), `[2l + 1, 2l + 1]`.

  Args:
    degree: l.
    rotation: R, `[3, 3]`; a reflection is one too.
  """
  points = np.random.default_rng(0).normal(size=(3, 8 * degree + 8))
  points /= np.linalg.norm(points, axis=0)
  before, after = (
    np.stack(_polynomials(p, degree)[degree], -1)
    for p in (points, rotation @ points)
  )
  return np.linalg.lstsq(before, after, rcond=None)[0].T


@functools.cache
def coupling(a: int, b: int, c: int) -> np.ndarray:
  """Returns the invariant tensor of three degrees, `[2a + 1, 2b + 1, 2c + 1]`.

  Contracted with features of two of the degrees it makes one of the third: the
  Clebsch-Gordan coefficients in the real basis, with Frobenius norm 1. That
  leaves the sign open; here the first entry that is not zero is positive.

  Raises:
    ValueError: if there is none, as |a - b| <= c <= a + b does not hold.
  """
  if not abs(a - b) <= c <= a + b:
    raise ValueError(
      f"degrees {a}, {b} and {c} have no coupling; the last must lie between "
      f"{abs(a - b)} and {a + b}"
    )
  # Two rotations in general position generate all of them, so that what is
  # invariant under both is invariant under any.
  rng = np.random.default_rng(0)
  conditions = []
  for _ in range(2):
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    rotation *= np.linalg.det(rotation)
    d_a, d_b, d_c = (representation(l, rotation) for l in (a, b, c))
    turn = np.kron(np.kron(d_a, d_b), d_c)
    conditions.append(turn - np.eye(len(turn)))
  tensor = np.linalg.svd(np.concatenate(conditions))[2][-1]
  tensor[np.abs(tensor) < 1e-10] = 0
  tensor *= np.sign(tensor[np.flatnonzero(tensor)[0]])
  return tensor.reshape(2 * a + 1, 2 * b + 1, 2 * c + 1)
