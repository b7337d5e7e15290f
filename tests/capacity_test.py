"""Programs that grow: nothing is lost, and nothing unnoticed."""

import functools

import numpy as np
import pytest
import sonnet as snt
import tensorflow as tf

from nbody_bench import (
  capacity,
  graphs,
  hierarchy,
  integrators,
  pipelines,
  rollouts,
  simulators,
  testing,
  updates,
)
from nbody_bench.recipes import Recipe
from nbody_bench.states import Domain, Particles, State


def collapse(state, particles, domain, time_step, num_levels=2):
  """A step towards the centre that depends on how many are adjacent."""
  graph = hierarchy.build(state.position, particles, domain, num_levels)
  ones = tf.ones([graph.particles.senders.shape[0], 1])
  degree = graph.unrows(graph.particles.sum_received(ones))
  shrunk = (1 - 0.5 * time_step) * state.position
  return State(shrunk, state.velocity + 0.01 * degree)


def cloud(n=60, batch=2):
  state, particles, _ = testing.random_system(batch, n, box_side=16.0)
  return state, particles, Domain(np.full((batch, 2), 16.0))


TIMES = 0.4 * np.arange(1, 13)


@pytest.mark.slow
def test_a_collapsing_system_passes_through_several_sizes_without_loss():
  step = functools.partial(collapse, num_levels=3)
  system = cloud()
  predict = rollouts.compiled(simulators.StepSimulator(step))
  result = rollouts.rollout(predict, *system, TIMES).state
  assert predict.experimental_get_tracing_count() >= 3
  state, particles, domain = testing.to_tensors(system)
  for frame in range(len(TIMES)):
    state = step(state, particles, domain, tf.constant(0.4))
    np.testing.assert_allclose(
      result.position[:, frame], state.position, atol=1e-5
    )
    np.testing.assert_allclose(
      result.velocity[:, frame], state.velocity, rtol=1e-5
    )
  # In the end all are adjacent to all.
  assert np.min(state.velocity[..., 0]) > 59 * 0.01
  traces = predict.experimental_get_tracing_count()
  again = rollouts.rollout(predict, *system, TIMES).state
  assert predict.experimental_get_tracing_count() == traces
  np.testing.assert_array_equal(again.position, result.position)


@pytest.mark.slow
def test_substeps_of_an_integrator_tell_their_needs_too():
  def pull(state, particles, domain):
    following = collapse(state, particles, domain, tf.constant(0.0))
    degree = following.velocity[..., :1] - state.velocity[..., :1]
    return -state.position * (1 + degree)

  def simulator(num_substeps):
    return simulators.ForceSimulator(
      pull, integrators.INTEGRATORS["leapfrog"], num_substeps
    )

  system = cloud()
  predict = rollouts.compiled(simulator(4))
  result = rollouts.rollout(predict, *system, TIMES[:4]).state
  assert predict.experimental_get_tracing_count() >= 2
  expected = simulator(4).predict(
    *testing.to_tensors(system), tf.constant(TIMES[:4], tf.float32)
  )
  np.testing.assert_allclose(
    result.position, expected.state.position, atol=1e-4
  )


@pytest.mark.slow
def test_a_model_with_a_predict_of_its_own_is_run_again_whole():
  class OneCall:
    def predict(self, state, particles, domain, times):
      frames = []
      for _ in range(times.shape[0]):
        state = collapse(state, particles, domain, tf.constant(0.4))
        frames.append(state)
      stacked = State(*(tf.stack(x, 1) for x in zip(*frames, strict=True)))
      return simulators.Trajectory(times, stacked, particles, domain)

  system = cloud()
  predict = rollouts.compiled(OneCall())
  result = rollouts.rollout(predict, *system, TIMES[:3]).state
  steps = rollouts.rollout(
    rollouts.compiled(simulators.StepSimulator(collapse)), *system, TIMES[:3]
  ).state
  np.testing.assert_allclose(result.velocity, steps.velocity, rtol=1e-5)


def squeezed(system, share=0.3):
  return system[0]._replace(position=share * system[0].position), *system[1:]


@pytest.mark.slow
def test_what_overflows_after_the_loop_is_done_again():
  """A second call, denser than the first, which chose the sizes."""

  class Model:
    def predict(self, state, particles, domain, times):
      states = simulators.unroll(
        lambda s, dt: State(s.position, s.velocity + dt),
        state,
        lambda s: s,
        times,
        state_is_all=True,
      )
      last = State(*(x[:, -1] for x in states))
      end = collapse(last, particles, domain, tf.constant(0.0))
      velocity = states.velocity + (end.velocity - last.velocity)[:, None]
      return simulators.Trajectory(
        times, State(states.position, velocity), particles, domain
      )

  system = cloud()
  predict = rollouts.compiled(Model())
  for inputs in (system, squeezed(system)):
    result = rollouts.rollout(predict, *inputs, TIMES[:4]).state
    tensors = testing.to_tensors(inputs)
    expected = Model().predict(*tensors, tf.constant(TIMES[:4], tf.float32))
    np.testing.assert_allclose(
      result.velocity, expected.state.velocity, rtol=1e-5
    )


