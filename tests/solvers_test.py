"""Solvers against closed forms, against each other, and what they refuse."""

import dataclasses

import numpy as np
import pytest
import scipy.linalg

from nbody_bench import plugins, simulation, solvers, testing
from nbody_bench.solvers import (
  AdaptiveSteps,
  BlockSteps,
  ExactSprings,
  FixedSteps,
)
from nbody_bench.states import Domain, Particles, State
from nbody_bench.systems import System

SPRINGS = System(law="harmonic", coupling=1.0, source="stiffness")


def silent(num_systems):
  del num_systems


def springs():
  rng = np.random.default_rng(0)
  state = State(rng.normal(size=(3, 5, 2)), rng.normal(size=(3, 5, 2)))
  particles = Particles(
    rng.uniform(0.1, 1, (3, 5)), stiffness=rng.uniform(0.5, 1, (3, 5))
  )
  return state, particles, Domain(np.full((3, 2), np.inf))


def exponential(system, state, particles, time):
  """The state by the matrix exponential of the whole linear system."""
  batch, n, _ = state.position.shape
  moved = []
  for b in range(batch):
    k = system.coupling * np.outer(*2 * [particles.stiffness[b]])
    np.fill_diagonal(k, 0)
    stiffness = np.diag(k.sum(1) + system.trap) - k
    zero, one = np.zeros((n, n)), np.eye(n)
    matrix = np.block(
      [[zero, one], [-stiffness / particles.mass[b][:, None], zero]]
    )
    start = np.concatenate([state.position[b], state.velocity[b]])
    moved.append(np.split(scipy.linalg.expm(time * matrix) @ start, 2))
  return State(*(np.stack(x) for x in zip(*moved, strict=True)))


@pytest.mark.parametrize("trap", [0.0, 0.7])
@pytest.mark.parametrize(
  "solver", [ExactSprings(), AdaptiveSteps(1e-13), FixedSteps(400, "yoshida6")]
)
def test_springs_equal_the_matrix_exponential(solver, trap):
  system = dataclasses.replace(SPRINGS, trap=trap)
  state, particles, domain = springs()
  times = np.array([0.0, 0.5, 4.0])
  found = solver.solve(system, state, particles, domain, times, silent)
  for t, time in enumerate(times):
    right = exponential(system, state, particles, time)
    for one, other in zip(found, right, strict=True):
      np.testing.assert_allclose(one[:, t], other, atol=1e-9)


def test_stored_springs_equal_the_matrix_exponential():
  builder = plugins.load("datasets", "nbody_spring").Builder(
    config="five", data_dir="/nonexistent"
  )
  truth = builder.simulate("test", range(20)).trajectory
  right = exponential(SPRINGS, truth.frame(0), truth.particles, truth.time[-1])
  assert truth.time[-1] == pytest.approx(8.0)
  np.testing.assert_allclose(
    truth.state.position[:, -1], right.position, atol=1e-9
  )


def test_a_free_system_of_springs_drifts():
  """The motion of the centre is a mode of frequency zero."""
  state, particles, domain = springs()
  state = state._replace(velocity=np.add(state.velocity, [3.0, -1.0]))
  end = ExactSprings().solve(
    SPRINGS, state, particles, domain, np.array([100.0]), silent
  )
  mass = particles.mass[..., None]

  def centre(x):
    return (mass * x).sum(1) / mass.sum(1)

  np.testing.assert_allclose(
    centre(end.position[:, 0]),
    centre(state.position) + 100 * centre(state.velocity),
    atol=1e-10,
  )


def test_exact_springs_refuse_other_laws():
  inputs = testing.random_system()
  with pytest.raises(ValueError, match=r"'plummer' .* use AdaptiveSteps"):
    ExactSprings().solve(testing.GRAVITY, *inputs, np.array([1.0]), silent)


