"""Captured motion of people; see README.md beside this file."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import tensorflow_datasets as tfds

from nbody_bench import acclaim, mocap, observed
from nbody_bench.dataset_configs import Size

# A start and the 30 frames that follow.
_NUM_FRAMES = 31


@dataclasses.dataclass(eq=False, kw_only=True)
class MocapConfig(observed.ObservedConfig):
  """One subject, one kind of motion.

  Attributes:
    trials: their numbers, by split.
    num_starts: windows of each trial.
    num_first: of each training trial, those that `train` begins with.
    amc: files of the trials, in the order of their numbers; empty where an
      archive holds all.
    file: that archive, or the skeleton.
  """

  trials: Mapping[str, tuple[int, ...]]
  num_starts: int
  num_first: int
  amc: tuple[str, ...] = ()
  file: str


# Splits of Xu et al. (2024).
_RUN = {"train": (1, 2, 5, 6, 10), "validation": (0, 4, 9), "test": (3, 7, 8)}
_WALK = {
  "train": (20, 1, 17, 13, 14, 9, 4, 2, 7, 5, 16),
  "validation": (3, 8, 11, 12, 15, 18),
  "test": (6, 19, 21, 0, 22, 10),
}


def _run(name: str, *counts: int) -> MocapConfig:
  return MocapConfig(
    name=name,
    description="A man runs: 31 joints, windows of 31 frames, CMU subject 9.",
    origin={"name": "CMU motion capture", "subject": 9, "frames_a_second": 120},
    num_particles=mocap.NUM_JOINTS,
    splits={k: Size(n, _NUM_FRAMES) for k, n in zip(_RUN, counts, strict=True)},
    trials=_RUN,
    num_starts=80,
    num_first=40,
    file="mocap_run.npz",
  )


class Builder(observed.ObservedDatasetBuilder):
  """TFDS builder `mocap`."""

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
  it comes from the CMU Graphics Lab motion capture database,
  mocap.cs.cmu.edu, free for research; datasets/mocap/README.md says which of
  its files are needed and what the archive of subject 9 holds. Put them there,
  or in another folder.
  """
  BUILDER_CONFIGS: ClassVar[list[MocapConfig]] = [
    _run("run", 400, 240, 240),
    MocapConfig(
      name="walk",
      description="A man walks: 31 joints, windows of 31 frames, CMU subject "
      "35.",
      origin={
        "name": "CMU motion capture",
        "subject": 35,
        "frames_a_second": 120,
      },
      num_particles=mocap.NUM_JOINTS,
      splits={k: Size(100 * len(v), _NUM_FRAMES) for k, v in _WALK.items()},
      trials=_WALK,
      num_starts=100,
      num_first=18,
      # The walks among the trials of subject 35; 17 to 26 are runs.
      amc=tuple(f"35_{k:02d}.amc" for k in (*range(1, 17), *range(28, 35))),
      file="35.asf",
    ),
    _run("smoke", 4, 2, 2),
  ]

  def windows(self, dl_manager):
    """See base class."""
    config = self.builder_config
    path = self.find(dl_manager, config.file)
    if config.amc:
      recordings = self._acclaim(dl_manager, path)
    else:
      recordings = mocap.read_npz(path, config.trials, config.num_starts)
    return mocap.windows(recordings, _NUM_FRAMES, config.num_first)

  def _acclaim(self, dl_manager, skeleton):
    config = self.builder_config
    bones, trials = acclaim.read(
      skeleton,
      {k: self.find(dl_manager, name) for k, name in enumerate(config.amc)},
    )
    starts = mocap.draw_starts(
      {k: len(x) for k, x in trials.items()},
      config.num_starts,
      among=300,
      horizon=_NUM_FRAMES - 1,
      seed=config.seed,
    )
    return mocap.Recordings(
      bones,
      trials,
      {split: {k: starts[k] for k in v} for split, v in config.trials.items()},
    )