@pytest.mark.slow
def test_a_force_that_overflows_before_the_first_step_shifts_no_frame():
  def pull(state, particles, domain):
    degree = collapse(state, particles, domain, tf.constant(0.0)).velocity
    return -state.position * (degree - state.velocity)

  model = simulators.ForceSimulator(pull, integrators.INTEGRATORS["leapfrog"])
  system = cloud()
  predict = rollouts.compiled(model)
  for inputs in (system, squeezed(system)):
    result = rollouts.rollout(predict, *inputs, TIMES[:4]).state
    tensors = testing.to_tensors(inputs)
    expected = model.predict(*tensors, tf.constant(TIMES[:4], tf.float32))
    np.testing.assert_allclose(
      result.position, expected.state.position, atol=1e-4
    )


@pytest.mark.slow
def test_what_a_loop_carries_beside_the_state_is_not_lost():
  class Counting:
    def predict(self, state, particles, domain, times):
      def advance(carry, time_step):
        state, count = carry
        moved = collapse(state, particles, domain, time_step)
        count += 1.0
        return State(moved.position, moved.velocity + count), count

      states = simulators.unroll(
        advance, (state, tf.constant(0.0)), lambda c: c[0], times
      )
      return simulators.Trajectory(times, states, particles, domain)

  system = cloud()
  predict = rollouts.compiled(Counting())
  result = rollouts.rollout(predict, *system, TIMES[:6]).state
  assert predict.experimental_get_tracing_count() >= 2
  expected = Counting().predict(
    *testing.to_tensors(system), tf.constant(TIMES[:6], tf.float32)
  )
  np.testing.assert_allclose(
    result.velocity, expected.state.velocity, rtol=1e-5
  )


def test_a_size_asked_for_inside_a_function_of_ones_own_is_an_error():
  step = tf.function(collapse, autograph=False)
  predict = rollouts.compiled(simulators.StepSimulator(step))
  with pytest.raises(ValueError, match=r"level_2_cells.*drop the inner"):
    rollouts.rollout(predict, *cloud(), TIMES[:2])


def test_a_loop_with_a_condition_ends_when_it_no_longer_holds():
  def grow(carry):
    total, count = carry
    capacity.fit("total", total, 1000)
    return total + count, count + 1

  def run(condition=None, room=None):
    with capacity.within(room or capacity.Room({})) as room:
      start = (tf.constant(0), tf.constant(1))
      total, count = capacity.repeat(10, grow, start, condition)
    return int(total), int(count) - 1, room

  def below_20(carry):
    return carry[0] < 20

  assert run()[:2] == (55, 10)
  total, count, room = run(below_20)
  assert (total, count) == (21, 6)
  assert capacity.needed(room.names, room.needs) == {"total": 15}
  assert run(lambda carry: carry[0] > 0)[:2] == (0, 0)
  assert run(lambda carry: carry[0] >= 0)[:2] == (55, 10)
  # Where there is too little room the rest is not worth its time.
  total, count, room = run(below_20, capacity.Room({"total": 7}))
  assert (total, count) == (15, 5)
  assert bool(room.overflow)


def test_a_loop_is_gone_through_once_to_measure_it():
  calls = []

  def grow(carry):
    calls.append(int(carry))
    capacity.fit("value", carry, 1000)
    return carry + 1

  def function(start):
    capacity.repeat(5, grow, start)
    capacity.repeat(5, grow, start + 10, lambda carry: carry < 100)

  assert capacity.measure(function, tf.constant(3)) == {"value": 13}
  assert calls == [3, 13]


def test_room_ends_at_what_memory_holds():
  needs = {"edges": capacity.LARGEST - 5, "cells": 10}
  assert capacity.with_headroom(needs, 0.5)["edges"] == capacity.LARGEST
  grown = capacity.grown({"edges": capacity.LARGEST, "cells": 8}, needs, 0.5)
  assert grown["edges"] == capacity.LARGEST
  assert grown["cells"] >= 10
  with pytest.raises(capacity.CapacityError, match=f"{2**26 + 1} are needed"):
    capacity.with_headroom({"edges": 2**26 + 1}, 0.5)


def test_edges_beyond_32_bits_are_not_forgotten():
  state = State(tf.zeros([1, 65_537, 2]), tf.zeros([1, 65_537, 2]))
  particles = Particles(tf.ones([1, 65_537]))
  domain = Domain(tf.constant([[8.0, 8.0]]))
  with pytest.raises(capacity.CapacityError, match="particle edges"):
    hierarchy.build(state.position, particles, domain, 3)


def test_what_cannot_fit_is_an_error_that_says_the_way_out(monkeypatch):
  monkeypatch.setattr(capacity, "LARGEST", 1000)
  predict = rollouts.compiled(simulators.StepSimulator(collapse))
  with pytest.raises(capacity.CapacityError, match=r"edges.*fit.*levels"):
    rollouts.rollout(predict, *cloud(), TIMES)


