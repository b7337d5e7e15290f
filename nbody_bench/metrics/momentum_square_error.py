"""Error of the square of the total momentum."""

import numpy as np

from nbody_bench.metrics import Metric, geometric_mean_at_last_step


def momentum_square_difference(prediction, truth, system):
  """Returns ||P|^2 - |P'|^2|, `[B, T]`."""
  true = truth.at_each_frame(system.momentum)
  predicted = prediction.at_each_frame(system.momentum)
  return np.abs(np.sum(true**2, -1) - np.sum(predicted**2, -1))


METRIC = Metric(
  label="Momentum square error",
  description=(
    "Geometric mean over trajectories of ||P|^2 - |P'|^2| at step k, "
    "P = sum m v (Thangamuthu et al. 2022, for unit masses)."
  ),
  function=momentum_square_difference,
  cap=1e8,
  reduce=geometric_mean_at_last_step,
)
