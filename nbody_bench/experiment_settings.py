"""What a run is told, and whether one that is finished was told the same.

A finished run is not made again, and its numbers are recorded beside what the
experiment says of it now.
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags as absl_flags

from nbody_bench import plugins, trials
from nbody_bench.experiments import Run

# Of a training of so many minutes; the choice says them.
_CHOSEN = ("train_steps", "learning_rate", "compile")


def flags(run: Run, metrics: Sequence[str]) -> list[str]:
  """Returns the flags of `nbody_bench.run` that say what a run is.

  Args:
    run: a row of an experiment.
    metrics: to score.
  """
  return [
    f"--model={run.model}",
    f"--dataset={run.dataset}",
    f"--task={run.task}",
    f"--checkpoint={run.checkpoint}",
    f"--rollout_steps={_text(run.rollout_steps)}",
    f"--metrics={_text(metrics)}",
    *(f"--config.{k}={_text(v)}" for k, v in run.config.items()),
    *(
      f"--{'' if k == 'batch_size' else 'recipe.'}{k}={_text(v)}"
      for k, v in run.recipe.items()
    ),
  ]


def check(
  run: Run,
  folder: pathlib.Path,
  metrics: Sequence[str],
  made: Mapping[str, Any],
  scores: Sequence[Mapping[str, Any]],
  trained: bool,
) -> None:
  """Refuses a finished run that is not what is asked for.

  Args:
    run: what is asked for.
    folder: of the finished one.
    metrics: asked for.
    made: its `submission.json`.
    scores: the metrics in its `scores.json`, of each seed.
    trained: whether it was trained there; else only rolled out.

  Raises:
    ValueError: naming what differs, both values, and the way out.
  """
  different = list(_differences(run, folder, metrics, made, scores, trained))
  if not different:
    return
  found = " and another ".join(f"{k}: {a}, not {b}" for k, a, b in different)
  mend = f"choose another --output_dir or remove {folder}"
  if all(name == "metrics" for name, _, _ in different):
    mend = f"choose another --output_dir, or remove {folder / 'submission'} "
    mend += "to have it scored anew"
  raise ValueError(f"{folder} was made with another {found}; {mend}")


def _differences(run, folder, metrics, made, scores, trained):
  """Yields (what differs, as it was made, as it is asked for)."""
  model = plugins.load_model(run.model)
  if made["model_key"] != model.key:
    # What else differs is for that reason.
    yield "model", made["model_key"], model.key
    return
  task = made["task"].rstrip("0123456789")
  if task != f"{run.dataset}/{run.task}":
    yield "task", task, f"{run.dataset}/{run.task}"
  learned = trained and run.trains
  steps = learned and (run.train_steps or _chosen_steps(folder))
  # What is only rolled out is told no recipe.
  asked = _asked(run if learned else dataclasses.replace(run, recipe={}), steps)
  default = model.config()
  yield from _different("config.", made["config"], asked.config, default)
  training = made["training"]
  if training["checkpoint"] != run.checkpoint:
    yield "checkpoint", training["checkpoint"], run.checkpoint
  if learned:
    recipe = training["recipe"]
    free = () if run.train_steps else _CHOSEN
    yield from _different("recipe.", recipe, asked.recipe, model.recipe, free)
    if not run.train_steps and recipe["train_steps"] != steps:
      fit = steps or "what fits in the core-minutes"
      yield "train_steps", recipe["train_steps"], fit
    start = _start(folder / f"seed_{made['predictions'][0]['seed']}")
    if start != run.start_from:
      yield "start_from", start or "none", run.start_from or "none"
  yield from _scored(asked.report_steps, metrics, scores)


def _different(prefix, before, asked, default, free=()):
  # JSON has no tuples. What the model can be told since was as by default.
  now, then = (
    json.loads(json.dumps(dataclasses.asdict(x))) for x in (asked, default)
  )
  then |= before
  for name, value in now.items():
    if name not in free and then[name] != value:
      label = name if name == "train_steps" else f"{prefix}{name}"
      yield label, then[name], value


def _scored(steps, metrics, scores):
  missing = [m for m in metrics if any(m not in each for each in scores)]
  if missing:
    yield "metrics", _text(sorted(scores[0])), _text(metrics)
  found = {
    int(k) for s in scores for m in metrics if m in s for k in s[m]["at"]
  }
  if steps and found and found != set(steps):
    yield "rollout_steps", _text(sorted(found)), _text(sorted(set(steps)))


def _asked(run, train_steps):
  """Returns the `harness.Settings` that a run asks for, as flags are read."""
  from nbody_bench import run as command

  argv = ["run", "--output_dir=.", *flags(run, ())]
  if train_steps:
    argv.append(f"--train_steps={train_steps}")
  values = absl_flags.FlagValues()
  command.define(values, argv)
  return command.settings(values, values(argv)[1:])


def _chosen_steps(folder):
  path = folder / trials.CHOICE
  return json.loads(path.read_text())["train_steps"] if path.is_file() else None


def _start(folder):
  """Returns the name of the row whose weights a seed began with, if any."""
  described = json.loads((folder / "config.json").read_text())
  return pathlib.Path(described.get("start_from") or "").name


def _text(value):
  if isinstance(value, (list, tuple)):
    return ",".join(map(str, value))
  return str(value)
