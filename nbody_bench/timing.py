"""The timing protocol: what a roll-out costs, beside leapfrog.

The harness holds the clock. *Cold* is the first call (trace, compile, run),
*steady* the later ones, never mixed; each later call starts from another state
and ends when the result is on the host. Leapfrog runs in turn with the model,
in the same process, at the same N and precision, so that their ratio means
something on any machine. `quick` is marked indicative; `full` warms up 10
times, then takes at least 100 samples and 10 seconds.
"""

import dataclasses
import os
import platform
import time
from typing import Any

import numpy as np
import tensorflow as tf

from nbody_bench import integrators, rollouts, simulators
from nbody_bench.problems import Problem
from nbody_bench.states import Trajectory


@dataclasses.dataclass(frozen=True)
class Protocol:
  """How often to measure.

  Attributes:
    warm_up: calls before the first sample.
    min_samples: samples of each side.
    min_seconds: of sampling, both sides together.
    max_seconds: stop sampling then, whatever the rest says.
  """

  warm_up: int
  min_samples: int
  min_seconds: float
  max_seconds: float


PROTOCOLS = {
  "quick": Protocol(1, 5, 0.5, 10.0),
  "full": Protocol(10, 100, 10.0, 600.0),
}


def measure(
  simulator: simulators.Simulator,
  problem: Problem,
  truth: Trajectory,
  num_steps: int,
  mode: str,
) -> dict[str, Any]:
  """Times roll-outs of one system at a time.

  Args:
    simulator: to be timed.
    problem: gives the law that leapfrog needs.
    truth: `[B, T, N, D]`; its first frames are the initial states.
    num_steps: of a roll-out.
    mode: a key of `PROTOCOLS`.

  Returns:
    Medians, ratio, raw samples in seconds and the environment, as plain data.
  """
  protocol = PROTOCOLS[mode]
  leapfrog = simulators.ForceSimulator(
    problem.system.force, integrators.INTEGRATORS["leapfrog"]
  )
  sides = [rollouts.compiled(simulator), rollouts.compiled(leapfrog)]
  times = truth.time[1 : num_steps + 1] - truth.time[0]
  calls = 0

  def once(predict):
    nonlocal calls
    start = truth.select(slice(k := calls % len(truth.domain.box), k + 1))
    calls += 1
    began = time.perf_counter()
    rollouts.rollout(
      predict, start.frame(0), start.particles, start.domain, times
    )
    return time.perf_counter() - began

  cold = once(sides[0])
  for _ in range(protocol.warm_up):
    for side in sides:
      once(side)
  samples = [[], []]
  began = time.perf_counter()
  while (elapsed := time.perf_counter() - began) < protocol.max_seconds:
    if (
      len(samples[0]) >= protocol.min_samples
      and elapsed >= protocol.min_seconds
    ):
      break
    for side, sample in zip(sides, samples, strict=True):
      sample.append(once(side))
  model, clock = map(np.median, samples)
  spread = np.subtract(*np.percentile(samples[0], [75, 25]))
  return {
    "protocol": 1,
    "mode": mode,
    "indicative": mode != "full",
    "batch": 1,
    "num_steps": num_steps,
    "num_particles": int(truth.state.position.shape[2]),
    "cold_seconds": cold,
    "seconds_per_step": float(model / num_steps),
    "relative_to_leapfrog": float(model / clock),
    "noisy": bool(spread > 0.1 * model),
    "samples_seconds": samples[0],
    "leapfrog_samples_seconds": samples[1],
    "environment": environment(),
  }


def environment() -> dict[str, Any]:
  """Returns what a time depends on."""
  gpus = tf.config.list_physical_devices("GPU")
  names = [
    tf.config.experimental.get_device_details(g).get("device_name", "GPU")
    for g in gpus
  ]
  return {
    "device": names[0] if names else _cpu_model(),
    "cores": os.cpu_count(),
    "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    "python": platform.python_version(),
    "tensorflow": tf.__version__,
    "system": platform.system(),
  }


def _cpu_model():
  try:
    with open("/proc/cpuinfo") as file:
      for line in file:
        if line.startswith("model name"):
          return line.split(":", 1)[1].strip()
  except OSError:
    pass
  return platform.processor() or platform.machine()
