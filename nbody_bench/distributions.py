"""Distances between distributions of samples."""

import numpy as np


def wasserstein(one: np.ndarray, other: np.ndarray) -> np.ndarray:
  """Returns the 1-Wasserstein distance of two samples of one size.

  The mean difference of the sorted values, which for equal sizes is the least
  mean distance that one sample has to be moved to become the other.

  Args:
    one: `[..., P]`.
    other: `[..., P]`; NaN where there is no value, in `one` as well. A NaN that
      is in `one` alone makes the distance NaN.

  Returns:
    `[...]`.
  """
  difference = np.abs(np.sort(one, -1) - np.sort(other, -1))  # NaN come last
  there = ~np.isnan(np.sort(other, -1))
  return np.sum(np.where(there, difference, 0), -1) / np.sum(there, -1)
