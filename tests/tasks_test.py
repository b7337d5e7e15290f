import json
import pathlib
import re

import pytest

import nbody_bench
from nbody_bench import experiments, plugins, tasks

DATA = "nbody_gravity/smoke"


@pytest.mark.parametrize("name", sorted(tasks.TASKS))
def test_an_id_leads_back_to_its_task(name, data_dir):
  task = tasks.TASKS[name](DATA, data_dir)
  assert tasks.from_id(task.id, data_dir) == task
  schema = json.loads(
    (
      pathlib.Path(nbody_bench.__file__).parent / "submission_schema.json"
    ).read_text()
  )
  assert re.search(schema["properties"]["task"]["pattern"], task.id)
  assert set(task.metrics) <= set(plugins.names("metrics"))


def test_each_task_has_a_split_of_its_own(data_dir):
  found = {n: make(DATA, data_dir).split for n, make in tasks.TASKS.items()}
  assert found == {
    "rollout": "test",
    "long": "test_long",
    "unseen_n": "test_unseen_n",
    "symmetry": "test_symmetry",
    "energetic": "test_energetic",
  }


def test_a_long_task_is_judged_by_distributions(data_dir):
  task = tasks.TASKS["long"](DATA, data_dir)
  assert "rollout_rmse" not in task.metrics
  assert task.report_steps == (20, 100)


def test_context_shortens_the_horizon(data_dir):
  assert tasks.TASKS["rollout"]("nbody_latent/smoke", data_dir).num_steps == 30


def test_every_metric_is_in_some_task_or_experiment():
  used = {*tasks.METRICS, *tasks.LONG_METRICS}
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
