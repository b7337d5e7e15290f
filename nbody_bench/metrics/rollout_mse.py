"""Mean squared error over positions and momenta."""

import numpy as np

from nbody_bench.metrics import Metric, mean


def squared_phase_error(prediction, truth, system):
  """Returns the mean square over real particles, q and p, `[B, T]`."""
  del system
  mask = truth.particles.mask
  weight = np.ones_like(truth.particles.mass) if mask is None else mask
  mass = truth.particles.mass[:, None, :, None]
  position = truth.domain.displacement(
    truth.state.position, prediction.state.position
  )
  momentum = mass * (prediction.state.velocity - truth.state.velocity)
  squared = np.mean(np.concatenate([position, momentum], -1) ** 2, -1)
  return np.sum(weight[:, None] * squared, -1) / np.sum(weight, -1)[:, None]


METRIC = Metric(
  label="Roll-out MSE",
  description=(
    "Mean over trajectories, steps 1..k, particles and the 2 D coordinates of "
    "(q, p) of the squared difference, positions by minimum image (Desai and "
    "Roberts 2020). The curve is that of single steps."
  ),
  function=squared_phase_error,
  cap=1e4,
  reduce=mean,
)
