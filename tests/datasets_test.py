"""Every folder of `datasets/`, by its `smoke` configuration."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow_datasets as tfds

from nbody_bench import (
  dataset_builder,
  pipelines,
  plugins,
  signals,
  simulation,
  statistics,
)

NAMES = plugins.names("datasets")


def builder_class(name):
  return plugins.load("datasets", name).Builder


def _case(name):
  class Case(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = builder_class(name)
    SPLITS = {"train": 4, "validation": 2, "test": 2}  # noqa: RUF012
    BUILDER_CONFIG_NAMES_TO_TEST = ["smoke"]  # noqa: RUF012
    EXAMPLE_DIR = os.path.dirname(__file__)

  Case.__name__ = Case.__qualname__ = f"{name}_case"
  return Case


for _name in NAMES:
  globals()[f"{_name}_case"] = _case(_name)


@pytest.mark.parametrize("name", NAMES)
def test_labels_keep_the_card(name, data_dir):
  """Stored energies and momenta belong to stored states; bounds hold."""
  builder = tfds.builder(f"{name}/smoke", data_dir=data_dir)
  split = pipelines.load(f"{name}/smoke", "train", data_dir)
  system = pipelines.problem(f"{name}/smoke", data_dir).system
  examples = list(tfds.as_numpy(builder.as_dataset(split="train")))
  energy = split.trajectory.at_each_frame(system.hamiltonian)
  momentum = split.trajectory.at_each_frame(system.momentum)
  for i, example in enumerate(examples):
    np.testing.assert_allclose(example["energy"], energy[i], rtol=1e-12)
    np.testing.assert_allclose(example["momentum"], momentum[i], atol=1e-12)
  metadata = builder.info.metadata
  kinetic = system.kinetic_energy(
    split.trajectory.frame(0), split.trajectory.particles, None
  )
  scale = kinetic + np.abs(energy[:, 0] - kinetic)
  drift = np.abs(energy - energy[:, :1]).max(1) / scale
  assert 0 < drift.max() < metadata["max_energy_drift"]
  drift = np.abs(momentum - momentum[:, :1]).max()
  assert drift < metadata["max_momentum_drift"] <= 1e-11
  assert 0 < split.label_error.max() < metadata["max_label_error"]


@pytest.mark.parametrize("name", NAMES)
def test_labels_agree_with_an_independent_integrator(name, data_dir):
  split = pipelines.load(f"{name}/smoke", "test", data_dir)
  system = pipelines.problem(f"{name}/smoke", data_dir).system
  other = simulation.simulate(
    system,
    split.trajectory.frame(0),
    split.trajectory.particles,
    split.trajectory.domain,
    time_step=split.trajectory.time[1],
    num_frames=len(split.trajectory.time),
    num_substeps=100,
    integrator="yoshida4",
  )
  distance = simulation.phase_space_distance(
    split.trajectory.frame(-1),
    other.trajectory.frame(-1),
    split.trajectory.particles,
    split.trajectory.domain,
  )
  # The label error is the distance to half the step; to the exact solution it
  # is a third more for a second-order scheme.
  assert np.all(distance < 3 * split.label_error[:, -1] + 1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_every_configuration_is_sound(name):
  configs = builder_class(name).BUILDER_CONFIGS
  assert "smoke" in [c.name for c in configs]
  for config in configs:
    builder = builder_class(name)(config=config.name, data_dir="/nonexistent")
    state, particles, domain = builder.initial_state(np.random.default_rng(0))
    assert state.position.shape == (1, config.num_particles, 2)
    assert particles.mass.shape == (1, config.num_particles)
    assert np.all(np.abs(state.position) <= domain.box[:, None] / 2)
    # About 12 area units a particle, as published.
    density = config.box_side**2 / config.num_particles
    assert density == pytest.approx(12, rel=0.01)


@pytest.mark.parametrize("name", NAMES)
def test_a_trajectory_does_not_depend_on_how_many_are_made(name):
  builder = builder_class(name)(config="smoke", data_dir="/nonexistent")
  alone = builder.simulate("train", range(2, 3)).trajectory.state
  together = builder.simulate("train", range(4)).trajectory.state
  assert alone.position.tobytes() == together.position[2:3].tobytes()
  other = builder.simulate("test", range(2, 3)).trajectory.state
  assert not np.allclose(alone.position[:, 0], other.position[:, 0])


def test_statistics_are_of_the_first_block_of_the_training_split(monkeypatch):
  """Whatever the split's size: 40 trajectories, of which 32 count."""
  builder = builder_class("nbody_gravity")(config="smoke", data_dir="/none")
  monkeypatch.setattr(builder.builder_config, "num_trajectories", (40, 1, 1))
  monkeypatch.setattr(builder.builder_config, "num_frames", 3)
  builder._split_generators(None)
  block = builder.simulate("train", range(32)).trajectory
  found = builder.info.metadata["statistics"]
  assert found == pytest.approx(statistics.compute(block), rel=1e-12)


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
    r"the stated bound 1e-16; raise num_substeps \(now 64\)",
  ):
    builder.download_and_prepare()
  assert not list(tmp_path.glob("nbody_gravity/smoke/1.0.0"))


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
  assert not list(folder.glob("1.0.0"))
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
  assert not list(tmp_path.glob("nbody_gravity/smoke/1.0.0"))
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
