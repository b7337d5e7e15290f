"""Speed-up at equal error: what the cheapest integrator takes to be as good."""

from typing import Any

import numpy as np

from nbody_bench import evaluation, integrators, rollouts, simulators, timing
from nbody_bench.problems import Problem
from nbody_bench.states import State, Trajectory

# From cheap to dear: frames that one step spans, then steps for each frame.
_COSTS = [(s, 1) for s in (16, 8, 4, 2, 1)] + [(1, n) for n in (2, 4, 8, 16)]
# The others never win by much and take long to compile.
_INTEGRATORS = ("leapfrog", "yoshida4", "rk4")
# Trajectories to be as good on: of large systems, which have many bodies each,
# no more than have so many pairs.
_TRAJECTORIES, _FEWEST, _PAIRS = 16, 2, 4_000_000
_SAMPLES = 5


def measure(
  problem: Problem,
  truth: Trajectory,
  scored: State,
  rollout_seconds: float,
) -> dict[str, Any] | None:
  """Races integrators with the true law against a model's error.

  The error is the roll-out RMSE over the frames that all step sizes reach.

  Args:
    problem: gives the law.
    truth: `[B, T, N, D]`, frame 0 included.
    scored: `[B, P, N, D]`, the model's prediction.
    rollout_seconds: of the model, one system.

  Returns:
    The cheapest integrator that is as good as the model, its time, and
    `speed_up`, its time over the model's; `speed_up` None if none is as good.
    None if the horizon is shorter than the longest step, or if the law is
    withheld or not known.
  """
  num_steps = scored.position.shape[1]
  longest = _COSTS[0][0]
  if num_steps < longest or problem.withheld or not problem.system.is_known:
    return None
  num_particles = scored.position.shape[2]
  count = min(_TRAJECTORIES, max(_FEWEST, _PAIRS // num_particles**2))
  few = truth.select(slice(0, count))
  same = State(*(x[:count] for x in scored))
  common = np.arange(longest, num_steps + 1, longest)
  target = _error(few, _frames(same, common - 1), common)
  fastest = {"error": target, "speed_up": None}
  for name in _INTEGRATORS:
    method = integrators.INTEGRATORS[name]
    if method.symplectic and problem.system.magnetic_field:
      continue  # a splitting needs a force that does not depend on velocity
    for stride, num_substeps in _COSTS:
      model = simulators.ForceSimulator(
        problem.system.force, method, num_substeps
      )
      times = truth.time[stride : num_steps + 1 : stride] - truth.time[0]
      clock = timing.Clock(model, truth, times)
      states = rollouts.rollout(
        clock.predict,
        *(few.frame(0), few.particles, few.domain, times),
        rollouts.batch_size(few),
      ).state
      if _error(few, _frames(states, common // stride - 1), common) > target:
        continue
      clock.time(*clock.new_state())
      seconds = float(
        np.median([clock.time(*clock.new_state())[0] for _ in range(_SAMPLES)])
      )
      if seconds < fastest.get("seconds", np.inf):
        fastest |= {
          "integrator": name,
          "frames_per_step": stride,
          "steps_per_frame": num_substeps,
          "seconds": seconds,
          "speed_up": seconds / rollout_seconds,
        }
      break
  return fastest


def _frames(states, index):
  return State(*(x[:, index] for x in states))


def _error(truth, states, frames):
  at = truth._replace(
    time=truth.time[frames],
    state=State(*(x[:, frames] for x in truth.state)),
  )
  rmse = evaluation.metric("rollout_rmse")
  values = rmse.values(at._replace(state=states), at, None)
  return rmse.reduce(values)
