"""The trained weights in the repository: whole, small, and trained."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from nbody_bench import integrators, plugins, simulators, weights
from nbody_bench.dataset_configs import Draw
from nbody_bench.problems import Problem
from nbody_bench.states import map_arrays

ROOT = pathlib.Path(__file__).parents[1] / "baselines" / "weights"
FOLDERS = sorted(p.parent for p in ROOT.glob("*/*/seed_*/config.json"))


def test_there_are_some():
  assert FOLDERS


@pytest.mark.parametrize(
  "folder", FOLDERS, ids=lambda f: "-".join(f.parts[-3:])
)
def test_they_follow_the_law_that_they_were_trained_on(folder):
  assert (folder / weights.FILE).stat().st_size < 1.5 * 2**20
  told = weights.describe(folder)
  data = tfds.builder(told["dataset"]).builder_config
  problem = Problem(
    dataset=told["dataset"],
    system=data.system,
    time_step=data.time_step,
    num_dims=data.num_dims,
    statistics=told["statistics"],
  )
  plugin = plugins.load_model(told["model"])
  config = {
    k: tuple(v) if isinstance(v, list) else v for k, v in told["config"].items()
  }
  tf.keras.utils.set_random_seed(0)
  model = plugin.build(plugin.config(**config), problem)
  drawn = data.initial(Draw(np.random.default_rng(3), data.num_particles))
  start = map_arrays(lambda x: tf.constant(x, tf.float32), drawn)
  times = tf.constant(data.time_step * np.arange(1, 4), tf.float32)

  def error(model):
    apart = start[2].displacement(
      true.state.position, model.predict(*start, times).state.position
    )
    return np.sqrt(np.mean(apart**2))

  def law(integrator, num_substeps):
    return simulators.ForceSimulator(
      data.system.force, integrators.INTEGRATORS[integrator], num_substeps
    )

  true = law("yoshida4", 4).predict(*start, times)
  untrained = error(model)
  assert "steps" in weights.load(folder, model)
  # Of 20 core-minutes; of noisy data much less is learned.
  limit = (0.5 if data.noise else 0.05) * untrained
  if "integrator" in config:  # The law itself is not ahead of its steps' error.
    own = error(law(config["integrator"], config.get("num_substeps", 1)))
    limit = max(limit, 1.1 * own)
  assert error(model) < limit


def test_a_learned_potential_is_followed_by_any_integrator():
  folder = ROOT / "three_springs_widths" / "width_4" / "seed_0"
  told = weights.describe(folder)
  finer = {"integrator": "yoshida4", "num_substeps": 4}
  weights.check(folder, "mclnn", told["config"] | finer)
  with pytest.raises(ValueError, match="holds weights of config"):
    weights.check(folder, "mclnn", told["config"] | {"widths": (5, 5)})
