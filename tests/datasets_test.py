"""Every simulated data set, by its `smoke` configuration."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import scipy.integrate
import tensorflow_datasets as tfds
from simulated import NAMES

from nbody_bench import (
  dataset_builder,
  dataset_configs,
  generation,
  pipelines,
  plugins,
  signals,
  simulation,
  statistics,
)
from nbody_bench.states import OF_SYSTEM, State

SPLITS = dataset_configs.SPLITS


def builder_class(name):
  return plugins.load("datasets", name).Builder


def _case(name):
  (smoke,) = (
    c for c in builder_class(name).BUILDER_CONFIGS if c.name == "smoke"
  )

  class Case(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = builder_class(name)
    SPLITS = {k: v.num_trajectories for k, v in smoke.splits.items()}  # noqa: RUF012
    BUILDER_CONFIG_NAMES_TO_TEST = ["smoke"]  # noqa: RUF012
    EXAMPLE_DIR = os.path.dirname(__file__)

  Case.__name__ = Case.__qualname__ = f"{name}_case"
  return Case


# All are prepared for other tests too; this one is about TFDS.
for _name in NAMES:
  _made = _case(_name)
  if _name != "nbody_gravity":
    _made = pytest.mark.slow(_made)
  globals()[f"{_name}_case"] = _made

# Whose initial states are the outcome of a motion.
FROM_MOTION = ("four", "three_linear", "three_quartic")
CONFIGS = [
  pytest.param(
    name,
    config,
    id=f"{name}/{config.name}",
    marks=[pytest.mark.slow] if config.name in FROM_MOTION else [],
  )
  for name in NAMES
  for config in builder_class(name).BUILDER_CONFIGS
]


@pytest.mark.parametrize(
  "split",
  [
    s if s in ("train", "test") else pytest.param(s, marks=pytest.mark.slow)
    for s in SPLITS
  ],
)
@pytest.mark.parametrize("name", NAMES)
def test_labels_keep_the_card(name, split, data_dir):
  """Stored energies and momenta belong to stored states; bounds hold."""
  builder = tfds.builder(f"{name}/smoke", data_dir=data_dir)
  data = pipelines.load(f"{name}/smoke", split, data_dir)
  system = pipelines.problem(f"{name}/smoke", data_dir).system
  examples = list(tfds.as_numpy(builder.as_dataset(split=split)))
  truth = simulation.measured(system, data.trajectory, data.label_error)
  for i, example in enumerate(examples):
    np.testing.assert_allclose(example["energy"], truth.energy[i], rtol=1e-12)
    np.testing.assert_allclose(
      example["momentum"], truth.momentum[i], atol=1e-12
    )
  metadata = builder.info.metadata
  for drift, values in simulation.drifts(system, truth).items():
    assert 0 < values.max() < metadata[f"max_{drift}"], drift
  assert metadata["max_momentum_drift"] <= 1e-11
  sizes = metadata["splits"][split]
  assert truth.trajectory.state.position.shape == (
    *(sizes[k] for k in ("num_trajectories", "num_frames", "num_particles")),
    metadata["num_dims"],
  )


@pytest.mark.parametrize("name", NAMES)
def test_labels_agree_with_an_independent_integrator(name, data_dir):
  data = pipelines.load(f"{name}/smoke", "test", data_dir)
  system = pipelines.problem(f"{name}/smoke", data_dir).system
  for k in range(2):
    one = data.trajectory.select(slice(k, k + 1))
    first, shape = one.frame(0), one.state.position.shape[2:]

    def derivative(time, y, one=one, shape=shape):
      del time
      q, v = y.reshape(2, 1, *shape)
      pull = system.acceleration(State(q, v), one.particles, one.domain)
      return np.concatenate([v.ravel(), pull.ravel()])

    end = scipy.integrate.solve_ivp(
      derivative,
      (one.time[0], one.time[-1]),
      np.stack(first).ravel(),
      method="DOP853",
      rtol=1e-11,
      atol=1e-11,
    ).y[:, -1]
    distance = simulation.phase_space_distance(
      State(*end.reshape(2, 1, *shape)),
      one.frame(-1),
      one.particles,
      one.domain,
    )
    # The label error is the distance to half the step; to the exact solution
    # it is a third more for a second-order scheme.
    assert distance < 3 * data.label_error[k, -1] + 1e-7


@pytest.mark.parametrize(("name", "config"), CONFIGS)
def test_every_configuration_is_sound(name, config):
  builder = builder_class(name)(config=config.name, data_dir="/nonexistent")
  assert {"train", "validation", "test"} <= set(config.splits)
  json.dumps(config.metadata())
  splits = set(config.splits) - {"test_symmetry"}
  if config.name == "published_open_n100":
    splits = {"train"}  # the others come late in the published stream
  for split in splits:
    n = config.size(split)
    draw = dataset_configs.Draw(np.random.default_rng(0), n, split, 1)
    state, particles, domain = config.initial(draw)
    assert state.position.shape == (1, n, config.num_dims)
    assert state.velocity.shape == (1, n, config.num_dims)
    assert np.isfinite(np.stack(state)).all()
    assert np.all(np.abs(state.position) <= domain.box[:, None] / 2)
    for field in config.constants:
      value = getattr(particles, field)
      assert value.shape == ((1,) if field in OF_SYSTEM else (1, n))
    if np.isfinite(domain.box).all():
      # About 12 area units a particle, as published.
      density = np.prod(domain.box) / n
      assert density == pytest.approx(12, rel=0.02)
  assert set(builder.info.features) >= {"position", "mass", *config.constants}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "config"), CONFIGS)
def test_every_configuration_keeps_its_bounds(name, config):
  """First trajectories of every split; broken bounds raise."""
  builder = builder_class(name)(config=config.name, data_dir="/nonexistent")
  count = 32 if config.num_particles <= 100 else 1
  if config.num_particles > 1000:
    pytest.skip("minutes for each trajectory; measured for the card")
  for split, size in config.splits.items():
    wanted = range(min(count, size.num_trajectories))
    truth = builder.simulate(split, wanted)
    assert truth.label_error.shape == (len(wanted), size.num_frames)
    assert np.isfinite(truth.energy).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_trajectory_does_not_depend_on_how_many_are_made(name):
  builder = builder_class(name)(config="smoke", data_dir="/nonexistent")
  alone = builder.simulate("train", range(2, 3)).trajectory.state
  together = builder.simulate("train", range(4)).trajectory.state
  assert alone.position.tobytes() == together.position[2:3].tobytes()
  other = builder.simulate("test", range(2, 3)).trajectory.state
  assert not np.allclose(alone.position[:, 0], other.position[:, 0])


@pytest.mark.parametrize("name", NAMES)
def test_twins_are_solutions(name, data_dir):
  """Of the same law: simulated from their own first frame they come out."""
  builder = tfds.builder(f"{name}/smoke", data_dir=data_dir)
  config = builder.builder_config
  data = pipelines.load(f"{name}/smoke", "test_symmetry", data_dir)
  originals = pipelines.load(f"{name}/smoke", "test", data_dir)
  system = pipelines.problem(f"{name}/smoke", data_dir).system
  particles, domain = data.trajectory.particles, data.trajectory.domain
  again = config.solver.solve(
    system,
    data.trajectory.frame(0),
    particles,
    domain,
    data.trajectory.time - data.trajectory.time[0],
    lambda num_systems: None,
  )
  distance = simulation.phase_space_distance(
    State(*(x[:, -1] for x in again)),
    data.trajectory.frame(-1),
    particles,
    domain,
  )
  assert np.all(distance < 3 * data.label_error[:, -1] + 1e-9)
  examples = tfds.as_numpy(builder.as_dataset(split="test_symmetry"))
  for i, example in enumerate(examples):
    assert example["twin_of"] == i
    # Velocities tell the map without any box.
    np.testing.assert_allclose(
      example["velocity"],
      originals.trajectory.state.velocity[i] @ example["rotation"].T
      + example["boost"],
      atol=1e-12,
    )
    assert np.abs(example["rotation"]).max() > 0
    assert np.linalg.norm(example["boost"]) > 0


def test_extra_splits_are_what_they_say(data_dir):
  train, long, unseen, energetic = (
    pipelines.load("nbody_gravity/smoke", split, data_dir).trajectory
    for split in ("train", "test_long", "test_unseen_n", "test_energetic")
  )
  assert len(long.time) > 2 * len(train.time)
  assert unseen.state.position.shape[2] == 2 * train.state.position.shape[2]
  first = energetic.state.velocity[:, 0]
  assert 1 < np.abs(first).max() <= 2


def test_noise_is_on_the_training_split_alone():
  builder = builder_class("nbody_spring")(config="five_noisy", data_dir="/none")
  for split, size in (("train", 0.1), ("test", 0.0)):
    truth = builder.simulate(
      split, range(32) if split == "train" else range(20)
    )
    block = generation.Block(split, range(len(truth.label_error)), 41)
    examples = [e for _, e in builder.examples(block, truth)]
    position = np.stack([e["position"] for e in examples])
    velocity = np.stack([e["velocity"] for e in examples])
    clean = np.stack([e["clean_velocity"] for e in examples])
    np.testing.assert_array_equal(clean, truth.trajectory.state.velocity)
    mass = truth.trajectory.particles.mass[:, None, :, None]
    for noise in (
      position - truth.trajectory.state.position,
      mass * (velocity - truth.trajectory.state.velocity),
    ):
      assert np.std(noise) == pytest.approx(size, rel=0.02)
      assert abs(np.mean(noise)) < 3e-3


def test_statistics_are_of_the_first_block_of_the_training_split(
  monkeypatch, tmp_path
):
  """Whatever the split's size: 40 trajectories, of which 32 count."""
  builder = builder_class("nbody_gravity")(config="smoke", data_dir=tmp_path)
  monkeypatch.setattr(
    builder.builder_config,
    "splits",
    dataset_configs.sizes(40, 1, 1, num_frames=3, extra=0),
  )
  builder._split_generators(None)
  block = builder.simulate("train", range(32)).trajectory
  found = builder.info.metadata["statistics"]
  assert found == pytest.approx(statistics.compute([block]), rel=1e-12)


