import numpy as np
import pytest
import tensorflow as tf

from nbody_bench import rollouts, simulation, simulators, testing
from nbody_bench.integrators import INTEGRATORS
from nbody_bench.simulators import ForceSimulator, StepSimulator
from nbody_bench.solvers import FixedSteps
from nbody_bench.states import Domain, Particles, State


def drift(state, particles, domain, time_step):
  """A one-step callable: mass makes particles heavy of foot."""
  velocity = state.velocity / particles.mass[..., None]
  return State(domain.wrap(state.position + time_step * velocity), velocity)


class Module(tf.Module):
  def __call__(self, *args):
    return drift(*args)


class Keras(tf.keras.Model):
  def call(self, state, particles, domain, time_step):
    return drift(state, particles, domain, time_step)


class MultiFrame:
  """Predicts all frames at once, as neural operators do."""

  def predict(self, state, particles, domain, times):
    position = state.position[:, None] + (
      times[None, :, None, None] * state.velocity[:, None]
    )
    velocity = tf.broadcast_to(state.velocity[:, None], position.shape)
    return simulators.Trajectory(
      times, State(domain.wrap(position), velocity), particles, domain
    )


@pytest.mark.parametrize("model", [drift, Module(), Keras()])
def test_one_step_callables_are_lifted(model):
  state, particles, domain = testing.random_system()
  particles = Particles(mass=np.ones_like(particles.mass))
  predict = simulators.as_simulator(model).predict
  times = np.array([0.1, 0.2, 0.5])
  result = rollouts.rollout(predict, state, particles, domain, times)
  assert result.state.position.shape == (2, 3, 5, 2)
  expected = domain.wrap(
    state.position[:, None] + times[:, None, None] * state.velocity[:, None]
  )
  gap = domain.displacement(expected, result.state.position)
  np.testing.assert_allclose(gap, 0, atol=1e-5)


def test_a_multi_frame_model_is_a_simulator_as_it_is():
  model = MultiFrame()
  assert simulators.as_simulator(model) is model
  state, particles, domain = testing.random_system()
  result = rollouts.rollout(
    rollouts.compiled(model), state, particles, domain, np.array([0.1, 0.3])
  )
  assert result.state.velocity.shape == (2, 2, 5, 2)


def test_what_is_no_simulator():
  with pytest.raises(TypeError, match="int is no simulator: give it a method"):
    simulators.as_simulator(3)


@pytest.mark.parametrize("name", sorted(INTEGRATORS))
@pytest.mark.parametrize("system", [testing.GRAVITY, testing.COULOMB])
def test_tensor_integration_equals_the_compiled_loops(system, name):
  inputs = testing.random_system(num_particles=6, charged=True)
  truth = simulation.simulate(
    system,
    *inputs,
    times=0.02 * np.arange(6),
    solver=FixedSteps(3, name),
  )
  model = ForceSimulator(system.force, INTEGRATORS[name], num_substeps=3)
  tensors = (
    type(x)(*(None if a is None else tf.constant(a) for a in x)) for x in inputs
  )
  result = model.predict(*tensors, tf.constant(truth.trajectory.time[1:]))
  for one, other in zip(result.state, truth.trajectory.state, strict=True):
    np.testing.assert_allclose(one, other[:, 1:], atol=1e-11)


def test_any_force_model_becomes_a_simulator():
  """A harmonic well of unit stiffness: q = cos t for m = 1."""

  def well(state, particles, domain):
    del particles, domain
    return -state.position

  model = ForceSimulator(well, INTEGRATORS["yoshida4"], num_substeps=20)
  state = State(np.ones((1, 1, 1)), np.zeros((1, 1, 1)))
  times = np.array([1.0, 2.0])
  result = rollouts.rollout(
    rollouts.compiled(model),
    state,
    Particles(np.ones((1, 1))),
    Domain(np.full((1, 1), np.inf)),
    times,
  )
  np.testing.assert_allclose(
    result.state.position[0, :, 0, 0], np.cos(times), atol=1e-5
  )


def test_num_substeps_must_be_positive():
  with pytest.raises(ValueError, match="num_substeps is 0; it must be >= 1"):
    ForceSimulator(None, INTEGRATORS["leapfrog"], num_substeps=0)


def test_batches_of_a_roll_out_are_put_together_again():
  inputs = testing.random_system(batch=5)
  predict = rollouts.compiled(StepSimulator(drift))
  times = np.array([0.1, 0.2])
  whole = rollouts.rollout(predict, *inputs, times)
  parts = rollouts.rollout(predict, *inputs, times, batch_size=2)
  for one, other in zip(whole.state, parts.state, strict=True):
    np.testing.assert_array_equal(one, other)


def test_compiled_roll_out_equals_single_calls():
  state, particles, domain = testing.random_system(num_particles=8)
  model = ForceSimulator(testing.GRAVITY.force, INTEGRATORS["leapfrog"])
  times = 0.01 * np.arange(1, 6)
  whole = rollouts.rollout(
    rollouts.compiled(model), state, particles, domain, times
  )
  for t in range(5):
    state = rollouts.rollout(
      model.predict, state, particles, domain, times[:1]
    ).frame(0)
    np.testing.assert_allclose(
      whole.state.position[:, t], state.position, atol=1e-5
    )


def test_one_step_loss_by_hand_and_with_padding():
  """Velocity off by 2 in one of 4 columns of each particle: mean 4 / 4 = 1."""
  window = testing.trajectory(num_frames=2)

  def wrong(state, particles, domain, time_step):
    right = State(
      domain.wrap(state.position + time_step * state.velocity), state.velocity
    )
    return right._replace(velocity=right.velocity + tf.constant([2.0, 0.0]))

  tensors = testing.to_tensors(window)
  assert float(simulators.one_step_loss(wrong, tensors)) == pytest.approx(1.0)
  state, particles = testing.pad(window.frame(0), window.particles, 3)
  after, _ = testing.pad(window.frame(1), window.particles, 3)
  padded = window._replace(
    state=State(*(np.stack(x, 1) for x in zip(state, after, strict=True))),
    particles=particles,
  )
  padded = testing.to_tensors(padded)
  assert float(simulators.one_step_loss(wrong, padded)) == pytest.approx(1.0)


def test_prediction_loss_by_hand():
  """Velocity off by 2 in one of 4 columns in one of two frames: 1 / 2."""
  window = testing.to_tensors(testing.trajectory(num_frames=3))

  class Wrong(MultiFrame):
    def predict(self, *inputs):
      result = super().predict(*inputs)
      late = tf.constant([0.0, 2.0])[None, :, None, None]
      wrong = result.state.velocity + late * tf.constant([1.0, 0.0])
      return result._replace(state=result.state._replace(velocity=wrong))

  loss = simulators.prediction_loss(Wrong(), window)
  assert float(loss) == pytest.approx(0.5)
  right = simulators.prediction_loss(MultiFrame(), window)
  assert float(right) == pytest.approx(0.0, abs=1e-9)


def test_a_box_without_size_is_an_error():
  state, particles, domain = testing.random_system()
  domain.box[1, 0] = 0
  with pytest.raises(ValueError, match=r"sides \[0.0, 8.0\].*positive"):
    rollouts.rollout(
      simulators.StepSimulator(drift).predict,
      state,
      particles,
      domain,
      np.array([0.1]),
    )
