"""MD17: published molecular dynamics, read from its files.

Lengths in Angstrom, times in frames.
"""

import dataclasses
import pathlib

import numpy as np

from nbody_bench import molecules, observed


@dataclasses.dataclass(frozen=True)
class Published:
  """What of a published trajectory makes which split.

  Start frames are drawn at random within a range, of all splits from the same:
  windows of one split share frames with those of others.

  Attributes:
    margin: frames left out at both ends of the range.
    shares: of the range that the splits' start frames are.
    offsets: frames of a window, counted from its first.
    num_train: start frames that the published training split has; None to
      accept any trajectory.
    seed: of the draw.
  """

  margin: int = 10_000
  shares: tuple[float, ...] = (0.1, 0.05, 0.05)
  offsets: tuple[int, ...] = tuple(range(0, 3001, 375))
  num_train: int | None = None
  seed: int = 100

  def starts(self, num_frames: int) -> dict[str, np.ndarray]:
    """Returns the start frames of train, validation and test.

    With a legacy NumPy generator, for its draws are the published ones: those
    of Huang et al. (2022), taken over by Xu et al. (2024).

    Args:
      num_frames: of the whole trajectory.

    Raises:
      ValueError: if that is not the published one.
    """
    # The last frame has no velocity.
    total = num_frames - 1 - 2 * self.margin
    sizes = [int(share * max(total, 0)) for share in self.shares]
    if self.num_train is not None and sizes[0] != self.num_train:
      raise ValueError(
        f"its {num_frames} frames make {sizes[0]} training starts, and the "
        f"published trajectory makes {self.num_train}"
      )
    if min(sizes) < 1 or self.margin < max(self.offsets) + 1:
      raise ValueError(f"its {num_frames} frames are too few")
    rng = np.random.RandomState(self.seed)
    left, starts = np.arange(total), {}
    for split, size in zip(("train", "validation", "test"), sizes, strict=True):
      chosen = rng.choice(left, size, replace=False)
      left = np.setdiff1d(left, chosen, assume_unique=True)
      starts[split] = chosen + self.margin
    return starts


def windows(
  path: pathlib.Path, published: Published
) -> dict[str, observed.Windows]:
  """Returns the windows of an MD17 file, heavy atoms alone.

  Positions at the frames that `published` says, velocities x(t + 1) - x(t) in
  Angstrom a frame; bonds are between atoms less than 1.6 Angstrom apart in the
  first frame of the trajectory.

  Args:
    path: of an archive with `R` [T, n, 3], Angstrom, and `z` [n].
    published: which frames.

  Raises:
    ValueError: if the file is damaged, or not the published trajectory.
  """
  arrays = observed.read_npz(path, {"R": (None, None, 3), "z": (None,)})
  numbers = arrays["z"].astype(np.int64)
  try:
    if len(numbers) != arrays["R"].shape[1]:
      raise ValueError(
        f"'R' has {arrays['R'].shape[1]} atoms and 'z' {len(numbers)}"
      )
    heavy = numbers > 1
    mass = molecules.masses(numbers[heavy])
    starts = published.starts(len(arrays["R"]))
  except ValueError as error:
    raise ValueError(
      f"{path} is not the file it should be: {error}; get it anew"
    ) from None
  result = {}
  for split, frames in starts.items():
    position, velocity = observed.frames_at(
      arrays["R"], frames, published.offsets
    )
    result[split] = observed.Windows(
      position=position[:, :, heavy],
      velocity=velocity[:, :, heavy],
      mass=mass,
      bonds=molecules.bonds(arrays["R"][0, heavy]),
      species=numbers[heavy],
    )
  return result