def test_statistics_are_those_of_the_training_split(data_dir):
  split = pipelines.load("nbody_gravity/smoke", "train", data_dir)
  statistics = pipelines.problem("nbody_gravity/smoke", data_dir).statistics
  position, velocity = split.trajectory.state
  step = split.trajectory.time[1]
  moved = np.diff(position, axis=1)
  moved -= 15.5 * np.round(moved / 15.5)
  expected = {
    "velocity_std": np.sqrt(np.mean(velocity**2)),
    "position_increment_std": np.sqrt(
      np.mean((moved - step * velocity[:, :-1]) ** 2)
    ),
    "velocity_increment_std": np.sqrt(np.mean(np.diff(velocity, axis=1) ** 2)),
  }
  assert statistics == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
  "bound", ["energy_drift", "momentum_drift", "label_error"]
)
def test_a_broken_bound_stops_the_generation(bound, tmp_path, monkeypatch):
  builder = builder_class("nbody_gravity")(config="smoke", data_dir=tmp_path)
  monkeypatch.setattr(builder.builder_config, f"max_{bound}", 1e-16)
  with pytest.raises(
    dataset_builder.LabelError,
    match=rf"nbody_gravity/smoke train trajectory \d: {bound} is .* over "
    r"the stated bound 1e-16; use a finer solver \(now FixedSteps\(num_sub",
  ):
    builder.download_and_prepare()
  assert not list(tmp_path.glob("nbody_gravity/smoke/2.0.0"))


