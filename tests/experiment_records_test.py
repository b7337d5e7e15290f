"""Records of experiments: seeds join, what was not made anew stays."""

import dataclasses
import json

import pytest

from nbody_bench import (
  experiment_curves,
  experiment_figures,
  experiment_index,
  experiment_records,
  experiment_report,
  experiments,
  plugins,
  trials,
)

RUN = experiments.Run(
  name="small",
  label="Small",
  model="ogn",
  dataset="nbody_gravity/smoke",
  rollout_steps=(2,),
)
PLAN = experiments.Experiment(
  name="own",
  title="A small one",
  metrics=("rollout_rmse",),
  core_minutes=1.0,
  seeds=(0,),
  runs=(RUN,),
  evaluations=(
    experiments.Evaluation("more", "More", (2,), ("energy_error",)),
  ),
)


def finish(folder, metric, errors, steps=5, run=RUN):
  """Writes what a finished run leaves; `errors` by seed."""
  model = plugins.load_model(run.model)
  for seed, error in errors.items():
    (folder / f"seed_{seed}").mkdir(parents=True)
    scores = {metric: {"at": {"2": error}, "curve": [error / 2, error]}}
    (folder / f"seed_{seed}" / "scores.json").write_text(
      json.dumps({"metrics": scores})
    )
    log = [{"step": i, "rollout_rmse@2": 1 / (1 + i)} for i in range(500)]
    (folder / f"seed_{seed}" / "metrics.jsonl").write_text(
      "\n".join(map(json.dumps, log if run.trains else ()))
    )
    (folder / f"seed_{seed}" / "config.json").write_text("{}")
  (folder / "floor.json").write_text(json.dumps({metric: {"at": {"2": 1e-6}}}))
  (folder / "submission").mkdir()
  if run.trains:
    choice = {"core_minutes": 1.0, "train_steps": steps}
    (folder / trials.CHOICE).write_text(json.dumps(choice))
  recipe = dataclasses.asdict(model.recipe) | run.recipe
  training = {
    "steps": steps if run.trains else 0,
    "seconds": 0.5 * steps,
    **({"seconds_per_step": 0.5} if run.trains else {}),
    "recipe": recipe | {"train_steps": steps, "learning_rate": 0.1},
    "checkpoint": run.checkpoint,
  }
  content = {
    "model_key": model.key,
    "task": f"{run.dataset}/{run.task}2",
    "config": dataclasses.asdict(model.config(**run.config)),
    "training": training,
    "predictions": [{"seed": s} for s in errors],
  }
  (folder / "submission" / "submission.json").write_text(json.dumps(content))


def gathered(tmp_path, output, plan=PLAN):
  """Returns the record and keeps it, as an experiment does."""
  record = experiment_records.gather(plan, tmp_path / output, tmp_path)
  (tmp_path / experiment_records.FILE).write_text(json.dumps(record))
  return record


@pytest.fixture
def recorded(tmp_path):
  """A record of seed 0, made on a machine that is gone."""
  finish(tmp_path / "first" / "small", "rollout_rmse", {0: 0.5})
  folder = tmp_path / "first" / "small" / "evaluation_more"
  finish(folder, "energy_error", {0: 0.1})
  gathered(tmp_path, "first")
  return tmp_path


def test_what_is_not_made_anew_stays(recorded):
  record = gathered(recorded, "nothing")
  row = record["runs"]["small"]
  assert row["seeds"] == [0]
  assert experiment_records.over_seeds(row)["rollout_rmse"]["at"]["2"] == {
    "mean": 0.5,
    "std": None,
  }
  assert record["evaluations"]["more"]["small"]["curves"] == [
    {"energy_error": [0.05, 0.1]}
  ]
  assert row["learning"][0][-1][0] == 499
  assert len(row["learning"][0]) <= 101


def test_a_seed_joins_those_that_are_there(recorded):
  finish(recorded / "second" / "small", "rollout_rmse", {1: 0.7})
  row = gathered(recorded, "second")["runs"]["small"]
  assert row["seeds"] == [0, 1]
  at = experiment_records.over_seeds(row)["rollout_rmse"]["at"]["2"]
  assert at["mean"] == pytest.approx(0.6)
  assert at["std"] == pytest.approx(0.1414, rel=1e-3)
  # The same again changes nothing, the same seed anew takes its place.
  assert gathered(recorded, "second")["runs"]["small"] == row
  finish(recorded / "third" / "small", "rollout_rmse", {0: 0.3})
  row = gathered(recorded, "third")["runs"]["small"]
  assert [s["rollout_rmse"]["2"] for s in row["scores"]] == [0.3, 0.7]


