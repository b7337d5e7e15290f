"""Error of the total angular momentum against the true one at that time."""

import numpy as np

from nbody_bench.metrics import Metric
from nbody_bench.states import State


def relative_angular_momentum_difference(prediction, truth, system):
  """Returns |L(prediction) - L(truth)| / sum m |q| |v|, `[B, T]`.

  A periodic box does not conserve angular momentum and wrapping makes it jump:
  so it is compared with the truth at the same time, each predicted position
  taken as the image nearest to the true one.
  """
  position = truth.state.position + truth.domain.displacement(
    truth.state.position, prediction.state.position
  )
  nearest = prediction._replace(
    state=State(position, prediction.state.velocity)
  )
  difference = nearest.at_each_frame(
    system.angular_momentum
  ) - truth.at_each_frame(system.angular_momentum)
  size = truth.at_each_frame(_size)
  return np.linalg.norm(difference, axis=-1) / size


def _size(state, particles, domain):
  del domain
  mask = 1 if particles.mask is None else particles.mask
  return np.sum(
    mask
    * particles.mass
    * np.linalg.norm(state.position, axis=-1)
    * np.linalg.norm(state.velocity, axis=-1),
    -1,
  )


METRIC = Metric(
  label="Angular momentum error",
  description=(
    "Mean over trajectories of |L(k) - L_true(k)| / sum m |q| |v| at step k, "
    "L = sum m q x v about the centre of the box."
  ),
  function=relative_angular_momentum_difference,
  cap=100.0,
)
