"""Timing protocol 1: what a roll-out costs, beside leapfrog.

The harness holds the clock. *Cold* (trace, compile, first result) and *steady*
are reported apart. Every timed call starts from a state that was never given
before and ends when the result is on the host; leapfrog runs in turn with the
model, in the same process, at the same N and precision, so that their ratio
means something on any machine. `quick` takes a few samples and is marked
indicative; `full` is the protocol: cold in three fresh processes, warm-up until
the times have settled, at least 100 samples and 10 seconds.

What would make a time a lie is looked for, and named under `faults`: an answer
that is not the one that was scored, a state that is answered faster the second
time, a program traced again inside the clock.
"""

import dataclasses
import os
import platform
import resource
import sys
import time
from typing import Any

import numpy as np
import tensorflow as tf

from nbody_bench import integrators, rollouts, simulators
from nbody_bench.problems import Problem
from nbody_bench.states import State, Trajectory


@dataclasses.dataclass(frozen=True)
class Protocol:
  """How often to measure.

  Attributes:
    min_warm_up: calls of each side before the first sample.
    max_warm_up_seconds: warm-up ends then, settled or not.
    min_samples: of each side.
    min_seconds: of sampling, both sides together.
    max_seconds: sampling ends then, whatever the rest says.
    throughput_batch: systems in one call of the throughput scenario.
  """

  min_warm_up: int
  max_warm_up_seconds: float
  min_samples: int
  min_seconds: float
  max_seconds: float
  throughput_batch: int = 16


PROTOCOLS = {
  "quick": Protocol(1, 2.0, 5, 0.5, 10.0),
  "full": Protocol(10, 60.0, 100, 10.0, 600.0),
}
_REPEATS = 7
# A program that met a state with more edges than it has room for is made anew,
# and then the samples are.
_ATTEMPTS = 3
# What a call may gain by arrays that were read before.
_CACHE_SECONDS = 1e-4
# In the throughput scenario: what fits in memory for models that hold all.
_MOST_PAIRS = 2_000_000
# Of the first step, in units of the coordinates: float32 programs that sum in
# another order agree far better, another model does not agree.
_SAME_ANSWER = 1e-3


class Clock:
  """Times roll-outs of one simulator from ever new states."""

  def __init__(self, simulator: simulators.Simulator, truth: Trajectory, times):
    """Makes a clock.

    Args:
      simulator: to be timed.
      truth: `[B, T, N, D]`; first frames are the initial states.
      times: `[P]` of a roll-out.
    """
    self.predict = rollouts.compiled(simulator)
    self._truth, self._times = truth, times
    self._calls = 0
    self._random = np.random.default_rng(0)

  def new_state(self) -> tuple[int, State]:
    """Returns an index of `truth` and its state, a little shaken.

    By a hundred-thousandth of a length unit, anew at each call: what remembers
    its answers meets none of them again.
    """
    self._calls += 1
    index = self._calls % len(self._truth.domain.box)
    state = self._truth.select(slice(index, index + 1)).frame(0)
    shake = 1e-5 * self._random.normal(size=state.position.shape)
    return index, state._replace(position=state.position + shake)

  def time(self, index: int, state: State) -> tuple[float, Trajectory]:
    """Returns seconds and result of one roll-out, the result on the host."""
    start = self._truth.select(slice(index, index + 1))
    began = time.perf_counter_ns()
    result = rollouts.rollout(
      self.predict, state, start.particles, start.domain, self._times
    )
    return (time.perf_counter_ns() - began) * 1e-9, result

  def traces(self) -> int:
    """Returns how often the program was traced so far."""
    count = getattr(self.predict, "experimental_get_tracing_count", None)
    return count() if count else 0


def measure(
  simulator: simulators.Simulator,
  problem: Problem,
  truth: Trajectory,
  scored: State,
  mode: str,
  cold_seconds: list[float] | None = None,
) -> dict[str, Any]:
  """Times roll-outs of one system at a time, and of a batch.

  Args:
    simulator: to be timed.
    problem: gives the law that leapfrog needs.
    truth: `[B, T, N, D]`; its first frames are the initial states.
    scored: `[B, P, N, D]`, what the simulator predicted for the scores.
    mode: a key of `PROTOCOLS`.
    cold_seconds: of fresh processes; without them the first call here counts.

  Returns:
    Medians, percentiles, ratios, faults, raw samples in seconds and the
    environment, as plain data.
  """
  protocol = PROTOCOLS[mode]
  num_steps = scored.position.shape[1]
  times = truth.time[1 : num_steps + 1] - truth.time[0]
  # A clock whatever the law is, right or not in a magnetic field.
  leapfrog = simulators.ForceSimulator(
    lambda *state: problem.system.force(*state),
    integrators.INTEGRATORS["leapfrog"],
  )
  model, clock = Clock(simulator, truth, times), Clock(leapfrog, truth, times)
  first, _ = model.time(*model.new_state())
  _warm_up(protocol, model, clock)
  for _ in range(_ATTEMPTS):
    traces = model.traces()
    samples, wrong = _sample(protocol, model, clock, truth, scored)
    is_traced = model.traces() > traces
    if not is_traced:
      break
  faults = []
  if wrong:
    faults.append(f"{wrong} timed answers are not those that were scored")
  if is_traced:
    faults.append("the program was traced again inside the clock")
  if _answers_faster_again(model):
    faults.append("a state is answered faster when it comes again")
  seconds, leapfrog_seconds = map(np.median, samples)
  quartiles = np.percentile(samples[0], [25, 75, 90])
  return {
    "protocol": 1,
    "mode": mode,
    "indicative": mode != "full",
    "faults": faults,
    "batch": 1,
    "num_steps": num_steps,
    "num_particles": int(truth.state.position.shape[2]),
    "cold_seconds": cold_seconds or [first],
    "cold_in_fresh_process": bool(cold_seconds),
    "rollout_seconds": float(seconds),
    "rollout_seconds_p90": float(quartiles[2]),
    "seconds_per_step": float(seconds / num_steps),
    "relative_to_leapfrog": float(seconds / leapfrog_seconds),
    "noisy": bool(quartiles[1] - quartiles[0] > 0.1 * seconds),
    "throughput": _throughput(simulator, truth, times, protocol),
    "peak_host_bytes": _peak_host_bytes(),
    "peak_device_bytes": _peak_device_bytes(),
    "samples_seconds": samples[0],
    "leapfrog_samples_seconds": samples[1],
    "environment": environment(),
  }


