"""Statistics that models normalise with, stored in a data set's metadata."""

from collections.abc import Sequence

import numpy as np

from nbody_bench.states import Trajectory


def compute(trajectories: Sequence[Trajectory]) -> dict[str, float]:
  """Returns statistics over all frames, particles and coordinates.

  Args:
    trajectories: each `[B, T, N, D]` NumPy arrays at equal time steps dt, no
      padding.

  Returns:
    `velocity_std`: of one velocity component;
    `position_increment_std`: of q(t + dt) - q(t) - v(t) dt, one component, that
      is, of the part of a step that a ballistic flight does not explain;
    `velocity_increment_std`: of v(t + dt) - v(t), one component.
    Standard deviations about zero, as the equations of motion have no preferred
    direction.
  """
  squares = [_mean_squares(t) for t in trajectories]
  weights = [len(t.state.position) for t in trajectories]
  return {
    name: float(
      np.sqrt(np.average([s[name] for s in squares], weights=weights))
    )
    for name in squares[0]
  }


def _mean_squares(trajectory):
  position, velocity = trajectory.state
  time_step = trajectory.time[1] - trajectory.time[0]
  moved = trajectory.domain.displacement(position[:, :-1], position[:, 1:])
  beyond_ballistic = moved - time_step * velocity[:, :-1]
  return {
    "velocity_std": np.mean(velocity**2),
    "position_increment_std": np.mean(beyond_ballistic**2),
    "velocity_increment_std": np.mean(np.diff(velocity, axis=1) ** 2),
  }
