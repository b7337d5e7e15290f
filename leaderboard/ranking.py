"""Ranks of the entries of one task that the data can tell apart.

Entries of one division are compared, two at a time, draw by draw of
`resampling`: one is surely better where it is in 97.5 of 100 draws, the
upper half of a central interval of 95. No correction is made for how many pairs
there are.

What is within three times the error of the labels counts as that: such entries
are at the floor, and none of them is better than another.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from nbody_bench import evaluation
from nbody_bench.leaderboard import resampling

MIN_SEEDS = 3
FLOOR_FACTOR = 3
_SURELY = (1 + resampling.CONFIDENCE) / 2


class Candidate(NamedTuple):
  """What ranking knows of an entry.

  Attributes:
    draws: of `resampling.draws`.
    division: entries of others are not compared with it.
    unranked: why it has no rank, or None.
  """

  draws: Mapping[str, np.ndarray]
  division: str
  unranked: str | None = None


class Standing(NamedTuple):
  """Where an entry stands by one score.

  Attributes:
    first: the best rank that it may have: 1 + number of surely better ones.
    last: the worst one: number of entries - number of surely worse ones.
    group: from 1, over all divisions. Its best entry is not surely better than
      any other of it.
    at_floor: whether the better end of its interval is at the floor.
  """

  first: int
  last: int
  group: int
  at_floor: bool


def why_unranked(
  division: str,
  training: Mapping[str, Any],
  num_seeds: int,
  findings: Sequence[Mapping[str, str]] = (),
) -> str | None:
  """Returns why an entry has no rank, or None if it has.

  What is not trained has one seed, and its trajectories alone are drawn.

  Args:
    division: after findings.
    training: of the submission.
    num_seeds: whose predictions it has.
    findings: of the tests of its arrays.
  """
  for finding in findings:
    if finding["verdict"] == "reject":
      return f"rejected: {finding['reason']}"
  for finding in findings:
    if finding["verdict"] == "unranked":
      return finding["reason"]
  trained = training["steps"] > 0 or training["num_parameters"] > 0
  if (trained or division != "classical") and num_seeds < MIN_SEEDS:
    return f"{num_seeds} of {MIN_SEEDS} training seeds"
  return None


def standings(
  column: str, candidates: Sequence[Candidate], floor: float | None
) -> list[Standing | None]:
  """Returns where each candidate stands, None where it has no rank.

  Args:
    column: the score, `<metric>@<k>`.
    candidates: the entries of one task.
    floor: what the error of the labels alone gives, or None if unknown.
  """
  result: list[Standing | None] = [None] * len(candidates)
  limit, num_groups = _limit(column, floor), 0
  for places in _divisions(column, candidates):
    costs = _costs(column, [candidates[i] for i in places])
    at_floor = np.quantile(costs, 1 - _SURELY, axis=1) <= limit
    costs = np.maximum(costs, limit)
    surely = surely_better(costs)
    groups = tie_groups(np.median(costs, 1), surely)
    for j, i in enumerate(places):
      result[i] = Standing(
        first=1 + int(np.sum(surely[:, j])),
        last=len(places) - int(np.sum(surely[j])),
        group=num_groups + groups[j],
        at_floor=bool(at_floor[j]),
      )
    num_groups += max(groups)
  return result


def surely_better(costs: np.ndarray) -> np.ndarray:
  """Returns `[n, n]`: whether one costs less than another, surely.

  Args:
    costs: `[n, R]`, paired draws; equal ones speak for nobody.
  """
  counts = [np.count_nonzero(one < costs, axis=1) for one in costs]
  return np.array(counts) > _SURELY * costs.shape[1]


def tie_groups(costs: np.ndarray, surely: np.ndarray) -> list[int]:
  """Returns the group of each entry, counted from 1.

  The best of those left leads a group, which reaches to the first entry that
  it is surely better than.

  Args:
    costs: `[n]`, the order.
    surely: `[n, n]` of `surely_better`.
  """
  groups = [0] * len(costs)
  group, leader = 0, -1
  for i in np.argsort(costs, kind="stable"):
    if leader < 0 or surely[leader, i]:
      group, leader = group + 1, int(i)
    groups[i] = group
  return groups


def smallest_difference(
  column: str, candidates: Sequence[Candidate], floor: float | None
) -> float | None:
  """Returns the relative difference that the split can resolve.

  Half the width of the interval of the logarithm of the ratio of two
  neighbours' scores, the median over neighbours, as a relative difference: 0.1
  where two scores must differ by a tenth. None with fewer than two ranked
  entries above the floor in every division.
  """
  limit = _limit(column, floor)
  widths = []
  for places in _divisions(column, candidates):
    drawn = np.array([candidates[i].draws[column] for i in places])
    drawn = drawn[np.quantile(drawn, 1 - _SURELY, axis=1) > limit]
    order = np.argsort(np.median(drawn, 1), kind="stable")
    for one, other in itertools.pairwise(order):
      if np.any(drawn[[one, other]] <= 0):  # has no logarithm
        continue
      low, high = resampling.interval(np.log(drawn[one] / drawn[other]))
      widths.append((high - low) / 2)
  return float(np.expm1(np.median(widths))) if widths else None


def _divisions(column, candidates):
  """Yields the places of the ranked entries of each division."""
  ranked = [
    i
    for i, c in enumerate(candidates)
    if c.unranked is None and column in c.draws
  ]
  for division in sorted({candidates[i].division for i in ranked}):
    yield [i for i in ranked if candidates[i].division == division]


def _limit(column, floor):
  """Returns the cost below which all costs are the same."""
  metric = evaluation.metric(resampling.metric_of(column))
  if floor is None or metric.better == "higher":
    return -np.inf
  return FLOOR_FACTOR * floor


def _costs(column, candidates):
  """Returns draws `[n, R]`, of which less is better."""
  drawn = np.array([c.draws[column] for c in candidates])
  metric = evaluation.metric(resampling.metric_of(column))
  return drawn if metric.better == "lower" else -drawn
