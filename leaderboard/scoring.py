"""Re-scores submissions from their arrays and keeps the results.

An entry of the board is a folder `submissions/<model>/<version>/<task>/` with
`submission.json` as submitted, `scores.json` as re-scored, `values.npz`, what
each seed and trajectory adds to a score, `fingerprint.npz`, by which copies are
known, and `preview.npz`, one roll-out beside the truth. The arrays stay
outside; JSON says where they are, and their hash.
"""

import datetime
import io
import json
import math
import os
import pathlib
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from nbody_bench import (
  evaluation,
  pipelines,
  preparation,
  submissions,
  tables,
  tasks,
)
from nbody_bench.files import replace_bytes, replace_json
from nbody_bench.leaderboard import details, duplicates, honesty
from nbody_bench.leaderboard.evidence import Other
from nbody_bench.metrics import METRIC_VERSION
from nbody_bench.predictions import KINDS

Files = dict[str, dict[str, np.ndarray]]

# Both sides add the same numbers in the same order; room for another machine's
# rounding only.
_AGREEMENT = 1e-6


class Entry(NamedTuple):
  """An entry of the board.

  Attributes:
    submission: content of `submission.json`.
    scores: content of `scores.json`.
    preview: arrays of `preview.npz`.
    values: arrays of `values.npz`, none if it was scored without.
    fingerprint: of `duplicates`, None if it was scored without.
  """

  submission: dict[str, Any]
  scores: dict[str, Any]
  preview: dict[str, np.ndarray]
  values: dict[str, np.ndarray]
  fingerprint: np.ndarray | None

  @property
  def entered(self) -> str:
    """When it came to the board; of the oldest ones the day is known."""
    return self.scores.get("entered", self.submission["date"])

  @property
  def name(self) -> str:
    """`model_key/version`."""
    return f"{self.submission['model_key']}/{self.submission['version']}"


