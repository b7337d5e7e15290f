"""Runs a named experiment: many models and seeds at one budget, and a table.

  python -m nbody_bench.experiment five_springs --output_dir=out/experiments

Each run is a `python -m nbody_bench.run` of its own, on one core, whose command
is printed and whose output goes to a log; `--num_workers` are made at a time.
What is finished is not repeated; what was stopped goes on. The table (published
beside ours), the curves and the numbers are written to `experiments/<name>/`,
beside what is there of other runs and seeds.
"""

import dataclasses
import math
import pathlib
import sys
import threading
import time
from typing import Any

from absl import flags

from nbody_bench import command_line
from nbody_bench.files import exclusive

# Of a model with no variables, which makes none; zero would ask for weights.
_AS_IT_IS = "--train_steps=1"


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
  flags.DEFINE_integer(
    "num_workers", 1, "runs at a time, each on a core of its own", **options
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
  from nbody_bench.experiment_calls import Place

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
    changes["core_minutes"] = _minutes(values.core_minutes)
  if values.seeds is not None:
    changes["seeds"] = _seeds(values.seeds)
  plan = dataclasses.replace(plan, **changes)
  jobs = _named("runs", plan.runs, values)
  parts = _named("evaluations", plan.evaluations, values)
  output = pathlib.Path(values.output_dir) / plan.name
  shown = folder / plan.name
  place = Place(plan, output, shown, values.data_dir, values.board)
  _check_figures()
  with exclusive(output):
    # Also before anything is trained: what is there may not be recorded.
    record = experiment_records.gather(plan, output, shown)
    if not values.report_only:
      _make(place, jobs, parts, values.num_workers)
      record = experiment_records.gather(plan, output, shown)
    record["figures"] = experiment_figures.draw(
      plan, record, output, shown, values.data_dir
    )
    page = experiment_report.write(plan, record, shown)
  experiment_index.write(folder)
  print(f"table: {page}")


def _minutes(value):
  if not 0 < value < math.inf:
    raise ValueError(f"--core_minutes={value:g} must be a positive number")
  return value


def _seeds(texts):
  seeds = command_line.integers("--seeds", texts)
  if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
    raise ValueError(
      f"--seeds={','.join(texts)}: give at least one, each once and none "
      "negative, such as 0,1,2, or leave the flag out for the experiment's"
    )
  return seeds


def _check_figures():
  """Refuses now what would fail after the first training."""
  try:
    import matplotlib.figure  # noqa: F401
  except ImportError as error:
    raise ValueError(
      f"an experiment draws figures, which is not possible here ({error}); "
      'pip install "nbody_bench[figures]"'
    ) from None


def _make(place, jobs, parts, num_workers):
  """Makes runs, as many at a time, and writes the table after each."""
  from nbody_bench import (
    experiment_cost,
    experiment_index,
    experiment_records,
    experiment_report,
    experiment_workers,
  )

  lock, began, done = threading.Lock(), time.monotonic(), []
  before = experiment_cost.trainings(place, jobs)
  print(experiment_cost.text(place, before, num_workers), flush=True)

  def work(run):
    _do(place, run, parts)
    with lock:
      done.append(run)
      minutes = (time.monotonic() - began) / 60
      ahead = sum(experiment_cost.trainings(place, jobs).values())
      made = sum(before.values()) - ahead
      print(
        f"{len(done)} of {len(jobs)} runs, {run.label}, after {minutes:.1f} "
        f"min{experiment_cost.left(minutes, made, ahead)}",
        flush=True,
      )
      record = experiment_records.gather(place.plan, place.output, place.shown)
      experiment_report.write(place.plan, record, place.shown)
      experiment_index.write(place.shown.parent)

  experiment_workers.side_by_side(
    work,
    experiment_workers.chains(jobs, place.plan.runs),
    num_workers,
    place.stopping.set,
  )


def _named(flag, rows, values):
  """Returns the rows that a flag names, all if it is not given."""
  known = [row.name for row in rows]
  names = known if values[flag].value is None else values[flag].value
  for name in names:
    if name not in known:
      raise ValueError(
        f"--{flag}: there is no {name!r}, but {', '.join(known) or 'none'}"
      )
  if flag == "runs" and not names:
    raise ValueError(f"--runs names none; give some of {', '.join(known)}")
  return [row for row in rows if row.name in names]


def _do(place, run, parts):
  """Trains all seeds of a run, rolls them out on other tasks, submits."""
  from nbody_bench.experiment_calls import submit

  folder = run.folder(place.output)
  if run.same_as:
    if not (folder / "submission").is_dir():
      print(f"{run.name}: that of {run.same_as}, which is not here")
      return
  else:
    before = next(
      (r for r in place.plan.runs if r.name == run.start_from), None
    )
    if before and not place.kept(run):
      _do(place, before, parts)
    _train(place, run, folder)
  made = [folder] * (not run.same_as)
  made += filter(None, [_evaluate(place, run, part, folder) for part in parts])
  for each in made if place.board else ():
    submit(place, each)


def _train(place, run, folder):
  from nbody_bench import experiment_choice
  from nbody_bench.experiment_calls import call

  seeds = run.seeds(place.plan.seeds)
  if not run.trains:
    arguments = [_AS_IT_IS, f"--version={_version(run, 0, seeds)}"]
    once = dataclasses.replace(run, recipe={})
    call(place, once, folder, seeds, arguments)
    return
  choice = experiment_choice.choose(place, run)
  arguments = [
    f"--train_steps={choice['train_steps']}",
    f"--validate_every={choice['validate_every']}",
    f"--recipe.learning_rate={choice['learning_rate']}",
    f"--recipe.compile={choice['compile']}",
    f"--version={_version(run, choice['train_steps'], seeds)}",
    *place.start(run),
  ]
  call(place, run, folder, seeds, arguments)


def _evaluate(place, run, part, folder):
  """Returns the folder of a further table's roll-outs, None if it has none."""
  from nbody_bench.experiment_calls import call, version

  plan, seeds = place.plan, run.seeds(place.plan.seeds)
  if part.runs and run.name not in part.runs:
    return None
  if part.repeats(run, plan.metrics):
    return None
  other = dataclasses.replace(part.of(run), recipe={})
  into = folder / f"evaluation_{part.name}"
  weights = [f"--start_from={folder}", "--train_steps=0"]
  arguments = weights if run.trains else [_AS_IT_IS]
  arguments.append(f"--timing={part.timing}")
  # On the board beside the run itself, if it is not of the same task.
  name = f"{version(folder)}_{part.name}" if part.config else version(folder)
  arguments.append(f"--version={name}")
  call(place, other, into, seeds, arguments, part.metrics)
  return into


def _version(run, train_steps, seeds):
  """Returns a name for the board, which keeps what it has.

  So that a longer training, or one of other seeds, is another version.
  """
  return f"{run.name}_{train_steps}_steps_seeds_{'_'.join(map(str, seeds))}"


def main(argv=None):
  """Entry point; returns the exit code."""
  return command_line.run(experiment, define, argv, __doc__)


if __name__ == "__main__":
  sys.exit(main())
