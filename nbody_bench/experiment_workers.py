"""Rows of an experiment side by side, each on a core of its own."""

import concurrent.futures
import contextlib
import os
import pathlib
import queue
import tempfile
from collections.abc import Callable, Sequence

from nbody_bench.experiments import Run
from nbody_bench.files import InUseError, exclusive

# Has a folder for each core, which is locked by the experiment that uses it.
_LOCKS = (
  pathlib.Path(tempfile.gettempdir()) / f"nbody_bench_cores_{os.getuid()}"
)


def cores() -> list[int]:
  """Returns those that this process may use."""
  if hasattr(os, "sched_getaffinity"):
    return sorted(os.sched_getaffinity(0))
  return list(range(os.cpu_count() or 1))


def chains(runs: Sequence[Run], known: Sequence[Run]) -> list[list[Run]]:
  """Returns the runs, those of one chain of weights together and in order.

  Args:
    runs: to be made.
    known: all of the experiment; one that is not among them has no start.
  """
  before = {run.name: run.start_from for run in known}
  found: dict[str, list[Run]] = {}
  for run in runs:
    first = run.name
    while before.get(first):
      first = before[first]
    found.setdefault(first, []).append(run)
  return list(found.values())


def side_by_side(
  work: Callable[[Run], None],
  groups: Sequence[Sequence[Run]],
  num_workers: int,
  stop: Callable[[], None],
) -> None:
  """Does the work of all runs; those of a group one after the other.

  Processes that `work` starts are on the core of its thread, for a child has
  the affinity of the thread that it comes from (on Linux; elsewhere the system
  places them). No other experiment of this user is on that core.

  Args:
    work: for one run.
    groups: of runs.
    num_workers: threads.
    stop: makes unfinished work end soon; called when one group fails, or this
      process is told to stop.

  Raises:
    ValueError: if there are not as many cores that no other experiment uses.
    Exception: the first that `work` raised.
    KeyboardInterrupt: as it came.
  """
  with contextlib.ExitStack() as held:
    _work_on(_taken(num_workers, held), work, groups, stop)


def _taken(count, held):
  """Returns cores that no other experiment uses, held as long as `held` is."""
  known = cores()
  if not 1 <= count <= len(known):
    raise ValueError(
      f"--num_workers={count}: each has a core of its own, of which this "
      f"process may use {len(known)}; give 1 to {len(known)}"
    )
  taken = []
  for core in known:
    if len(taken) < count:
      with contextlib.suppress(InUseError):
        held.enter_context(exclusive(_LOCKS / str(core)))
        taken.append(core)
  if len(taken) < count:
    fewer = f", or give {len(taken)} at most" if taken else ""
    raise ValueError(
      f"--num_workers={count}: each has a core of its own, and of the "
      f"{len(known)} that this process may use other experiments are on "
      f"{len(known) - len(taken)}; wait for them{fewer}"
    )
  return taken


def _work_on(own_cores, work, groups, stop):
  """Does the work of all runs, with a worker on each core."""
  own: queue.SimpleQueue[int] = queue.SimpleQueue()
  for core in own_cores:
    own.put(core)

  def settle():
    if hasattr(os, "sched_setaffinity"):
      os.sched_setaffinity(0, {own.get()})

  def one_after_the_other(group):
    for run in group:
      work(run)

  pool = concurrent.futures.ThreadPoolExecutor(
    len(own_cores), initializer=settle
  )
  futures = [pool.submit(one_after_the_other, group) for group in groups]
  try:
    for future in concurrent.futures.as_completed(futures):
      future.result()
  except BaseException:
    stop()
    raise
  finally:
    pool.shutdown(cancel_futures=True)