@pytest.mark.slow
def test_a_killed_generation_leaves_nothing_that_loads(tmp_path):
  command = [
    *(sys.executable, "-m", "nbody_bench.prepare"),
    *("--dataset=nbody_gravity/n200", f"--data_dir={tmp_path}"),
  ]
  process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
  try:
    folder = tmp_path / "nbody_gravity" / "n200"
    deadline = time.monotonic() + 60
    while not list(folder.glob("*incomplete*")):
      assert time.monotonic() < deadline
      assert process.poll() is None
      time.sleep(0.1)
  finally:
    process.send_signal(signal.SIGTERM)
  assert process.wait(timeout=60) == 130
  assert not list(folder.glob("2.0.0"))
  with pytest.raises(AssertionError, match="not find data"):
    tfds.load("nbody_gravity/n200", data_dir=tmp_path, download=False)


def test_a_signal_that_native_code_swallows_still_stops(tmp_path):
  """An interrupt raised inside a callback of the compiler is lost."""
  builder = builder_class("nbody_gravity")(config="smoke", data_dir=tmp_path)
  with signals.raising():
    with contextlib.suppress(KeyboardInterrupt):
      os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
      builder.download_and_prepare()
  assert not list(tmp_path.glob("nbody_gravity/smoke/2.0.0"))
  assert not signals.stop_requested()


def test_prepared_data_load_without_this_package(data_dir, tmp_path):
  script = (
    "import sys, tensorflow_datasets as tfds;"
    "d = tfds.load('nbody_gravity/smoke', split='test');"
    "n = [e['position'].shape for e in tfds.as_numpy(d)];"
    "assert n == [(41, 20, 2)] * 2, n;"
    "assert 'nbody_bench' not in sys.modules"
  )
  subprocess.run(
    [sys.executable, "-c", script],
    check=True,
    cwd=tmp_path,
    env=os.environ | {"TFDS_DATA_DIR": data_dir},
  )
  assert "nbody_bench" in sys.modules
