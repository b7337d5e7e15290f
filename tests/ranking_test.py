"""Intervals hold as often as they say, and ranks say no more than they may."""

import pathlib
import re

import numpy as np
import pytest

from nbody_bench import evaluation, plugins, tasks
from nbody_bench.leaderboard import (
  build,
  composite,
  entries,
  ranking,
  resampling,
)
from nbody_bench.leaderboard import standings as standing
from nbody_bench.metrics import METRIC_VERSION

TASK = "nbody_gravity/smoke/rollout40"
LOWER, HIGHER = "energy_error@40", "time_to_failure@40"
BOARD = pathlib.Path(__file__).parent.parent / "leaderboard" / "submissions"


def values(seed, scale=1.0, num_seeds=3, num_trajectories=100, spread=0.1):
  """Errors `[S, B]` of which trajectories tell more than seeds do."""
  shared = np.random.default_rng(0).normal(size=(1, num_trajectories))
  own = np.random.default_rng(seed).normal(size=(num_seeds, 1))
  return scale * np.exp(0.5 * shared + spread * own)


def candidate(key, each, column=LOWER, division="learned-closed", why=None):
  draws = resampling.draws(TASK, key, {column: each})
  return ranking.Candidate(draws, division, why)


def ranks(candidates, column=LOWER, floor=None):
  return [
    s and (s.first, s.last)
    for s in ranking.standings(column, candidates, floor)
  ]


# Of 100 intervals 95 hold, give or take 2; drawing three seeds with replacement
# instead holds 80 times.
@pytest.mark.parametrize(
  ("num_seeds", "of_seed", "of_trajectory"),
  [
    (3, 0.3, 0.5),
    *(
      pytest.param(*values, marks=pytest.mark.slow)
      for values in ((1, 0.0, 0.5), (5, 0.3, 0.5), (3, 0.02, 0.5))
    ),
  ],
)
def test_intervals_hold(num_seeds, of_seed, of_trajectory):
  rng = np.random.default_rng(1)
  truth = np.exp((of_seed**2 + of_trajectory**2) / 2)
  held = 0
  for trial in range(100):
    each = np.exp(
      of_seed * rng.normal(size=(num_seeds, 1))
      + of_trajectory * rng.normal(size=(1, 100))
    )
    drawn = resampling.draws(f"trial {trial}", "model/1", {LOWER: each})
    low, high = resampling.interval(drawn[LOWER])
    held += low <= truth <= high
  assert held >= 88


@pytest.mark.parametrize("name", plugins.names("metrics"))
def test_the_score_is_in_the_middle_of_its_draws(name):
  """Whatever the reduction: of one seed, all weights 1 give the score."""
  metric = evaluation.metric(name)
  steps = np.random.default_rng(0).uniform(0.1, 0.9, (200, 7))
  each = metric.reduce.of_steps(steps)[None]
  drawn = resampling.draws(TASK, "model/1", {f"{name}@7": each})[f"{name}@7"]
  assert np.median(drawn) == pytest.approx(metric.reduce(steps), rel=0.01)
  assert np.std(drawn) > 0


def test_draws_stay_within_the_cap_and_above_zero():
  each = np.array([[100.0], [100.0], [1e-6]]) * np.ones((3, 20))
  drawn = resampling.draws(TASK, "model/1", {LOWER: each})[LOWER]
  assert drawn.max() == 100
  assert drawn.min() > 0
  none = resampling.draws(TASK, "model/1", {LOWER: np.zeros((3, 20))})[LOWER]
  np.testing.assert_array_equal(none, 0)


def test_a_logarithm_of_zero_is_a_score_of_zero():
  name = "energy_violation@3"
  each = np.full((1, 20), -np.inf)
  np.testing.assert_array_equal(
    resampling.draws(TASK, "model/1", {name: each})[name], 0
  )


def test_what_is_clearly_better_is_ranked_so():
  scales = (4.0, 1.0, 2.0)
  entries = [candidate(f"m{s}/1", values(1, s, spread=0.01)) for s in scales]
  assert ranks(entries) == [(3, 3), (1, 1), (2, 2)]
  groups = [s.group for s in ranking.standings(LOWER, entries, None)]
  assert groups == [3, 1, 2]


def test_where_more_is_better_ranks_turn_round():
  entries = [
    candidate(f"m{s}/1", values(1, s, spread=0.01), HIGHER)
    for s in (4.0, 1.0, 2.0)
  ]
  assert ranks(entries, HIGHER) == [(1, 1), (3, 3), (2, 2)]


