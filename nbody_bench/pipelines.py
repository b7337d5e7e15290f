"""From prepared data sets to arrays and batches."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from nbody_bench import plugins, stored
from nbody_bench.problems import Problem
from nbody_bench.states import (
  OF_SYSTEM,
  Domain,
  Particles,
  State,
  Trajectory,
  map_arrays,
)


class Split(NamedTuple):
  """The trajectories of one split, in the order of their ids.

  Attributes:
    trajectory_id: `[B]`.
    trajectory: `[B, T, N, D]` float64.
    label_error: `[B, T]`, see `simulation.GroundTruth`.
    withheld: fields of `Particles` that models are not told.
    history: states `[B, K, N, D]` up to frame 0, or None.
  """

  trajectory_id: np.ndarray
  trajectory: Trajectory
  label_error: np.ndarray
  withheld: tuple[str, ...] = ()
  history: State | None = None

  @property
  def given(self) -> Trajectory:
    """The trajectories as a model may see them.

    Withheld masses and charges are 1, withheld constants None; the history is
    with the particles.
    """
    particles = self.trajectory.particles
    hidden = {
      f: None if f in OF_SYSTEM else np.ones_like(particles.mass)
      for f in self.withheld
    }
    return self.trajectory._replace(
      particles=particles._replace(history=self.history, **hidden)
    )

  def after(self, num_context_frames: int) -> "Split":
    """Returns the split from the last context frame on, the others as history.

    Args:
      num_context_frames: 1 or more; with 1 the initial state is all that is
        given, and the split is returned as it is.
    """
    if num_context_frames == 1:
      return self
    first = num_context_frames - 1
    return self._replace(
      trajectory=self.trajectory.frames(first),
      label_error=self.label_error[:, first:],
      history=self.trajectory.frames(0, num_context_frames).state,
    )

  def at(self, frames: tuple[int, ...]) -> "Split":
    """Returns the split with these frames alone."""
    index = list(frames)
    trajectory = self.trajectory.each_frame(lambda x: x[:, index])
    return self._replace(
      trajectory=trajectory._replace(time=trajectory.time[index]),
      label_error=self.label_error[:, index],
    )


def problem(dataset: str, data_dir: str | None) -> Problem:
  """Returns what is known of a prepared data set before its examples."""
  info = stored.builder(dataset, data_dir).info
  return Problem.from_metadata(info.full_name, info.metadata)


def load(
  dataset: str, split: str, data_dir: str | None, count: int | None = None
) -> Split:
  """Reads the first `count` trajectories of a split into memory.

  Where they differ in N, smaller ones are padded, and the mask says so.

  Args:
    dataset: `name/config`, prepared.
    split: one of those that the data set has.
    data_dir: where TFDS keeps its data; None for its default.
    count: of trajectories; default all.

  Raises:
    ValueError: if there is no such split, listing those there are.
  """
  builder = stored.builder(dataset, data_dir)
  if split not in builder.info.splits:
    raise ValueError(
      plugins.unknown(f"{dataset}'s splits", split, list(builder.info.splits))
    )
  with stored.reading(builder):
    examples = list(
      tfds.as_numpy(builder.as_dataset(split=split).take(count or -1))
    )
  examples.sort(key=lambda e: e["trajectory_id"])

  num_particles = [e["mass"].shape[0] for e in examples]
  examples = [_padded(e, max(num_particles)) for e in examples]

  def stack(name):
    return (
      np.stack([e[name] for e in examples]) if name in examples[0] else None
    )

  mask = None
  if len(set(num_particles)) > 1:
    places = np.arange(max(num_particles))
    mask = (places < np.array(num_particles)[:, None]).astype(np.float64)
  trajectory = Trajectory(
    examples[0]["time"],
    State(stack("position"), stack("velocity")),
    Particles(**{f: stack(f) for f in Particles._fields})._replace(mask=mask),
    Domain(stack("box"), stack("cell")),
    State(stack("clean_position"), stack("clean_velocity"))
    if "clean_position" in examples[0]
    else None,
    stack("force"),
    stack("potential_energy"),
  )
  return Split(
    stack("trajectory_id"),
    trajectory,
    stack("label_error"),
    tuple(builder.info.metadata["withheld"]),
  )


# By the place of N among the axes of an example's arrays.
_AXES = {
  0: ("mass", "charge", "stiffness", "species", "tag"),
  1: ("position", "velocity", "clean_position", "clean_velocity", "force"),
}


def _padded(example, num_particles):
  """Returns an example with zeros for the particles that it lacks."""
  more = num_particles - example["mass"].shape[0]
  if not more:
    return example
  result = dict(example)
  for axis, names in _AXES.items():
    for name in set(names) & set(example):
      widths = [(0, 0)] * example[name].ndim
      widths[axis] = (0, more)
      result[name] = np.pad(example[name], widths)
  return result


class WindowSampler:
  """Draws the training batch of any step, inside the compiled step itself.

  Each epoch visits every window once, in an order that follows from the seed
  and the epoch alone: training resumed at step k sees what it would have seen
  without the break. The trajectories lie on the device, and a batch is a
  gather, so that feeding a model costs next to nothing.
  """

  def __init__(
    self,
    trajectory: Trajectory,
    window_length: int,
    batch_size: int,
    seed: int,
    num_context_frames: int = 1,
  ):
    """Copies the data to the device.

    Args:
      trajectory: `[B, T, N, D]` NumPy arrays at equal time steps.
      window_length: frames in a window.
      batch_size: windows in a batch.
      seed: of the order.
      num_context_frames: with 2 or more, the windows' particles carry as many
        frames as history, the window's first frame the last of them.

    Raises:
      ValueError: if the trajectories are shorter than a window with its
        history.
    """
    num_trajectories, num_frames = trajectory.state.position.shape[:2]
    self._past = num_context_frames - 1
    self._starts = num_frames - window_length - self._past + 1
    if self._starts < 1:
      raise ValueError(
        f"windows of {window_length} frames do not fit in trajectories of "
        f"{num_frames}, of which {self._past} go before; shorten the window"
      )
    steps = np.diff(trajectory.time)
    if self._starts > 1 and not np.allclose(steps, steps[0], rtol=1e-6):
      raise ValueError(
        f"frames at times {trajectory.time.tolist()} are not equally far "
        f"apart, and windows of {window_length} would have different steps; "
        "train on equal ones (--task=uniform), or predict all at once"
      )
    self._num_windows = num_trajectories * self._starts
    self._batch_size = batch_size
    self._seed = seed
    self._data = map_arrays(lambda x: tf.constant(x, tf.float32), trajectory)
    self._time = self._data.time[:window_length] - self._data.time[0]

  def __call__(self, step: tf.Tensor) -> Trajectory:
    """Returns the batch `[batch_size, window_length, N, D]` of a step.

    Args:
      step: int64 scalar, counted from 0.

    Returns:
      Windows in float32, time starting at 0.
    """
    size = self._batch_size
    place = step * size + tf.range(size, dtype=tf.int64)
    epoch, place = place // self._num_windows, place % self._num_windows
    seed = tf.fill([size], tf.constant(self._seed, tf.int64))
    last = tf.fill([size], tf.constant(self._num_windows - 1, tf.int64))
    # Public only as a raw op, where indices come in batches.
    chosen = tf.raw_ops.RandomIndexShuffle(
      index=place,
      seed=tf.stack([epoch, seed, 0 * epoch], 1),
      max_index=last,
      rounds=4,
    )
    sample, start = chosen // self._starts, chosen % self._starts
    length = self._past + len(self._time)
    frames = start[:, None] + tf.range(length, dtype=tf.int64)[None]
    at = tf.stack(
      [tf.broadcast_to(sample[:, None], tf.shape(frames)), frames], -1
    )
    window = self._data.each_frame(lambda x: tf.gather_nd(x, at))
    particles, domain = self._constants(sample)
    if self._past:
      history = State(*(x[:, : self._past + 1] for x in window.state))
      particles = particles._replace(history=history)
    window = window.each_frame(lambda x: x[:, self._past :])
    return window._replace(time=self._time, particles=particles, domain=domain)

  def _constants(self, sample):
    return map_arrays(
      lambda x: tf.gather(x, sample), (self._data.particles, self._data.domain)
    )
