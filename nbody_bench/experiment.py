"""Runs a named experiment: many models and seeds at one budget, and a table.

  python -m nbody_bench.experiment five_springs --output_dir=out/experiments

Each run is a `python -m nbody_bench.run` of its own, on one core, whose command
is printed and whose output goes to a log. What is finished is not repeated;
what was stopped goes on. The table (published beside ours), the curves and the
numbers are written to `experiments/<name>/`, beside what is there of other runs
and seeds.
"""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import time
from typing import Any

from absl import flags

from nbody_bench import command_line
from nbody_bench.files import exclusive, replace_json

# Tells how long a step takes.
_PROBE_STEPS = 10
# Of the budget, for each learning rate on trial.
_PILOT_SHARE = 0.1


def define(values, argv):
  """Defines the flags."""
  del argv
  options = {"flag_values": values}
  here = pathlib.Path(__file__).parents[1] / "experiments"
  flags.DEFINE_string(
    "experiments_dir",
    str(here) if here.is_dir() else None,
    "folder of the experiments; tables go there too",
    **options,
  )
  flags.DEFINE_string(
    "output_dir", "out/experiments", "gets the runs", **options
  )
  flags.DEFINE_string("data_dir", None, "where TFDS keeps its data", **options)
  flags.DEFINE_string("board", None, "to enter every run into", **options)
  flags.DEFINE_float(
    "core_minutes", None, "default: the experiment's", **options
  )
  flags.DEFINE_list("seeds", None, "default: the experiment's", **options)
  flags.DEFINE_list("runs", None, "default: all", **options)
  flags.DEFINE_list(
    "evaluations", None, "further tables; default: all", **options
  )
  flags.DEFINE_bool(
    "published",
    False,
    "the published setting in full, whatever it takes; goes to "
    "experiments/<name>_published",
    **options,
  )
  flags.DEFINE_bool(
    "report_only", False, "write the table of what is finished", **options
  )


def experiment(values, rest):
  """Runs the command."""
  from nbody_bench import (
    experiment_figures,
    experiment_index,
    experiment_records,
    experiment_report,
    experiments,
  )

  if not values.experiments_dir:
    raise ValueError("no --experiments_dir given, the folder of experiments")
  folder = pathlib.Path(values.experiments_dir)
  if len(rest) != 1:
    known = ", ".join(experiments.names(folder))
    raise ValueError(f"give one experiment of {known}, not {' '.join(rest)!r}")
  plan = experiments.read(folder, rest[0])
  if values.published:
    plan = experiments.published(plan)
  changes: dict[str, Any] = {}
  if values.core_minutes is not None:
    changes["core_minutes"] = values.core_minutes
  if values.seeds is not None:
    changes["seeds"] = command_line.integers("--seeds", values.seeds)
  plan = dataclasses.replace(plan, **changes)
  jobs = _named("runs", plan.runs, values)
  parts = _named("evaluations", plan.evaluations, values)
  output = pathlib.Path(values.output_dir) / plan.name
  shown = folder / plan.name
  with exclusive(output):
    if not values.report_only:
      for i, run in enumerate(jobs):
        print(f"[{i + 1}/{len(jobs)}] {run.label}", flush=True)
        _do(plan, run, parts, output, values)
        record = experiment_records.gather(plan, output, shown)
        experiment_report.write(plan, record, shown)
        experiment_index.write(folder)
    record = experiment_records.gather(plan, output, shown)
    record["figures"] = experiment_figures.draw(
      plan, record, output, shown, values.data_dir
    )
    page = experiment_report.write(plan, record, shown)
  experiment_index.write(folder)
  print(f"table: {page}")


def _named(flag, rows, values):
  """Returns the rows that a flag names, all if it is not given."""
  known = [row.name for row in rows]
  names = known if values[flag].value is None else values[flag].value
  for name in names:
    if name not in known:
      raise ValueError(
        f"--{flag}: there is no {name!r}, but {', '.join(known) or 'none'}"
      )
  return [row for row in rows if row.name in names]


