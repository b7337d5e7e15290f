"""From prepared data sets to arrays and batches."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from nbody_bench.problems import Problem
from nbody_bench.states import Domain, Particles, State, Trajectory, map_arrays


class Split(NamedTuple):
  """The trajectories of one split, in the order of their ids.

  Attributes:
    trajectory_id: `[B]`.
    trajectory: `[B, T, N, D]` float64.
    label_error: `[B, T]`, see `simulation.GroundTruth`.
  """

  trajectory_id: np.ndarray
  trajectory: Trajectory
  label_error: np.ndarray


def problem(dataset: str, data_dir: str | None) -> Problem:
  """Returns what is known of a prepared data set before its examples."""
  info = tfds.builder(dataset, data_dir=data_dir).info
  return Problem.from_metadata(info.full_name, info.metadata)


def load(
  dataset: str, split: str, data_dir: str | None, count: int | None = None
) -> Split:
  """Reads the first `count` trajectories of a split into memory.

  Args:
    dataset: `name/config`, prepared.
    split: `train`, `validation` or `test`.
    data_dir: where TFDS keeps its data; None for its default.
    count: of trajectories; default all.
  """
  builder = tfds.builder(dataset, data_dir=data_dir)
  examples = list(
    tfds.as_numpy(builder.as_dataset(split=split).take(count or -1))
  )
  examples.sort(key=lambda e: e["trajectory_id"])

  def stack(name):
    return (
      np.stack([e[name] for e in examples]) if name in examples[0] else None
    )

  trajectory = Trajectory(
    examples[0]["time"],
    State(stack("position"), stack("velocity")),
    Particles(mass=stack("mass"), charge=stack("charge")),
    Domain(stack("box")),
  )
  return Split(stack("trajectory_id"), trajectory, stack("label_error"))


def training_windows(
  trajectory: Trajectory,
  window_length: int,
  batch_size: int,
  seed: int,
  first_step: int = 0,
) -> tf.data.Dataset:
  """Returns endless shuffled batches of windows.

  Each epoch visits every window once, in an order that follows from the seed
  and the epoch alone, so that training resumed at `first_step` sees what it
  would have seen without the break.

  Args:
    trajectory: `[B, T, N, D]` NumPy arrays at equal time steps.
    window_length: frames in a window.
    batch_size: windows in a batch.
    seed: of the order.
    first_step: batches to leave out.

  Returns:
    A data set of float32 `Trajectory`s `[batch_size, window_length, N, D]`,
    time starting at 0.
  """
  num_trajectories, num_frames = trajectory.state.position.shape[:2]
  starts = num_frames - window_length + 1
  if starts < 1:
    raise ValueError(
      f"windows of {window_length} frames do not fit in trajectories of "
      f"{num_frames}; shorten the window"
    )
  num_windows = num_trajectories * starts
  order = tf.constant(seed, tf.int64)
  last_window = tf.constant(num_windows - 1, tf.int64)
  data = map_arrays(lambda x: tf.constant(x, tf.float32), trajectory)
  time = data.time[:window_length] - data.time[0]

  def batch(step):
    place = step * batch_size + tf.range(batch_size, dtype=tf.int64)
    epoch, place = place // num_windows, place % num_windows
    # Public only as a raw op, where indices come in batches.
    chosen = tf.raw_ops.RandomIndexShuffle(
      index=place,
      seed=tf.stack([epoch, tf.fill([batch_size], order), 0 * epoch], 1),
      max_index=tf.fill([batch_size], last_window),
      rounds=4,
    )
    sample, start = chosen // starts, chosen % starts
    frames = start[:, None] + tf.range(window_length, dtype=tf.int64)[None]
    at = tf.stack(
      [tf.broadcast_to(sample[:, None], tf.shape(frames)), frames], -1
    )
    return Trajectory(
      time,
      State(*(tf.gather_nd(x, at) for x in data.state)),
      *map_arrays(
        lambda x: tf.gather(x, sample), (data.particles, data.domain)
      ),
    )

  return (
    tf.data.Dataset.range(first_step, np.iinfo(np.int64).max)
    .map(batch, num_parallel_calls=2, deterministic=True)
    .prefetch(4)
  )
