"""Every file of `metrics/`: zero at truth, a value by hand, NaN the cap."""

import importlib

import numpy as np
import pytest

from nbody_bench import (
  evaluation,
  metrics,
  pipelines,
  plugins,
  predictions,
  simulation,
  tasks,
  testing,
)
from nbody_bench.states import Domain, Particles, State, Trajectory
from nbody_bench.systems import System

NAMES = plugins.names("metrics")


def two_bodies(velocity_scale=1.0, shift=0.0):
  """Masses 1 and 2 at x = -1 and 1, moving along y; three frames at rest in x.

  The prediction is the truth with velocities scaled and the first particle
  shifted along x, from frame 1 on, and so is the force on it.
  """
  time = np.array([0.0, 0.5, 1.0])
  position = np.zeros((1, 3, 2, 2))
  position[..., 0] = [-1.0, 1.0]
  velocity = np.zeros((1, 3, 2, 2))
  velocity[..., 1] = [2.0, 1.0]
  position[:, 1:, 0, 0] += shift
  velocity[:, 1:] *= velocity_scale
  force = np.ones((1, 3, 2, 2))
  force[:, 1:, 0, 0] += shift
  return Trajectory(
    time,
    State(position, velocity),
    Particles(np.array([[1.0, 2.0]])),
    Domain(np.full((1, 2), 16.0)),
    force=force,
    potential_energy=np.ones((1, 3)),
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
  # One component of four is off by 1.
  "force_mae": (1.0, 1.0, 0.25),
  "efwt": (1.0, 1.0, 0.0),
  # 0.0505 on average: below 0.051, ... 0.499 of 0.01, ... 0.499.
  "adwt": (1.0, 0.101, 449 / 490),
  # 5 apart: 20 / 25.04^1.5 = 0.1596, below 0.16, ... 0.4 of 0.01, ... 0.4.
  "afbt": (1.0, -3.0, 241 / 391),
  # The bodies stand still, and half a unit of time would take them (SciPy's
  # DOP853 at 1e-13) to where this is the root mean square of all differences.
  "local_defect": (1.0, 0.0, 0.44462681),
}
# Where that is not 0. The true forces on two bodies 2 apart are too large.
OF_THE_TRUTH = {"time_to_failure": 1.0, "efwt": 1.0, "adwt": 1.0, "afbt": 0.0}
OF_THE_TRUTH["local_defect"] = 0.44462681  # it is no solution


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
  best = OF_THE_TRUTH.get(name, 0.0)
  assert value(name, truth, truth) == pytest.approx(best, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_a_diverged_prediction_costs_the_cap(name):
  truth = two_bodies()
  broken = truth.each_frame(np.copy)
  broken.state.position[0, 1:, 0, 0] = np.nan
  broken.state.velocity[0, 1:] = np.nan
  broken.force[0, 1:, 0, 0] = np.nan
  metric = evaluation.metric(name)
  cap = (
    0.0
    if metric.better == "higher"
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
    wild = np.random.default_rng(2).normal(size=(1, 3, 3, 2))
    return trajectory._replace(
      state=State(*(np.stack(x, 1) for x in zip(*states, strict=True))),
      particles=particles,
      force=np.concatenate([trajectory.force, wild], 2),
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
    np.array([0]), two_bodies(), np.array([[5e-4, 3.0, 4.0]])
  )
  floor = evaluation.floor(task, truth, testing.GRAVITY)["rollout_rmse"]
  assert floor["at"] == pytest.approx({"1": 3.0, "2": np.sqrt(12.5)})
  assert floor["curve"] == pytest.approx([3.0, 4.0])


def test_floor_where_the_given_frame_is_in_error_is_the_score_of_the_law():
  task = tasks.Task("d/c", "1.0.0", "test", 1, 2, (2,), ("rollout_rmse",))
  given = two_bodies()
  times = given.time[1:] - given.time[0]
  bodies = given.particles, given.domain
  law = simulation.followed(testing.GRAVITY, given.frame(0), *bodies, times)

  def floor(shift):
    state = State(
      *(
        np.concatenate([first[:, :1], later + shift], 1)
        for first, later in zip(given.state, law, strict=True)
      )
    )
    error = np.array([[9.0, 3.0, 4.0]])
    truth = pipelines.Split(np.array([0]), given._replace(state=state), error)
    scores = evaluation.floor(task, truth, testing.GRAVITY)
    return scores["rollout_rmse"]["at"]["2"]

  assert floor(0.0) == 0.0
  assert floor(0.1) == pytest.approx(0.1)


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


def structures(num_atoms, most=3):
  """Two structures of atoms 0.5 apart, padded; the first atom is fixed."""
  shape = (2, most)
  mask = (np.arange(most) < np.array(num_atoms)[:, None]).astype(float)
  tag = np.where(np.arange(most) == 0, 0, 1) * np.ones(shape, int)
  position = np.zeros((2, 2, most, 3))
  position[..., 0] = 0.5 * np.arange(most)
  return Trajectory(
    np.array([0.0, 1.0]),
    State(position, np.zeros_like(position)),
    Particles(np.ones(shape), tag=tag, mask=mask),
    Domain(
      np.array([[4.0, 4.0, np.inf]] * 2),
      np.array([[[4.0, 0, 0], [2.0, 3.5, 0], [0, 0, 1]]] * 2),
    ),
    force=np.zeros((2, 2, most, 3)),
    potential_energy=np.zeros((2, 2)),
  )


def single(name, prediction, truth, system=testing.GRAVITY):
  values = evaluation.metric(name).values(prediction, truth, system)
  return evaluation.metric(name).summary(values, (1,))["at"]["1"]


def test_force_mae_is_the_mean_over_free_atoms_not_over_structures():
  truth = structures(num_atoms=(4, 2), most=5)  # 3 free atoms and 1
  prediction = truth.each_frame(np.copy)
  prediction.force[:, 1, 0] = 50.0  # fixed
  prediction.force[0, 1, 1] = [3.0, -6.0, 0.0]
  prediction.force[1, 1, 1, 2] = 3.0
  prediction.force[1, 1, 2:] = np.nan  # padding
  assert single("force_mae", prediction, truth) == pytest.approx(12 / 4 / 3)
  # A structure that is lost costs the cap, the other what it costs.
  prediction.force[1, 1, 1] = np.nan
  expected = (9 / 3 / 2 + 100) / 2
  assert single("force_mae", prediction, truth) == pytest.approx(expected)
  nothing = structures(num_atoms=(1, 1))
  assert single("force_mae", nothing, nothing) == 0


def test_motion_is_not_judged_by_the_forces_of_the_truth():
  truth = two_bodies()
  predicted = State(*(x[:, 1:] for x in truth.state))
  whole = predictions.KINDS["motion"].whole(predicted, truth)
  with pytest.raises(ValueError, match="a trajectory has no forces"):
    single("force_mae", whole, truth)


def test_a_file_without_a_metric_is_named(tmp_path, monkeypatch):
  (tmp_path / "unfinished_metric.py").write_text("metric = 1\n")
  package = importlib.import_module("nbody_bench.metrics")
  monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
  with pytest.raises(ValueError, match=r"unfinished_metric\.py defines no MET"):
    evaluation.metric("unfinished_metric")


@pytest.mark.parametrize("wrong", [lambda x: x[:, 0], lambda x: x[:, 1:]])
def test_values_of_another_shape_are_refused(wrong):
  truth = two_bodies()
  metric = metrics.Metric(
    label="Wrong",
    description="",
    function=lambda prediction, truth, system: wrong(truth.potential_energy),
    cap=1.0,
  )
  with pytest.raises(
    ValueError, match=r"'Wrong' .*it must be .* \[1, 3\]: one"
  ):
    metric.values(truth, truth, testing.GRAVITY)


@pytest.mark.parametrize("kind", predictions.KINDS)
def test_every_kind_has_metrics_of_its_own(kind):
  own = [name for name in NAMES if evaluation.metric(name).kind == kind]
  assert own
  evaluation.check(own, kind)
  other = next(name for name in NAMES if name not in own)
  with pytest.raises(ValueError, match=f"asks for {kind}; choose of {own[0]}"):
    evaluation.check([*own, other], kind)


def test_metrics_of_forces_need_forces():
  truth = structures((2, 2))
  for name in ("force_mae", "efwt"):
    with pytest.raises(ValueError, match=r"has no forces.*task 'forces'"):
      single(name, truth._replace(force=None), truth)


@pytest.mark.parametrize(
  ("place", "force", "energy", "expected"),
  [
    ((0, 1, 1, 2), 0.0299, -0.0199, 1.0),
    ((0, 1, 1, 2), -0.0301, 0.0, 0.5),
    ((0, 1, 1, 2), 0.0, 0.0201, 0.5),
    ((0, 1, 1, 2), 0.0, np.nan, 0.5),  # a model without energies
    ((0, 1, 1, 2), np.nan, 0.0, 0.5),
    ((0, 1, 0, 2), 9.0, 0.0, 1.0),  # a fixed atom
    ((1, 1, 2, 2), np.nan, 0.0, 1.0),  # padding
  ],
)
def test_efwt_by_hand(place, force, energy, expected):
  truth = structures(num_atoms=(3, 2))
  prediction = truth.each_frame(np.copy)
  prediction.force[place] = force
  prediction.potential_energy[0, 1] = energy
  assert single("efwt", prediction, truth) == expected


def test_adwt_by_hand():
  truth = structures(num_atoms=(3, 2))
  assert single("adwt", truth, truth) == 1
  prediction = truth.each_frame(np.copy)
  prediction.state.position[:, 1, 0] += 9.0  # fixed
  prediction.state.position[1, 1, 2] = np.nan  # padding
  # One of two free atoms by 0.2, and a side of the cell: 0.1 on average, or a
  # hair less. The other structure by more than the largest threshold.
  prediction.state.position[0, 1, 1] += np.array([2.0, 3.5, 0.2 - 1e-9])
  prediction.state.position[1, 1, 1, 2] += 0.5
  expected = (500 - 100) / 490 / 2
  assert single("adwt", prediction, truth) == pytest.approx(expected)
  # Along the open direction there is no image, and NaN is nowhere near.
  prediction.state.position[0, 1, 1, 2] += 4.0
  prediction.state.position[1, 1, 1] = np.nan
  assert single("adwt", prediction, truth) == 0


def test_adwt_thresholds_are_strict():
  truth = structures(num_atoms=(2, 2))
  for apart, above in ((0.0099, 490), (0.01, 489), (0.498, 1), (0.499, 0)):
    prediction = truth.each_frame(np.copy)
    truth.state.position[:, 1] = 0.0
    prediction.state.position[:, 1] = 0.0
    prediction.state.position[:, 1, 1, 2] = apart
    assert single("adwt", prediction, truth) == pytest.approx(above / 490)


class Trap:
  """A law where the force is minus the position."""

  is_known = True

  def force(self, state, particles, domain):
    assert np.isfinite(state.position).all()
    return -state.position


def test_afbt_by_hand():
  truth = structures(num_atoms=(2, 2))
  prediction = truth.each_frame(np.copy)
  prediction.state.position[:, 1, :2] = [[9.0, 0, 0], [0, 0, 0]]  # one is fixed
  prediction.state.position[0, 1, 1] = [0.15, 0.0, -0.2]  # 0.251, ... 0.4
  prediction.state.position[1, 1, 1, 2] = 0.1255  # 0.126, ... 0.4
  found = single("afbt", prediction, truth, Trap())
  assert found == pytest.approx((150 + 275) / 391 / 2, abs=1e-6)
  prediction.state.position[0, 1, 1] = [0.0, 0.3, 0.4]
  prediction.state.position[1, 1, 1, 2] = np.nan
  assert single("afbt", prediction, truth, Trap()) == 0
  unknown = System(law="unknown", coupling=0.0)
  with pytest.raises(ValueError, match="law of these data is not known"):
    single("afbt", prediction, truth, unknown)
