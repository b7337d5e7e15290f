"""Models that would deceive a clock."""

import json
import pathlib
import time

import numpy as np
import pytest
import tensorflow as tf

from nbody_bench import (
  equal_error,
  rollouts,
  simulation,
  submission_schema,
  testing,
  timing,
)
from nbody_bench.integrators import INTEGRATORS
from nbody_bench.simulators import ForceSimulator, StepSimulator
from nbody_bench.solvers import FixedSteps
from nbody_bench.states import State, Trajectory

STEPS = 4
BOARD = pathlib.Path(__file__).parents[1] / "leaderboard" / "submissions"


def truth(num_frames=STEPS + 1, num_particles=8):
  inputs = testing.random_system(batch=5, num_particles=num_particles)
  return simulation.simulate(
    testing.GRAVITY,
    *inputs,
    times=0.01 * np.arange(num_frames),
    solver=FixedSteps(8),
  ).trajectory


def step(state, particles, domain, time_step):
  del particles
  return State(
    domain.wrap(state.position + time_step * state.velocity), state.velocity
  )


class Plain:
  """A simulator outside TensorFlow, which can do what it likes."""

  compilable = False
  seconds = 0.002

  def predict(self, state, particles, domain, times):
    time.sleep(self.seconds)
    return StepSimulator(step).predict(state, particles, domain, times)


class Caching(Plain):
  """Remembers what it was asked."""

  seconds = 0.01

  def __init__(self):
    self.known = {}

  def predict(self, *inputs):
    key = inputs[0].position.numpy().tobytes()
    if key not in self.known:
      self.known[key] = super().predict(*inputs)
    return self.known[key]


class Lazy(Plain):
  """Returns at once what will be computed when it is looked at."""

  def predict(self, state, particles, domain, times):
    def later(x):
      class Later:
        def __array__(self, *args, **kwargs):
          time.sleep(0.01)
          return x.numpy()

      return Later()

    result = StepSimulator(step).predict(state, particles, domain, times)
    return Trajectory(
      times, State(*map(later, result.state)), particles, domain
    )


class Retracing:
  """Traces anew at each call, as with a Python number for an argument."""

  def __init__(self):
    self.calls = 0

  def predict(self, state, particles, domain, times):
    return StepSimulator(step).predict(state, particles, domain, times)


class Forgetful(Plain):
  """Once scored, answers quickly and wrongly."""

  asked = 0

  def predict(self, state, particles, domain, times):
    self.asked += 1
    if self.asked > 1:
      state = state._replace(velocity=0 * state.velocity)
    return super().predict(state, particles, domain, times)


def measure(model, num_particles=8):
  data = truth(num_particles=num_particles)
  predict = rollouts.compiled(model)
  scored = rollouts.rollout(
    predict,
    data.frame(0),
    data.particles,
    data.domain,
    data.time[1:],
  ).state
  return timing.measure(model, testing.problem(), data, scored, "quick")


def test_an_honest_model_has_no_faults():
  result = measure(StepSimulator(step))
  assert result["faults"] == []
  assert result["indicative"]
  assert not result["cold_in_fresh_process"]
  samples = result["samples_seconds"]
  assert len(samples) >= 5
  assert result["seconds_per_step"] == pytest.approx(np.median(samples) / STEPS)
  assert result["relative_to_leapfrog"] == pytest.approx(
    np.median(samples) / np.median(result["leapfrog_samples_seconds"])
  )
  assert result["cold_seconds"][0] > result["rollout_seconds"]
  assert result["throughput"]["body_steps_per_second"] > 0
  assert result["environment"]["cores"] >= 1


@pytest.mark.parametrize(
  "field",
  ["rollout_seconds", "seconds_per_step", "relative_to_leapfrog", "speed_up"],
)
def test_a_time_that_its_samples_do_not_give_is_refused(field):
  path = BOARD / "leapfrog" / "1" / "nbody_gravity-n20-rollout200"
  content = json.loads((path / "submission.json").read_text())
  assert submission_schema.faults(content) == []
  timing = content["timing"]
  changed = timing["equal_error"] if field == "speed_up" else timing
  changed[field] *= 2
  (fault,) = submission_schema.faults(content)
  assert f"{field}: is not what the samples give" in fault


