"""Rows side by side: order, cores, and what happens when one fails."""

import dataclasses
import os
import threading

import pytest

from nbody_bench import experiment_workers, experiments
from nbody_bench.files import exclusive

A = experiments.Run("a", "A", "vign", "nbody_spring/five", (2,))
AFTER_A = dataclasses.replace(A, name="after_a", start_from="a")
LAST = dataclasses.replace(A, name="last", start_from="after_a")
B = dataclasses.replace(A, name="b")
RUNS = (A, B, AFTER_A, LAST)

_TWO_CORES = pytest.mark.skipif(
  len(experiment_workers.cores()) < 2, reason="needs two cores"
)


@pytest.fixture(autouse=True)
def locks(tmp_path, monkeypatch):
  """Of this test alone: others run at the same time."""
  folder = tmp_path / "locks"
  monkeypatch.setattr(experiment_workers, "_LOCKS", folder)
  return folder


def _do(work, runs, num_workers):
  """Returns how often there was a call to stop."""
  stopped = []
  groups = experiment_workers.chains(runs, RUNS)
  experiment_workers.side_by_side(
    work, groups, num_workers, lambda: stopped.append(True)
  )
  return len(stopped)


def test_what_begins_with_the_weights_of_another_comes_after_it():
  assert experiment_workers.chains(RUNS, RUNS) == [[A, AFTER_A, LAST], [B]]
  assert experiment_workers.chains((B, LAST), RUNS) == [[B], [LAST]]


def test_one_worker_does_all_in_order():
  done = []
  assert _do(done.append, RUNS, 1) == 0
  assert done == [A, AFTER_A, LAST, B]


@_TWO_CORES
def test_two_at_a_time_are_on_two_cores():
  both, placed = threading.Barrier(2, timeout=30), {}

  def work(run):
    if run in (A, B):
      both.wait()
    if hasattr(os, "sched_getaffinity"):
      placed[run.name] = os.sched_getaffinity(0)

  before = experiment_workers.cores()
  assert _do(work, RUNS, 2) == 0
  assert experiment_workers.cores() == before
  if placed:
    assert all(len(cores) == 1 for cores in placed.values())
    assert placed["a"] != placed["b"]
    assert placed["a"] == placed["after_a"] == placed["last"]


def test_what_has_not_begun_is_left_when_one_fails():
  done = []

  def work(run):
    done.append(run)
    if run == AFTER_A:
      raise ValueError("after_a failed")

  stopped = []
  with pytest.raises(ValueError, match="after_a failed"):
    experiment_workers.side_by_side(
      work, [[A, AFTER_A, LAST], *[[B]] * 9], 1, lambda: stopped.append(True)
    )
  assert stopped == [True]
  assert done[:2] == [A, AFTER_A]
  assert LAST not in done
  # One more may have begun before the failure was seen.
  assert len(done) <= 3


@_TWO_CORES
def test_the_others_are_told_when_one_fails():
  told = threading.Event()

  def work(run):
    if run == B:
      raise ValueError("b failed")
    assert told.wait(30)

  with pytest.raises(ValueError, match="b failed"):
    experiment_workers.side_by_side(work, [[A], [B]], 2, told.set)


@pytest.mark.parametrize(
  "num_workers", [0, 1 + len(experiment_workers.cores())]
)
def test_each_worker_has_a_core(num_workers):
  with pytest.raises(
    ValueError, match=f"--num_workers={num_workers}: .* give 1"
  ):
    _do(pytest.fail, RUNS, num_workers)


@_TWO_CORES
def test_another_experiment_has_other_cores(locks):
  first, second = experiment_workers.cores()[:2]
  placed = []

  def work(run):
    del run
    placed.append(experiment_workers.cores())

  with exclusive(locks / str(first)):
    assert _do(work, [A], 1) == 0
  assert _do(work, [A], 1) == 0
  if hasattr(os, "sched_getaffinity"):
    assert placed == [[second], [first]]


def test_no_core_is_shared(locks):
  known = experiment_workers.cores()
  with exclusive(locks / str(known[-1])):
    message = f"={len(known)}: .* other experiments are on 1; wait for them"
    with pytest.raises(ValueError, match=message):
      _do(pytest.fail, RUNS, len(known))
  # A core that was taken then is free again.
  assert _do(lambda run: None, RUNS, len(known)) == 0
