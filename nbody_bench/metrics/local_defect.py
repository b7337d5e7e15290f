"""Local defect: what one step adds to the error, wherever it starts.

The true law takes each predicted state one frame ahead; the defect is how far
the next predicted state lies from there. No error is carried along, so chaos
does not drown it at late times, and a roll-out that was put together from parts
shows where.
"""

import numpy as np

from nbody_bench.metrics import Metric, root_mean
from nbody_bench.simulation import mean_squared_difference
from nbody_bench.solvers import FixedSteps
from nbody_bench.states import State, Trajectory, map_arrays
from nbody_bench.systems import System

# Evaluations of the law between two particles that one call may cost: seconds.
_BUDGET = 4e8
_MOST_SUBSTEPS = 128
# Evaluations in a step of each method.
_COSTS = {"leapfrog": 1, "dop853": 12}


def squared_defect(prediction, truth, system):
  """Returns the mean squared distance to the law's own step, `[B, T]`.

  Over particles and phase-space coordinates; 0 at frame 0. Where stepping all
  states would take too long, some frames are, evenly chosen, and those between
  have the value of the last one.

  Raises:
    ValueError: if the law is not known, or no solver has it.
  """
  del truth  # a prediction is compared with itself
  batch, num_frames, num_particles = prediction.state.position.shape[:3]
  num_steps = num_frames - 1
  affordable = _BUDGET / (batch * num_particles**2 * 4)
  count = int(np.clip(affordable, 2, num_steps)) if num_steps > 1 else 1
  starts = np.linspace(0, num_steps - 1, count).astype(int)
  ahead = step_ahead(system, prediction, starts)
  values = np.zeros((batch, num_frames))
  previous = np.searchsorted(starts, np.arange(num_steps), "right") - 1
  with np.errstate(all="ignore"):
    found = [
      mean_squared_difference(
        State(*(x[:, i] for x in ahead)),
        prediction.frame(start + 1),
        prediction.particles,
        prediction.domain,
      )
      for i, start in enumerate(starts)
    ]
  values[:, 1:] = np.stack(found, 1)[:, previous]
  return values


def step_ahead(
  system: System, trajectory: Trajectory, starts: np.ndarray
) -> State:
  """Returns where the law takes states of a trajectory one frame later.

  Args:
    system: a known law.
    trajectory: `[B, T, N, D]`; may be any prediction.
    starts: frames `[K]` to start from, none the last.

  Returns:
    `[B, K, N, D]`, NaN where the state to start from is not finite.

  Raises:
    ValueError: if the law is not known, or no solver has it.
  """
  if not system.is_known or system.is_many_body:
    raise ValueError(
      f"the local defect needs a law that a solver can step, and "
      f"{system.law!r} is none; leave the metric out"
    )
  batch, _, num_particles, num_dims = trajectory.state.position.shape
  intervals = np.diff(trajectory.time)[starts]
  ends = State(
    *(np.full((batch, len(starts), num_particles, num_dims), np.nan),) * 2
  )
  ends = State(*(x.copy() for x in ends))
  solver = reference_solver(
    trajectory, system, batch * len(starts) * num_particles**2 / 2
  )
  # Times differ by rounding; the steps are as many as there are intervals.
  for interval in np.unique(np.round(intervals, 9)):
    (which,) = np.nonzero(np.round(intervals, 9) == interval)
    frames = starts[which]

    def flat(x, frames=frames):
      return x[:, frames].reshape(batch * len(frames), num_particles, num_dims)

    def repeat(x, frames=frames):
      return np.repeat(x, len(frames), axis=0)

    state = map_arrays(flat, trajectory.state)
    particles = map_arrays(repeat, trajectory.particles)
    domain = map_arrays(repeat, trajectory.domain)
    usable = np.isfinite(state.position).all((1, 2))
    usable &= np.isfinite(state.velocity).all((1, 2))
    if not usable.any():
      continue

    def some(x, usable=usable):
      return x[usable]

    state, particles, domain = (
      map_arrays(some, x) for x in (state, particles, domain)
    )
    state = State(domain.wrap(state.position), state.velocity)
    with np.errstate(all="ignore"):  # whatever was submitted is stepped
      end = solver.solve(
        system,
        state,
        particles._replace(history=None),
        domain,
        np.array([interval]),
        lambda num_systems: None,
      )
    for target, values in zip(ends, end, strict=True):
      whole = np.full((len(usable), num_particles, num_dims), np.nan)
      whole[usable] = values[:, 0]
      target[:, which] = whole.reshape(batch, len(which), *whole.shape[1:])
  return ends


def reference_solver(
  trajectory: Trajectory, system: System, pairs: float
) -> FixedSteps:
  """Returns a solver of bounded cost, converged where the budget allows.

  In a periodic box the force jumps where the nearest image changes: order is of
  no use there, small steps are.

  Args:
    trajectory: its box counts.
    system: the law.
    pairs: evaluations of the law that a step of leapfrog takes in all.
  """
  is_open = np.isinf(trajectory.domain.box).all()
  integrator = "dop853" if is_open or system.magnetic_field else "leapfrog"
  most = _MOST_SUBSTEPS // 4 if integrator == "dop853" else _MOST_SUBSTEPS
  count = _BUDGET / max(pairs * _COSTS[integrator], 1.0)
  return FixedSteps(int(np.clip(count, 1, most)), integrator)


def of_the_labels(truth, label_error, system):
  """Returns the defect of the labels as a file of predictions keeps them."""
  del label_error
  rounded = State(
    *(x.astype(np.float32).astype(np.float64) for x in truth.state)
  )
  return squared_defect(truth._replace(state=rounded), truth, system)


METRIC = Metric(
  label="Local defect",
  description=(
    "Square root of the mean over trajectories, steps 1..k, particles and the "
    "2 D phase-space coordinates of the squared distance between a predicted "
    "state and where the true law takes the predicted state before it. The "
    "curve is that of single steps."
  ),
  function=squared_defect,
  cap=1e4,  # of the square: 100
  reduce=root_mean,
  floor=of_the_labels,
)