def test_what_recipes_could_not_say_then_is_as_by_default(recorded):
  record = experiment_records.read(recorded)
  recipe = record["runs"]["small"]["training"]["recipe"]
  assert recipe.pop("decay") == 0.1
  (recorded / experiment_records.FILE).write_text(json.dumps(record))
  finish(recorded / "second" / "small", "rollout_rmse", {1: 0.7})
  assert gathered(recorded, "second")["runs"]["small"]["seeds"] == [0, 1]


def test_another_training_takes_the_place_of_the_row(recorded):
  finish(recorded / "second" / "small", "rollout_rmse", {1: 0.2}, steps=9)
  record = gathered(recorded, "second")
  assert record["runs"]["small"]["seeds"] == [1]
  assert not record["evaluations"]["more"]


def test_a_row_of_other_settings_is_left_out(recorded):
  longer = dataclasses.replace(RUN, config={"widths": [8]})
  plan = dataclasses.replace(PLAN, runs=(longer,))
  record = gathered(recorded, "nothing", plan)
  assert not record["runs"]
  assert not record["evaluations"]["more"]


def test_the_page_says_what_the_error_of_the_labels_gives(recorded):
  record = gathered(recorded, "nothing")
  page = experiment_report.write(PLAN, record, recorded).read_text()
  assert "1 core-minutes of training" in page
  assert "| Small | 1 | 5 | " in page
  assert (
    "| *the labels of nbody_gravity/smoke* | - | - | - | - | 1e-06 (@2) |"
    in page
  )
  assert "| Small | 1 | 0.1 (@2) |\n| *the labels of" in page


PLANS = {
  "own": """
title = "A small one"
metrics = ["rollout_rmse"]
core_minutes = 4
seeds = [0]

[[runs]]
name = "small"
label = "Small"
model = "ogn"
dataset = "nbody_gravity/smoke"
rollout_steps = [2]
""",
  "again": """
title = "As many steps"
metrics = ["rollout_rmse"]
core_minutes = 4
seeds = [0, 1]

[[runs]]
name = "small"
label = "Small"
same_as = "own/small"

[[runs]]
name = "counted"
label = "Counted"
model = "ogn"
dataset = "nbody_gravity/smoke"
rollout_steps = [2]
train_steps = 5
recipe = {learning_rate = 0.1}
""",
}


def test_rows_of_minutes_and_of_steps_stand_on_one_page(tmp_path):
  """A row of another experiment has minutes, one beside it steps."""
  for name, text in PLANS.items():
    folder = tmp_path / name
    folder.mkdir()
    (folder / experiments.FILE).write_text(text)
    made = {"own": "small", "again": "counted"}[name]
    finish(tmp_path / "made" / name / made, "rollout_rmse", {0: 0.5})
    choice = tmp_path / "made" / name / made / trials.CHOICE
    choice.unlink()
    if name == "own":
      told = {"core_minutes": 2.0, "train_steps": 5}
      choice.write_text(json.dumps(told))
    plan = experiments.read(tmp_path, name)
    record = experiment_records.gather(plan, tmp_path / "made" / name, folder)
    page = experiment_report.write(plan, record, folder).read_text()
  assert "Every run makes as many steps as it says here" in page
  assert "| Small | 1 | 5 | " in page
  assert "| Counted | 1 | 5 | " in page
  index = experiment_index.text(tmp_path)
  assert "[A small one](own/RESULTS.md) | 1 of 1 | 1 of 1 | 2 of 4 |" in index
  assert "(again/RESULTS.md) | 2 of 2 | 1 of 2 | a number of steps |" in index


def test_an_evaluation_on_the_data_of_the_run_is_the_run(recorded):
  same = experiments.Evaluation("same", "Same", (2,), ("rollout_rmse",))
  other = dataclasses.replace(same, name="other", dataset="nbody_gravity/n20")
  plan = dataclasses.replace(PLAN, evaluations=(same, other))
  record = gathered(recorded, "nothing", plan)
  row = record["evaluations"]["same"]["small"]
  assert row["scores"] == record["runs"]["small"]["scores"]
  assert not record["evaluations"]["other"]


FLIGHT = dataclasses.replace(
  RUN, name="flight", label="Free flight", model="ballistic"
)


