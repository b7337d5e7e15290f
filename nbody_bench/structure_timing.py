"""What it takes to answer many structures, forces or relaxations."""

import time
from typing import Any

import numpy as np

from nbody_bench import rollouts, timing
from nbody_bench.states import Trajectory

_MOST = 200


def measure(
  predict: Any, truth: Trajectory, batch: int, repeats: int
) -> dict[str, Any]:
  """Times a compiled predictor over structures, graph building included.

  The best of some passes over the first 200.

  Args:
    predict: of a kind of `predictions`, which has answered a batch of this size
      before, so that nothing is compiled in the passes.
    truth: `[B, T, N, D]` NumPy arrays, whose first frames are asked about.
    batch: structures in one call.
    repeats: passes that are timed.

  Returns:
    Seconds for 1000 structures, batch and environment, as plain data.
  """
  some = truth.select(slice(0, _MOST))
  count = len(some.domain.box)
  seconds = []
  for _ in range(repeats):
    began = time.perf_counter()
    rollouts.rollout(
      predict,
      some.frame(0),
      some.particles,
      some.domain,
      np.array([1.0]),
      batch,
    )
    seconds.append(time.perf_counter() - began)
  return {
    "seconds_per_1000_structures": min(seconds) * 1000 / count,
    "batch": min(batch, count),
    "environment": timing.environment(),
  }
