"""EFwT: share of structures whose energy and forces are both right."""

import numpy as np

from nbody_bench.metrics import Metric
from nbody_bench.metrics.force_mae import absolute_force_errors

_FORCE, _ENERGY = 0.03, 0.02  # eV / Angstrom and eV


def within_thresholds(prediction, truth, system):
  """Returns 1 where all is within the thresholds and 0 elsewhere, `[B, T]`."""
  del system
  largest = np.max(absolute_force_errors(prediction, truth), (2, 3))
  energy = np.abs(prediction.potential_energy - truth.potential_energy)
  # NaN, such as the energy of a model that knows none, is not within.
  return ((largest < _FORCE) & (energy < _ENERGY)).astype(float)


METRIC = Metric(
  label="EFwT",
  description=(
    "Share of structures with all components of the forces on free atoms "
    "within 0.03 eV/Angstrom and the energy within 0.02 eV of the truth "
    "(Chanussot et al. 2021)."
  ),
  function=within_thresholds,
  cap=1.0,
  better="higher",
  kind="forces",
)
