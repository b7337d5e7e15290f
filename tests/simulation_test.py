import numpy as np
import pytest

from nbody_bench import plugins, simulation, testing
from nbody_bench.integrators import INTEGRATORS, RungeKutta, Splitting
from nbody_bench.solvers import FixedSteps
from nbody_bench.states import Domain, Particles, State


def simulate(system, inputs, num_substeps=4, num_frames=21):
  return simulation.simulate(
    system,
    *inputs,
    times=0.01 * np.arange(num_frames),
    solver=FixedSteps(num_substeps),
  )


def circular_orbit(softening=0.2):
  """Two bodies of mass 1 at distance 2 on a circle; the exact period known."""
  omega = np.sqrt(2 * 2 / (4 + softening**2) ** 1.5)
  position = np.array([[[1.0, 0.0], [-1.0, 0.0]]])
  velocity = omega * np.array([[[0.0, 1.0], [0.0, -1.0]]])
  inputs = (
    State(position, velocity),
    Particles(np.ones((1, 2))),
    Domain(np.full((1, 2), np.inf)),
  )
  return inputs, omega


@pytest.mark.parametrize("name", sorted(INTEGRATORS))
def test_measured_order_is_the_declared_one(name):
  inputs, omega = circular_orbit()

  def error(num_substeps):
    end = FixedSteps(num_substeps, name).solve(
      testing.GRAVITY, *inputs, np.array([4.0]), lambda n: None
    )
    angle = 4.0 * omega
    exact = np.array([np.cos(angle), np.sin(angle)])
    return np.abs(end.position[0, 0, 0] - exact).max()

  # Fine enough for the leading term of the error, coarse enough for float64.
  fewest = {1: 256, 8: 6}.get(INTEGRATORS[name].order, 16)
  measured = np.log2(error(fewest) / error(2 * fewest))
  assert abs(measured - INTEGRATORS[name].order) < 0.25


@pytest.mark.parametrize("name", sorted(INTEGRATORS))
def test_symplectic_ones_keep_the_energy_bounded(name):
  """Over many orbits: others lose or gain steadily."""
  inputs, omega = circular_orbit()
  inputs = (inputs[0]._replace(velocity=0.6 * inputs[0].velocity), *inputs[1:])
  period = 2 * np.pi / omega
  states = FixedSteps(60, name).solve(
    testing.GRAVITY, *inputs, 0.3 * period * np.arange(601), lambda n: None
  )
  trajectory = testing.trajectory(num_frames=601)._replace(
    state=states, particles=inputs[1], domain=inputs[2]
  )
  energy = trajectory.at_each_frame(testing.GRAVITY.hamiltonian)[0]
  error = np.abs(energy - energy[0])
  growth = error[301:].max() / error[:301].max()
  if INTEGRATORS[name].symplectic:
    assert growth < 1.05
  else:
    # Unless it has long left the orbit.
    assert growth > 1.9 or error[30] > 0.1 * abs(energy[0])


def test_splitting_needs_one_kick_more_than_drifts():
  with pytest.raises(ValueError, match="one kick more than drifts"):
    Splitting(order=1, kicks=(1.0,), drifts=(1.0,))


def test_stages_of_a_tableau_grow():
  with pytest.raises(ValueError, match="need stages of 0, 1, 2"):
    RungeKutta(order=1, stages=((0.0,),), weights=(1.0,))


def labels_hold_the_bound(truth):
  """The bound that the card of `nbody_gravity/n20` states."""
  drift = np.abs(truth.energy[:, -1] / truth.energy[:, 0] - 1)
  return np.median(drift) < 5e-7


def test_labels_conserve_energy_and_momentum_where_euler_fails():
  builder = plugins.load("datasets", "nbody_gravity").Builder(
    config="n20", data_dir="/nonexistent"
  )
  truth = builder.simulate("test", range(32))
  assert labels_hold_the_bound(truth)
  drifts = simulation.drifts(testing.GRAVITY, truth)
  assert drifts["momentum_drift"].max() < 1e-11
  start = truth.trajectory
  inputs = (start.frame(0), start.particles, start.domain)
  euler = explicit_euler(inputs, num_frames=201, num_substeps=64)
  assert not labels_hold_the_bound(euler)


def explicit_euler(inputs, num_frames, num_substeps):
  """A plausible wrong scheme: kick and drift from the same old state."""
  (position, velocity), particles, domain = inputs
  step = 0.01 / num_substeps
  states = [State(position, velocity)]
  for _ in range(num_frames - 1):
    for _ in range(num_substeps):
      pull = testing.GRAVITY.acceleration(
        State(position, velocity), particles, domain
      )
      position = domain.wrap(position + step * velocity)
      velocity = velocity + step * pull
    states.append(State(position, velocity))
  trajectory = testing.trajectory(num_frames)._replace(
    state=State(*(np.stack(x, 1) for x in zip(*states, strict=True))),
    particles=particles,
    domain=domain,
  )
  return simulation.GroundTruth(
    trajectory,
    np.zeros(trajectory.state.position.shape[:2]),
    trajectory.at_each_frame(testing.GRAVITY.hamiltonian),
    trajectory.at_each_frame(testing.GRAVITY.momentum),
  )


def test_label_error_is_the_distance_to_half_the_step():
  inputs = testing.random_system(batch=3, charged=True)
  coarse = simulate(testing.COULOMB, inputs, num_substeps=2)
  fine = simulate(testing.COULOMB, inputs, num_substeps=4)
  for t in (0, 7, 20):
    distance = simulation.phase_space_distance(
      coarse.trajectory.frame(t), fine.trajectory.frame(t), *inputs[1:]
    )
    np.testing.assert_allclose(coarse.label_error[:, t], distance, rtol=1e-10)
  assert np.all(coarse.label_error[:, 0] == 0)
  assert fine.label_error[:, -1].max() < 0.5 * coarse.label_error[:, -1].max()


def test_a_trajectory_does_not_depend_on_its_neighbours():
  inputs = testing.random_system(batch=32, num_particles=7)
  together = simulate(testing.GRAVITY, inputs).trajectory
  some = (
    x.__class__(*(None if a is None else a[5:8] for a in x)) for x in inputs
  )
  alone = simulate(testing.GRAVITY, tuple(some)).trajectory
  for one, other in zip(together.state, alone.state, strict=True):
    assert one[5:8].tobytes() == other.tobytes()


def test_time_reversal_returns():
  inputs = testing.random_system(batch=2, num_particles=8, box_side=np.inf)
  there = simulate(testing.GRAVITY, inputs).trajectory
  end = there.frame(-1)
  turned = (State(end.position, -end.velocity), *inputs[1:])
  back = simulate(testing.GRAVITY, turned).trajectory.frame(-1)
  np.testing.assert_allclose(back.position, inputs[0].position, atol=1e-12)
  np.testing.assert_allclose(-back.velocity, inputs[0].velocity, atol=1e-11)


def test_open_box_conserves_angular_momentum():
  inputs = testing.random_system(num_particles=8, num_dims=3, box_side=np.inf)
  truth = simulate(testing.GRAVITY, inputs)
  spin = truth.trajectory.at_each_frame(testing.GRAVITY.angular_momentum)
  np.testing.assert_allclose(
    spin, spin[:, :1] * np.ones((1, 21, 1)), atol=1e-12
  )
