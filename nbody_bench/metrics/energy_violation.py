"""Energy error relative to both energies, between 0 and 1."""

import numpy as np

from nbody_bench.metrics import Metric, geometric_mean_at_last_step


def relative_energy_difference(prediction, truth, system):
  """Returns |H - H'| / (|H| + |H'|), `[B, T]`."""
  true = truth.at_each_frame(system.hamiltonian)
  predicted = prediction.at_each_frame(system.hamiltonian)
  return np.abs(true - predicted) / (np.abs(true) + np.abs(predicted))


METRIC = Metric(
  label="Energy violation",
  description=(
    "Geometric mean over trajectories of |H - H'| / (|H| + |H'|) at step k, "
    "both of the true law (Thangamuthu et al. 2022, who take H' from the "
    "learned Lagrangian)."
  ),
  function=relative_energy_difference,
  cap=1.0,
  reduce=geometric_mean_at_last_step,
)
