"""Functions of distance: roots, orthogonality, smooth ends."""

import numpy as np
import pytest
import scipy.special
import tensorflow as tf

from nbody_bench import radial_bases


@pytest.mark.parametrize(
  ("dtype", "error"), [("float64", 1e-12), ("float32", 1e-5)]
)
def test_bessel_functions_of_all_degrees(dtype, error):
  roots = radial_bases.bessel_roots(6, 7)
  for l, row in enumerate(roots):
    np.testing.assert_allclose(
      scipy.special.spherical_jn(l, row), 0, atol=1e-13
    )
    # None is left out: signs alternate between them.
    between = np.concatenate([[row[0] / 2], (row[1:] + row[:-1]) / 2])
    signs = np.sign(scipy.special.spherical_jn(l, between))
    np.testing.assert_array_equal(signs, (-1.0) ** np.arange(6))
  t = np.concatenate([[0, 1e-7, 1e-3, 1], np.linspace(0.01, 1, 37)])
  found = radial_bases.spherical_bessel(tf.constant(t, dtype), 6, 7).numpy()
  # Orthonormal with the weight t^2.
  x, weight = np.polynomial.legendre.leggauss(60)
  x = (x + 1) / 2
  values = radial_bases.spherical_bessel(tf.constant(x, dtype), 6, 7).numpy()
  for l, row in enumerate(roots):
    expected = scipy.special.spherical_jn(l, row * t[:, None])
    scale = np.sqrt(2) / np.abs(scipy.special.spherical_jn(l + 1, row))
    np.testing.assert_allclose(
      found[:, l], scale * expected, atol=error * np.max(scale)
    )
    products = np.einsum(
      "t,tm,tn->mn", weight / 2 * x**2, values[:, l], values[:, l]
    )
    np.testing.assert_allclose(products, np.eye(6), atol=10 * error)


@pytest.mark.parametrize("exponent", [2, 5])
def test_the_envelope_ends_smoothly(exponent):
  t = tf.constant([1e-3, 1.0], tf.float64)
  with tf.GradientTape() as outer:
    outer.watch(t)
    with tf.GradientTape() as inner:
      inner.watch(t)
      value = radial_bases.envelope(t, exponent)
    slope = inner.gradient(value, t)
  for x in (value, slope, outer.gradient(slope, t)):
    assert float(x[1]) == pytest.approx(0, abs=1e-12)
  assert float(value[0]) == pytest.approx(1e3, rel=1e-5)
