"""Error of the total angular momentum against the true one at that time."""

import numpy as np

from nbody_bench.metrics import Metric
from nbody_bench.states import State


def angular_momentum_difference(prediction, truth, system):
  """Returns |L(prediction) - L(truth)|, `[B, T]`.

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
  return np.linalg.norm(difference, axis=-1)


def relative_angular_momentum_difference(prediction, truth, system):
  """Returns |L(prediction) - L(truth)| / sum m |q| |v|, `[B, T]`."""
  difference = angular_momentum_difference(prediction, truth, system)
  return difference / truth.at_each_frame(_size)


def of_the_labels(truth, label_error, system):
  """Returns what the label error does to L, relative as above, `[B, T]`.

  Independent errors e of every coordinate change L by about
  e sqrt(sum m^2 (|q|^2 + |v|^2)).
  """
  del system
  return label_error * truth.at_each_frame(_lever) / truth.at_each_frame(_size)


def _lever(state, particles, domain):
  del domain
  mask = 1 if particles.mask is None else particles.mask
  squared = np.sum(state.position**2 + state.velocity**2, -1)
  return np.sqrt(np.sum(mask * particles.mass**2 * squared, -1))


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
  floor=of_the_labels,
)
