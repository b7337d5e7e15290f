"""Experiments: the files that are there, errors, and a small one in full."""

import dataclasses
import json
import pathlib
import re
import shutil
import sys

import pytest

from nbody_bench import (
  experiment,
  experiment_calls,
  experiment_choice,  # noqa: F401, or first imported while `call` is a fake
  experiment_index,
  experiment_records,
  experiment_report,
  experiment_workers,
  experiments,
  plugins,
)
from nbody_bench.experiment_calls import Place

ROOT = pathlib.Path(__file__).parents[1] / "experiments"

TEXT = """
title = "A small one"
dataset = "nbody_gravity/smoke"
rollout_steps = [10]
metrics = ["rollout_rmse"]
core_minutes = 0.002
seeds = [0]
learning_rates = [1e-3, 1e30]
pilot_steps = 3

[[runs]]
name = "small"
label = "Small"
model = "ogn"
config = {widths = [4], positions = "relative"}
recipe = {batch_size = 2}
published = {rollout_rmse = "0.5"}

[[evaluations]]
name = "more"
label = "Twice as many"
task = "unseen_n"
rollout_steps = [5]
metrics = ["energy_error"]

[[figures]]
kind = "forces"

[[figures]]
kind = "rollouts"

[[figures]]
kind = "energy"
"""

AGAIN = """
title = "Again"
metrics = ["rollout_rmse"]
core_minutes = 0.002
seeds = [0]

[[runs]]
name = "small"
label = "Small"
same_as = "own/small"
"""


@pytest.fixture(autouse=True)
def locks(tmp_path, monkeypatch):
  """Of this test alone: experiments run at the same time."""
  monkeypatch.setattr(experiment_workers, "_LOCKS", tmp_path / "locks")


def put(folder, text):
  (folder / "own").mkdir(parents=True)
  (folder / "own" / "experiment.toml").write_text(text)
  return folder


@pytest.mark.parametrize("name", experiments.names(ROOT))
def test_settings_of_every_experiment_are_understood(name):
  plan = experiments.read(ROOT, name)
  for run in plan.runs:
    module = plugins.load_model(run.model)
    others = [
      part.config
      for part in plan.evaluations
      if run.name in (part.runs or [run.name])
    ]
    for more in ({}, *others):
      values = (run.config | more).items()
      module.config(
        **{k: tuple(v) if isinstance(v, list) else v for k, v in values}
      )
    pilot = {"train_steps": plan.pilot_steps}
    type(module.recipe)(**{**vars(module.recipe), **run.recipe, **pilot})


def test_the_page_over_all_experiments_is_up_to_date():
  page = (ROOT / experiment_index.FILE).read_text()
  assert page == experiment_index.text(ROOT), (
    "made by python -m nbody_bench.experiment NAME --report_only"
  )


def test_links_of_the_page_lead_somewhere():
  links = re.findall(r"\]\((\w[^:)]*)\)", experiment_index.text(ROOT))
  assert len(links) == len(experiments.names(ROOT))
  for link in links:
    assert (ROOT / link).is_file(), link


def test_there_are_experiments():
  assert "five_springs" in experiments.names(ROOT)


@pytest.mark.parametrize(
  ("old", "new", "message"),
  [
    ('model = "ogn"', 'model = "ogm"', "ogm.*ogn"),
    ('label = "Small"', "", "run 1 lacks label"),
    ("seeds = [0]", "seed = [0]", "it has seed; it may have name, title"),
    ("pilot_steps = 3", "pilot_steps = 0", "pilot_steps = 0 must be positive"),
    ("core_minutes = 0.002", "core_minutes = nan", "core_minutes = nan and"),
    ("core_minutes = 0.002", "core_minutes = inf", "core_minutes = inf and"),
    ('name = "small"', 'name = "a/b"', "run 'a/b': names are of letters"),
    ('"rollout_rmse"]', '"rmse"]', "rmse"),
    ("[[runs]]", "[[runs", r"own/experiment\.toml: "),
    (
      'label = "Small"',
      'label = "Small"\nstart_from = "large"',
      "run 'small' starts from 'large'; it must be one of the runs before",
    ),
    ('"unseen_n"', '"unseen"', "unseen.*unseen_n"),
    ('kind = "forces"', 'kind = "force"', "force.*forces"),
    ('kind = "forces"', 'runs = ["b"]', "figure 1 lacks kind"),
    (
      'kind = "energy"',
      'kind = "energy"\nruns = ["b"]',
      "'b' is not in the runs",
    ),
  ],
)
def test_errors_name_the_file_and_the_mend(tmp_path, old, new, message):
  assert TEXT.count(old) == 1
  folder = put(tmp_path, TEXT.replace(old, new))
  with pytest.raises(ValueError, match=message):
    experiments.read(folder, "own")


