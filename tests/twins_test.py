import dataclasses

import numpy as np
import pytest

from nbody_bench import simulation, testing, twins
from nbody_bench.solvers import AdaptiveSteps
from nbody_bench.states import Domain, Particles
from nbody_bench.systems import SYMMETRIES, System

CHARGES = System(law="plummer", coupling=1.0, softening=0.2, source="charge")
# What each outer force leaves.
OUTER = {
  "none": ({}, SYMMETRIES),
  "field": ({"field": (0.0, 0.3, 1.0)}, ("translation", "boost")),
  "magnetic": ({"magnetic_field": (0.5, 0.5, 0.5)}, ("translation",)),
  "trap": ({"trap": 0.7}, ("rotation", "reflection")),
  "trap and field": ({"trap": 0.7, "field": (0.0, 0.0, 1.0)}, ()),
  "trap and magnetic": ({"trap": 0.7, "magnetic_field": (0.0, 0.0, 1.0)}, ()),
}


@pytest.mark.parametrize("outer", sorted(OUTER))
def test_a_twin_solves_the_equations(outer):
  constants, symmetries = OUTER[outer]
  system = dataclasses.replace(CHARGES, **constants)
  assert system.symmetries == symmetries
  inputs = testing.random_system(
    batch=1, num_particles=4, num_dims=3, box_side=np.inf, charged=True
  )
  times = np.array([0.0, 0.7, 1.5])
  solver = AdaptiveSteps()
  truth = simulation.simulate(system, *inputs, times=times, solver=solver)
  change = twins.draw(np.random.default_rng(1), system, np.full(3, np.inf))
  twin = change(truth.trajectory)
  again = solver.solve(
    system, twin.frame(0), *inputs[1:], times, lambda n: None
  )
  np.testing.assert_allclose(again.position, twin.state.position, atol=1e-10)
  np.testing.assert_allclose(again.velocity, twin.state.velocity, atol=1e-10)
  is_changed = np.abs(twin.state.position - truth.trajectory.state.position)
  assert (is_changed.max() > 0.1) == bool(symmetries)


def test_a_broken_symmetry_would_be_seen():
  """The same check with a map that the law does not have."""
  system = dataclasses.replace(CHARGES, field=(0.0, 0.3, 1.0))
  inputs = testing.random_system(
    batch=1, num_particles=4, num_dims=3, box_side=np.inf, charged=True
  )
  times = np.array([0.0, 1.5])
  truth = simulation.simulate(
    system, *inputs, times=times, solver=AdaptiveSteps()
  )
  change = twins.draw(np.random.default_rng(1), CHARGES, np.full(3, np.inf))
  twin = change(truth.trajectory)
  again = AdaptiveSteps().solve(
    system, twin.frame(0), *inputs[1:], times, lambda n: None
  )
  assert np.abs(again.position - twin.state.position).max() > 0.1


def test_open_space_has_all_rotations_and_half_of_them_mirrored():
  rotations = [
    twins.draw(np.random.default_rng(k), CHARGES, np.full(3, np.inf)).rotation
    for k in range(200)
  ]
  determinants = np.linalg.det(rotations)
  np.testing.assert_allclose(np.abs(determinants), 1, atol=1e-12)
  assert 70 < np.sum(determinants > 0) < 130
  # The image of a vector is nowhere more often than elsewhere.
  assert np.abs(np.mean([r[:, 0] for r in rotations], 0)).max() < 0.15


def test_a_box_has_quarter_turns():
  for k in range(20):
    matrix = twins.draw(
      np.random.default_rng(k), testing.GRAVITY, np.full(2, 4.0)
    ).rotation
    assert sorted(np.abs(matrix).ravel()) == [0, 0, 1, 1]
    np.testing.assert_array_equal(matrix @ matrix.T, np.eye(2))


def test_only_equal_sides_change_places():
  for box in ([6.0, 12.0], [6.0, np.inf], [6.0, 12.0, 6.0]):
    for k in range(20):
      matrix = twins.draw(
        np.random.default_rng(k), testing.GRAVITY, np.array(box)
      ).rotation
      places = np.abs(matrix) @ np.nan_to_num(box)
      np.testing.assert_array_equal(places, np.nan_to_num(box))


def test_a_boost_moves_with_time_and_stays_in_the_box():
  trajectory = testing.trajectory(num_frames=50, time_step=0.1)
  change = twins.identity(2)._replace(boost=np.array([3.0, -2.0]))
  moved = change(trajectory)
  assert np.abs(moved.state.position).max() <= 4
  step = moved.domain.displacement(
    moved.state.position[:, :-1], moved.state.position[:, 1:]
  )
  np.testing.assert_allclose(
    step, 0.1 * moved.state.velocity[:, 1:], atol=1e-12
  )


def test_masses_and_boxes_are_not_touched():
  trajectory = testing.trajectory()
  moved = twins.identity(2)(trajectory)
  assert isinstance(moved.particles, Particles)
  assert isinstance(moved.domain, Domain)
  np.testing.assert_array_equal(moved.particles.mass, trajectory.particles.mass)
