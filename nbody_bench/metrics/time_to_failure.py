"""Time for which a prediction is good: how far it got."""

import numpy as np

from nbody_bench.metrics import Metric

_THRESHOLD = 0.3


def valid_time(prediction, truth, system):
  """Returns min(t, time of failure), `[B, T]`.

  Failure is the first frame where the root-mean-square error exceeds 0.3 in
  units of the truth's own spread at that frame: sqrt of the mean of the
  position's and the velocity's squared relative error. The spread of a single
  particle is that of its path.
  """
  del system
  mask = truth.particles.mask
  mask = np.ones_like(truth.particles.mass) if mask is None else mask
  weight = (mask / mask.sum(-1, keepdims=True))[:, None, :, None]

  def spread(x):
    if x.shape[2] == 1:
      path = np.var(x, 1, keepdims=True)
      return np.sum(np.broadcast_to(path, x.shape), (2, 3))
    mean = np.sum(weight * x, 2, keepdims=True)
    return np.sum(weight * (x - mean) ** 2, (2, 3))

  def size(x):
    return np.sum(weight * x**2, (2, 3))

  position = truth.domain.displacement(
    truth.state.position, prediction.state.position
  )
  velocity = prediction.state.velocity - truth.state.velocity
  squared = 0.5 * (
    size(position) / spread(truth.state.position)
    + size(velocity) / spread(truth.state.velocity)
  )
  failed = ~(squared <= _THRESHOLD**2)  # NaN fails
  ever = np.logical_or.accumulate(failed, axis=1)
  num_good = np.sum(~ever, 1)
  time = truth.time - truth.time[0]
  last_good = time[np.maximum(num_good - 1, 0)]
  return np.minimum(time[None], last_good[:, None])


METRIC = Metric(
  label="Valid time",
  description=(
    "Mean over trajectories of the time up to which the error stays below 0.3 "
    "of the truth's own spread in position and velocity, at most the time of "
    "step k."
  ),
  function=valid_time,
  cap=float("inf"),
  better="higher",
)