def test_like_another_but_for_what_it_says(tmp_path):
  folder = put(tmp_path, TEXT)
  (folder / "other").mkdir()
  file = folder / "other" / "experiment.toml"
  file.write_text('like = "own"\ntitle = "Other"\ntask = "unseen_n"')
  own, other = (experiments.read(folder, name) for name in ("own", "other"))
  assert (other.title, other.runs[0].task) == ("Other", "unseen_n")
  assert other.runs[0].config == own.runs[0].config
  assert other.evaluations == own.evaluations
  for like, message in (("others", "mean 'other'"), ("other", "like 'other'")):
    file.write_text(f'like = "{like}"')
    with pytest.raises(ValueError, match=message):
      experiments.read(folder, "other")


def test_a_row_of_another_experiment_has_all_from_there(tmp_path):
  folder = put(tmp_path, TEXT)
  (folder / "again").mkdir()
  file = folder / "again" / "experiment.toml"
  file.write_text(AGAIN)
  own = experiments.read(folder, "own").runs[0]
  again = experiments.read(folder, "again").runs[0]
  assert again == dataclasses.replace(own, same_as="own/small")
  for old, new, message in (
    ("own/small", "owm/small", "mean 'own'"),
    ("own/small", "own/smal", "the runs that own trains. .*mean 'small'"),
    ("own/small", "own", "'' is not in the runs that own trains"),
    ("own/small", "again/small", "the runs that again trains"),
    ('same_as = "', 'task = "last"\nsame_as = "', "has task; take that out"),
  ):
    file.write_text(AGAIN.replace(old, new))
    with pytest.raises(ValueError, match=message):
      experiments.read(folder, "again")


def test_unknown_names(tmp_path, capsys):
  folder = put(tmp_path, TEXT)
  common = [f"--experiments_dir={folder}", f"--output_dir={tmp_path / 'out'}"]
  for arguments, message in (
    (["owm"], "Did you mean 'own'"),
    ([], "give one experiment of own"),
    (["own", "--runs=big"], "--runs: there is no 'big', but small"),
    (["own", "--evaluations=x"], "--evaluations: there is no 'x', but more"),
    (["own", "--runs="], "--runs names none; give some of small"),
    (["own", "--seeds=x"], "--seeds=x is not a list of integers"),
    (["own", "--seeds="], "--seeds=: give at least one"),
    (["own", "--seeds=0,0"], "--seeds=0,0: give at least one, each once"),
    (["own", "--seeds=-1"], "--seeds=-1: give at least one"),
    (["own", "--core_minutes=nan"], "--core_minutes=nan must be a positive"),
    (["own", "--core_minutes=inf"], "--core_minutes=inf must be a positive"),
    (["own", "--core_minutes=-3"], "--core_minutes=-3 must be a positive"),
    (["own", "--core_minutes=0"], "--core_minutes=0 must be a positive"),
  ):
    assert experiment.main(["experiment", *arguments, *common]) == 2
    assert message in capsys.readouterr().err


