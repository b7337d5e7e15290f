"""Builds the static page from the entries of a board."""

import datetime
import itertools
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

import nbody_bench
from nbody_bench import evaluation
from nbody_bench.leaderboard import (
  details,
  entries,
  previews,
  site,
  standings,
  units,
)
from nbody_bench.leaderboard.composite import SCALES
from nbody_bench.leaderboard.entries import Entry
from nbody_bench.metrics import METRIC_VERSION

_DESCRIPTIONS = {
  "motion": (
    "Predict the first {num_trajectories} trajectories of split '{split}', "
    "each from its given state."
  ),
  "forces": (
    "Predict the forces on the atoms of the first {num_trajectories} "
    "structures of split '{split}'."
  ),
  "relaxation": (
    "Relax the first {num_trajectories} structures of split '{split}' by the "
    "predicted forces."
  ),
}
# What the checks of `honesty` can tell from the arrays.
_STEPS_CHECKED = (
  "Honesty checks compare every step with the law of the data here: labels, "
  "solvers, and parts or trajectories of another origin leave traces, unless "
  "the motion is too tame."
)
_NO_STEPS_CHECKED = (
  "Honesty checks have no sequence of steps under a known law here: labels "
  "with a little noise cannot be told from a good model, and a rank rests on "
  "its authors' word until the entry is marked reproduced."
)


def build(board: pathlib.Path, out: pathlib.Path) -> pathlib.Path:
  """Writes the page, which works from a file and fetches nothing, and its API.

  Args:
    board: the folder of entries, possibly empty.
    out: folder to write to.

  Returns:
    The page's path.
  """
  return site.write(page_data(board), out)


def page_data(board: pathlib.Path) -> dict[str, Any]:
  """Returns what the page shows, as plain data."""
  return {
    "title": "nbody_bench leaderboard",
    "version": nbody_bench.__version__,
    "metric_version": METRIC_VERSION,
    "generated": datetime.date.today().isoformat(),
    "scales": SCALES,
    "tasks": [_task(found) for found in by_task(board)],
  }


def by_task(board: pathlib.Path) -> list[list[Entry]]:
  """Returns the entries of each task, sorted by its id."""

  def task(entry):
    return entry.submission["task"]

  found = sorted(entries.scored(board), key=task)
  return [list(group) for _, group in itertools.groupby(found, key=task)]


def _task(found):
  stands = standings.of_task(found)
  task, floor = found[0].scores["task"], standings.floor_of(found)
  dataset = task["id"].rpartition("/")[0]
  names = standings.metrics(found)
  # The metric that is given where the law can be asked for every step.
  is_checked = "local_defect" in names
  return {
    "id": task["id"],
    "description": _DESCRIPTIONS[task["kind"]].format(**task),
    "checks": _STEPS_CHECKED if is_checked else _NO_STEPS_CHECKED,
    "dataset": dataset,
    "name": task["id"].rpartition("/")[2].removesuffix(str(task["num_steps"])),
    "kind": task["kind"],
    "num_trajectories": task["num_trajectories"],
    "num_particles": task["num_particles"],
    "times": task["times"],
    "time_unit": units.of_time(dataset),
    "horizon": task["num_steps"],
    "report_steps": task["report_steps"],
    "metrics": [_metric(name, dataset) for name in names],
    "floor": {name: value["at"] for name, value in floor.items()},
    "floor_curves": {
      name: _curve(value["curve"]) for name, value in floor.items()
    },
    "smallest_difference": _by_metric(stands.smallest_difference),
    "entries": [_entry(entry, stands, i) for i, entry in enumerate(found)],
  }


def _metric(name, dataset):
  metric = evaluation.metric(name)
  return {
    "name": name,
    "label": metric.label,
    "unit": units.of_metric(name, dataset),
    "better": metric.better,
    "cap": metric.cap if np.isfinite(metric.cap) else None,
    "description": metric.description,
  }


