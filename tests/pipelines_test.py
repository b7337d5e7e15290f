import itertools
import pathlib
import shutil

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


def test_a_model_is_not_told_what_is_withheld(data_dir):
  split = pipelines.load("nbody_latent/smoke", "test", data_dir)
  assert split.withheld == ("coupling",)
  assert np.ptp(split.trajectory.particles.coupling) > 0
  assert split.given.particles.coupling is None
  hidden = split._replace(withheld=("mass",))
  hidden = hidden._replace(
    trajectory=split.trajectory._replace(
      particles=split.trajectory.particles._replace(
        mass=3 * split.trajectory.particles.mass
      )
    )
  )
  assert np.all(hidden.given.particles.mass == 1)
  assert np.all(hidden.trajectory.particles.mass == 3)


def test_context_frames_come_as_history(data_dir):
  whole = pipelines.load("nbody_latent/smoke", "test", data_dir)
  problem = pipelines.problem("nbody_latent/smoke", data_dir)
  assert problem.num_context_frames == 11
  cut = whole.after(11)
  assert len(cut.trajectory.time) == len(whole.trajectory.time) - 10
  history = cut.given.particles.history
  np.testing.assert_array_equal(
    history.position, whole.trajectory.state.position[:, :11]
  )
  np.testing.assert_array_equal(
    history.position[:, -1], cut.trajectory.frame(0).position
  )
  np.testing.assert_array_equal(cut.label_error, whole.label_error[:, 10:])
  assert whole.after(1) is whole


def test_true_constants_are_those_that_scores_use(data_dir):
  """The law's own coupling would give another energy."""
  split = pipelines.load("nbody_latent/smoke", "test", data_dir)
  system = pipelines.problem("nbody_latent/smoke", data_dir).system
  energy = split.trajectory.at_each_frame(system.hamiltonian)
  drift = np.abs(energy / energy[:, :1] - 1).max()
  assert drift < 1e-4
  wrong = split.given.at_each_frame(system.hamiltonian)
  assert np.abs(wrong / wrong[:, :1] - 1).max() > 1e-3


def test_an_unknown_split_is_answered_with_those_there_are(data_dir):
  with pytest.raises(ValueError, match=r"'test_log'.*mean 'test_long'"):
    pipelines.load("nbody_gravity/smoke", "test_log", data_dir)


def test_a_window_has_the_frames_before_it_as_history():
  sample = pipelines.WindowSampler(
    indexed_trajectory(num_frames=7), 2, 12, seed=3, num_context_frames=4
  )
  window = sample(tf.constant(0, tf.int64))
  history = window.particles.history.position.numpy()[:, :, 0]
  first = window.state.position.numpy()[:, 0, 0]
  assert history.shape == (12, 4, 2)
  np.testing.assert_array_equal(history[:, -1], first)
  # y is the frame: the three before, and never one before the trajectory's.
  np.testing.assert_array_equal(
    history[:, :, 1], first[:, None, 1] + np.arange(-3, 1)
  )
  assert {tuple(x) for x in first.tolist()} == {
    (s, t) for s in range(3) for t in range(3, 6)
  }


def test_history_must_fit_too():
  with pytest.raises(
    ValueError, match=r"windows of 3 frames do not fit .* 3 go before"
  ):
    pipelines.WindowSampler(
      indexed_trajectory(), 3, 4, seed=0, num_context_frames=4
    )


@pytest.mark.parametrize(
  ("pattern", "content"), [("*-train.*", slice(100)), ("dataset_info.json", 0)]
)
def test_damaged_data_are_named(pattern, content, data_dir, tmp_path):
  name = "nbody_gravity/smoke"
  (folder,) = pathlib.Path(data_dir).glob(f"{name}/*.*.*")
  copy = tmp_path / name / folder.name
  shutil.copytree(folder, copy)
  (path,) = copy.glob(pattern) if content else [copy / pattern]
  path.write_bytes(path.read_bytes()[content] if content else b"")
  with pytest.raises(ValueError, match=r"is damaged .*; remove its folder and"):
    pipelines.load(name, "train", str(tmp_path))


@pytest.mark.parametrize(
  ("file", "is_gone", "message"),
  [
    ("*-test.tfrecord*", True, r"-test\.tfrecord-00000-of-00001 is missing; "),
    ("metadata.json", True, r"metadata\.json is missing; remove its folder"),
    ("metadata.json", False, r"metadata\.json is damaged \(.*; remove its fo"),
    ("dataset_info.json", True, r"dataset_info\.json is missing; remove its"),
    ("features.json", True, r"features\.json is missing; remove its folder"),
  ],
)
def test_missing_and_torn_files_are_named(
  file, is_gone, message, data_dir, tmp_path
):
  name = "nbody_gravity/smoke"
  (folder,) = pathlib.Path(data_dir).glob(f"{name}/*.*.*")
  copy = tmp_path / name / folder.name
  shutil.copytree(folder, copy)
  (path,) = copy.glob(file)
  text = path.read_bytes()
  path.unlink()
  if not is_gone:
    path.write_bytes(text[:100])
  with pytest.raises(ValueError, match=f"^{copy}/.*{message}"):
    pipelines.load(name, "test", str(tmp_path))
