"""Roll-out RMSE: the published headline number."""

import numpy as np

from nbody_bench.metrics import Metric, root_mean
from nbody_bench.simulation import mean_squared_difference


def squared_error(prediction, truth, system):
  """Returns the mean squared phase-space difference, `[B, T]`."""
  del system
  frames = [
    mean_squared_difference(
      truth.frame(t), prediction.frame(t), truth.particles, truth.domain
    )
    for t in range(len(truth.time))
  ]
  return np.stack(frames, 1)


METRIC = Metric(
  label="Roll-out RMSE",
  description=(
    "Square root of the mean over trajectories, steps 1..k, particles and the "
    "2 D phase-space coordinates of the squared difference, positions by "
    "minimum image (Martinkus et al. 2021). The curve is that of single steps."
  ),
  function=squared_error,
  cap=1e4,  # of the squared error: RMSE 100
  reduce=root_mean,
  floor=lambda truth, label_error, system: label_error**2,
)
