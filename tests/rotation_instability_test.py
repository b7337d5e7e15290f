"""Rotation instability: 0 for forces that turn along, by hand for others."""

import numpy as np
import pytest
import tensorflow as tf

from nbody_bench import rotation_instability
from nbody_bench.states import Domain, Particles, State, Trajectory


def structures(batch=6, most=4, num_dims=3, seed=0):
  """Atoms all over an oblique cell; the first is fixed, the last is padding."""
  rng = np.random.default_rng(seed)
  cell = np.array([[5.0, 0, 0], [2.0, 4.0, 0], [0, 0, 1.0]])
  position = rng.uniform(-0.5, 0.5, (batch, 1, most, 3)) @ cell
  position = position[..., :num_dims]
  tag = np.ones((batch, most), int)
  mask = np.ones((batch, most))
  tag[:, 0], mask[:, -1] = 0, 0
  return Trajectory(
    np.zeros(1),
    State(position, np.zeros_like(position)),
    Particles(np.ones((batch, most)), tag=tag, mask=mask),
    Domain(
      np.array([[5.0, 4.4, np.inf]] * batch)[:, :num_dims],
      np.array([cell] * batch)[:, :num_dims, :num_dims],
    ),
  )


def covariant(state, particles, domain):
  """To the nearest images of all others, and up."""
  q = state.position
  d = domain.displacement(q[:, :, None], q[:, None])
  return tf.reduce_sum(d, 2) + tf.constant([0.0, 0.0, 3.0])


def test_forces_that_turn_with_the_structure_give_zero():
  value = rotation_instability.measure(covariant, structures(), num_rotations=4)
  assert value < 1e-5


def test_forces_that_do_not_turn_by_hand():
  """(1, 0, 0) turned back is (cos, sin, 0): deviations sqrt(1 / 2) and 0."""

  def along_x(state, particles, domain):
    force = covariant(state, particles, domain) + tf.constant([1.0, 0, 0])
    # What is not free counts nothing.
    free = (particles.tag != 0) & (particles.mask > 0)
    return tf.where(free[..., None], force, 100 * state.position)

  value = rotation_instability.measure(
    along_x, structures(batch=50), num_rotations=40, batch_size=20
  )
  assert value == pytest.approx(2 / 3 * np.sqrt(1 / 2), rel=0.03)


def test_it_is_the_deviation_and_not_the_error_that_counts():
  """All but the structure as it is are off by the same: sigma is 0."""
  data = structures()

  def remembers(state, particles, domain):
    as_it_is = tf.reduce_all(
      tf.abs(domain.cell - data.domain.cell.astype(np.float32)) < 1e-5
    )
    up = tf.constant([0.0, 0.0, 1.0])
    force = tf.where(as_it_is, up, 2 * up)
    return force + tf.zeros_like(state.position)

  value = rotation_instability.measure(remembers, data, num_rotations=3)
  assert value == pytest.approx(0, abs=1e-5)


def test_samples_are_drawn_by_the_seed():
  def crooked(state, particles, domain):
    return state.position**2

  def value(**arguments):
    return rotation_instability.measure(
      crooked, structures(), num_rotations=2, **arguments
    )

  assert value(seed=1) == value(seed=1)
  assert value(seed=1) == pytest.approx(value(seed=1, batch_size=4), rel=1e-5)
  assert value(seed=1) != value(seed=2)
  assert value(seed=1, num_structures=2) != value(seed=1)


def test_what_is_no_number_counts_as_much_as_can_be():
  def broken(state, particles, domain):
    return covariant(state, particles, domain) / 0.0 * 0.0

  value = rotation_instability.measure(broken, structures(), num_rotations=1)
  assert value == 1e6


def test_structures_in_the_plane_have_no_vertical_axis():
  with pytest.raises(ValueError, match="third axis, and these have 2"):
    rotation_instability.measure(covariant, structures(num_dims=2))
