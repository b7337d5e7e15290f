"""Proteins: published molecular dynamics, read from its files.

Lengths in Angstrom, charges in those of the electron, masses in atomic mass
units, times in frames.
"""

import logging
import pathlib
import warnings
from collections.abc import Mapping, Sequence

import numpy as np

from nbody_bench import observed


def windows(
  topology: pathlib.Path,
  trajectory: pathlib.Path,
  shares: Mapping[str, Sequence[float]],
  num_frames: int,
) -> dict[str, observed.Windows]:
  """Returns every window of a protein's backbone, split by time.

  Backbone are the atoms N, CA, C and O of every residue; velocities are
  x(t + 1) - x(t), in Angstrom a frame. A window begins at each frame of a split
  after which there is room for it and for the last velocity, so that no two
  splits share a frame.

  Args:
    topology: of atoms with names, masses and charges, such as a PSF.
    trajectory: of their positions, such as a DCD.
    shares: where each split begins and ends, as parts of the whole.
    num_frames: of a window.

  Raises:
    ValueError: if MDAnalysis is missing, a file is damaged, has no backbone, or
      ends too early.
  """
  path, mass, charge = _backbone(topology, trajectory)
  result = {}
  for split, (begin, end) in shares.items():
    first, last = int(begin * len(path)), int(end * len(path))
    starts = np.arange(first, last - num_frames)
    if not len(starts):
      raise ValueError(
        f"{trajectory} is not the file it should be: of its {len(path)} frames "
        f"{last - first} are of {split}, and a window needs {num_frames + 1}; "
        "get it anew"
      )
    result[split] = observed.Windows(
      *observed.frames_at(path, starts, range(num_frames)), mass, charge=charge
    )
  return result


def _backbone(topology, trajectory):
  """Returns positions `[T, N, 3]`, masses and charges `[N]`."""
  # It says on import what other formats would need.
  logging.getLogger("MDAnalysis").setLevel(logging.ERROR)
  try:
    import MDAnalysis
  except ImportError as error:
    raise ValueError(
      f"proteins are read by MDAnalysis, which is not possible here ({error}); "
      'pip install "nbody_bench[proteins]"'
    ) from None
  file = topology
  try:
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")
      universe = MDAnalysis.Universe(str(topology))
      file = trajectory
      atoms = universe.load_new(str(trajectory)).select_atoms("backbone")
      if not len(atoms):
        raise ValueError("there is no backbone of a protein")
      path = np.stack([atoms.positions for _ in universe.trajectory])
      if not np.isfinite(path).all():
        raise ValueError("a position is no finite number")
      return path, atoms.masses.astype(float), atoms.charges.astype(float)
  # Its parsers raise whatever meets them in a damaged file.
  except Exception as error:
    why = " ".join(str(error).split()) or type(error).__name__
    raise ValueError(
      f"{file} is not the file it should be: {why}; get it anew"
    ) from None
