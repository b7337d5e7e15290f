"""A finished run is taken for what the experiment asks for only if it is."""

import dataclasses
import json

import pytest

from nbody_bench import (
  experiment_records,
  experiment_settings,
  experiments,
  plugins,
  trials,
)

RUN = experiments.Run(
  name="small",
  label="Small",
  model="hierarchical_vign",
  dataset="nbody_gravity/smoke",
  rollout_steps=(2, 5),
  config={"edge_widths": [4], "num_levels": 2},
  recipe={"batch_size": 4, "clip_norm": 1.0, "schedule": "cosine"},
  train_steps=20,
)
METRICS = ("rollout_rmse", "energy_error")


def finish(folder, run, metrics=METRICS, seeds=(0,), choice=None):
  """Writes what a finished run leaves of its settings."""
  model = plugins.load_model(run.model)
  steps = run.train_steps or (choice or {"train_steps": 0})["train_steps"]
  recipe = dataclasses.asdict(model.recipe) | run.recipe
  if choice:
    recipe |= {k: choice[k] for k in ("learning_rate", "compile")}
    folder.mkdir(parents=True)
    (folder / trials.CHOICE).write_text(json.dumps(choice))
  at = {str(step): 0.5 for step in run.rollout_steps}
  scores = {k: {"at": at, "curve": [0.5]} for k in metrics}
  for seed in seeds:
    (folder / f"seed_{seed}").mkdir(parents=True)
    told = {"start_from": f"out/{run.start_from}" if run.start_from else None}
    (folder / f"seed_{seed}" / "config.json").write_text(json.dumps(told))
    (folder / f"seed_{seed}" / "scores.json").write_text(
      json.dumps({"metrics": scores})
    )
  content = {
    "model_key": model.key,
    "task": f"{run.dataset}/{run.task}{max(run.rollout_steps)}",
    "config": dataclasses.asdict(model.config(**run.config)),
    "training": {
      "steps": steps if run.trains else 0,
      "seconds": 1.0,
      "checkpoint": run.checkpoint,
      "recipe": recipe | {"train_steps": steps},
    },
    "predictions": [{"seed": seed} for seed in seeds],
  }
  (folder / "submission").mkdir()
  (folder / "submission" / "submission.json").write_text(json.dumps(content))


def measured(folder, run, metrics=METRICS, trained=True):
  return experiment_records._measured(run, folder, metrics, trained)


def changed(**values):
  return dataclasses.replace(RUN, **values)


@pytest.mark.parametrize(
  ("run", "message"),
  [
    (changed(model="vign", config={}), "model: hierarchical_vign, not vign;"),
    (
      changed(dataset="nbody_gravity/n20"),
      "task: nbody_gravity/smoke/rollout, not nbody_gravity/n20/rollout;",
    ),
    (changed(task="long"), "smoke/rollout, not nbody_gravity/smoke/long;"),
    (
      changed(config={"edge_widths": [4, 4], "num_levels": 2}),
      r"config.edge_widths: \[4\], not \[4, 4\];",
    ),
    # What is not said any more has its default: 0, by the number of bodies.
    (changed(config={"edge_widths": [4]}), "config.num_levels: 2, not 0;"),
    (
      changed(recipe=RUN.recipe | {"batch_size": 8}),
      "recipe.batch_size: 4, not 8;",
    ),
    (
      changed(recipe={"batch_size": 4, "schedule": "cosine"}),
      "recipe.clip_norm: 1.0, not 0.0;",
    ),
    (
      changed(recipe=RUN.recipe | {"learning_rate": 0.25}),
      "recipe.learning_rate: .*, not 0.25;",
    ),
    (changed(train_steps=40), "train_steps: 20, not 40;"),
    (
      changed(train_steps=None),
      "train_steps: 20, not what fits in the core-minutes;",
    ),
    (changed(checkpoint="best"), "checkpoint: last, not best;"),
    (changed(rollout_steps=(2,)), "rollout_steps: 2,5, not 2;"),
    (changed(rollout_steps=(2, 5, 9)), "rollout_steps: 2,5, not 2,5,9;"),
    (changed(start_from="first"), "start_from: none, not first;"),
    (
      changed(train_steps=40, checkpoint="best"),
      "checkpoint: last, not best and another train_steps: 20, not 40;",
    ),
  ],
)
def test_a_run_of_other_settings_is_refused(tmp_path, run, message):
  finish(tmp_path / "small", RUN)
  mend = ".*choose another --output_dir or remove .*small$"
  with pytest.raises(ValueError, match=f"small was made with.*{message}{mend}"):
    measured(tmp_path / "small", run)


def test_a_run_that_lacks_a_metric_can_be_scored_anew(tmp_path):
  finish(tmp_path / "small", RUN)
  message = (
    "metrics: energy_error,rollout_rmse, not rollout_mse; .* remove "
    ".*small/submission to have it scored anew$"
  )
  with pytest.raises(ValueError, match=message):
    measured(tmp_path / "small", RUN, ("rollout_mse",))
  assert measured(tmp_path / "small", RUN, METRICS[:1])["scores"] == [
    {"rollout_rmse": {"2": 0.5, "5": 0.5}}
  ]


