"""What an experiment has measured, run by run and seed by seed.

`results.json` beside `experiment.toml` is the record. A run that is made anew
takes the place of what the record has of it; further seeds, trained for as many
steps with the same settings, join those that are there; all else stays. So the
runs of one experiment may be made on one machine after another, and trained
weights need not be kept.
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from nbody_bench import evaluation, experiment_settings, trials
from nbody_bench.experiments import Experiment, is_score
from nbody_bench.recipes import Recipe

FILE = "results.json"

Row = dict[str, Any]

# A learning curve is drawn from about so many points.
_POINTS = 100
# Of a run: what is shown, or only looked for.
_NO_SETTINGS = (
  *("name", "label", "published", "as_published", "same_as"),
  "learning_rates",
)
_OF_EACH_SEED = ("learning", "scores", "curves")


def gather(
  plan: Experiment, output: pathlib.Path, folder: pathlib.Path
) -> dict[str, Any]:
  """Returns the record, with what is in `output` now.

  Args:
    plan: the experiment.
    output: folder of its runs; those that are not finished are left out.
    folder: of `results.json`, if there is one yet.

  Returns:
    `{"runs": {name: row}, "evaluations": {name: {name of run: row}},
    "figures": [...]}`.

  Raises:
    ValueError: if one was made with other settings than those of the plan.
  """
  before = read(folder)
  record: dict[str, Any] = {
    "runs": {},
    "evaluations": {e.name: {} for e in plan.evaluations},
    "figures": before["figures"],
  }
  for run in plan.runs:
    known = recorded(_where(run, before, folder), run, plan.metrics)
    measured = _measured(run, run.folder(output), plan.metrics)
    joins = bool(known and measured and _same_training(known, measured))
    row = _joined(known, measured) if joins else measured or known
    if row is None:
      continue
    record["runs"][run.name] = row
    for part in plan.evaluations:
      if part.runs and run.name not in part.runs:
        continue
      if part.repeats(run, plan.metrics):
        record["evaluations"][part.name][run.name] = _only(row, part.metrics)
        continue
      # Of weights that are no longer those of the row.
      stale = measured and not joins
      old = before["evaluations"].get(part.name, {}).get(run.name)
      old = None if stale or not known else old
      new = _measured(
        part.of(run),
        run.folder(output) / f"evaluation_{part.name}",
        part.metrics,
        trained=False,
      )
      if old and not _is_of(old, part.of(run), part.metrics):
        old = None
      found = _joined(old, new) if old and new else new or old
      if found:
        record["evaluations"][part.name][run.name] = found
  return record


def read(folder: pathlib.Path) -> dict[str, Any]:
  """Returns the record of a folder, an empty one if there is none."""
  path = folder / FILE
  if not path.is_file():
    return {"runs": {}, "evaluations": {}, "figures": []}
  return json.loads(path.read_text())


def _where(run, record, folder):
  """Returns the record that a run is in: its own, or another experiment's."""
  if not run.same_as:
    return record
  experiment, name = run.same_as.split("/")
  other = read(folder.parent / experiment)["runs"]
  return {"runs": {run.name: other[name]} if name in other else {}}


def recorded(record: Mapping[str, Any], run, metrics) -> Row | None:
  """Returns the row of a run, None if its settings are others by now."""
  row = record["runs"].get(run.name)
  return row if row and _is_of(row, run, metrics) else None


def _is_of(row, run, metrics):
  return row["settings"] == _settings(run) and all(
    set(metrics) <= set(scores) for scores in row["scores"]
  )


def over_seeds(row: Row) -> dict[str, Any]:
  """Returns `{metric: {"at": {step: {"mean", "std"}}}}`."""
  each = [
    {"metrics": {k: {"at": v, "curve": [0.0]} for k, v in s.items()}}
    for s in row["scores"]
  ]
  return evaluation.over_seeds(each)