def rescore(
  submission: submissions.Submission,
  data_dir: str | None,
  others: Sequence[Other] = (),
) -> tuple[dict[str, Any], Files]:
  """Recomputes every score of a submission from its arrays.

  Args:
    submission: its arrays must be at hand.
    data_dir: where TFDS keeps its data; the task's data are generated if
      missing.
    others: entries that were there before, which it may be a copy of; nothing
      but findings depends on them.

  Returns:
    The content of `scores.json`, and the arrays of each `.npz` file.

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
  predictions = [
    submissions.read_predictions(
      submission,
      task,
      entry,
      truth.trajectory_id,
      truth.trajectory.state.position.shape[2:],
    )
    for entry in content["predictions"]
  ]
  each = [
    evaluation.values(task, p, truth, problem.system) for p in predictions
  ]
  result = _scores(task, each)
  values = details.of_trajectories(task, each)
  seeds = [entry["seed"] for entry in content["predictions"]]
  # Claims of another version of the metrics say nothing about this one's.
  current = content["metric_version"] == METRIC_VERSION
  wrong = disagreements(content["claims"], result) if current else []
  findings = honesty.findings(
    submission, task, predictions, truth, problem, others, wrong
  )
  return {
    "metric_version": METRIC_VERSION,
    "task": {
      "id": task.id,
      "kind": task.kind,
      "split": task.split,
      "num_trajectories": task.num_trajectories,
      "num_particles": int(truth.trajectory.state.position.shape[2]),
      "num_steps": task.num_steps,
      "time_step": problem.time_step,
      "report_steps": list(task.report_steps),
    },
    "scores": result,
    "survival": details.survival(each, _times(task, truth)),
    "worst": details.worst(task, values, seeds, truth.trajectory_id),
    "diverged": sum(evaluation.diverged(task, p) for p in predictions),
    "floor": evaluation.floor(task, truth, problem.system),
    "disagreements": wrong,
    "findings": findings,
    "division": honesty.division(content["card"]["division"], findings),
  }, {
    "values.npz": values,
    "fingerprint.npz": {
      "fingerprint": duplicates.fingerprint(task, predictions, truth)
    },
    "preview.npz": _preview(predictions[0], truth, task),
  }


def _scores(task, each):
  """Returns scores over all seeds, with what single ones are."""
  summaries = [evaluation.summaries(task, values) for values in each]
  over_seeds = evaluation.over_seeds([{"metrics": s} for s in summaries])
  return {
    name: {
      **score,
      "band": details.band(name, each),
      "per_seed": details.per_seed(name, summaries),
    }
    for name, score in over_seeds.items()
  }


def _times(task, truth):
  kind = KINDS[task.kind]
  return kind.aligned(truth.trajectory, task.num_steps).time


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
    arrays_at: https address, or path relative to the board, that the files of
      `predictions` will be found under; recorded, not read. Empty: they are not
      offered.

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
  others = predecessors([read(f) for f in folders(board)])
  result, files = rescore(submission, data_dir, others)
  now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
  facts = {"arrays_at": arrays_at, "entered": now}
  folder.parent.mkdir(parents=True, exist_ok=True)
  # Beside its place and not in it, so that an entry is there whole or not.
  with tempfile.TemporaryDirectory(dir=board, prefix=".new-") as temporary:
    entry = pathlib.Path(temporary) / "entry"
    replace_json(entry / "submission.json", submission.content)
    write_results(entry, facts | result, files)
    os.replace(entry, folder)
  return folder, result["disagreements"]


def write_results(
  folder: pathlib.Path, scores: Mapping[str, Any], files: Files
) -> None:
  """Writes what `rescore` returned, `scores.json` last."""
  for name, arrays in files.items():
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    replace_bytes(folder / name, buffer.getvalue())
  replace_json(folder / "scores.json", scores)


def folders(board: pathlib.Path) -> list[pathlib.Path]:
  """Returns the folders of all entries, sorted."""
  return sorted(p.parent for p in board.glob("*/*/*/submission.json"))


def entries(board: pathlib.Path) -> list[Entry]:
  """Returns every entry, sorted by folder.

  Raises:
    SubmissionError: if an entry is incomplete, its submission not valid, or its
      scores of another version of the metrics.
  """
  found = []
  for folder in folders(board):
    entry = read(folder)
    version = entry.scores.get("metric_version")
    if version != METRIC_VERSION:
      raise submissions.SubmissionError(
        f"entry {folder} has scores of metric version {version}, this is "
        f"{METRIC_VERSION}; run `leaderboard rescore`, or remove the entry if "
        "its arrays are lost, so that all scores mean the same"
      )
    found.append(entry)
  return found


def read(folder: pathlib.Path) -> Entry:
  """Returns an entry, whatever version its scores are of.

  Raises:
    SubmissionError: if it is incomplete or its submission not valid.
  """
  submission = submissions.load(folder, any_metric_version=True)
  try:
    scores = json.loads((folder / "scores.json").read_text())
    preview = _arrays(folder / "preview.npz")
    # Entries of before there were intervals have no more; they are not ranked.
    values, marks = (
      _arrays(path) if path.exists() else {}
      for path in (folder / "values.npz", folder / "fingerprint.npz")
    )
  except (OSError, ValueError) as error:
    raise submissions.SubmissionError(
      f"entry {folder} is incomplete ({error}); remove it and submit again"
    ) from None
  return Entry(
    dict(submission.content), scores, preview, values, marks.get("fingerprint")
  )


def predecessors(
  entries: Sequence[Entry], of: Entry | None = None
) -> list[Other]:
  """Returns the entries that were on the board before one of them, or all."""

  def order(entry):
    return entry.entered, entry.name, entry.submission["task"]

  return [
    Other(
      f"{entry.name}/{entry.submission['task'].replace('/', '-')}",
      [p["sha256"] for p in entry.submission["predictions"]],
      entry.fingerprint,
    )
    for entry in entries
    if of is None or order(entry) < order(of)
  ]


def _arrays(path):
  with np.load(path, allow_pickle=False) as file:
    return dict(file)


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
