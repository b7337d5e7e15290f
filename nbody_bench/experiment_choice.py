"""How a run of an experiment is trained: learning rate, and steps that fit."""

import json
from typing import Any

from nbody_bench import experiment_records, experiments, harness, plugins
from nbody_bench.experiment_calls import Place, call
from nbody_bench.experiments import Run
from nbody_bench.files import replace_json

# Tells how long a step takes.
_PROBE_STEPS = 10
# Of the budget, for each learning rate on trial.
_PILOT_SHARE = 0.1
# Budgets are of minutes: where a batch is large, compiling pays.
_COMPILE = "large"


def choose(place: Place, run: Run) -> dict[str, Any]:
  """Returns `{"learning_rate", "train_steps", "compile"}`, tried if need be.

  They are kept beside the run; what the record knows of another machine's
  choice is taken from there, so that a further seed is trained likewise;
  but not a learning rate that is no longer one to choose from.

  Raises:
    ValueError: if the run does not train, or was made with another budget.
  """
  plan, folder = place.plan, run.folder(place.output)
  recipe = plugins.load_model(run.model).recipe
  rate = run.recipe.get("learning_rate", recipe.learning_rate)
  if run.train_steps:
    return {
      "train_steps": run.train_steps,
      "learning_rate": rate,
      "compile": run.recipe.get("compile", recipe.compile),
    }
  path = folder / "choice.json"
  if path.is_file():
    choice = json.loads(path.read_text())
    if choice["core_minutes"] != plan.core_minutes:
      raise ValueError(
        f"{folder} was made with {choice['core_minutes']} core-minutes, "
        f"not {plan.core_minutes}; choose another --output_dir"
      )
    return choice
  choice = _recorded(place, run) or _tried(place, run, rate)
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
    "compile": row["training"]["recipe"]["compile"],
  }


def _tried(place, run, rate):
  """Returns the choice after short trainings; `rate` is the recipe's."""
  plan = place.plan
  budget = 60 * plan.core_minutes
  speed = _train_briefly(place, run, "probe", None, _PROBE_STEPS)
  if speed is None:
    raise ValueError(
      f"{run.name} does not train for {_PROBE_STEPS} steps; see the log in "
      f"{run.folder(place.output) / 'probe'}"
    )
  affordable = int(_PILOT_SHARE * budget / speed["seconds_per_step"])
  pilot_steps = min(plan.pilot_steps, max(_PROBE_STEPS, affordable))
  rates = run.learning_rates or plan.learning_rates
  trials = rates if len(rates) > 1 else ()
  pilots = {
    trial: _train_briefly(place, run, f"pilot_{trial}", trial, pilot_steps)
    for trial in trials
  }
  finished = {k: v for k, v in pilots.items() if v}
  if pilots and not finished:
    raise ValueError(
      f"{run.name}: no learning rate of {list(pilots)} trains for "
      f"{pilot_steps} steps; see the logs in {run.folder(place.output)}"
    )
  # Of longer trainings, if there are any, the fastest.
  timed = finished.values() or [speed]
  seconds = min(one["seconds_per_step"] for one in timed)
  best = min(finished, key=lambda k: finished[k]["error"], default=None)
  return {
    "core_minutes": plan.core_minutes,
    "learning_rate": best or next(iter(rates), rate),
    # Two digits: the third is noise of the clock. None at all would be no
    # training, however small the budget.
    "train_steps": max(1, int(float(f"{budget / seconds:.2g}"))),
    # As it was timed, however few steps there are.
    "compile": _COMPILE,
    "seconds_per_step": seconds,
    "pilots": {str(k): v for k, v in pilots.items()},
  }


def _train_briefly(place, run, name, rate, steps):
  """Returns what a training of a few steps reached, None if it broke down."""
  folder = run.folder(place.output) / name
  recipe = plugins.load_model(run.model).recipe
  warmup = run.recipe.get("warmup_steps", recipe.warmup_steps)
  arguments = [f"--train_steps={steps}", f"--validate_every={steps}"]
  arguments.append(f"--recipe.warmup_steps={min(warmup, steps // 2)}")
  arguments.append(f"--recipe.compile={_COMPILE}")
  if rate:
    arguments.append(f"--recipe.learning_rate={rate}")
  arguments += ["--noevaluate", *place.start(run)]
  path = folder / "seed_0" / harness.TRAINING
  if not path.is_file():
    call(place, run, folder, [0], arguments, fatal=False)
  if not path.is_file():
    return None
  log = (folder / "seed_0" / "metrics.jsonl").read_text().splitlines()
  (error,) = (
    v for k, v in json.loads(log[-1]).items() if experiments.is_score(k)
  )
  return {"error": error, **json.loads(path.read_text())}
