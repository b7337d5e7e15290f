"""Relative error of all positions together."""

import numpy as np

from nbody_bench.metrics import Metric, geometric_mean_at_last_step


def relative_position_error(prediction, truth, system):
  """Returns |z - z'| / (|z| + |z'|), z all positions of a frame, `[B, T]`."""
  del system
  mask = truth.particles.mask
  weight = np.ones_like(truth.particles.mass) if mask is None else mask
  true, predicted = (
    x.domain.wrap(x.state.position) for x in (truth, prediction)
  )

  def size(x):
    return np.sqrt(np.sum(weight[:, None, :, None] * x**2, (2, 3)))

  difference = truth.domain.displacement(true, predicted)
  return size(difference) / (size(true) + size(predicted))


METRIC = Metric(
  label="Relative roll-out error",
  description=(
    "Geometric mean over trajectories of |z - z'| / (|z| + |z'|) at step k, z "
    "all positions, in the box and counted from its centre (Thangamuthu et al. "
    "2022)."
  ),
  function=relative_position_error,
  cap=1.0,
  reduce=geometric_mean_at_last_step,
)