def test_hard_trajectories_are_hard_for_both():
  """Intervals overlap, and yet one entry is better on every trajectory."""
  one, other = (
    candidate(f"m{s}/1", values(1, s, 1), division="classical")
    for s in (1.0, 1.05)
  )
  assert np.quantile(one.draws[LOWER], 0.975) > np.median(other.draws[LOWER])
  assert ranks([other, one]) == [(2, 2), (1, 1)]


def test_ties_share_ranks_and_groups():
  scales = (1.0, 1.01, 5.0)
  entries = [candidate(f"m{i}/1", values(i, s)) for i, s in enumerate(scales)]
  found = ranking.standings(LOWER, entries, None)
  assert [(s.first, s.last) for s in found] == [(1, 2), (1, 2), (3, 3)]
  assert [s.group for s in found] == [1, 1, 2]


def test_a_tie_is_with_the_best_of_a_group():
  """Each like its neighbour, and the third surely worse than the first."""
  surely = np.zeros((3, 3), bool)
  surely[0, 2] = True
  assert ranking.tie_groups(np.array([1.0, 2.0, 3.0]), surely) == [1, 1, 2]
  assert ranking.tie_groups(np.array([2.0, 1.0, 3.0]), surely) == [1, 1, 1]


def test_nothing_is_ranked_below_the_floor():
  scales = (0.01, 1.0, 2.0, 40.0)
  entries = [candidate(f"m{s}/1", values(1, s, spread=0.01)) for s in scales]
  assert ranks(entries) == [(1, 1), (2, 2), (3, 3), (4, 4)]
  found = ranking.standings(LOWER, entries, floor=1.0)  # counts up to 3
  assert [(s.first, s.last) for s in found] == [(1, 3)] * 3 + [(4, 4)]
  assert [s.at_floor for s in found] == [True, True, True, False]
  assert [s.group for s in found] == [1, 1, 1, 2]


def test_divisions_are_ranked_apart():
  entries = [
    candidate("a/1", values(1, 1.0), division="classical"),
    candidate("b/1", values(1, 2.0)),
    candidate("c/1", values(1, 9.0)),
  ]
  found = ranking.standings(LOWER, entries, None)
  assert [(s.first, s.last) for s in found] == [(1, 1), (1, 1), (2, 2)]
  assert len({s.group for s in found}) == 3


def test_an_entry_that_is_not_ranked_takes_no_place():
  entries = [
    candidate("a/1", values(1, 1.0), why="1 of 3 training seeds"),
    candidate("b/1", values(1, 2.0)),
  ]
  assert ranks(entries) == [None, (1, 1)]
  assert ranks(entries[:1]) == [None]


TRAINED = {"steps": 10, "num_parameters": 5}
FIXED = {"steps": 0, "num_parameters": 0}


@pytest.mark.parametrize(
  ("division", "training", "num_seeds", "reason"),
  [
    ("learned-closed", TRAINED, 3, None),
    ("learned-closed", TRAINED, 2, "2 of 3 training seeds"),
    ("classical", FIXED, 1, None),
    ("classical", TRAINED, 1, "1 of 3 training seeds"),
    ("learned-open", FIXED, 1, "1 of 3 training seeds"),
  ],
)
def test_three_seeds_are_ranked(division, training, num_seeds, reason):
  found = ranking.why_unranked(division, training, num_seeds)
  assert found == reason


def test_rejected_entries_are_not_ranked():
  facts = ("learned-closed", TRAINED, 3)
  for verdict, reason in (
    ("reject", "rejected: a copy"),
    ("unranked", "a copy"),
    ("flag", None),
  ):
    finding = {"kind": "duplicate", "verdict": verdict, "reason": "a copy"}
    assert ranking.why_unranked(*facts, [finding]) == reason


def test_the_smallest_difference_is_resolved_and_half_of_it_is_not():
  def pair(ratio):
    return [
      candidate("a/1", values(1, spread=0.05)),
      candidate("b/1", values(1, ratio, spread=0.05)),
    ]

  smallest = ranking.smallest_difference(LOWER, pair(1.0), None)
  assert ranks(pair(1 + 1.3 * smallest)) == [(1, 1), (2, 2)]
  assert ranks(pair(1 + 0.5 * smallest)) == [(1, 2), (1, 2)]
  assert ranking.smallest_difference(LOWER, pair(2.0)[:1], None) is None
  assert ranking.smallest_difference(LOWER, pair(2.0), 100.0) is None


