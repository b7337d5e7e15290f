"""Statistics that models normalise with, stored in a data set's metadata."""

import numpy as np

from nbody_bench.states import Trajectory


def compute(trajectory: Trajectory) -> dict[str, float]:
  """Returns statistics over all frames, particles and coordinates.

  Args:
    trajectory: `[B, T, N, D]` NumPy arrays at equal time steps dt, no padding.

  Returns:
    `velocity_std`: of one velocity component;
    `position_increment_std`: of q(t + dt) - q(t) - v(t) dt, one component, that
      is, of the part of a step that a ballistic flight does not explain;
    `velocity_increment_std`: of v(t + dt) - v(t), one component.
    Standard deviations about zero, as the equations of motion have no preferred
    direction.
  """
  position, velocity = trajectory.state
  time_step = trajectory.time[1] - trajectory.time[0]
  moved = trajectory.domain.displacement(position[:, :-1], position[:, 1:])
  beyond_ballistic = moved - time_step * velocity[:, :-1]
  return {
    "velocity_std": _rms(velocity),
    "position_increment_std": _rms(beyond_ballistic),
    "velocity_increment_std": _rms(np.diff(velocity, axis=1)),
  }


def _rms(x):
  return float(np.sqrt(np.mean(np.square(x))))
