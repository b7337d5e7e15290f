import json
import pathlib
import re

import numpy as np
import pytest

import nbody_bench
from nbody_bench import experiments, pipelines, plugins, tasks

DATA = "nbody_gravity/smoke"
SLABS = "slabs/smoke"


def data_of(name):
  return SLABS if name.startswith(("forces", "relaxation")) else DATA


@pytest.mark.parametrize("name", sorted(tasks.TASKS))
def test_an_id_leads_back_to_its_task(name, data_dir):
  task = tasks.TASKS[name](data_of(name), data_dir)
  assert tasks.from_id(task.id, data_dir) == task
  schema = json.loads(
    (
      pathlib.Path(nbody_bench.__file__).parent / "submission_schema.json"
    ).read_text()
  )
  assert re.search(schema["properties"]["task"]["pattern"], task.id)
  assert set(task.metrics) <= set(plugins.names("metrics"))


def test_each_task_has_a_split_of_its_own(data_dir):
  found = {
    name: make(data_of(name), data_dir).split
    for name, make in tasks.TASKS.items()
  }
  assert found == {
    "rollout": "test",
    "long": "test_long",
    "unseen_n": "test_unseen_n",
    "symmetry": "test_symmetry",
    "energetic": "test_energetic",
    "uniform": "test",
    "last": "test",
    "forces": "test",
    "forces_unseen_adsorbate": "test_unseen_adsorbate",
    "forces_unseen_catalyst": "test_unseen_catalyst",
    "forces_unseen_both": "test_unseen_both",
    "relaxation": "relaxation",
    "relaxation_unseen_adsorbate": "relaxation_unseen_adsorbate",
    "relaxation_unseen_catalyst": "relaxation_unseen_catalyst",
    "relaxation_unseen_both": "relaxation_unseen_both",
  }
  with pytest.raises(ValueError, match="tells no forces"):
    tasks.make("forces", DATA, data_dir)
  with pytest.raises(ValueError, match="has one step"):
    tasks.make("forces", SLABS, data_dir, (2,))


@pytest.mark.parametrize(
  ("name", "count", "frames"),
  [
    ("uniform", 1, (30, 40)),
    ("last", 1, (30, 40)),
    ("uniform", 5, (30, 32, 34, 36, 38, 40)),
    ("last", 5, (30, 36, 37, 38, 39, 40)),
    ("uniform", 10, (30, *range(31, 41))),
  ],
)
def test_frames_of_a_long_step(name, count, frames, data_dir):
  data = "nbody_charged/smoke"
  task = tasks.make(name, data, data_dir, (count,))
  assert task.frames == frames
  assert tasks.from_id(task.id, data_dir) == task
  split = pipelines.load(data, "test", data_dir)
  cut = task.cut(split)
  np.testing.assert_array_equal(
    cut.trajectory.state.position,
    split.trajectory.state.position[:, list(frames)],
  )
  np.testing.assert_allclose(
    cut.trajectory.time - cut.trajectory.time[0],
    0.1 * (np.array(frames) - 30),
  )
  assert cut.label_error.shape == (2, count + 1)


def test_long_steps_that_cannot_be_taken(data_dir):
  with pytest.raises(ValueError, match="may be 1, 2, 5, 10"):
    tasks.make("uniform", "nbody_charged/smoke", data_dir, (3,))
  with pytest.raises(ValueError, match="may be 1, 2, 3, 4"):
    tasks.make("last", "nbody_charged/smoke", data_dir, (11,))
  with pytest.raises(ValueError, match="take task 'rollout'"):
    tasks.make("last", "nbody_latent/smoke", data_dir)
  task = tasks.make("last", "nbody_charged/smoke", data_dir)
  short = pipelines.load("nbody_spring/smoke", "test", data_dir)
  with pytest.raises(ValueError, match="needs frame 40"):
    task.cut(short.at(tuple(range(40))))


def test_a_long_task_is_judged_by_distributions(data_dir):
  task = tasks.TASKS["long"](DATA, data_dir)
  assert "rollout_rmse" not in task.metrics
  assert task.report_steps == (20, 100)


def test_context_shortens_the_horizon(data_dir):
  assert tasks.TASKS["rollout"]("nbody_latent/smoke", data_dir).num_steps == 30


def test_every_metric_is_in_some_task_or_experiment():
  used = {*tasks.METRICS, *tasks.LONG_METRICS, *tasks.JUMP_METRICS}
  folder = pathlib.Path(__file__).parents[1] / "experiments"
  for name in experiments.names(folder):
    plan = experiments.read(folder, name)
    for part in (plan, *plan.evaluations):
      used |= {*part.metrics}
  assert used == set(plugins.names("metrics"))


def test_a_split_that_is_not_there(data_dir, monkeypatch):
  monkeypatch.setitem(tasks._KINDS, "rollout", ("test_short", tasks.METRICS))
  with pytest.raises(
    ValueError, match=r"task 'rollout' cannot be done.*There are"
  ):
    tasks.TASKS["rollout"](DATA, data_dir)


@pytest.mark.parametrize(
  "wrong", ["nbody_gravity/n20/rollout0", "n20/rollout20", "a/b/jump20", ""]
)
def test_malformed_ids(wrong, data_dir):
  with pytest.raises(ValueError, match="is no task"):
    tasks.from_id(wrong, data_dir)