def _warm_up(protocol, *clocks):
  """Calls until the last five times of each differ by less than 5 %."""
  began = time.perf_counter()
  recent = [[] for _ in clocks]
  while time.perf_counter() - began < protocol.max_warm_up_seconds:
    for clock, times in zip(clocks, recent, strict=True):
      times.append(clock.time(*clock.new_state())[0])
    if len(recent[0]) >= max(protocol.min_warm_up, 5) and all(
      np.ptp(t[-5:]) < 0.05 * np.median(t[-5:]) for t in recent
    ):
      break


def _sample(protocol, model, clock, truth, scored):
  """Returns seconds of both sides in turn, and how many answers are wrong."""
  samples, wrong = ([], []), 0
  began = time.perf_counter()
  while (elapsed := time.perf_counter() - began) < protocol.max_seconds:
    if len(samples[0]) >= protocol.min_samples and (
      elapsed >= protocol.min_seconds
    ):
      break
    index, state = model.new_state()
    seconds, result = model.time(index, state)
    samples[0].append(seconds)
    wrong += not _same_first_step(result, truth, scored, index)
    samples[1].append(clock.time(*clock.new_state())[0])
  return samples, wrong


def _same_first_step(result, truth, scored, index):
  one = truth.select(slice(index, index + 1))
  gap = one.domain.displacement(
    scored.position[index : index + 1, 0].astype(np.float64),
    result.state.position[:, 0].astype(np.float64),
  )
  change = result.state.velocity[:, 0] - scored.velocity[index : index + 1, 0]
  # A model that diverged at once did so in the scores too.
  both = np.isnan(gap) | (np.abs(gap) < _SAME_ANSWER)
  return bool(
    both.all() and (np.isnan(change) | (np.abs(change) < _SAME_ANSWER)).all()
  )


def _answers_faster_again(model):
  """Looks up to three times, for a quiet moment of the machine is no fault."""
  return all(_answers_this_one_faster(model) for _ in range(3))


def _answers_this_one_faster(model):
  known = model.new_state()
  model.time(*known)
  # In turn: the machine may be faster for a while.
  pairs = [
    (model.time(*known)[0], model.time(*model.new_state())[0])
    for _ in range(_REPEATS)
  ]
  again, fresh = np.median(pairs, 0)
  # What was read before is still in the processor's cache.
  return again < 0.9 * fresh and fresh - again > _CACHE_SECONDS


def _throughput(simulator, truth, times, protocol):
  """Returns the best of three calls with a batch."""
  predict = rollouts.compiled(simulator)
  pairs = truth.state.position.shape[2] ** 2
  most = max(1, _MOST_PAIRS // pairs)
  size = min(protocol.throughput_batch, len(truth.domain.box), most)
  some = truth.select(slice(0, size))
  seconds = []
  for _ in range(4):
    began = time.perf_counter_ns()
    rollouts.rollout(predict, some.frame(0), some.particles, some.domain, times)
    seconds.append((time.perf_counter_ns() - began) * 1e-9)
  body_steps = size * truth.state.position.shape[2] * len(times)
  return {
    "batch": size,
    "body_steps_per_second": float(body_steps / min(seconds[1:])),
  }


def _peak_host_bytes():
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  return peak if sys.platform == "darwin" else 1024 * peak


def _peak_device_bytes():
  if not tf.config.list_physical_devices("GPU"):
    return None
  return tf.config.experimental.get_memory_info("GPU:0")["peak"]


def environment() -> dict[str, Any]:
  """Returns what a time depends on."""
  gpus = tf.config.list_physical_devices("GPU")
  names = [
    tf.config.experimental.get_device_details(g).get("device_name", "GPU")
    for g in gpus
  ]
  return {
    "device": names[0] if names else cpu_model(),
    "cores": os.cpu_count(),
    "threads": tf.config.threading.get_intra_op_parallelism_threads(),
    "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    "python": platform.python_version(),
    "tensorflow": tf.__version__,
    "build": dict(tf.sysconfig.get_build_info()).get("cuda_version", "cpu"),
    "xla_flags": os.environ.get("XLA_FLAGS", ""),
    "system": platform.system(),
  }


def cpu_model() -> str:
  """Returns the processor's name."""
  try:
    with open("/proc/cpuinfo") as file:
      for line in file:
        if line.startswith("model name"):
          return line.split(":", 1)[1].strip()
  except OSError:
    pass
  return platform.processor() or platform.machine()