def _do(plan, run, parts, output, values):
  """Chooses the learning rate, trains all seeds, submits."""
  if run.same_as:
    print(f"  that of {run.same_as}")
    return
  before = next((r for r in plan.runs if r.name == run.start_from), None)
  if before:
    _do(plan, before, parts, output, values)
  choice = _choose(plan, run, output, values)
  arguments = [
    f"--train_steps={choice['train_steps']}",
    f"--validate_every={_validate_every(choice['train_steps'])}",
    f"--recipe.learning_rate={choice['learning_rate']}",
    # A board keeps what it has: other seeds are another version.
    f"--version={run.name}_seeds_{'_'.join(map(str, plan.seeds))}",
  ]
  folder = run.folder(output)
  arguments += _start(run, output)
  _call(plan, run, folder, plan.seeds, arguments, values)
  for evaluation in parts:
    if not evaluation.runs or run.name in evaluation.runs:
      arguments = [f"--start_from={folder}", "--train_steps=0"]
      arguments.append(f"--timing={evaluation.timing}")
      other = dataclasses.replace(
        run,
        dataset=evaluation.dataset or run.dataset,
        task=evaluation.task,
        rollout_steps=evaluation.rollout_steps,
        config=run.config | evaluation.config,
        recipe={},
      )
      into = folder / f"evaluation_{evaluation.name}"
      part = dataclasses.replace(plan, metrics=evaluation.metrics)
      _call(part, other, into, plan.seeds, arguments, values)
  if values.board:
    _submit(run.folder(output), values)


