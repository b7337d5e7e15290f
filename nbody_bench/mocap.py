"""Motion capture: recordings, and the windows that are cut from them."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from nbody_bench import observed

NUM_JOINTS = 31


class Recordings(NamedTuple):
  """Trials of one subject.

  Attributes:
    bones: `[E, 2]` pairs of joints.
    trials: positions `[T, 31, 3]` by number.
    starts: first frames of windows `[S]` by split and number of the trial, in
      the order they were drawn.
  """

  bones: np.ndarray
  trials: Mapping[int, np.ndarray]
  starts: Mapping[str, Mapping[int, np.ndarray]]


def read_npz(
  path: pathlib.Path, trials: Mapping[str, Sequence[int]], num_starts: int
) -> Recordings:
  """Returns the recordings of an archive.

  It holds `bones` [E, 2], and for each trial k `trial_<k>` [T, 31, 3] and
  `start_<split>_<k>` [num_starts].

  Args:
    path: of the archive.
    trials: their numbers, by split.
    num_starts: S of each trial.

  Raises:
    ValueError: if the file is damaged or something else; see
      `observed.read_npz`.
  """
  shapes: dict[str, tuple[int | None, ...]] = {"bones": (NUM_JOINTS - 1, 2)}
  for split, numbers in trials.items():
    for k in numbers:
      shapes[f"trial_{k}"] = (None, NUM_JOINTS, 3)
      shapes[f"start_{split}_{k}"] = (num_starts,)
  arrays = observed.read_npz(path, shapes)
  bones = arrays["bones"].astype(np.int64)
  if bones.min() < 0 or bones.max() >= NUM_JOINTS:
    raise ValueError(
      f"{path} is not the file it should be: 'bones' names joint "
      f"{bones.max()}, and there are {NUM_JOINTS}; get it anew"
    )
  return Recordings(
    bones,
    {k: arrays[f"trial_{k}"] for v in trials.values() for k in v},
    {
      split: {k: arrays[f"start_{split}_{k}"].astype(np.int64) for k in numbers}
      for split, numbers in trials.items()
    },
  )


def draw_starts(
  lengths: Mapping[int, int], num_starts: int, among: int, horizon: int, seed
) -> dict[int, np.ndarray]:
  """Returns first frames of windows, drawn without repetition in each trial.

  Args:
    lengths: frames of each trial, by its number, which the draw depends on.
    num_starts: of each trial.
    among: the first frames of a trial that are drawn from; fewer where it is
      too short for them.
    horizon: frames that must follow, one more for the last velocity.
    seed: of the draw.

  Raises:
    ValueError: if a trial is too short.
  """
  result = {}
  for k, length in lengths.items():
    allowed = min(among, length - horizon - 1)
    if allowed < num_starts:
      raise ValueError(
        f"trial {k} has {length} frames, too few for {num_starts} windows of "
        f"{horizon} frames to come; get its file anew"
      )
    rng = np.random.default_rng((seed, k))
    result[k] = rng.choice(allowed, num_starts, replace=False)
  return result


def windows(
  recordings: Recordings, num_frames: int, first: int
) -> dict[str, observed.Windows]:
  """Returns the windows of each split.

  Positions at equal frames, velocities x(t + 1) - x(t) in lengths a frame,
  masses 1. Of each trial in turn the first `first` windows, then the rest of
  each, so that the published training set is the beginning of `train`.

  Args:
    recordings: with S start frames a trial.
    num_frames: T of a window.
    first: S or fewer.

  Raises:
    ValueError: if a trial ends before its windows do.
  """
  result = {}
  for split, starts in recordings.starts.items():
    found = []
    for part in (slice(0, first), slice(first, None)):
      for k, frames in starts.items():
        if not len(frames[part]):
          continue
        try:
          found.append(
            observed.frames_at(
              recordings.trials[k], frames[part], range(num_frames)
            )
          )
        except ValueError as error:
          raise ValueError(f"motion capture trial {k}: {error}") from None
    position, velocity = (np.concatenate(x) for x in zip(*found, strict=True))
    result[split] = observed.Windows(
      position, velocity, np.ones(position.shape[2]), recordings.bones
    )
  return result