def _settings(run):
  """Returns what makes two runs the same, but for learning rate and steps."""
  settings = dataclasses.asdict(run)
  for other in _NO_SETTINGS:
    settings.pop(other)
  return json.loads(json.dumps(settings))


def _only(row, metrics):
  """Returns a row with some of its metrics."""
  return {
    **row,
    "learning": [],
    "floor": {k: v for k, v in row["floor"].items() if k in metrics},
    "scores": [{k: s[k] for k in metrics} for s in row["scores"]],
    "curves": [{k: c[k] for k in metrics} for c in row["curves"]],
  }


def _same_training(one, other):
  first, second = one["training"], other["training"]
  return first["steps"] == second["steps"] and (
    _recipe(first["recipe"]) == _recipe(second["recipe"])
  )


def _recipe(told):
  # What recipes can say since it was recorded was as by default.
  return json.loads(json.dumps(dataclasses.asdict(Recipe()))) | told


def _joined(old, new):
  """Returns a row with the seeds of both; those of the new one count."""
  kept = [i for i, s in enumerate(old["seeds"]) if s not in new["seeds"]]
  seeds = [old["seeds"][i] for i in kept] + new["seeds"]
  order = sorted(range(len(seeds)), key=seeds.__getitem__)
  row = {**new, "seeds": [seeds[i] for i in order]}
  for key in _OF_EACH_SEED:
    values = [old[key][i] for i in kept] + new[key]
    row[key] = [values[i] for i in order]
  return row


def _measured(run, folder, metrics, trained=True) -> Row | None:
  """Returns numbers and curves of a finished run, None if it has not."""
  path = folder / "submission" / "submission.json"
  if not path.is_file():
    return None
  submission = json.loads(path.read_text())
  training, timing = submission["training"], submission.get("timing") or {}
  seeds = [p["seed"] for p in submission["predictions"]]
  scores = [
    json.loads((folder / f"seed_{seed}" / "scores.json").read_text())["metrics"]
    for seed in seeds
  ]
  experiment_settings.check(run, folder, metrics, submission, scores, trained)
  choice, floor = folder / trials.CHOICE, folder / "floor.json"
  return {
    "settings": _settings(run),
    "core_minutes": json.loads(choice.read_text())["core_minutes"]
    if choice.is_file()
    else None,
    "training": training,
    "train_seconds_per_step": training.get("seconds_per_step")
    # Of a run whose first seed was there before.
    or training["seconds"] / max(1, training["steps"]),
    "seeds": seeds,
    "ms_per_step": 1e3 * timing["seconds_per_step"] if timing else None,
    **_of_structures(submission),
    "floor": {
      k: v["at"]
      for k, v in (
        json.loads(floor.read_text()) if floor.is_file() else {}
      ).items()
      if k in metrics
    },
    "learning": [_learning(folder / f"seed_{seed}") for seed in seeds],
    "scores": [{k: s[k]["at"] for k in metrics} for s in scores],
    "curves": [
      {k: [_rounded(x) for x in s[k]["curve"]] for k in metrics} for s in scores
    ],
  }


def _learning(folder):
  """Returns `[[step, error in validation], ...]`."""
  log = folder / "metrics.jsonl"
  lines = log.read_text().splitlines() if log.is_file() else []
  found = [
    [entry["step"], _rounded(value)]
    for entry in map(json.loads, lines)
    for name, value in entry.items()
    if is_score(name)
  ]
  every = max(1, len(found) // _POINTS)
  return found[::-1][::every][::-1]


def _of_structures(submission):
  """Returns what only models of forces have, None for others."""
  timing = submission.get("structure_timing") or {}
  symmetry = submission.get("equivariance") or {}
  return {
    "seconds_per_1000_structures": timing.get("seconds_per_1000_structures"),
    "rotation_instability": symmetry.get("rotation_instability"),
  }


def _rounded(x):
  return float(f"{x:.4g}")