def test_figures_are_asked_for_before_anything_is_trained(
  tmp_path, capsys, monkeypatch
):
  monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
  monkeypatch.setattr(experiment, "_make", pytest.fail)
  folder = put(tmp_path, TEXT)
  arguments = [f"--experiments_dir={folder}", f"--output_dir={tmp_path / 'o'}"]
  assert experiment.main(["experiment", "own", *arguments]) == 2
  told = capsys.readouterr().err
  assert 'pip install "nbody_bench[figures]"' in told
  assert len(told.splitlines()) == 1


def test_a_run_of_other_settings_is_told_before_anything_is_trained(
  tmp_path, capsys, monkeypatch
):
  monkeypatch.setattr(experiment, "_make", pytest.fail)
  folder, output = put(tmp_path, TEXT), tmp_path / "out"
  made = output / "own" / "small" / "submission" / "submission.json"
  made.parent.mkdir(parents=True)
  made.write_text('{"model_key": "vign", "training": {}, "predictions": []}')
  arguments = [f"--experiments_dir={folder}", f"--output_dir={output}"]
  for more in ([], ["--report_only"]):
    assert experiment.main(["experiment", "own", *arguments, *more]) == 2
    assert "another model: vign, not ogn; choose" in capsys.readouterr().err
  assert not (folder / "own" / "results.json").exists()


def test_the_cost_is_told_and_what_is_skipped_takes_no_time(
  tmp_path, monkeypatch, capsys
):
  plan = experiments.read(put(tmp_path, TEXT), "own")
  (run,) = plan.runs
  runs = tuple(dataclasses.replace(run, name=name) for name in "abcd")
  plan = dataclasses.replace(plan, runs=runs, core_minutes=30.0)
  place = Place(plan, tmp_path / "out", tmp_path / "own", None, None)

  def finish(place, run, parts=()):
    del parts
    made = place.output / run.name / "submission" / "submission.json"
    made.parent.mkdir(parents=True, exist_ok=True)
    made.write_text('{"predictions": [{"seed": 0}]}')

  for done in runs[:2]:
    finish(place, done)
  monkeypatch.setattr(experiment, "_do", finish)
  monkeypatch.setattr(experiment_records, "gather", lambda *_: {})
  for module in (experiment_report, experiment_index):
    monkeypatch.setattr(module, "write", lambda *_: None)
  # Ten minutes from the start to each look at the clock.
  clock = iter((0.0, 600.0, 600.0, 600.0, 1200.0))
  monkeypatch.setattr(experiment.time, "monotonic", lambda: next(clock))
  experiment._make(place, runs, (), 1)
  assert capsys.readouterr().out.splitlines() == [
    "2 runs x 1 seed x 30 core-minutes: about 1 core-hours on 1 worker; "
    "trials and roll-outs come on top",
    "1 of 4 runs, Small, after 10.0 min",
    "2 of 4 runs, Small, after 10.0 min",
    "3 of 4 runs, Small, after 10.0 min; about 10 min left",
    "4 of 4 runs, Small, after 20.0 min; about 0 min left",
  ]


@pytest.mark.parametrize("train_steps", [None, 20])
def test_what_has_no_variables_is_rolled_out_once(
  tmp_path, monkeypatch, train_steps
):
  plan = experiments.read(put(tmp_path, TEXT), "own")
  run = dataclasses.replace(
    *plan.runs, model="ballistic", config={}, recipe={}, train_steps=train_steps
  )
  plan = dataclasses.replace(plan, runs=(run,), seeds=(1, 2))
  calls = []
  monkeypatch.setattr(
    experiment_calls, "call", lambda *arguments: calls.append(arguments[3:])
  )
  monkeypatch.setattr(experiment_calls, "version", lambda folder: folder.name)
  place = Place(plan, tmp_path / "out", tmp_path / "own", None, None)
  experiment._do(place, run, plan.evaluations)
  assert calls == [
    ((0,), ["--train_steps=1", "--version=small_0_steps_seeds_0"]),
    (
      (0,),
      ["--train_steps=1", "--timing=none", "--version=small"],
      ("energy_error",),
    ),
  ]


