"""ADwT: how near relaxed structures are to where they should be."""

import numpy as np

from nbody_bench.metrics import Metric
from nbody_bench.metrics.force_mae import free_atoms

_THRESHOLDS = np.arange(10, 500) / 1000  # Angstrom


def share_above(values, thresholds):
  """Returns the share of thresholds above `[B, T]`; 0 for NaN."""
  return np.mean(values[..., None] < thresholds, -1)


def share_of_distance(prediction, truth, system):
  """Returns the share of thresholds above the mean distance, `[B, T]`.

  The mean is over free atoms, as in the evaluation of OC20: the others do not
  move in either structure.
  """
  del system
  free = free_atoms(truth.particles)
  apart = truth.domain.displacement(
    truth.state.position, prediction.state.position
  )
  distance = np.where(free[:, None], np.linalg.norm(apart, axis=-1), 0.0)
  count = np.maximum(np.sum(free, 1), 1)
  return share_above(np.sum(distance, -1) / count[:, None], _THRESHOLDS)


METRIC = Metric(
  label="ADwT",
  description=(
    "Mean over structures of the share of thresholds 0.01, 0.011, ... 0.499 "
    "Angstrom above the mean distance of a free atom from its true relaxed "
    "place, by minimum image (Chanussot et al. 2021)."
  ),
  function=share_of_distance,
  cap=1.0,
  better="higher",
  kind="relaxation",
)
