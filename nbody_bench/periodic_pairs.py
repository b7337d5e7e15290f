"""All pairs of particles within a distance, images included, in NumPy."""

import itertools
from typing import NamedTuple

import numpy as np

# Beyond which rounding can hide no pair.
_MARGIN = 1.001


class Pairs(NamedTuple):
  """Ordered pairs: each of two particles is the first in one of them.

  Attributes:
    first: `[P]`.
    second: `[P]`; the same particle, where it is near an image of itself.
    vector: `[P, 3]`, from the first to the image of the second.
    distance: `[P]`.
  """

  first: np.ndarray
  second: np.ndarray
  vector: np.ndarray
  distance: np.ndarray


def within(
  position: np.ndarray,
  cell: np.ndarray,
  is_periodic: np.ndarray,
  cutoff: float,
) -> Pairs:
  """Returns the pairs nearer than `cutoff`.

  Args:
    position: `[N, 3]`, inside the cell or not.
    cell: `[3, 3]`, sides as rows.
    is_periodic: `[3]`, which sides are.
    cutoff: a length.
  """
  inverse = np.linalg.inv(cell)
  sides = np.floor(position @ inverse + 0.5)
  inside = position - np.where(is_periodic, sides, 0) @ cell
  # Planes of images are 1 / |column of the inverse| apart, and two particles
  # inside the cell less than one cell.
  planes = cutoff * np.linalg.norm(inverse, axis=0)
  most = np.where(is_periodic, np.floor(planes + 1), 0).astype(int)
  steps = itertools.product(*(range(-m, m + 1) for m in most))
  shifts = np.array([*steps]) @ cell
  images = (shifts[:, None] + inside).reshape(-1, 3)
  near = np.flatnonzero(_squared(inside, images) < cutoff**2 * _MARGIN)
  first, image = np.divmod(near, len(images))
  vector = images[image] - inside[first]
  distance = np.sqrt(np.sum(vector * vector, 1))
  shift, second = np.divmod(image, len(position))
  itself = (first == second) & (shift == len(shifts) // 2)
  kept = (distance < cutoff) & ~itself
  return Pairs(first[kept], second[kept], vector[kept], distance[kept])


def _squared(origins, targets):
  """Returns squared distances `[N, M]`, fast, and rounded a little."""
  return (
    np.sum(origins**2, 1)[:, None]
    + np.sum(targets**2, 1)
    - 2 * origins @ targets.T
  )
