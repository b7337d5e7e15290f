"""How a run of an experiment is trained: learning rate, and steps that fit."""

import json
from typing import Any

from nbody_bench import experiment_records, plugins, trials
from nbody_bench.experiment_calls import Place, call
from nbody_bench.experiments import Run
from nbody_bench.files import replace_json


def choose(place: Place, run: Run) -> dict[str, Any]:
  """Returns how a run is trained, tried if need be.

  As `{"learning_rate", "train_steps", "validate_every", "compile"}`.

  They are kept beside the run; what the record knows of another machine's
  choice is taken from there, so that a further seed is trained likewise;
  but not a learning rate that is no longer one to choose from.

  Raises:
    ValueError: if the run was made with another budget, or a learning rate
      that is no longer one to choose from.
  """
  plan, folder = place.plan, run.folder(place.output)
  recipe = plugins.load_model(run.model).recipe
  rate = run.recipe.get("learning_rate", recipe.learning_rate)
  if run.train_steps:
    return {
      "train_steps": run.train_steps,
      "validate_every": trials.validate_every(run.train_steps),
      "learning_rate": rate,
      "compile": run.recipe.get("compile", recipe.compile),
    }
  rates = run.learning_rates or plan.learning_rates
  path = folder / trials.CHOICE
  if path.is_file():
    choice = json.loads(path.read_text())
    if choice["core_minutes"] != plan.core_minutes:
      raise ValueError(
        f"{folder} was made with {choice['core_minutes']} core-minutes, "
        f"not {plan.core_minutes}; choose another --output_dir"
      )
    if rates and choice["learning_rate"] not in rates:
      raise ValueError(
        f"{folder} was made with learning rate {choice['learning_rate']:g}, "
        f"not one of {', '.join(f'{x:g}' for x in rates)}; choose another "
        "--output_dir or remove it"
      )
    return choice
  choice = _recorded(place, run) or _tried(place, run)
  replace_json(path, choice)
  return choice


def _recorded(place, run):
  """Returns the choice of the runs in the record, None if there are none."""
  plan = place.plan
  record = experiment_records.read(place.shown)
  row = experiment_records.recorded(record, run, plan.metrics)
  if not row or row["core_minutes"] != plan.core_minutes:
    return None
  rate = row["training"]["recipe"]["learning_rate"]
  rates = run.learning_rates or plan.learning_rates
  if rates and rate not in rates:
    return None
  return {
    "core_minutes": plan.core_minutes,
    "learning_rate": rate,
    "train_steps": row["training"]["steps"],
    "validate_every": row["training"]["validate_every"],
    "compile": row["training"]["recipe"]["compile"],
  }


def _tried(place, run):
  """Returns the choice after short trainings."""
  plan = place.plan
  rates = run.learning_rates or plan.learning_rates
  folder = run.folder(place.output)
  arguments = [
    f"--core_minutes={plan.core_minutes}",
    f"--learning_rates={','.join(map(str, rates))}",
    f"--pilot_steps={plan.pilot_steps}",
    *place.start(run),
  ]
  call(place, run, folder, plan.seeds[:1], arguments, module=trials.__name__)
  return json.loads((folder / trials.CHOICE).read_text())
