"""Mean absolute error of the energy, with the true Hamiltonian."""

import numpy as np

from nbody_bench.metrics import Metric, mean


def energy_difference(prediction, truth, system):
  """Returns |H(prediction) - H(truth)|, `[B, T]`."""
  predicted = prediction.at_each_frame(system.hamiltonian)
  return np.abs(predicted - truth.at_each_frame(system.hamiltonian))


METRIC = Metric(
  label="Energy MAE",
  description=(
    "Mean over trajectories and steps 1..k of |H(predicted) - H(true)|, H of "
    "the true law (momentum-conserving Lagrangian networks, 2021)."
  ),
  function=energy_difference,
  cap=1e4,
  reduce=mean,
)