@pytest.mark.parametrize(
  "run",
  [
    RUN,
    changed(config={"edge_widths": (4,), "num_levels": 2}),
    changed(config={"edge_widths": 4, "num_levels": "2"}),
    changed(recipe=RUN.recipe | {"clip_norm": 1, "batch_size": 4}),
    changed(recipe=RUN.recipe | {"decay": 0.1, "warmup_steps": 0}),
    changed(rollout_steps=(5, 2)),
    # Looked for and shown only.
    changed(learning_rates=(1.0,), published={"rollout_rmse": "1"}),
  ],
)
def test_the_same_in_other_words_is_the_same(tmp_path, run):
  finish(tmp_path / "small", RUN)
  assert measured(tmp_path / "small", run)["seeds"] == [0]


def test_a_choice_says_rate_and_steps(tmp_path):
  run = changed(train_steps=None, recipe=RUN.recipe | {"learning_rate": 0.5})
  choice = {"train_steps": 70, "learning_rate": 1e-3, "compile": "large"}
  finish(tmp_path / "small", run, choice=choice | {"core_minutes": 1.0})
  assert measured(tmp_path / "small", run)["core_minutes"] == 1.0
  with pytest.raises(
    ValueError, match=r"train_steps: 70, not 20 .* 0.001, not"
  ):
    measured(tmp_path / "small", dataclasses.replace(run, train_steps=20))


def test_a_setting_that_models_have_got_since_has_its_default(tmp_path):
  finish(tmp_path / "small", RUN)
  path = tmp_path / "small" / "submission" / "submission.json"
  content = json.loads(path.read_text())
  assert content["config"].pop("num_grids") == 1
  path.write_text(json.dumps(content))
  assert measured(tmp_path / "small", RUN)["seeds"] == [0]
  more = changed(config=RUN.config | {"num_grids": 2})
  with pytest.raises(ValueError, match=r"config.num_grids: 1, not 2;"):
    measured(tmp_path / "small", more)


def test_the_row_begun_with_is_known_by_its_name(tmp_path):
  run = changed(start_from="first")
  finish(tmp_path / "small", run)
  assert measured(tmp_path / "small", run)["seeds"] == [0]
  for start, message in (("", "first, not none"), ("b", "first, not b")):
    with pytest.raises(ValueError, match=f"start_from: {message};"):
      measured(tmp_path / "small", changed(start_from=start))


def test_an_evaluation_has_settings_and_no_training(tmp_path):
  part = experiments.Evaluation(
    "more", "More", (3,), ("energy_error",), config={"num_substeps": 2}
  )
  other = dataclasses.replace(part.of(RUN), recipe={}, train_steps=None)
  finish(tmp_path / "more", other, part.metrics)
  # More steps of warm-up than are usual for the model: it has been trained.
  run = part.of(changed(recipe={"warmup_steps": 600_000}, train_steps=700_000))
  assert measured(tmp_path / "more", run, part.metrics, trained=False)
  now = dataclasses.replace(part, config={"num_substeps": 3})
  with pytest.raises(ValueError, match=r"config.num_substeps: 2, not 3;"):
    measured(tmp_path / "more", now.of(RUN), part.metrics, trained=False)
  with pytest.raises(ValueError, match="metrics: energy_error, not"):
    measured(tmp_path / "more", run, METRICS, trained=False)


def test_what_is_not_trained_has_no_training(tmp_path):
  run = changed(model="leapfrog", config={"num_substeps": 2}, recipe={})
  finish(tmp_path / "clock", run)
  for steps in (None, 20, 40):
    now = dataclasses.replace(run, train_steps=steps)
    assert measured(tmp_path / "clock", now)["training"]["steps"] == 0


def test_the_published_setting_of_a_run_is_another(tmp_path):
  run = changed(as_published={"train_steps": 30, "recipe": {"batch_size": 4}})
  plan = experiments.Experiment("own", "Own", METRICS, 1.0, (0,), (run,))
  (full,) = experiments.published(plan).runs
  finish(tmp_path / "full", full)
  assert measured(tmp_path / "full", full)["training"]["steps"] == 30
  with pytest.raises(
    ValueError, match=r"config.edge_widths: .*train_steps: 30"
  ):
    measured(tmp_path / "full", run)


def test_nothing_is_asked_of_what_is_not_finished(tmp_path):
  assert measured(tmp_path / "small", RUN) is None


def test_flags_are_those_of_the_command():
  found = experiment_settings.flags(RUN, METRICS)
  assert found[4:] == [
    "--rollout_steps=2,5",
    "--metrics=rollout_rmse,energy_error",
    "--config.edge_widths=4",
    "--config.num_levels=2",
    "--batch_size=4",
    "--recipe.clip_norm=1.0",
    "--recipe.schedule=cosine",
  ]
