"""Intervals and ranks of all entries of one task."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from nbody_bench import evaluation, tables
from nbody_bench.leaderboard import composite, ranking, resampling
from nbody_bench.leaderboard.entries import Entry


class Standings(NamedTuple):
  """Where the entries of a task stand; lists are in their order.

  Attributes:
    intervals: `{"<metric>@<k>": (low, high)}` of each entry.
    ranks: of each entry and score, `{"<metric>@<k>": Standing or None}`.
    unranked: why an entry has no rank, or None.
    smallest_difference: of each score, see `ranking.smallest_difference`.
  """

  intervals: list[dict[str, tuple[float, float]]]
  ranks: list[dict[str, ranking.Standing | None]]
  unranked: list[str | None]
  smallest_difference: dict[str, float | None]


def of_task(entries: Sequence[Entry]) -> Standings:
  """Returns where entries, all of one task, stand.

  An entry's intervals follow from its own values alone.
  """
  newest = max(map(_version, entries))
  candidates = [_candidate(entry, newest) for entry in entries]
  floor = floor_of(entries)
  columns = _columns(entries)
  ranks = {
    c: ranking.standings(c, candidates, _floor(floor, c)) for c in columns
  }
  return Standings(
    intervals=[
      {c: resampling.interval(x) for c, x in candidate.draws.items()}
      for candidate in candidates
    ],
    ranks=[{c: ranks[c][i] for c in columns} for i in range(len(entries))],
    unranked=[candidate.unranked for candidate in candidates],
    smallest_difference={
      c: ranking.smallest_difference(c, candidates, _floor(floor, c))
      for c in columns
    },
  )


def text(entries: Sequence[Entry]) -> str:
  """Returns the scores and ranks of entries, all of one task, as text."""
  scores = {entry.name: entry.scores["scores"] for entry in entries}
  of_scores = tables.scores(
    entries[0].submission["task"], scores, floor_of(entries)
  )
  return f"{of_scores}\n\n{_table(entries, of_task(entries))}"


def _table(entries, standings):
  """Returns ranks by the first metric, that most have, at the last step."""
  names = metrics(entries)
  first = max(
    names, key=lambda n: sum(n in e.scores["scores"] for e in entries)
  )
  at = resampling.column(first, entries[0].scores["task"]["report_steps"][-1])
  rows = [["", "division", f"rank by {at}", "composite"]]
  for i, entry in enumerate(entries):
    rank = rank_text(standings.ranks[i][at])
    why = standings.unranked[i] or "not scored by it"
    rows.append(
      [
        entry.name,
        division(entry),
        f"{rank} ({why})" if rank == "-" else rank,
        _composite_text(entry, names),
      ]
    )
  return tables.align(rows)


def _composite_text(entry, names):
  """Returns the composite, and which of the board's metrics it is without."""
  scores = entry.scores["scores"]
  total = composite.composite(scores)
  if total is None:
    return "-"
  absent = [n for n in names if n in composite.SCALES and n not in scores]
  labels = ", ".join(evaluation.metric(n).label for n in absent)
  return f"{total:.3f} (without {labels})" if absent else f"{total:.3f}"


def rank_text(standing: ranking.Standing | None) -> str:
  """Returns a rank or its interval as text, "-" if there is none."""
  if standing is None:
    return "-"
  first, last = standing.first, standing.last
  text = f"{first}" if first == last else f"{first}-{last}"
  return f"{text} at floor" if standing.at_floor else text


def division(entry: Entry) -> str:
  """Returns the division of an entry after the tests of its arrays."""
  own = entry.submission["card"]["division"]
  return entry.scores.get("division", own)


def _candidate(entry, newest):
  task = entry.submission["task"]
  unranked = ranking.why_unranked(
    division(entry),
    entry.submission["training"],
    len(entry.submission["predictions"]),
    entry.scores.get("findings", ()),
  )
  if unranked is None and _version(entry) != newest:
    own = entry.submission["dataset_version"]
    unranked = f"of version {own} of the data, which is not the newest"
  draws = resampling.draws(task, entry.name, entry.values)
  return ranking.Candidate(draws, division(entry), unranked)


def _version(entry):
  return tuple(map(int, entry.submission["dataset_version"].split(".")))


def metrics(entries: Sequence[Entry]) -> list[str]:
  """Returns the names of all metrics that entries, all of one task, have.

  One that was added to the task later is missing in entries from before whose
  arrays are lost.
  """
  return list(dict.fromkeys(n for e in entries for n in e.scores["scores"]))


def floor_of(entries: Sequence[Entry]) -> dict[str, Any]:
  """Returns what label errors alone give by all metrics that entries have."""
  return {k: v for e in entries for k, v in e.scores["floor"].items()}


def _columns(entries):
  """Returns `<metric>@<k>` of all scores."""
  return [
    resampling.column(name, k)
    for name in metrics(entries)
    for k in map(str, entries[0].scores["task"]["report_steps"])
  ]


def _floor(floor, column):
  name, _, k = column.partition("@")
  return floor[name]["at"][k] if name in floor else None