@pytest.fixture(scope="module", name="entries")
def committed():
  return entries.scored(BOARD)


def test_an_entry_of_its_own_is_what_it_is_among_others(entries):
  task = "nbody_gravity/n20/rollout200"
  entries = [e for e in entries if e.submission["task"] == task]
  assert len(entries) > 2
  together = standing.of_task(entries)
  composites = [composite.composite(e.scores["scores"]) for e in entries]
  for i, entry in enumerate(entries):
    alone = standing.of_task([entry])
    assert alone.intervals == [together.intervals[i]]
    assert composite.composite(entry.scores["scores"]) == composites[i]
  without = standing.of_task(entries[1:])
  assert without.intervals == together.intervals[1:]


def from_before(entry, name):
  """Returns an entry that was scored before a metric was added."""
  kept = {
    part: {k: v for k, v in entry.scores[part].items() if k != name}
    for part in ("scores", "floor")
  }
  values = {
    c: x for c, x in entry.values.items() if resampling.metric_of(c) != name
  }
  return entry._replace(scores=entry.scores | kept, values=values)


@pytest.mark.parametrize("name", ["local_defect", "rollout_rmse"])
@pytest.mark.parametrize("place", [0, 2])
def test_entries_from_before_a_metric_stand_beside_others(
  entries, name, place, monkeypatch
):
  task = "nbody_gravity/n20/rollout200"
  found = [e for e in entries if e.submission["task"] == task][:3]
  old = found[place].name
  floor = found[0].scores["floor"]
  found[place] = from_before(found[place], name)
  board = standing.text(found)
  label = evaluation.metric(name).label
  scores = re.search(rf"^{label} @200 +(.*)$", board, re.MULTILINE)[1]
  cells = re.split(r" {2,}", scores)
  assert [cell == "-" for cell in cells[:3]] == [i == place for i in range(3)]
  assert cells[3] == f"{floor[name]['at']['200']:.3g}"
  (row,) = re.findall(rf"^{re.escape(old)} .*$", board, re.MULTILINE)
  assert row.endswith(f" (without {label})")
  assert "None" not in board
  assert board.count("(without") == 1

  monkeypatch.setattr(build, "by_task", lambda _: [found])
  (page,) = build.page_data(BOARD)["tasks"]
  assert name in [metric["name"] for metric in page["metrics"]]
  assert page["floor"][name] == floor[name]["at"]
  shown = [name in entry["scores"] for entry in page["entries"]]
  assert shown == [i != place for i in range(3)]
  assert page["entries"][place]["ranks"][name]["200"] is None


def test_the_composite_is_of_what_is_there():
  scores = {"energy_error": 1e-3, "force_mae": 1e-3, "valid": 1.0}
  scores = {k: {"at": {"1": {"mean": v}}} for k, v in scores.items()}
  assert composite.composite(scores) == pytest.approx(0.75)
  del scores["force_mae"]
  assert composite.composite(scores) == pytest.approx(0.5)
  assert composite.composite({"valid": scores["valid"]}) is None


def test_the_stored_values_are_those_of_the_scores(entries):
  for entry in entries:
    assert entry.scores["metric_version"] == METRIC_VERSION
    for name, score in entry.scores["scores"].items():
      reduce = evaluation.metric(name).reduce
      for k, value in score["at"].items():
        each = entry.values[f"{name}@{k}"].astype(float)
        found = [reduce.over(np.mean(x)) for x in each]
        assert found == pytest.approx(score["per_seed"][k], rel=1e-6)
        assert np.mean(found) == pytest.approx(value["mean"], rel=1e-6)


def test_every_metric_of_a_task_has_a_scale():
  named = {m for v in vars(tasks).values() for m in _names(v)}
  assert {"rollout_rmse", "afbt"} <= named
  for name in named:
    scale = composite.SCALES[name]
    assert composite.subscore(name, scale["best"]) == 1
    assert composite.subscore(name, scale["worst"]) == 0
    middle = np.sqrt(scale["best"] * scale["worst"])
    assert composite.subscore(name, middle) == pytest.approx(0.5)
    is_lower = evaluation.metric(name).better == "lower"
    assert (scale["best"] < scale["worst"]) == is_lower
    assert composite.subscore(name, 0.0) == is_lower


def _names(value):
  known = set(plugins.names("metrics"))
  if isinstance(value, tuple) and value and set(value) <= known:
    return value
  return ()
