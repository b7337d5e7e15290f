import itertools

import numpy as np
import pytest
import tensorflow as tf

from nbody_bench import pipelines, testing


def indexed_trajectory(num_trajectories=3, num_frames=5):
  """Position x holds the trajectory, y the frame."""
  trajectory = testing.trajectory(
    num_frames=num_frames, batch=num_trajectories, box_side=np.inf
  )
  sample, frame = np.indices((num_trajectories, num_frames))
  position = np.broadcast_to(
    np.stack([sample, frame], -1)[:, :, None], (*sample.shape, 5, 2)
  )
  return trajectory._replace(
    state=trajectory.state._replace(position=position.astype(float))
  )


def batches(count, first_step=0, **kwargs):
  options = {"window_length": 2, "batch_size": 4, "seed": 1} | kwargs
  sample = pipelines.WindowSampler(indexed_trajectory(), **options)
  return [
    sample(tf.constant(step, tf.int64)).state.position.numpy()[:, :, 0]
    for step in range(first_step, first_step + count)
  ]


def test_an_epoch_visits_every_window_once():
  starts = np.concatenate(batches(6))[:, 0]  # 3 trajectories x 4 starts, twice
  expected = sorted(itertools.product(range(3), range(4)))
  first, second = starts[:12], starts[12:]
  assert sorted(map(tuple, first.astype(int))) == expected
  assert sorted(map(tuple, second.astype(int))) == expected
  assert not np.array_equal(first, second)


def test_windows_are_consecutive_frames_of_one_trajectory():
  for window in batches(3, window_length=3):
    np.testing.assert_array_equal(window[:, :, 0], window[:, :1, 0] * [1, 1, 1])
    np.testing.assert_array_equal(window[:, :, 1], window[:, :1, 1] + [0, 1, 2])


def test_resumed_batches_are_those_of_an_unbroken_run():
  whole, resumed = batches(9), batches(4, first_step=5)
  np.testing.assert_array_equal(whole[5:], resumed)


def test_the_seed_sets_the_order():
  assert not np.array_equal(batches(3), batches(3, seed=2))
  np.testing.assert_array_equal(batches(3), batches(3))


def test_masses_and_boxes_come_along():
  trajectory = indexed_trajectory()
  draw = pipelines.WindowSampler(
    trajectory, window_length=2, batch_size=4, seed=0
  )
  window = draw(tf.constant(0, tf.int64))
  sample = window.state.position.numpy()[:, 0, 0, 0].astype(int)
  np.testing.assert_allclose(
    window.particles.mass, trajectory.particles.mass[sample], rtol=1e-6
  )
  assert window.domain.box.shape == (4, 2)
  np.testing.assert_allclose(window.time, [0, 0.01])


def test_too_long_a_window():
  with pytest.raises(ValueError, match="windows of 6 frames do not fit"):
    batches(1, window_length=6)
