"""Mean absolute error of the total momentum."""

import numpy as np

from nbody_bench.metrics import Metric, mean


def momentum_difference(prediction, truth, system):
  """Returns |P(prediction) - P(truth)|, `[B, T]`."""
  predicted = prediction.at_each_frame(system.momentum)
  difference = predicted - truth.at_each_frame(system.momentum)
  return np.linalg.norm(difference, axis=-1)


METRIC = Metric(
  label="Momentum MAE",
  description=(
    "Mean over trajectories and steps 1..k of |P(predicted) - P(true)|, "
    "P = sum m v (momentum-conserving Lagrangian networks, 2021)."
  ),
  function=momentum_difference,
  cap=1e4,
  reduce=mean,
)