def test_a_charge_in_a_magnetic_field_goes_round():
  """With frequency c B / m, in the plane across the field."""
  system = System(
    law="plummer",
    coupling=1.0,
    source="charge",
    magnetic_field=(0.0, 0.0, 2.0),
  )
  state = State(np.zeros((1, 1, 3)), np.array([[[1.0, 0.0, 0.5]]]))
  particles = Particles(np.full((1, 1), 4.0), charge=np.full((1, 1), 3.0))
  domain = Domain(np.full((1, 3), np.inf))
  times = np.array([0.0, 1.0, 2.5])
  angle = -1.5 * times
  right = np.stack([np.cos(angle), np.sin(angle), np.full(3, 0.5)], -1)
  for solver in (AdaptiveSteps(1e-12), FixedSteps(200, "rk4")):
    found = solver.solve(system, state, particles, domain, times, silent)
    np.testing.assert_allclose(found.velocity[0, :, 0], right, atol=1e-8)
  with pytest.raises(ValueError, match="magnetic"):
    FixedSteps().solve(system, state, particles, domain, times, silent)


def test_a_uniform_field_accelerates_evenly():
  system = System(law="plummer", coupling=0.0, softening=0.1, field=(0.0, -3.0))
  state, particles, domain = testing.random_system(box_side=np.inf)
  for solver in (AdaptiveSteps(), FixedSteps(2)):
    end = solver.solve(
      system, state, particles, domain, np.array([2.0]), silent
    )
    right = state.velocity[..., 1] - 3.0 * 2.0 / particles.mass
    np.testing.assert_allclose(end.velocity[:, 0, :, 1], right, rtol=1e-12)


def test_adaptive_steps_follow_a_close_encounter():
  """Kepler's ellipse closes after one period, though all but a line.

  The bodies come as close as 1e-6 and keep every digit of their distance.
  """
  system = System(law="plummer", coupling=-1.0)
  e = 1 - 1e-6
  position = np.array([[[0.5 * (1 + e), 0.0], [-0.5 * (1 + e), 0.0]]])
  speed = 0.5 * np.sqrt(2 * (1 - e) / (1 + e))
  velocity = np.array([[[0.0, speed], [0.0, -speed]]])
  period = 2 * np.pi / np.sqrt(2)
  end = AdaptiveSteps(1e-13).solve(
    system,
    State(position, velocity),
    Particles(np.ones((1, 2))),
    Domain(np.full((1, 2), np.inf)),
    np.array([period]),
    silent,
  )
  np.testing.assert_allclose(end.position[:, 0], position, atol=1e-8)


def test_a_collision_is_reported():
  system = System(law="plummer", coupling=-1.0)
  state = State(np.array([[[1.0], [-1.0]]]), np.zeros((1, 2, 1)))
  with pytest.raises(ValueError, match="two bodies without softening collide"):
    AdaptiveSteps().solve(
      system,
      state,
      Particles(np.ones((1, 2))),
      Domain(np.full((1, 1), np.inf)),
      np.array([5.0]),
      silent,
    )


def test_adaptive_steps_need_an_error_estimate():
  inputs = testing.random_system()
  with pytest.raises(ValueError, match="'rk4' does not estimate its error"):
    AdaptiveSteps(integrator="rk4").solve(
      testing.GRAVITY, *inputs, np.array([1.0]), silent
    )


@pytest.mark.parametrize(
  "solver",
  [
    FixedSteps(64),
    FixedSteps(32, "rk4"),
    FixedSteps(32, "yoshida6"),
    AdaptiveSteps(1e-10),
    pytest.param(BlockSteps(2e-4), marks=pytest.mark.slow),
  ],
)
def test_solvers_agree(solver):
  inputs = testing.random_system(batch=3, num_particles=7)
  times = 0.05 * np.arange(1, 5)
  one, other = (
    s.solve(testing.GRAVITY, *inputs, times, silent)
    for s in (solver, AdaptiveSteps(1e-13))
  )
  # The minimum image makes the force jump: no method is exact there.
  np.testing.assert_allclose(one.position, other.position, atol=3e-5)


@pytest.mark.parametrize(
  "solver",
  [
    FixedSteps(64),
    AdaptiveSteps(1e-8),
    pytest.param(BlockSteps(0.002), marks=pytest.mark.slow),
  ],
)
def test_the_finer_solver_is_finer(solver):
  inputs = testing.random_system(box_side=np.inf, num_particles=6)
  times = np.array([0.5])
  best = AdaptiveSteps(1e-14).solve(testing.GRAVITY, *inputs, times, silent)
  errors = [
    np.abs(
      s.solve(testing.GRAVITY, *inputs, times, silent).position - best.position
    ).max()
    for s in (solver, solver.finer())
  ]
  assert errors[1] < 0.4 * errors[0]