def test_more_work_than_leapfrog_takes_longer_than_leapfrog():
  model = ForceSimulator(
    testing.GRAVITY.force, INTEGRATORS["leapfrog"], num_substeps=64
  )
  result = measure(model, num_particles=64)
  assert result["relative_to_leapfrog"] > 1.5


def test_sleep_is_on_the_clock():
  assert min(measure(Plain())["samples_seconds"]) >= Plain.seconds


def test_what_is_computed_later_is_on_the_clock():
  assert min(measure(Lazy())["samples_seconds"]) >= 0.02


def test_a_cache_is_found_out():
  result = measure(Caching())
  assert min(result["samples_seconds"]) >= Caching.seconds
  assert "a state is answered faster when it comes again" in result["faults"]


def test_a_wrong_answer_is_found_out():
  result = measure(Forgetful())
  (fault,) = result["faults"]
  assert "timed answers are not those that were scored" in fault


@pytest.mark.parametrize(
  ("traced_calls", "is_fault"), [(1e9, True), (3, False)]
)
def test_a_retrace_is_found_out(traced_calls, is_fault, monkeypatch):
  """A program that is traced for every call; one that grows once is not."""

  def compiled(simulator):
    predict = tf.function(simulator.predict, autograph=False)
    if not isinstance(simulator, Retracing):
      return predict

    class Fresh:
      calls = traces = 0

      def __call__(self, *inputs):
        self.calls += 1
        self.traces += self.calls <= traced_calls
        return predict(*inputs)

      def experimental_get_tracing_count(self):
        return self.traces

    return Fresh()

  monkeypatch.setattr(rollouts, "compiled", compiled)
  monkeypatch.setattr(timing, "_warm_up", lambda *_: None)
  faults = measure(Retracing())["faults"]
  fault = "the program was traced again inside the clock"
  assert (fault in faults) == is_fault


@pytest.mark.slow
def test_speed_up_at_equal_error_finds_the_same_integrator():
  """Leapfrog with two steps a frame against the field: its own equal."""
  data = truth(num_frames=33)
  model = ForceSimulator(
    testing.GRAVITY.force, INTEGRATORS["leapfrog"], num_substeps=2
  )
  scored = rollouts.rollout(
    rollouts.compiled(model),
    data.frame(0),
    data.particles,
    data.domain,
    data.time[1:],
  ).state
  result = equal_error.measure(testing.problem(), data, scored, 1.0)
  assert result["speed_up"] == pytest.approx(result["seconds"])
  leapfrog = result["integrator"] == "leapfrog"
  assert result["steps_per_frame"] <= (2 if leapfrog else 1)
  sloppy = State(scored.position + 2.0, scored.velocity)
  result = equal_error.measure(testing.problem(), data, sloppy, 1.0)
  assert result["frames_per_step"] == 16


@pytest.mark.slow
def test_no_integrator_equals_the_truth():
  data = truth(num_frames=33)
  perfect = State(*(x[:, 1:] for x in data.state))
  result = equal_error.measure(testing.problem(), data, perfect, 1.0)
  assert result["speed_up"] is None


@pytest.mark.parametrize(("pairs", "on_all"), [(10**9, True), (100, False)])
def test_large_systems_are_raced_on_a_few(monkeypatch, pairs, on_all):
  """Each has many bodies; two there are at least."""
  data = truth(num_frames=17)
  scored = State(*(x[:, 1:].copy() for x in data.state))
  scored.position[2:] += 0.5
  monkeypatch.setattr(equal_error, "_PAIRS", pairs)
  monkeypatch.setattr(equal_error, "_INTEGRATORS", ())
  result = equal_error.measure(testing.problem(), data, scored, 1.0)
  assert (result["error"] > 0.1) == on_all