def _validate_every(train_steps):
  """Returns steps between validations: a short training has a curve too."""
  return min(1000, max(1, train_steps // 8))


def _start(run, output):
  """Returns the flag that names the weights to begin with, if any."""
  folder = output / run.start_from
  return [f"--start_from={folder}"] if run.start_from else []


def _choose(plan, run, output, values):
  """Returns learning rate and steps; those of an earlier call, if any.

  That call may have been another machine's: the record knows its choice.
  """
  from nbody_bench import plugins

  recipe = plugins.load_model(run.model).recipe
  rate = run.recipe.get("learning_rate", recipe.learning_rate)
  if run.train_steps:
    return {"train_steps": run.train_steps, "learning_rate": rate}
  path = run.folder(output) / "choice.json"
  if path.is_file():
    choice = json.loads(path.read_text())
    if choice["core_minutes"] != plan.core_minutes:
      raise ValueError(
        f"{path.parent} was made with {choice['core_minutes']} core-minutes, "
        f"not {plan.core_minutes}; choose another --output_dir"
      )
    return choice
  if found := _recorded_choice(plan, run, values):
    replace_json(path, found)
    return found
  speed = _train_briefly(plan, run, output, "probe", None, _PROBE_STEPS, values)
  if speed is None:
    raise ValueError(
      f"{run.name} does not train for {_PROBE_STEPS} steps; see the log in "
      f"{run.folder(output) / 'probe'}"
    )
  seconds = speed["seconds_per_step"]
  affordable = int(_PILOT_SHARE * 60 * plan.core_minutes / seconds)
  pilot_steps = min(plan.pilot_steps, max(_PROBE_STEPS, affordable))
  trials = plan.learning_rates if len(plan.learning_rates) > 1 else ()
  pilots = {
    trial: _train_briefly(
      plan, run, output, f"pilot_{trial}", trial, pilot_steps, values
    )
    for trial in trials
  }
  finished = {k: v for k, v in pilots.items() if v}
  if pilots and not finished:
    raise ValueError(
      f"{run.name}: no learning rate of {list(pilots)} trains for "
      f"{pilot_steps} steps; see the logs in {run.folder(output)}"
    )
  best = min(finished, key=lambda k: finished[k]["error"], default=None)
  seconds = min(
    (v["seconds_per_step"] for v in finished.values()), default=seconds
  )
  steps = int(60 * plan.core_minutes / seconds)
  choice = {
    "core_minutes": plan.core_minutes,
    "learning_rate": best or next(iter(plan.learning_rates), rate),
    # Two digits: the third is noise of the clock.
    "train_steps": int(float(f"{steps:.2g}")),
    "seconds_per_step": seconds,
    "pilot_steps": pilot_steps if pilots else 0,
    "pilots": {str(k): v for k, v in pilots.items()},
  }
  replace_json(path, choice)
  return choice


def _train_briefly(plan, run, output, name, rate, steps, values):
  """Returns what a training of a few steps reached, None if it broke down."""
  from nbody_bench import experiments, harness, plugins

  folder = run.folder(output) / name
  recipe = plugins.load_model(run.model).recipe
  warmup = run.recipe.get("warmup_steps", recipe.warmup_steps)
  arguments = [f"--train_steps={steps}", f"--validate_every={steps}"]
  arguments.append(f"--recipe.warmup_steps={min(warmup, steps // 2)}")
  # The training that is to come has steps enough to be compiled.
  arguments.append("--recipe.compile=large")
  if rate:
    arguments.append(f"--recipe.learning_rate={rate}")
  arguments += ["--noevaluate", *_start(run, output)]
  path = folder / "seed_0" / harness.TRAINING
  if not path.is_file():
    _call(plan, run, folder, [0], arguments, values, fatal=False)
  if not path.is_file():
    return None
  log = (folder / "seed_0" / "metrics.jsonl").read_text().splitlines()
  (error,) = (
    v for k, v in json.loads(log[-1]).items() if experiments.is_score(k)
  )
  return {"error": error, **json.loads(path.read_text())}


def _recorded_choice(plan, run, values):
  """Returns the choice of the runs in the record, None if there are none."""
  from nbody_bench import experiment_records

  record = experiment_records.read(
    pathlib.Path(values.experiments_dir) / plan.name
  )
  row = experiment_records.recorded(record, run, plan.metrics)
  if not row or row["core_minutes"] != plan.core_minutes:
    return None
  return {
    "core_minutes": plan.core_minutes,
    "learning_rate": row["training"]["recipe"]["learning_rate"],
    "train_steps": row["training"]["steps"],
  }


def _call(plan, run, folder, seeds, arguments, values, fatal=True):
  """Runs `nbody_bench.run` with the seeds, unless all have finished."""
  submission = folder / "submission" / "submission.json"
  if submission.is_file():
    finished = json.loads(submission.read_text())["predictions"]
    if set(seeds) <= {p["seed"] for p in finished}:
      return
  folder.mkdir(parents=True, exist_ok=True)
  command = [
    *(sys.executable, "-m", "nbody_bench.run"),
    f"--model={run.model}",
    f"--dataset={run.dataset}",
    f"--task={run.task}",
    f"--checkpoint={run.checkpoint}",
    f"--rollout_steps={','.join(map(str, run.rollout_steps))}",
    f"--metrics={','.join(plan.metrics)}",
    f"--output_dir={folder}",
    f"--seeds={','.join(map(str, seeds))}",
    "--resume",
    *(f"--config.{k}={_text(v)}" for k, v in run.config.items()),
    *(f"--recipe.{k}={_text(v)}" for k, v in run.recipe.items()),
    *arguments,
  ]
  command = [c.replace("--recipe.batch_size", "--batch_size") for c in command]
  if values.data_dir:
    command.append(f"--data_dir={values.data_dir}")
  print("  " + " ".join(command[1:]), flush=True)
  began = time.monotonic()
  with (folder / "log.txt").open("a") as log:
    code = subprocess.run(
      command, stdout=log, stderr=log, preexec_fn=_on_one_core, check=False
    ).returncode
  minutes = (time.monotonic() - began) / 60
  print(
    f"  {'done' if not code else 'failed'} in {minutes:.1f} min", flush=True
  )
  if code == 130:
    raise KeyboardInterrupt
  if code and fatal:
    raise ValueError(f"{folder.name} failed; see {folder / 'log.txt'}")


def _text(value):
  if isinstance(value, list):
    return ",".join(map(str, value))
  return str(value)


def _on_one_core():
  if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def _submit(folder, values):
  command = [
    *(sys.executable, "-m", "nbody_bench.leaderboard", "submit"),
    str(folder / "submission"),
    f"--board={values.board}",
  ]
  if values.data_dir:
    command.append(f"--data_dir={values.data_dir}")
  done = folder / "submitted.txt"
  made = folder / "submission" / "submission.json"
  if not done.is_file() or done.stat().st_mtime < made.stat().st_mtime:
    result = subprocess.run(
      command, capture_output=True, text=True, check=False
    )
    if result.returncode:
      raise ValueError(
        f"{folder.name} was not entered: {result.stderr.strip()}"
      )
    done.write_text(result.stdout)


def main(argv=None):
  """Entry point; returns the exit code."""
  return command_line.run(experiment, define, argv, __doc__)


if __name__ == "__main__":
  sys.exit(main())
