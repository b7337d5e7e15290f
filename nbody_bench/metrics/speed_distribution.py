"""How far the speeds are from those of the true system."""

import numpy as np

from nbody_bench import distributions
from nbody_bench.metrics import Metric


def speeds(trajectory):
  """Returns speeds `[B, T, N]`, NaN for padding."""
  speed = np.linalg.norm(trajectory.state.velocity, axis=-1)
  mask = trajectory.particles.mask
  if mask is None:
    return speed
  return np.where(mask[:, None] > 0, speed, np.nan)


METRIC = Metric(
  label="Speeds",
  description=(
    "Mean over trajectories of the 1-Wasserstein distance between the speeds "
    "of prediction and truth at step k."
  ),
  function=lambda prediction, truth, system: distributions.wasserstein(
    speeds(prediction), speeds(truth)
  ),
  cap=1e3,
)
