"""Relative error of the total momentum."""

import numpy as np

from nbody_bench.metrics import Metric


def relative_momentum_change(prediction, truth, system):
  """Returns |P(prediction) - P(0)| / sum m |v(0)|, `[B, T]`.

  Where the law does not conserve momentum (outer fields), the true momentum at
  that time stands for P(0).
  """
  momentum = prediction.at_each_frame(system.momentum)
  first = truth.frames(0, 1)
  right = first if system.conserves_momentum else truth
  return np.linalg.norm(
    momentum - right.at_each_frame(system.momentum), axis=-1
  ) / first.at_each_frame(_total_momentum_size)


def of_the_labels(truth, label_error, system):
  """Returns the labels' own drift, `[B, T]`.

  Where momentum is not conserved, what independent errors e of every velocity
  do to it, about e sqrt(D sum m^2), relative as above.
  """
  if system.conserves_momentum:
    return relative_momentum_change(truth, truth, system)
  mask = truth.particles.mask
  mass = truth.particles.mass * (1 if mask is None else mask)
  num_dims = truth.state.position.shape[-1]
  size = truth.frames(0, 1).at_each_frame(_total_momentum_size)
  root = np.sqrt(num_dims * np.sum(mass**2, -1, keepdims=True))
  return label_error * root / size


def _total_momentum_size(state, particles, domain):
  del domain
  mask = 1 if particles.mask is None else particles.mask
  speed = np.linalg.norm(state.velocity, axis=-1)
  return np.sum(mask * particles.mass * speed, -1)


METRIC = Metric(
  label="Momentum error",
  description=(
    "Mean over trajectories of |P(k) - P(0)| / sum m |v(0)| at step k, "
    "P = sum m v; "
    "where an outer field acts, P(0) is the true P(k)."
  ),
  function=relative_momentum_change,
  cap=100.0,
  floor=of_the_labels,
)
