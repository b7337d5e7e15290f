"""Every file of `metrics/`: zero at truth, a value by hand, NaN the cap."""

import numpy as np
import pytest

from nbody_bench import evaluation, pipelines, plugins, tasks, testing
from nbody_bench.states import Domain, Particles, State, Trajectory

NAMES = plugins.names("metrics")


def two_bodies(velocity_scale=1.0, shift=0.0):
  """Masses 1 and 2 at x = -1 and 1, moving along y; three frames at rest in x.

  The prediction is the truth with velocities scaled and the first particle
  shifted along x, from frame 1 on.
  """
  time = np.array([0.0, 0.5, 1.0])
  position = np.zeros((1, 3, 2, 2))
  position[..., 0] = [-1.0, 1.0]
  velocity = np.zeros((1, 3, 2, 2))
  velocity[..., 1] = [2.0, 1.0]
  position[:, 1:, 0, 0] += shift
  velocity[:, 1:] *= velocity_scale
  return Trajectory(
    time,
    State(position, velocity),
    Particles(np.array([[1.0, 2.0]])),
    Domain(np.full((1, 2), 16.0)),
  )


# Velocities doubled: T(0) = 3, H(0) = 3 - 2 * 2 / sqrt(4.04) = 1.00993, P(0) =
# (0, 4), sum m |v| = 4; L(0) = -2 + 2 = 0, sum m |q| |v| = 4.
# At frames 1 and 2 the velocities are off by (2, 1): mean square over two
# particles and four columns 5 / 8, energy by 9, momentum by 4. The true
# velocities spread by 1/4 and the positions by 1 about their means, so that the
# error, 5/4 over two terms, is 1.12 of the spread: failed at frame 1.
BY_HAND = {
  "rollout_rmse": (2.0, 0.0, np.sqrt(5 / 8)),
  "energy_error": (2.0, 0.0, 9 / 1.0099256),
  "momentum_error": (2.0, 0.0, 1.0),
  # Shifted by 1 the first particle is at 0: L = 0 + 2 = 2 against 0.
  "angular_momentum_error": (1.0, 1.0, 2 / 4),
  "time_to_failure": (2.0, 0.0, 0.0),
  # Momenta off by 2 each: 8 over two particles and four columns.
  "rollout_mse": (2.0, 0.0, 1.0),
  "energy_mse": (2.0, 0.0, 81.0),
  "energy_mae": (2.0, 0.0, 9.0),
  "lagrangian_mae": (2.0, 0.0, 9.0),
  "momentum_mae": (2.0, 0.0, 4.0),
  "angular_momentum_mae": (1.0, 1.0, 2.0),
  # One coordinate of four is off by 1.
  "final_mse": (1.0, 1.0, 0.25),
  "average_mse": (1.0, 1.0, 0.25),
  # Positions (-1, 1) become (0, 1).
  "relative_rollout_error": (1.0, 1.0, 1 / (1 + np.sqrt(2))),
  "energy_violation": (2.0, 0.0, 9 / (1.0099256 + 10.0099256)),
  "momentum_square_error": (2.0, 0.0, 64.0 - 16.0),
  # The only distance 2 becomes 1; speeds 2 and 1 become 4 and 2.
  "pair_distance_distribution": (1.0, 1.0, 1.0),
  "speed_distribution": (2.0, 0.0, 1.5),
}


def value(name, prediction, truth, k=2):
  metric = evaluation.metric(name)
  values = metric.values(prediction, truth, testing.GRAVITY)
  assert values.shape == truth.state.position.shape[:2]
  return metric.summary(values, (k,))["at"][str(k)]


def test_every_metric_has_a_value_by_hand():
  assert sorted(BY_HAND) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_value_by_hand(name):
  scale, shift, expected = BY_HAND[name]
  prediction = two_bodies(scale, shift)
  assert value(name, prediction, two_bodies()) == pytest.approx(expected)


@pytest.mark.parametrize("name", NAMES)
def test_truth_is_perfect(name):
  truth = two_bodies()
  best = 1.0 if name == "time_to_failure" else 0.0
  assert value(name, truth, truth) == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_a_diverged_prediction_costs_the_cap(name):
  truth = two_bodies()
  broken = truth._replace(state=State(*(x.copy() for x in truth.state)))
  broken.state.position[0, 1:, 0, 0] = np.nan
  broken.state.velocity[0, 1:] = np.nan
  metric = evaluation.metric(name)
  cap = (
    0.0
    if name == "time_to_failure"
    else metric.reduce(np.full((1, 1), metric.cap))
  )
  assert value(name, broken, truth) == pytest.approx(cap)


