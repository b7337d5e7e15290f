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
from nbody_bench.files import replace_bytes, replace_json
from nbody_bench.leaderboard.evidence import Other
from nbody_bench.metrics import METRIC_VERSION

Files = dict[str, dict[str, np.ndarray]]


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


def write(
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