def test_which_models_are_trained():
  names = plugins.names("baselines")
  trains = {
    name: experiments.Run("a", "A", name, "nbody_spring/five", (2,)).trains
    for name in names
  }
  still = {name for name, value in trains.items() if not value}
  assert still == {"ballistic", "classical", "leapfrog", "true_law"}


@pytest.mark.slow
def test_a_small_experiment(tmp_path, data_dir, capsys):
  folder, output = put(tmp_path, TEXT), tmp_path / "out"
  arguments = ["experiment", "own", f"--experiments_dir={folder}"]
  arguments += [f"--output_dir={output}", f"--data_dir={data_dir}"]
  arguments += [f"--board={tmp_path / 'board'}"]
  assert experiment.main(arguments) == 0
  choice = json.loads((output / "own/small/choice.json").read_text())
  assert choice["learning_rate"] == 1e-3
  assert choice["pilots"]["1e+30"] is None
  page = (folder / "own" / "RESULTS.md").read_text()
  assert f"| Small | 1 | {choice['train_steps']:,} | " in page
  assert "rollout_rmse 0.5" in page
  for name in ("errors", "learning", "more", "forces", "rollouts", "energy"):
    assert (folder / "own" / f"{name}.png").stat().st_size > 3000
  results = json.loads((folder / "own" / "results.json").read_text())
  figures = {f["file"]: f["numbers"] for f in results["figures"]}
  assert figures["forces.png"]["small"] > 0
  more = results["evaluations"]["more"]["small"]
  assert more["training"]["started_from"] == (
    f"nbody_gravity/smoke, {choice['train_steps']} steps"
  )
  index = (folder / experiment_index.FILE).read_text()
  assert "| [A small one](own/RESULTS.md) | 1 of 1 | 1 of 1 | 0.002 of" in index
  assert "## Twice as many\n\n| model | seeds | Energy error |" in page
  version = f"small_{choice['train_steps']}_steps_seeds_0"
  entries = (tmp_path / "board/ogn" / version).glob("*/submission.json")
  assert {path.parent.name for path in entries} == {
    "nbody_gravity-smoke-rollout10",
    "nbody_gravity-smoke-unseen_n5",
  }
  # What is finished is not repeated.
  before = {p: p.stat().st_mtime_ns for p in output.rglob("*.npz")}
  capsys.readouterr()
  assert experiment.main(arguments) == 0
  told = capsys.readouterr().out
  assert "nothing is left to train\n" in told
  assert "nbody_bench.run" not in told
  assert "min left" not in told
  assert before == {p: p.stat().st_mtime_ns for p in output.rglob("*.npz")}
  # A seed more is one seed's work.
  assert experiment.main([*arguments, "--seeds=0,1"]) == 0
  assert "--seeds=0,1" in capsys.readouterr().out
  assert "| Small | 2 |" in (folder / "own" / "RESULTS.md").read_text()
  assert len(list((tmp_path / "board" / "ogn").iterdir())) == 2
  assert experiment.main([*arguments, "--core_minutes=1"]) == 2
  assert "choose another --output_dir" in capsys.readouterr().err
  # On another machine a seed more joins those that are recorded, with the
  # steps that were chosen then.
  elsewhere = [a for a in arguments if not a.startswith("--output_dir")]
  elsewhere += [f"--output_dir={tmp_path / 'other'}", "--seeds=2"]
  assert experiment.main(elsewhere) == 0
  assert not list((tmp_path / "other").rglob("pilot_*"))
  page = (folder / "own" / "RESULTS.md").read_text()
  assert f"| Small | 3 | {choice['train_steps']:,} | " in page
  assert "![Force components" in page
  # A row that goes on from another's weights, with settings of its own.
  longer = folder / "own" / "experiment.toml"
  longer.write_text(
    TEXT
    + """
[[runs]]
name = "longer"
label = "Longer"
model = "ogn"
config = {widths = [4], positions = "relative", horizon = 2}
recipe = {batch_size = 2}
start_from = "small"
"""
  )
  assert experiment.main([*arguments, "--runs=longer"]) == 0
  made = output / "own/longer/submission/submission.json"
  training = json.loads(made.read_text())["training"]
  assert training["started_from"].startswith("nbody_gravity/smoke, ")
  assert training["steps"] > 0
  # A row of another experiment is not trained again, but goes to other tasks.
  (folder / "again").mkdir()
  (folder / "again" / "experiment.toml").write_text(
    AGAIN
    + TEXT[TEXT.index("[[evaluations]]") :]
    .replace('name = "more"', 'name = "fewer"')
    .replace("rollout_steps = [5]", "rollout_steps = [4]")
  )
  capsys.readouterr()
  assert experiment.main([*arguments[:1], "again", *arguments[2:]]) == 0
  assert capsys.readouterr().out.count("nbody_bench.run") == 1
  page = (folder / "again" / "RESULTS.md").read_text()
  assert "| Small | 1 | " in page.split("## Twice as many")[1]


