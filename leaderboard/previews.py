"""Roll-outs for the page's player: a few, thinned, beside the truth.

The first trajectory of the first seed, with what leapfrog makes of it in the
time that the model took, and the worst ones.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nbody_bench import solvers
from nbody_bench.leaderboard.cases import Case
from nbody_bench.states import map_arrays

Arrays = Mapping[str, np.ndarray]

# Of arrays, before they are compressed. They are kept with the code.
_MAX_BYTES = 150_000
_MAX_PARTICLES = 300
_MOST_SUBSTEPS = 1000  # leapfrog has long converged
_DIGITS = 4
# Worst roll-outs and frames to keep: the first that fits.
_PLANS = ((5, 101), (5, 51), (2, 51), (1, 51), (0, 51), (0, 26), (0, 6))


def of_rollouts(case: Case, worst: Sequence[Mapping[str, Any]]) -> Arrays:
  """Returns what the player shows; nothing of predictions that are no motion.

  Args:
    case: the entry beside the truth.
    worst: of `details.worst`.

  Returns:
    `time` `[F]`, and of R roll-outs `trajectory_id` and `seed` `[R]`, `box`
    `[R, D]`, `prediction` and `truth` `[R, F, N, D]`; `leapfrog` `[F, N, D]` of
    the first one where it is known.
  """
  task, truth, predictions = case.task, case.truth, case.predictions
  if task.kind != "motion":
    return {}
  num_particles, num_dims = predictions[0].position.shape[2:]
  bodies = slice(0, min(num_particles, _MAX_PARTICLES))
  each = 4 * min(num_particles, _MAX_PARTICLES) * num_dims
  num_worst, num_frames = next(
    (p for p in _PLANS if each * p[1] * (2 * p[0] + 3) <= _MAX_BYTES),
    _PLANS[-1],
  )
  frames = np.unique(
    np.linspace(0, task.num_steps - 1, num_frames).round().astype(int)
  )
  ids = truth.trajectory_id.tolist()
  chosen = [(0, 0)] + [
    (case.seeds.index(w["seed"]), ids.index(w["trajectory_id"]))
    for w in worst[:num_worst]
  ]

  def shown(position):
    kept = np.round(position[frames][:, bodies].astype(float), _DIGITS)
    return kept.astype(np.float32)

  true = truth.trajectory.state.position
  arrays = {
    "time": truth.trajectory.time[1 + frames],
    "trajectory_id": np.array([ids[b] for _, b in chosen]),
    "seed": np.array([case.seeds[s] for s, _ in chosen]),
    "box": np.stack([truth.trajectory.domain.box[b] for _, b in chosen]),
    "prediction": np.stack(
      [shown(predictions[s].position[b]) for s, b in chosen]
    ),
    "truth": np.stack([shown(true[b, 1:]) for _, b in chosen]),
  }
  system = case.problem.system
  timing = case.submission.content.get("timing")
  is_timed = timing is not None and not timing["faults"]
  if is_timed and system.is_known and not system.is_many_body:
    cost = timing["relative_to_leapfrog"]
    arrays["leapfrog"] = shown(_leapfrog(case, cost))
  return arrays


def _leapfrog(case, relative_cost):
  """Returns positions `[P, N, D]` of the first trajectory."""

  def first(x):
    return x[:1]

  data = case.truth.given
  state, particles, domain = (
    map_arrays(first, x) for x in (data.frame(0), data.particles, data.domain)
  )
  count = int(np.clip(round(relative_cost), 1, _MOST_SUBSTEPS))
  with np.errstate(all="ignore"):  # may diverge; then that is what is shown
    states = solvers.FixedSteps(count, "leapfrog").solve(
      case.problem.system,
      state,
      particles._replace(history=None),
      domain,
      data.time[1 : case.task.num_steps + 1] - data.time[0],
      lambda num_systems: None,
    )
  return states.position[0]


def page_data(preview: Arrays, times: Sequence[float]) -> dict[str, Any] | None:
  """Returns nested lists for the page, null where a number is not finite.

  Args:
    preview: of `of_rollouts`.
    times: of all steps of the task, after the given frame.
  """
  if "prediction" not in preview or not times:
    return None

  def rollout(i):
    return {
      "trajectory_id": int(preview["trajectory_id"][i]),
      "seed": int(preview["seed"][i]),
      "box": [float(s) if np.isfinite(s) else None for s in preview["box"][i]],
      "truth": _rows(preview["truth"][i]),
      "prediction": _rows(preview["prediction"][i]),
    }

  count, time = len(preview["prediction"]), preview["time"]
  return rollout(0) | {
    # On the clock of the task, whose last step is always shown.
    "times": _rows(time - time[-1] + times[-1]),
    "leapfrog": _rows(preview["leapfrog"]) if "leapfrog" in preview else None,
    "worst": [rollout(i) for i in range(1, count)],
  }


def _rows(x):
  rounded = np.round(x.astype(float), _DIGITS)
  return np.where(np.isfinite(rounded), rounded, None).tolist()