def _entry(entry, stands, i):
  submission, scores = entry.submission, entry.scores
  card, training = submission["card"], submission["training"]
  ranks = stands.ranks[i]
  return {
    "key": submission["model_key"],
    "name": card["name"],
    "version": submission["version"],
    "authors": card.get("authors", []),
    "division": standings.division(entry),
    "claimed_division": card["division"],
    "tier": "reproduced" if "reproduced" in scores else "re-scored",
    "reproduced": scores.get("reproduced"),
    "date": submission["date"],
    "code": card.get("code") or None,
    "paper": card.get("paper") or None,
    "notes": card.get("notes", ""),
    "num_parameters": training["num_parameters"],
    "seeds": [p["seed"] for p in submission["predictions"]],
    "train_steps": training["steps"],
    "train_seconds": training["seconds"],
    "config": submission["config"],
    "recipe": training.get("recipe"),
    "started_from": training.get("started_from"),
    "checkpoint": training.get("checkpoint"),
    "validate_every": training.get("validate_every"),
    "physics_given": card.get("physics_given", []),
    "symmetries": card.get("symmetries", []),
    "scores": _scores(scores["scores"], _by_metric(stands.intervals[i])),
    "ranks": _by_metric({c: r and [r.first, r.last] for c, r in ranks.items()}),
    "unranked": stands.unranked[i],
    "ties": _by_metric({c: r and r.group for c, r in ranks.items()}),
    "at_floor": _by_metric({c: r and r.at_floor for c, r in ranks.items()}),
    "claimed": submission["claims"],
    "agrees": not scores["disagreements"] if submission["claims"] else None,
    "findings": scores["findings"],
    "curves": {k: v["curve"] for k, v in scores["scores"].items()},
    "bands": {k: v["band"] for k, v in scores["scores"].items()},
    "survival": _curve(scores["survival"]),
    "timing": _timing(submission.get("timing")),
    "timing_faults": (submission.get("timing") or {}).get("faults", []),
    "equivariance": submission.get("equivariance"),
    "diverged": scores["diverged"],
    "worst": scores["worst"],
    "preview": previews.page_data(entry.preview, scores["task"]["times"]),
    "per_seed": {k: v["per_seed"] for k, v in scores["scores"].items()},
    "arrays": addresses(submission, scores),
  }


def addresses(
  submission: Mapping[str, Any], scores: Mapping[str, Any]
) -> list[str]:
  """Returns where the arrays of an entry are offered, empty if nowhere."""
  if scores["arrays_at"]:
    return [scores["arrays_at"]]
  files = submission["predictions"]
  return [file["url"] for file in files if file.get("url")]


def _scores(scores, intervals):
  """Returns mean, spread and the ends of the interval, null if unknown."""
  result = {}
  for name, score in scores.items():
    ends = intervals.get(name, {})
    result[name] = {}
    for k, value in score["at"].items():
      low, high = ends.get(k, (None, None))
      result[name][k] = value | {"low": low, "high": high}
  return result


def _by_metric(columns):
  """Returns `{metric: {k: value}}` of `{"<metric>@<k>": value}`."""
  nested: dict[str, dict[str, Any]] = {}
  for column, value in columns.items():
    name, _, k = column.partition("@")
    nested.setdefault(name, {})[k] = value
  return nested


def _curve(values):
  return [details.rounded(x) for x in values]


def _timing(timing):
  """Returns what the page shows of a timing, None if it has a fault."""
  if timing is None or timing["faults"]:
    return None
  shown = ("seconds_per_step", "relative_to_leapfrog", "indicative", "batch")
  # Against the cheapest integrator that is as accurate; none may be.
  equal = timing.get("equal_error") or {}
  return {name: timing[name] for name in shown} | {
    "device": timing["environment"]["device"],
    "speed_up": equal.get("speed_up"),
    "speed_up_over": equal.get("integrator"),
  }