@pytest.mark.slow
def test_settings_that_change_and_a_row_that_is_not_trained(
  tmp_path, data_dir, capsys
):
  text = TEXT.replace("recipe = {", "train_steps = 3\nrecipe = {")
  flight = '[[runs]]\nname = "flight"\nlabel = "Flight"\nmodel = "ballistic"\n'
  folder, output = put(tmp_path, text + flight), tmp_path / "out"
  arguments = ["experiment", "own", f"--experiments_dir={folder}"]
  arguments += [f"--output_dir={output}", f"--data_dir={data_dir}"]
  arguments.append("--seeds=1,2")
  assert experiment.main(arguments) == 0
  assert "1 run x 2 seeds of as many steps" in capsys.readouterr().out
  page = (folder / "own" / "RESULTS.md").read_text()
  assert "| Small | 2 | 3 | " in page
  assert "| Flight | 1 | - | - | - | " in page
  assert "| Flight | 1 | " in page.split("## Twice as many")[1]
  assert "Every run makes as many steps as it says here" in page
  # Settings are others, and nothing is done.
  file = folder / "own" / experiments.FILE
  record = (folder / "own" / "results.json").read_bytes()
  for old, new in (
    ("train_steps = 3", "train_steps = 4"),
    ("batch_size = 2", "batch_size = 4"),
    ("rollout_steps = [10]", "rollout_steps = [5, 10]"),
    ('["energy_error"]', '["energy_error", "rollout_mse"]'),
    ('["rollout_rmse"]', '["rollout_rmse", "rollout_mse"]'),
  ):
    assert text.count(old) == 1
    file.write_text((text + flight).replace(old, new))
    capsys.readouterr()
    assert experiment.main(arguments) == 2
    told = capsys.readouterr()
    assert " was made with another " in told.err
    assert "nbody_bench.run" not in told.out
    assert (folder / "own" / "results.json").read_bytes() == record
  # A metric more needs no training.
  for name in ("small", "flight"):
    shutil.rmtree(output / "own" / name / "submission")
  log = output / "own" / "small" / "seed_1" / "metrics.jsonl"
  before = log.read_text()
  assert experiment.main(arguments) == 0
  assert log.read_text() == before
  page = (folder / "own" / "RESULTS.md").read_text()
  for label in ("Small", "Flight"):
    assert re.search(rf"\| {label} \|.*\(@10\) \|.*\(@10\) \|", page)


def test_the_published_setting_is_an_experiment_of_its_own():
  plan = experiments.read(ROOT, "gravity_hogn")
  published = experiments.published(plan)
  assert published.name == "gravity_hogn_published"
  assert published.seeds == (0, 1, 2, 3, 4)
  by_name = {run.name: run for run in published.runs}
  hogn = by_name["hogn_n100"]
  assert (hogn.train_steps, hogn.recipe) == (500_000, {"batch_size": 50})
  # What the reduced budget needs is not carried over.
  other = by_name["hierarchical_delta_gn_n100"]
  assert other.config == {}
  assert other.same_as == "gravity_scaling_published/hierarchical_n100"
  with pytest.raises(ValueError, match="mass_spring: no run has as_published"):
    experiments.published(experiments.read(ROOT, "mass_spring"))
