"""Atoms: masses and bonds.

Lengths in Angstrom, masses in atomic mass units.
"""

import numpy as np

# Standard atomic weights (IUPAC 2021, abridged) by atomic number.
MASSES = {1: 1.008, 6: 12.011, 7: 14.007, 8: 15.999}
# Atoms nearer than this are tied, in the published data and here.
BOND_LENGTH = 1.6


def masses(numbers: np.ndarray) -> np.ndarray:
  """Returns the masses `[N]` of atoms with these atomic numbers.

  Raises:
    ValueError: for an element that no molecule here has.
  """
  unknown = sorted(set(numbers.tolist()) - set(MASSES))
  if unknown:
    raise ValueError(
      f"atomic numbers {unknown} are not among {sorted(MASSES)}, of which "
      "these molecules are made"
    )
  return np.array([MASSES[z] for z in numbers.tolist()])


def bonds(position: np.ndarray, cutoff: float = BOND_LENGTH) -> np.ndarray:
  """Returns the pairs of particles `[N, D]` nearer than `cutoff`, `[E, 2]`."""
  apart = np.linalg.norm(position[:, None] - position, axis=-1)
  return np.argwhere(np.triu(apart < cutoff, 1))