def test_a_batch_is_its_systems_one_by_one():
  inputs = testing.random_system(batch=4, num_particles=6, box_side=np.inf)
  times = np.array([0.1, 0.4])
  for solver in (AdaptiveSteps(), BlockSteps(), FixedSteps(8, "rk4")):
    whole = solver.solve(testing.GRAVITY, *inputs, times, silent)
    for b in range(4):
      alone = solver.solve(
        testing.GRAVITY,
        *(
          type(x)(*(None if a is None else a[b : b + 1] for a in x))
          for x in inputs
        ),
        times,
        silent,
      )
      assert alone.position.tobytes() == whole.position[b : b + 1].tobytes()


def test_constants_of_each_system_count():
  """As if each had a law of its own."""
  state, particles, domain = testing.random_system(batch=2, num_particles=4)
  own = particles._replace(
    coupling=np.array([-1.0, -5.0]), softening=np.array([0.1, 0.6])
  )
  found = simulation.simulate(
    testing.GRAVITY,
    state,
    own,
    domain,
    times=0.1 * np.arange(3),
    solver=FixedSteps(8),
  )
  for b in range(2):
    system = dataclasses.replace(
      testing.GRAVITY,
      coupling=own.coupling[b],
      softening=own.softening[b],
    )
    alone = simulation.simulate(
      system,
      *(
        type(x)(*(None if a is None else a[b : b + 1] for a in x))
        for x in (state, particles, domain)
      ),
      times=0.1 * np.arange(3),
      solver=FixedSteps(8),
    )
    np.testing.assert_allclose(
      alone.trajectory.state.position[0],
      found.trajectory.state.position[b],
      rtol=1e-12,
    )
    np.testing.assert_allclose(alone.energy[0], found.energy[b], rtol=1e-12)


def test_a_solver_describes_itself():
  assert solvers.describe(FixedSteps(8)) == {
    "name": "FixedSteps",
    "num_substeps": 8,
    "integrator": "leapfrog",
  }


@pytest.mark.parametrize(
  "solver",
  [FixedSteps(8), FixedSteps(8, "rk4"), AdaptiveSteps(), BlockSteps(0.01)],
)
def test_padding_changes_nothing(solver):
  state, particles, domain = testing.random_system(
    num_particles=4, box_side=np.inf
  )
  padded, masked = testing.pad(state, particles, 2)
  # As bad as it can be: on a particle, and under a law without softening.
  padded.position[:, -1] = padded.position[:, 0]
  laws = [testing.GRAVITY]
  if not isinstance(solver, BlockSteps):
    laws.append(System(law="plummer", coupling=-1.0))
  for system in laws:
    times = np.array([0.1, 0.2])
    alone = solver.solve(system, state, particles, domain, times, silent)
    among = solver.solve(system, padded, masked, domain, times, silent)
    for one, other in zip(alone, among, strict=True):
      np.testing.assert_allclose(other[:, :, :4], one, atol=1e-7)


def test_padding_changes_nothing_for_exact_springs():
  state, particles, domain = springs()
  mask = np.ones((3, 5))
  mask[:, -1] = 0
  times = np.array([1.0])
  among = ExactSprings().solve(
    SPRINGS, state, particles._replace(mask=mask), domain, times, silent
  )
  few = [
    State(*(x[:, :4] for x in state)),
    Particles(particles.mass[:, :4], stiffness=particles.stiffness[:, :4]),
  ]
  alone = ExactSprings().solve(SPRINGS, *few, domain, times, silent)
  np.testing.assert_allclose(
    among.position[:, :, :4], alone.position, atol=1e-12
  )


def test_a_splitting_refuses_a_magnetic_field_on_tensors_too():
  from nbody_bench.integrators import INTEGRATORS
  from nbody_bench.simulators import ForceSimulator

  system = System(
    law="plummer", coupling=1, source="charge", magnetic_field=(0, 0, 1)
  )
  with pytest.raises(ValueError, match="rk4"):
    ForceSimulator(system.force, INTEGRATORS["leapfrog"])
  ForceSimulator(system.force, INTEGRATORS["rk4"])
