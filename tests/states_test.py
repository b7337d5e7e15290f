import numpy as np
import pytest
import tensorflow as tf

from nbody_bench import testing
from nbody_bench.states import Domain, State, map_arrays


@pytest.mark.parametrize("kind", [np.array, tf.constant])
def test_minimum_image_at_the_edges(kind):
  """Half the box stays, minus half becomes plus half; wrap: [-L/2, L/2)."""
  domain = Domain(kind([[4.0]]))
  d = kind([[[2.0], [-2.0], [2.5], [-2.5], [9.0], [0.5]]])
  near = domain.displacement(0 * d, d)
  np.testing.assert_allclose(near[0, :, 0], [2, 2, -1.5, 1.5, 1, 0.5])
  inside = domain.wrap(d)
  np.testing.assert_allclose(inside[0, :, 0], [-2, -2, -1.5, 1.5, 1, 0.5])


@pytest.mark.parametrize("kind", [np.array, tf.constant])
def test_open_directions_are_left_alone(kind):
  domain = Domain(kind([[np.inf, 4.0]]))
  x = kind([[[1e6, 3.0], [0.0, -3.0]]])
  np.testing.assert_allclose(domain.wrap(x), [[[1e6, -1], [0, 1]]])
  np.testing.assert_allclose(
    domain.displacement(x[:, :1], x[:, 1:]), [[[-1e6, 2.0]]]
  )


def test_open_domain_has_finite_gradients():
  domain = Domain(tf.constant([[np.inf, 4.0]]))
  x = tf.Variable([[[0.3, 0.4], [1.0, 1.9]]], dtype=tf.float64)
  domain = map_arrays(lambda b: tf.cast(b, tf.float64), domain)
  with tf.GradientTape() as tape:
    loss = tf.reduce_sum(domain.displacement(x[:, :1], x[:, 1:]) ** 2)
  assert np.all(np.isfinite(tape.gradient(loss, x)))


def test_boxes_may_differ_within_a_batch():
  domain = Domain(np.array([[4.0], [10.0]]))
  x = np.full((2, 3, 1), 3.0)  # [B, N, D]
  frames = np.full((2, 5, 3, 1), 3.0)  # [B, T, N, D]
  np.testing.assert_allclose(domain.wrap(x)[:, 0, 0], [-1, 3])
  np.testing.assert_allclose(domain.wrap(frames)[:, 4, 2, 0], [-1, 3])


def test_at_each_frame_equals_a_loop():
  trajectory = testing.trajectory(num_frames=3, batch=2)
  together = trajectory.at_each_frame(testing.GRAVITY.force)
  for t in range(3):
    alone = testing.GRAVITY.force(
      trajectory.frame(t), trajectory.particles, trajectory.domain
    )
    np.testing.assert_allclose(together[:, t], alone, rtol=1e-13)


def test_map_arrays_keeps_types_and_none():
  _, particles, _ = testing.random_system()
  doubled = map_arrays(lambda x: 2 * x, (particles, State(1, 2)))
  assert doubled[0].charge is None
  assert doubled[1] == State(2, 4)
  np.testing.assert_array_equal(doubled[0].mass, 2 * particles.mass)
