"""Re-scores submissions from their arrays and keeps the results.

An entry of the board is a folder `submissions/<model>/<version>/<task>/` with
`submission.json` as submitted, `scores.json` as re-scored and `preview.npz`,
one roll-out beside the truth. The arrays stay outside; JSON says where they
are, and their hash.
"""

import json
import math
import os
import pathlib
import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from nbody_bench import (
  evaluation,
  pipelines,
  preparation,
  submissions,
  tables,
  tasks,
)
from nbody_bench.files import replace_json
from nbody_bench.metrics import METRIC_VERSION

# Both sides add the same numbers in the same order; room for another machine's
# rounding only.
_AGREEMENT = 1e-6


def rescore(
  submission: submissions.Submission, data_dir: str | None
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
  """Recomputes every score of a submission from its arrays.

  Args:
    submission: its arrays must be at hand.
    data_dir: where TFDS keeps its data; the task's data are generated if
      missing.

  Returns:
    The content of `scores.json`, and the arrays of `preview.npz`.

  Raises:
    SubmissionError: if arrays are missing, changed, or not the task's.
  """
  content = submission.content
  submissions.check_files(submission)
  dataset = content["task"].rsplit("/", 1)[0]
  try:
    preparation.prepare(dataset, data_dir)
    task = tasks.from_id(content["task"], data_dir)
  except ValueError as error:
    raise submissions.SubmissionError(f"task: {error}") from None
  if content["dataset_version"] != task.version:
    raise submissions.SubmissionError(
      f"dataset_version: {content['dataset_version']} was submitted, the board "
      f"has {task.version}; run the model on that version"
    )
  problem = pipelines.problem(dataset, data_dir)
  truth = pipelines.load(dataset, task.split, data_dir, task.num_trajectories)
  truth = task.cut(truth).after(problem.num_context_frames)
  scores: list[dict[str, Any]] = []
  preview: dict[str, np.ndarray] = {}
  for entry in content["predictions"]:
    prediction = submissions.read_predictions(
      submission,
      task,
      entry,
      truth.trajectory_id,
      truth.trajectory.state.position.shape[2:],
    )
    scores.append(evaluation.score(task, prediction, truth, problem.system))
    preview = preview or _preview(prediction, truth, task)
  floor = evaluation.floor(task, truth, problem.system)
  return {
    "metric_version": METRIC_VERSION,
    "task": {
      "id": task.id,
      "split": task.split,
      "num_trajectories": task.num_trajectories,
      "num_particles": int(truth.trajectory.state.position.shape[2]),
      "num_steps": task.num_steps,
      "time_step": problem.time_step,
      "report_steps": list(task.report_steps),
    },
    "scores": evaluation.over_seeds(scores),
    "diverged": sum(s["diverged"] for s in scores),
    "floor": floor,
    "disagreements": disagreements(
      content["claims"], evaluation.over_seeds(scores)
    ),
  }, preview


def disagreements(
  claims: Mapping[str, Any], scores: Mapping[str, Any]
) -> list[str]:
  """Returns the claimed numbers that re-scoring does not confirm."""
  found = []
  for name, steps in claims.items():
    for k, claim in steps.items():
      actual = scores.get(name, {}).get("at", {}).get(k)
      if actual is None:  # the author's own extra step or metric
        continue
      for part in ("mean", "std"):
        one, other = claim[part], actual[part]
        if (one is None) != (other is None) or (
          one is not None
          and not math.isclose(one, other, rel_tol=_AGREEMENT, abs_tol=1e-12)
        ):
          found.append(f"{name} @{k} {part}: claimed {one}, is {other}")
  return found


def table(submission: submissions.Submission, result: Mapping[str, Any]) -> str:
  """Returns claimed and re-scored numbers side by side, as text."""
  rows = [["", "claimed", "re-scored", "label error"]]
  for name, score in result["scores"].items():
    metric = evaluation.metric(name)
    for k, value in score["at"].items():
      claim = submission.content["claims"].get(name, {}).get(k)
      rows.append(
        [
          f"{metric.label} @{k}",
          tables.spread(claim) if claim else "-",
          tables.spread(value),
          tables.floor_of(result["floor"], name, k),
        ]
      )
  return f"{submission.key}\n{tables.align(rows)}"


def board_tables(board: pathlib.Path) -> list[str]:
  """Returns the re-scored numbers of all entries, a table for each task."""
  by_task: dict[str, Any] = {}
  for submission, scores, _ in entries(board):
    names, _ = by_task.setdefault(submission["task"], ({}, scores["floor"]))
    name = f"{submission['model_key']} v{submission['version']}"
    names[name] = scores["scores"]
  return [
    tables.scores(task, names, floor)
    for task, (names, floor) in sorted(by_task.items())
  ]


def submit(
  submission: submissions.Submission,
  board: pathlib.Path,
  data_dir: str | None,
  arrays_at: str = "",
) -> tuple[pathlib.Path, list[str]]:
  """Re-scores a submission and puts it on the board.

  Args:
    submission: to enter.
    board: the folder of entries.
    data_dir: where TFDS keeps its data.
    arrays_at: https address or path that the files of `predictions` will be
      found under; recorded, not read. Empty: they are not offered.

  Returns:
    The entry's folder, and the claims that re-scoring does not confirm.

  Raises:
    SubmissionError: as `rescore`, or if the entry exists already.
  """
  folder = board / submission.key
  if folder.exists():
    raise submissions.SubmissionError(
      f"{submission.key} is on the board already; submit under another version"
    )
  result, preview = rescore(submission, data_dir)
  folder.parent.mkdir(parents=True, exist_ok=True)
  # Beside its place and not in it, so that an entry is there whole or not.
  with tempfile.TemporaryDirectory(dir=board, prefix=".new-") as temporary:
    entry = pathlib.Path(temporary) / "entry"
    replace_json(entry / "submission.json", submission.content)
    replace_json(entry / "scores.json", {"arrays_at": arrays_at, **result})
    with (entry / "preview.npz").open("wb") as file:
      np.savez_compressed(file, **preview)  # type: ignore[arg-type]
    os.replace(entry, folder)
  return folder, result["disagreements"]


def entries(board: pathlib.Path) -> list[tuple[dict, dict, dict]]:
  """Returns (submission, scores, preview) of every entry, sorted by folder.

  Raises:
    SubmissionError: if an entry is incomplete or its submission not valid.
  """
  found = []
  for path in sorted(board.glob("*/*/*/submission.json")):
    submission = submissions.load(path.parent)
    try:
      scores = json.loads((path.parent / "scores.json").read_text())
      with np.load(path.parent / "preview.npz", allow_pickle=False) as file:
        preview = dict(file)
    except (OSError, ValueError) as error:
      raise submissions.SubmissionError(
        f"entry {path.parent} is incomplete ({error}); remove it and submit "
        "again"
      ) from None
    if scores.get("metric_version") != METRIC_VERSION:
      raise submissions.SubmissionError(
        f"entry {path.parent} has scores of metric version "
        f"{scores.get('metric_version')}, this is {METRIC_VERSION}; remove it "
        "and submit again, so that all scores mean the same"
      )
    found.append((dict(submission.content), scores, preview))
  return found


def _preview(state, truth, task):
  """Returns the first trajectory's positions, predicted and true.

  Nothing of predictions that are no motion.
  """
  if task.kind == "forces":
    return {}
  steps = slice(1, task.num_steps + 1)
  return {
    "prediction": state.position[0],
    "truth": truth.trajectory.state.position[0, steps].astype(np.float32),
    "time": truth.trajectory.time[steps],
    "box": truth.trajectory.domain.box[0],
  }
