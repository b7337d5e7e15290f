"""Scores a whole board anew and says whose rank has changed."""

import itertools
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from nbody_bench import plugins, submissions, tables
from nbody_bench.leaderboard import (
  cases,
  claims,
  entries,
  fetching,
  resampling,
  scoring,
  standings,
)
from nbody_bench.metrics import METRIC_VERSION


class Result(NamedTuple):
  """What re-scoring a board came to.

  Attributes:
    changes: a table of changed ranks.
    num_entries: of the board.
    num_done: that were re-scored.
    left: entries that were left as they are, and why.
    wrong: what is wrong.
  """

  changes: str
  num_entries: int
  num_done: int
  left: list[str]
  wrong: list[str]


def rescore(board: pathlib.Path, data_dir: str | None) -> Result:
  """Re-scores all entries whose arrays are at hand.

  Also those whose scores are of this version of the metrics: theirs must come
  out the same.

  Args:
    board: the folder of entries; a path under which arrays lie is relative to
      it.
    data_dir: where TFDS keeps its data.

  Raises:
    SubmissionError: if an entry is incomplete or its submission not valid.
  """
  folders = entries.folders(board)
  before = entries.all_of(board)
  num_done, left, wrong = 0, [], []
  for folder, entry in zip(folders, before, strict=True):
    key = folder.relative_to(board).as_posix()
    at = entry.scores["arrays_at"]
    others = entries.predecessors(before, entry)
    try:
      with fetching.at_hand(entry.submission, at, board) as submission:
        case = cases.read(submission, data_dir)
        result, files = scoring.rescore(case, others)
    except fetching.NotAtHandError as error:
      left.append(f"{key}: {error}")
      continue
    except submissions.SubmissionError as error:
      wrong.append(f"{key}: {error}")
      continue
    if entry.scores["metric_version"] == METRIC_VERSION:
      old = {name: s["at"] for name, s in entry.scores["scores"].items()}
      drifted = claims.disagreements(old, result["scores"])
      wrong += [f"{key}: of the same version, {line}" for line in drifted]
    # What was found out when it was entered, of the same arrays.
    facts = {"arrays_at": at, "entered": entry.entered}
    facts |= {k: v for k, v in entry.scores.items() if k == "reproduced"}
    entries.write(folder, facts | result, files)
    num_done += 1
  changes = rank_changes(before, entries.all_of(board))
  return Result(changes, len(before), num_done, left, wrong)


def rank_changes(
  before: Sequence[entries.Entry], after: Sequence[entries.Entry]
) -> str:
  """Returns a table of the ranks that differ between two states of a board.

  Args:
    before: entries, scored by any version of the metrics.
    after: the same entries, in the same order.
  """
  rows = [["", "score", "before", "after"]]
  old, new = _ranks(before), _ranks(after)
  for key, columns in new.items():
    for column in sorted(columns | old[key]):
      ranks = [r[key].get(column, "-") for r in (old, new)]
      if ranks[0] != ranks[1]:
        rows.append([key, column, *ranks])
  return tables.align(rows) if len(rows) > 1 else "no rank has changed"


def _ranks(found):
  """Returns `{entry and task: {score: rank as text}}`."""
  known = set(plugins.names("metrics"))
  ranks = {}
  by_task = sorted(found, key=lambda e: e.submission["task"])
  for task, group in itertools.groupby(
    by_task, key=lambda e: e.submission["task"]
  ):
    # A metric that is gone ranks nobody.
    same = [_of_metrics(entry, known) for entry in group]
    for entry, of_entry in zip(
      same, standings.of_task(same).ranks, strict=True
    ):
      ranks[f"{entry.name} on {task}"] = {
        c: standings.rank_text(s) for c, s in of_entry.items()
      }
  return ranks


def _of_metrics(entry, known):
  scores = entry.scores["scores"]
  kept = {name: s for name, s in scores.items() if name in known}
  return entry._replace(
    scores=entry.scores | {"scores": kept},
    values={
      c: x for c, x in entry.values.items() if resampling.metric_of(c) in known
    },
  )
