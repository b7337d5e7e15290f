"""Functions of distance and angle that networks of energies are told.

Distances are in units of the cutoff, t = d / c. Gaussians and cosine: Schuett
et al., "SchNet" (2017). Bessel functions and envelope: Gasteiger et al.,
"Directional Message Passing for Molecular Graphs" (2020), equations 6 to 8.
"""

import functools
import itertools
import math

import numpy as np
import scipy.optimize
import scipy.special
import tensorflow as tf

from nbody_bench.arrays import Array


def gaussians(t: Array, count: int) -> Array:
  """Returns exp(-(t - m)^2 / 2 s^2) of `[E]`, `[E, count]`.

  Means m go from 0 to 1, and s is how far apart they are.
  """
  apart = t[:, None] * (count - 1) - tf.range(count, dtype=t.dtype)
  return tf.exp(-0.5 * apart**2)


def cosine(t: Array) -> Array:
  """Returns what falls smoothly from 1 to 0 at the cutoff."""
  return 0.5 * (tf.cos(math.pi * t) + 1)


def envelope(t: Array, exponent: int) -> Array:
  """Returns 1/t times what falls from 1 to 0 at the cutoff, a polynomial.

  With two derivatives that are 0 there.
  """
  p = exponent + 1
  a, b, c = -(p + 1) * (p + 2) / 2, p * (p + 2), -p * (p + 1) / 2
  return 1 / t + t ** (p - 1) * (a + t * (b + t * c))


def legendre(cosine: Array, count: int) -> Array:
  """Returns the harmonics of order 0 and degrees 0 ... `count` - 1, `[..., L]`.

  sqrt((2 l + 1) / 4 pi) P_l of `[...]` cosines of the polar angle.
  """
  values = [tf.ones_like(cosine), cosine]
  for l in range(2, count):
    above = (2 * l - 1) * cosine * values[-1] - (l - 1) * values[-2]
    values.append(above / l)
  factors = [math.sqrt((2 * l + 1) / (4 * math.pi)) for l in range(count)]
  pairs = zip(values[:count], factors, strict=True)
  return tf.stack([value * factor for value, factor in pairs], -1)


def spherical_bessel(t: Array, count: int, num_degrees: int) -> Array:
  """Returns sqrt(2) / |j_{l+1}(z_ln)| j_l(z_ln t) of `[E]`, `[E, L, count]`.

  z_ln is the nth root of j_l; the functions of one degree are orthonormal in
  the unit ball.
  """
  series = tf.constant(_series(count, num_degrees), t.dtype)
  x = 2 * t - 1
  values = [tf.ones_like(x), x]
  while len(values) < series.shape[0]:
    values.append(2 * x * values[-1] - values[-2])
  found = tf.stack(values, -1) @ series
  return tf.reshape(found, [-1, num_degrees, count])


@functools.lru_cache
def bessel_roots(count: int, num_degrees: int) -> np.ndarray:
  """Returns the first positive roots of j_0 ... j_{L-1}, `[L, count]`."""
  # Those of a degree lie between those of the one below.
  roots = np.pi * np.arange(1, count + num_degrees)
  rows = [roots[:count]]
  for l in range(1, num_degrees):
    function = functools.partial(scipy.special.spherical_jn, l)
    roots = np.array(
      [
        scipy.optimize.brentq(function, a, b, xtol=1e-14)
        for a, b in itertools.pairwise(roots)
      ]
    )
    rows.append(roots[:count])
  return np.stack(rows)


@functools.lru_cache
def _series(count, num_degrees):
  """Returns Chebyshev coefficients of the functions in [0, 1], `[K, L count]`.

  Recurrences in the degree lose all digits of a 32-bit float near 0.
  """
  roots = bessel_roots(count, num_degrees)
  # Beyond half the largest argument coefficients fall faster than powers.
  order = int(0.5 * np.max(roots)) + 24
  columns = []
  for l, row in enumerate(roots):
    for root in row:
      size = abs(scipy.special.spherical_jn(l + 1, root)) / math.sqrt(2)
      columns.append(
        np.polynomial.chebyshev.chebinterpolate(
          lambda x, l=l, z=root: scipy.special.spherical_jn(l, z * (x + 1) / 2),
          order,
        )
        / size
      )
  return np.stack(columns, -1)
