"""Relative error of the total momentum, which the true law conserves."""

import numpy as np

from nbody_bench.metrics import Metric


def relative_momentum_change(prediction, truth, system):
  """Returns |P(prediction) - P(0)| / sum m |v(0)|, `[B, T]`."""
  momentum = prediction.at_each_frame(system.momentum)
  first = truth.frames(0, 1)
  start = first.at_each_frame(system.momentum)
  return np.linalg.norm(momentum - start, axis=-1) / first.at_each_frame(
    _total_momentum_size
  )


def _total_momentum_size(state, particles, domain):
  del domain
  mask = 1 if particles.mask is None else particles.mask
  speed = np.linalg.norm(state.velocity, axis=-1)
  return np.sum(mask * particles.mass * speed, -1)


METRIC = Metric(
  label="Momentum error",
  description=(
    "Mean over trajectories of |P(k) - P(0)| / sum m |v(0)| at step k, "
    "P = sum m v."
  ),
  function=relative_momentum_change,
  cap=100.0,
  # The labels' own drift.
  floor=lambda truth, label_error, system: relative_momentum_change(
    truth, truth, system
  ),
)
