"""Builds the static page from the entries of a board."""

import datetime
import json
import pathlib
from typing import Any

import numpy as np

import nbody_bench
from nbody_bench import evaluation
from nbody_bench.files import replace_bytes
from nbody_bench.leaderboard import scoring
from nbody_bench.metrics import METRIC_VERSION

_TEMPLATE = pathlib.Path(__file__).parent / "page.html"
_PREVIEW_FRAMES = 101


def build(board: pathlib.Path, out: pathlib.Path) -> pathlib.Path:
  """Writes `index.html`, which works from a file and fetches nothing.

  Args:
    board: the folder of entries, possibly empty.
    out: folder to write to.

  Returns:
    The page's path.
  """
  data = json.dumps(page_data(board), allow_nan=False)
  # Inside a script element only `<` can end it; as an escape it cannot.
  data = data.replace("<", "\\u003c")
  page = _TEMPLATE.read_text().replace("{{BOARD_DATA}}", data)
  path = out / "index.html"
  replace_bytes(path, page.encode())
  return path


def page_data(board: pathlib.Path) -> dict[str, Any]:
  """Returns what the page shows, as plain data."""
  by_task: dict[str, Any] = {}
  for submission, scores, preview in scoring.entries(board):
    task = by_task.setdefault(submission["task"], _task(scores))
    task["entries"].append(_entry(submission, scores, preview))
  return {
    "title": "nbody_bench leaderboard",
    "version": nbody_bench.__version__,
    "metric_version": METRIC_VERSION,
    "generated": datetime.date.today().isoformat(),
    "tasks": [by_task[k] for k in sorted(by_task)],
  }


def _task(scores):
  task, floor = scores["task"], scores["floor"]
  return {
    "id": task["id"],
    "description": (
      f"Predict {task['num_steps']} steps of the first "
      f"{task['num_trajectories']} trajectories of split {task['split']!r} "
      "from their initial states."
    ),
    "num_trajectories": task["num_trajectories"],
    "num_particles": task["num_particles"],
    "time_step": task["time_step"],
    "horizon": task["num_steps"],
    "report_steps": task["report_steps"],
    "metrics": [_metric(name) for name in scores["scores"]],
    "floor": {name: value["at"] for name, value in floor.items()},
    "floor_curves": {name: value["curve"] for name, value in floor.items()},
    "entries": [],
  }


def _metric(name):
  metric = evaluation.metric(name)
  return {
    "name": name,
    "label": metric.label,
    "unit": "",
    "better": metric.better,
    "cap": metric.cap if np.isfinite(metric.cap) else None,
    "description": metric.description,
  }


def _entry(submission, scores, preview):
  card, training = submission["card"], submission["training"]
  return {
    "key": submission["model_key"],
    "name": card["name"],
    "version": submission["version"],
    "authors": card.get("authors", []),
    "division": card["division"],
    "tier": "re-scored",
    "date": submission["date"],
    "code": card.get("code") or None,
    "paper": card.get("paper") or None,
    "notes": card.get("notes", ""),
    "num_parameters": training["num_parameters"],
    "seeds": [p["seed"] for p in submission["predictions"]],
    "train_steps": training["steps"],
    "train_seconds": training["seconds"],
    "scores": {k: v["at"] for k, v in scores["scores"].items()},
    "claimed": submission["claims"],
    "agrees": not scores["disagreements"] if submission["claims"] else None,
    "curves": {k: v["curve"] for k, v in scores["scores"].items()},
    "timing": _timing(submission.get("timing")),
    "equivariance": submission.get("equivariance"),
    "diverged": scores["diverged"],
    "preview": _thin(preview) if preview else None,
  }


def _timing(timing):
  """Returns what the page shows of a timing, None if it has a fault."""
  if timing is None or timing["faults"]:
    return None
  shown = ("seconds_per_step", "relative_to_leapfrog", "indicative", "batch")
  device = timing["environment"]["device"]
  return {name: timing[name] for name in shown} | {"device": device}


def _thin(preview):
  """Returns at most `_PREVIEW_FRAMES` frames as rounded lists."""
  last = len(preview["time"]) - 1
  frames = np.unique(np.linspace(0, last, _PREVIEW_FRAMES).round().astype(int))

  def rows(x):
    rounded = np.round(x[frames].astype(float), 4)
    return np.where(np.isfinite(rounded), rounded, None).tolist()

  return {
    "box": [float(s) if np.isfinite(s) else None for s in preview["box"]],
    "times": rows(preview["time"]),
    "truth": rows(preview["truth"]),
    "prediction": rows(preview["prediction"]),
  }
