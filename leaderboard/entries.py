"""The entries of a board, as files.

An entry is a folder `submissions/<model>/<version>/<task>/` with
`submission.json` as submitted, `scores.json` as re-scored, `values.npz`, what
each seed and trajectory adds to a score, `fingerprint.npz`, by which copies are
known, and `preview.npz`, roll-outs beside the truth. The arrays stay outside;
JSON says where they are, and their hash.
"""

import io
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from nbody_bench import submissions
from nbody_bench.files import replace_bytes
from nbody_bench.leaderboard import entry_checks
from nbody_bench.leaderboard.evidence import Other
from nbody_bench.metrics import METRIC_VERSION

Files = dict[str, dict[str, np.ndarray]]


class Entry(NamedTuple):
  """An entry of the board.

  Attributes:
    submission: content of `submission.json`.
    scores: content of `scores.json`.
    preview: arrays of `preview.npz`.
    values: arrays of `values.npz`, `[S, B]` of each score.
    fingerprint: of `duplicates`.
  """

  submission: dict[str, Any]
  scores: dict[str, Any]
  preview: dict[str, np.ndarray]
  values: dict[str, np.ndarray]
  fingerprint: np.ndarray

  @property
  def entered(self) -> str:
    """When it came to the board."""
    return self.scores["entered"]

  @property
  def name(self) -> str:
    """`model_key/version`."""
    return f"{self.submission['model_key']}/{self.submission['version']}"

  @property
  def key(self) -> str:
    """That of its submission, `model_key/version/task`."""
    return f"{self.name}/{self.submission['task'].replace('/', '-')}"


def write(
  folder: pathlib.Path, scores: Mapping[str, Any], files: Files
) -> None:
  """Writes what `rescore` returned, `scores.json` last."""
  for name, arrays in files.items():
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    replace_bytes(folder / name, buffer.getvalue())
  # Thousands of numbers of curves, a line each, are of no use to a reader.
  text = json.dumps(scores, allow_nan=False, separators=(",", ":"))
  replace_bytes(folder / "scores.json", text.encode())


def folders(board: pathlib.Path) -> list[pathlib.Path]:
  """Returns the folders of all entries, sorted."""
  return sorted(p.parent for p in board.glob("*/*/*/submission.json"))


def scored(board: pathlib.Path) -> list[Entry]:
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


def all_of(board: pathlib.Path) -> list[Entry]:
  """Returns every entry, whatever version its scores are of.

  Raises:
    SubmissionError: as `read`.
  """
  return [read(folder) for folder in folders(board)]


def read(folder: pathlib.Path) -> Entry:
  """Returns an entry, whatever version its scores are of.

  Raises:
    SubmissionError: if it is incomplete, or not what the board writes.
  """
  submission = dict(submissions.load(folder, any_metric_version=True).content)
  num_seeds = len(submission["predictions"])
  try:
    scores = entry_checks.read_scores(folder / "scores.json")
    preview, values, marks = (
      entry_checks.read_arrays(folder / name)
      for name in ("preview.npz", "values.npz", "fingerprint.npz")
    )
    if scores["task"]["id"] != submission["task"]:
      raise submissions.SubmissionError("scores.json: is of another task")
    entry_checks.check_values(values, scores, num_seeds)
    entry_checks.check_preview(preview, scores["task"]["kind"] == "motion")
    fingerprint = entry_checks.check_fingerprint(marks, num_seeds)
  except (OSError, submissions.SubmissionError) as error:
    raise submissions.SubmissionError(
      f"entry {folder} is not as the board wrote it ({error}); remove it and "
      "submit again"
    ) from None
  return Entry(submission, scores, preview, values, fingerprint)


def predecessors(
  entries: Sequence[Entry], of: Entry | None = None
) -> list[Other]:
  """Returns the entries that were on the board before one of them, or all."""

  def order(entry):
    return entry.entered, entry.name, entry.submission["task"]

  return [
    Other(
      entry.key,
      [p["sha256"] for p in entry.submission["predictions"]],
      entry.submission["config"],
      entry.fingerprint,
    )
    for entry in entries
    if of is None or order(entry) < order(of)
  ]