def test_what_is_not_trained_stands_beside_what_is(recorded):
  both = dataclasses.replace(PLAN, runs=(RUN, FLIGHT), evaluations=())
  finish(
    recorded / "second" / "flight", "rollout_rmse", {0: 0.8}, 1, run=FLIGHT
  )
  record = gathered(recorded, "second", both)
  assert record["runs"]["flight"]["learning"] == [[]]
  page = experiment_report.write(both, record, recorded).read_text()
  assert "| Small | 1 | 5 | 0.0417 | 0.1 | 0.5 (@2) | - | 500 |" in page
  assert "| Free flight | 1 | - | - | - | 0.8 (@2) | - | - |" in page
  assert (recorded / "learning.png").stat().st_size > 3000


def test_what_is_not_trained_stands_alone(tmp_path):
  alone = dataclasses.replace(PLAN, runs=(FLIGHT,), evaluations=(), seeds=(4,))
  finish(tmp_path / "made" / "flight", "rollout_rmse", {0: 0.8}, 1, run=FLIGHT)
  record = gathered(tmp_path, "made", alone)
  page = experiment_report.write(alone, record, tmp_path).read_text()
  assert "learning.png" not in page
  assert "## Figures\n\n![Errors](errors.png)" in page
  assert "  --seeds=4\n" in page
  experiment_curves.learning(alone, record["runs"], tmp_path / "none.png")


def test_seeds_are_counted_of_what_is_trained(recorded):
  finish(recorded / "second" / "small", "rollout_rmse", {1: 0.7, 2: 0.7})
  both = dataclasses.replace(PLAN, runs=(RUN, FLIGHT), seeds=(0, 1, 2))
  finish(
    recorded / "second" / "flight", "rollout_rmse", {0: 0.8}, 1, run=FLIGHT
  )
  runs = gathered(recorded, "second", both)["runs"]
  assert experiment_index._progress(both, runs) == "2 of 2 | 3 of 3 | 1 of 1"


def test_figures_of_weights_leave_out_what_has_none(tmp_path, monkeypatch):
  shown = {}
  for kind in ("forces", "rollouts"):

    def draw(finished, path, kind=kind):
      shown[kind] = [(one.run.name, one.seed) for one in finished]
      return path.name, {}

    monkeypatch.setitem(experiment_figures.FIGURES, kind, draw)
  plan = dataclasses.replace(
    PLAN,
    runs=(RUN, FLIGHT),
    seeds=(3,),
    figures=(experiments.Figure("forces"), experiments.Figure("rollouts")),
  )
  for run, seed in ((RUN, 3), (FLIGHT, 0)):
    finish(tmp_path / "made" / run.name, "rollout_rmse", {seed: 0.8}, 1, run)
  record = gathered(tmp_path, "made", plan)
  experiment_figures.draw(plan, record, tmp_path / "made", tmp_path, None)
  assert shown == {
    "forces": [("small", 3)],
    "rollouts": [("small", 3), ("flight", 0)],
  }


def test_what_was_made_otherwise_is_not_recorded(recorded):
  """Neither of a run nor of an evaluation of it."""
  finish(recorded / "second" / "small", "rollout_rmse", {1: 0.7})
  wider = dataclasses.replace(RUN, config={"widths": [8]})
  plan = dataclasses.replace(PLAN, runs=(wider,))
  with pytest.raises(ValueError, match=r"another config.widths: .*, not .8.;"):
    gathered(recorded, "second", plan)
  finish(
    recorded / "second" / "small" / "evaluation_more", "energy_error", {1: 0.2}
  )
  assert gathered(recorded, "second")["evaluations"]["more"]["small"]
  part = dataclasses.replace(PLAN.evaluations[0], metrics=("momentum_error",))
  plan = dataclasses.replace(PLAN, evaluations=(part,))
  with pytest.raises(ValueError, match="evaluation_more was made with another"):
    gathered(recorded, "second", plan)


def test_metrics_that_agree_at_every_step_share_a_panel():
  result = {"curves": [{"final_mse": [1, 2], "average_mse": [1, 2]}]}
  together = experiment_curves._together
  names = ("final_mse", "average_mse")
  assert together(names, [result]) == [["final_mse", "average_mse"]]
  other = {"curves": [{"final_mse": [1, 2], "average_mse": [1, 3]}]}
  assert together(names, [result, other]) == [["final_mse"], ["average_mse"]]