def test_too_many_names_are_an_error():
  with pytest.raises(ValueError, match="sizes in one program"):
    capacity.Room({f"size_{i}": 1 for i in range(40)})


class Degrees(tf.Module):
  """A model whose loss depends on every edge, and on chance."""

  def __init__(self):
    super().__init__()
    self.weight = tf.Variable(0.5)

  def loss(self, window):
    ones = collapse(
      window.frame(0), window.particles, window.domain, tf.constant(0.0)
    ).velocity
    ones -= window.frame(0).velocity
    noise = tf.random.get_global_generator().normal([])
    return tf.reduce_mean((self.weight * ones - 1 + 0.1 * noise) ** 2)


@pytest.mark.slow
@pytest.mark.parametrize("jit", [False, True])
def test_a_batch_that_overflows_is_done_again_and_changes_nothing(jit):
  """Batches that come later need more than those that were measured."""
  state, particles, domain = cloud(batch=12)
  for b in range(12):
    state.position[b] *= 0.1 if b % 4 == 3 else 1.0
  data = simulators.Trajectory(
    np.arange(2.0),
    State(*(np.repeat(x[:, None], 2, 1) for x in state)),
    particles,
    domain,
  )

  def run(prepare):
    tf.random.set_global_generator(tf.random.Generator.from_seed(7))
    model = Degrees()
    update = updates.Updates(
      model.loss,
      [model.weight],
      snt.optimizers.Adam(tf.Variable(0.0, trainable=False)),
      Recipe(train_steps=12, batch_size=1, learning_rate=0.1),
      pipelines.WindowSampler(data, 2, 1, seed=3),
      jit=jit,
    )
    prepare(update)
    values = update(0, 8) + update(8, 4)
    return model.weight.numpy(), values, update

  def roomy(update):
    update.sizes = {"particle_edges": 4000} | {
      f"level_{i}_{kind}": 2000
      for i in (2, 3, 4)
      for kind in ("cells", "edges")
    }

  def tight(update):
    # As if the first batches had been spread more evenly than the others.
    roomy(update)
    update.sizes["particle_edges"] = 700

  expected, losses, _ = run(roomy)
  weight, values, update = run(tight)
  assert update.sizes["particle_edges"] >= 60 * 59
  np.testing.assert_allclose(weight, expected, rtol=1e-6)
  np.testing.assert_allclose(values, losses, rtol=1e-5)
  assert len(losses) == 12


def test_sizes_are_measured_before_the_first_step():
  state, particles, domain = cloud(batch=8)
  data = simulators.Trajectory(
    np.arange(2.0),
    State(*(np.repeat(x[:, None], 2, 1) for x in state)),
    particles,
    domain,
  )
  model = Degrees()
  update = updates.Updates(
    model.loss,
    [model.weight],
    snt.optimizers.Adam(tf.Variable(0.0, trainable=False)),
    Recipe(batch_size=2),
    pipelines.WindowSampler(data, 2, 2, seed=0),
    jit=False,
  )
  update.measure()
  before = dict(update.sizes)
  assert 300 < before["particle_edges"] < 2 * 60 * 59
  update(0, 4)
  assert update.sizes == before


@pytest.mark.slow
def test_nearest_neighbours_grow_in_reach():
  """A cluster and a few far away: their neighbours are beyond two cells."""
  rng = np.random.default_rng(0)
  position = rng.uniform(-1, 1, (1, 300, 2))
  position[0, :4] = [[7, 7], [-7, 7], [7, -7], [-7, -7]]
  state = State(position, np.zeros_like(position))
  particles, domain = (
    Particles(np.ones((1, 300))),
    Domain(np.full((1, 2), 16.0)),
  )
  system = testing.to_tensors((state, particles, domain))
  needs = capacity.measure(lambda: graphs.nearest(*system, 4))
  assert needs["nearest_reach"] > 2

  def step(state, particles, domain, time_step):
    neighbours = graphs.nearest(state, particles, domain, 4)
    vectors = graphs.edge_displacement(state.position, neighbours, domain)
    total = tf.reduce_sum(vectors, 2)
    return State(state.position * (1 - 0.1 * time_step), total)

  spread = rng.uniform(-8, 8, (1, 300, 2))
  times = np.arange(1.0, 3.0)
  predict = rollouts.compiled(simulators.StepSimulator(step))
  evenly = State(spread, np.zeros_like(spread))
  rollouts.rollout(predict, evenly, particles, domain, times)
  result = rollouts.rollout(predict, state, particles, domain, times).state
  expected = step(*system, tf.constant(1.0))
  np.testing.assert_allclose(
    result.velocity[:, 0], expected.velocity, atol=1e-4
  )
  # Too few candidates say nothing of the reach: it is what it must be.
  (sizes,) = predict.sizes.values()
  assert sizes["nearest_reach"] == needs["nearest_reach"]
