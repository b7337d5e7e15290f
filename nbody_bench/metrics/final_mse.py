"""F-MSE: mean squared error of the position at the last frame."""

import numpy as np

from nbody_bench.metrics import Metric, at_last_step


def squared_position_error(prediction, truth, system):
  """Returns the mean square over real particles and coordinates, `[B, T]`."""
  del system
  mask = truth.particles.mask
  weight = np.ones_like(truth.particles.mass) if mask is None else mask
  error = truth.domain.displacement(
    truth.state.position, prediction.state.position
  )
  squared = np.mean(error**2, -1)
  return np.sum(weight[:, None] * squared, -1) / np.sum(weight, -1)[:, None]


METRIC = Metric(
  label="F-MSE",
  description=(
    "Mean over trajectories, particles and the D coordinates of the squared "
    "error of the position at step k (Satorras et al. 2021; Xu et al. 2024)."
  ),
  function=squared_position_error,
  cap=1e4,
  reduce=at_last_step,
  # Of all 2 D coordinates; the part of the positions is at most twice it.
  floor=lambda truth, label_error, system: 2 * label_error**2,
)