@pytest.mark.parametrize("name", NAMES)
def test_images_and_padding_change_nothing(name):
  scale, shift, _ = BY_HAND[name]
  truth, prediction = two_bodies(), two_bodies(scale, shift)
  moved = prediction._replace(
    state=prediction.state._replace(
      position=prediction.state.position + np.array([16.0, -32.0])
    )
  )
  expected = value(name, prediction, truth)
  assert value(name, moved, truth) == pytest.approx(expected)

  def pad(trajectory):
    states, _ = zip(
      *(
        testing.pad(trajectory.frame(t), trajectory.particles, 3)
        for t in range(3)
      ),
      strict=True,
    )
    _, particles = testing.pad(trajectory.frame(0), trajectory.particles, 3)
    return trajectory._replace(
      state=State(*(np.stack(x, 1) for x in zip(*states, strict=True))),
      particles=particles,
    )

  assert value(name, pad(prediction), pad(truth)) == pytest.approx(expected)


def test_rmse_is_over_all_steps_up_to_k_and_periodic():
  truth = two_bodies()
  prediction = two_bodies(shift=15.0)  # one box less 1: the image is 1 away
  prediction.state.position[0, 1] = truth.state.position[0, 1]
  assert value("rollout_rmse", prediction, truth, 1) == 0.0
  assert value("rollout_rmse", prediction, truth, 2) == pytest.approx(
    np.sqrt(1 / 8 / 2)
  )


def test_floor_of_the_rmse_is_the_label_error():
  metric = evaluation.metric("rollout_rmse")
  label_error = np.array([[0.0, 3.0, 4.0]])
  values = metric.floor_values(two_bodies(), label_error, testing.GRAVITY)
  assert metric.summary(values, (2,))["at"]["2"] == pytest.approx(np.sqrt(12.5))


def test_floor_of_a_task_counts_from_the_first_predicted_step():
  task = tasks.Task("d/c", "1.0.0", "test", 1, 2, (1, 2), ("rollout_rmse",))
  truth = pipelines.Split(
    np.array([0]), two_bodies(), np.array([[9.0, 3.0, 4.0]])
  )
  floor = evaluation.floor(task, truth, testing.GRAVITY)["rollout_rmse"]
  assert floor["at"] == pytest.approx({"1": 3.0, "2": np.sqrt(12.5)})
  assert floor["curve"] == pytest.approx([3.0, 4.0])


def test_scores_of_a_task_count_from_the_first_predicted_step():
  """The prediction's frame 0 is step 1."""
  task = tasks.Task("d/c", "1.0.0", "test", 1, 2, (1, 2), ("rollout_rmse",))
  truth = pipelines.Split(np.array([0]), two_bodies(), np.zeros((1, 3)))
  late = State(*(x[:, 1:].copy() for x in two_bodies().state))
  late.velocity[:, 1, :, 0] += 2.0
  score = evaluation.score(task, late, truth, testing.GRAVITY)
  values = score["metrics"]["rollout_rmse"]["at"]
  assert values == pytest.approx({"1": 0.0, "2": np.sqrt(0.5)})
  assert score["diverged"] == 0


def test_floor_of_the_angular_momentum_is_what_random_errors_do():
  """By trial: the truth with independent errors of its coordinates."""
  metric = evaluation.metric("angular_momentum_error")
  rng = np.random.default_rng(0)
  truth = testing.trajectory(num_frames=1, batch=400, num_particles=8)
  error = 1e-3 * np.ones((400, 1))
  noisy = truth._replace(
    state=State(*(x + 1e-3 * rng.normal(size=x.shape) for x in truth.state))
  )
  trial = metric.function(noisy, truth, testing.GRAVITY)
  floor = metric.floor_values(truth, error, testing.GRAVITY)
  # The mean size of a normal variable is sqrt(2 / pi) = 0.80 of its deviation.
  assert trial.mean() / floor.mean() == pytest.approx(0.8, abs=0.1)


def test_over_seeds_by_hand():
  def scores(x):
    return {"metrics": {"m": {"at": {"2": x}, "curve": [x, 2 * x]}}}

  result = evaluation.over_seeds([scores(1.0), scores(3.0)])
  assert result["m"]["at"]["2"]["mean"] == 2.0
  assert result["m"]["at"]["2"]["std"] == pytest.approx(np.sqrt(2))
  assert result["m"]["curve"] == [2.0, 4.0]
  assert evaluation.over_seeds([scores(1.0)])["m"]["at"]["2"]["std"] is None


def test_valid_time_counts_from_the_first_frame():
  truth = two_bodies()
  late = truth._replace(time=truth.time + 7)
  assert value("time_to_failure", late, late) == 1.0


def test_valid_time_of_a_single_particle():
  time = 0.1 * np.arange(21)
  position = np.cos(time)[None, :, None, None]
  velocity = -np.sin(time)[None, :, None, None]
  truth = Trajectory(
    time,
    State(position, velocity),
    Particles(np.ones((1, 1))),
    Domain(np.full((1, 1), np.inf)),
  )
  good = truth._replace(state=State(position + 1e-6, velocity))
  assert value("time_to_failure", good, truth, k=20) == pytest.approx(2.0)
  bad = truth._replace(state=State(position + 5, velocity))
  assert value("time_to_failure", bad, truth, k=20) == 0
