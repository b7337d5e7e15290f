"""Mean absolute error of the forces on the atoms that are free to move."""

import numpy as np

from nbody_bench.metrics import Metric
from nbody_bench.states import FIXED


def free_atoms(particles):
  """Returns which atoms count, `[B, N]`: neither padding nor held fixed."""
  free = np.ones(particles.mass.shape, bool)
  if particles.tag is not None:
    free &= particles.tag != FIXED
  if particles.mask is not None:
    free &= particles.mask > 0
  return free


def absolute_force_errors(prediction, truth):
  """Returns |F - F'| of components, `[B, T, N, D]`; 0 where no atom is free.

  Raises:
    ValueError: if one of them has no forces.
  """
  if prediction.force is None or truth.force is None:
    raise ValueError(
      "a trajectory has no forces, which this metric compares; use it for the "
      "task 'forces' of data that have them"
    )
  free = free_atoms(truth.particles)[:, None, :, None]
  return np.where(free, np.abs(prediction.force - truth.force), 0.0)


def force_error(prediction, truth, system):
  """Returns the mean over components, `[B, T]`, structures weighted.

  Each by its number of free atoms over the mean number, so that the mean over
  structures is that over atoms.
  """
  del system
  error = absolute_force_errors(prediction, truth)
  atoms = np.mean(np.sum(free_atoms(truth.particles), 1))
  return np.sum(np.mean(error, -1), -1) / max(atoms, 1e-9)


METRIC = Metric(
  label="Force MAE",
  description=(
    "Mean over all atoms that are not fixed, and components, of the absolute "
    "error of the force (Hu et al. 2021)."
  ),
  function=force_error,
  cap=100.0,
  kind="forces",
)
