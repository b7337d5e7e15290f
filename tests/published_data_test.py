"""What the public generators made, and what is known of it."""

import numpy as np
import pytest

import golden
from nbody_bench import initial_conditions, plugins, solvers
from nbody_bench.dataset_configs import Draw
from nbody_bench.initial_conditions import cold_cluster
from nbody_bench.states import State


def builder(name, config):
  return plugins.load("datasets", name).Builder(
    config=config, data_dir="/nonexistent"
  )


@pytest.mark.slow
def test_charged_trajectories_of_the_published_seed():
  expected = golden.load("generator_charged_5")
  truth = builder("nbody_charged", "published").simulate("train", range(2))
  trajectory = truth.trajectory
  np.testing.assert_array_equal(
    trajectory.particles.charge, expected["charge"][..., 0]
  )
  np.testing.assert_allclose(trajectory.time, 0.1 * np.arange(1, 50))
  for name in ("position", "velocity"):
    np.testing.assert_allclose(
      getattr(trajectory.state, name), expected[name], atol=1e-9
    )
  start = builder("nbody_charged", "accurate").builder_config.initial(
    Draw(np.random.default_rng(0), 5, "train", 1)
  )[0]
  np.testing.assert_array_equal(
    start.position[0], expected["initial_position"][1]
  )


def test_gravity_trajectory_of_the_published_seed():
  expected = golden.load("generator_gravity_3d_5")
  config = builder("nbody_gravity", "published_open_n100").builder_config
  start = cold_cluster(
    Draw(np.random.default_rng(0), 5, "train", 0), published=True
  )
  states = config.solver.solve(
    config.system, *start, config.times("train"), lambda num_systems: None
  )
  assert states.position.shape == (1, 50, 5, 3)
  np.testing.assert_allclose(
    states.position[0], expected["position"], atol=1e-9
  )
  np.testing.assert_allclose(
    states.velocity[0], expected["velocity"], atol=1e-9
  )
  force = config.system.force(State(*(x[:, -1] for x in states)), *start[1:])
  np.testing.assert_allclose(force[0], expected["force"][-1], atol=1e-8)


@pytest.mark.parametrize(
  ("name", "draw"),
  [
    ("generator_charged_5", initial_conditions._draw_charges),
    ("generator_gravity_3d_5", initial_conditions._draw_cluster),
  ],
)
def test_the_stream_goes_on_where_the_published_one_does(name, draw):
  """What is drawn and not used counts too."""
  rng = np.random.RandomState(43)
  following = np.atleast_1d(golden.load(name)["next_uniform"])
  for uniform in following:
    draw(rng, 5)
    state = rng.get_state()
    assert rng.rand() == uniform
    rng.set_state(state)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_place_in_the_stream_does_not_depend_on_the_order(split):
  """Trajectory k is the same whether k - 1 was asked for or not."""
  config = builder("nbody_charged", "published").builder_config
  indices = [70, 3, 71, 70]
  states = [
    config.initial(Draw(np.random.default_rng(0), 5, split, k))[0].position
    for k in indices
  ]
  np.testing.assert_array_equal(states[0], states[3])
  assert len({x.tobytes() for x in states}) == 3


@pytest.mark.slow
def test_known_errors_of_simple_predictions():
  """Frame 30 to 40: mean squared displacement, best straight line.

  Published for the straight line: 0.0819 (Satorras et al. 2021, table 2); the
  sampling error of 600 trajectories is 0.008.
  """
  truth = builder("nbody_charged", "published").simulate("test", range(600))
  q, v = truth.trajectory.state
  moved = q[:, 40] - q[:, 30]
  assert np.mean(moved**2) == pytest.approx(0.28, abs=0.03)
  time = np.sum(moved * v[:, 30]) / np.sum(v[:, 30] ** 2)
  assert time == pytest.approx(0.73, abs=0.05)
  assert np.mean((moved - time * v[:, 30]) ** 2) == pytest.approx(
    0.085, abs=0.008
  )


@pytest.mark.slow
def test_published_rules_break_what_the_law_conserves():
  """And say so: the label error is the distance to the law's solution."""
  published = builder("nbody_charged", "published").simulate("test", range(64))
  accurate = builder("nbody_charged", "accurate").simulate("test", range(64))
  np.testing.assert_allclose(
    published.trajectory.time, accurate.trajectory.time
  )
  drift = [
    np.abs(x.energy / x.energy[:, :1] - 1).max(1) for x in (published, accurate)
  ]
  assert np.mean(drift[0] > 0.1) > 0.2
  assert drift[1].max() < 1e-6
  assert np.median(published.label_error[:, -1]) > 1e-3
  assert accurate.label_error.max() < 1e-4


@pytest.mark.slow
def test_published_block_steps_are_a_configuration():
  config = builder("nbody_gravity", "published_n20").builder_config
  assert config.solver == solvers.BlockSteps(accuracy=0.001, frozen=True)
  truth = builder("nbody_gravity", "published_n20").simulate("test", range(8))
  drift = np.abs(truth.energy / truth.energy[:, :1] - 1).max(1)
  # Of a restatement of the public generator: 8e-5 to 3e-4.
  assert 3e-5 < np.median(drift) < 1e-3
  assert np.all(truth.label_error[:, -1] > 1e-5)
