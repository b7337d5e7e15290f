"""Mean absolute error of the Lagrangian, with the true law."""

import numpy as np

from nbody_bench.metrics import Metric, mean


def lagrangian_difference(prediction, truth, system):
  """Returns |L(prediction) - L(truth)| with L = T - V, `[B, T]`."""

  def lagrangian(state, particles, domain):
    kinetic = system.kinetic_energy(state, particles, domain)
    return kinetic - system.potential_energy(state, particles, domain)

  predicted = prediction.at_each_frame(lagrangian)
  return np.abs(predicted - truth.at_each_frame(lagrangian))


METRIC = Metric(
  label="Lagrangian MAE",
  description=(
    "Mean over trajectories and steps 1..k of |L(predicted) - L(true)|, "
    "L = T - V of the true law (momentum-conserving Lagrangian networks, 2021)."
  ),
  function=lagrangian_difference,
  cap=1e4,
  reduce=mean,
)
