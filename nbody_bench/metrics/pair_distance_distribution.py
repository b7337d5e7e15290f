"""How far the pair distances are from those of the true system."""

import math

import numpy as np

from nbody_bench import distributions
from nbody_bench.metrics import Metric

# Of larger systems that many pairs speak for all.
_NUM_PAIRS = 8192


def pair_distances(trajectory):
  """Returns distances `[B, T, P]` of the pairs, NaN where one is padding.

  Each particle with the next 1, 2, ... in the list: all pairs of a small
  system, of a large one as many as are enough.
  """
  position = trajectory.state.position
  n = position.shape[2]
  reach = min(n // 2, math.ceil(_NUM_PAIRS / n))
  mask = trajectory.particles.mask
  columns = []
  for offset in range(1, max(reach, 1) + 1):
    other = np.roll(position, -offset, 2)
    distance = np.linalg.norm(
      trajectory.domain.displacement(position, other), axis=-1
    )
    if mask is not None:
      both = mask * np.roll(mask, -offset, 1)
      distance = np.where(both[:, None] > 0, distance, np.nan)
    # Opposite ones of an even number would come twice.
    columns.append(distance[..., : n // 2] if 2 * offset == n else distance)
  return np.concatenate(columns, -1)


METRIC = Metric(
  label="Pair distances",
  description=(
    "Mean over trajectories of the 1-Wasserstein distance between the pair "
    "distances of prediction and truth at step k, a length."
  ),
  function=lambda prediction, truth, system: distributions.wasserstein(
    pair_distances(prediction), pair_distances(truth)
  ),
  cap=1e3,
)
