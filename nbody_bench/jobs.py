"""Many computations of seconds each, in processes, kept when finished."""

import concurrent.futures
import contextlib
import io
import multiprocessing
import os
import pathlib
import signal
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tqdm

from nbody_bench import files, generation

Arrays = Mapping[str, np.ndarray]


class Job(NamedTuple):
  """One computation.

  Attributes:
    name: of it alone, and of the file that keeps its result.
    arguments: of the function that does the work.
  """

  name: str
  arguments: tuple[Any, ...]


def run(
  work: Callable[..., Arrays],
  jobs: Sequence[Job],
  folder: pathlib.Path,
  num_workers: int,
  title: str,
) -> None:
  """Computes what `folder` does not have yet; `load` returns it.

  Args:
    work: returns arrays; of a module, for other processes find it by its name.
    jobs: what is to be computed; the order does not matter.
    folder: of these jobs alone.
    num_workers: processes; with 1 this one does the work.
    title: of the progress bar.

  Raises:
    KeyboardInterrupt: if a signal asks to stop. What is finished is kept.
  """
  todo = [job for job in jobs if load(folder, job.name) is None]
  # Closed on the way out: else processes would go on with all that is left.
  with contextlib.closing(_done(work, todo, folder, num_workers)) as done:
    for _ in tqdm.tqdm(
      done,
      desc=title,
      total=len(jobs),
      initial=len(jobs) - len(todo),
      mininterval=0.5,
    ):
      generation.stop_if_requested()


def load(folder: pathlib.Path, name: str) -> dict[str, np.ndarray] | None:
  """Returns the arrays of a job, or None if they are not there or not whole."""
  try:
    with (folder / f"{name}.npz").open("rb") as raw:
      return dict(np.load(raw, allow_pickle=False))
  except Exception:  # whatever a damaged archive brings about
    return None


def _done(work, todo, folder, num_workers) -> Generator[None, None, None]:
  """Yields once for each job when it is finished."""
  if num_workers == 1 or len(todo) < 2:
    for job in todo:
      yield _do(work, job, folder)
    return
  # A copy of this process, with TensorFlow's threads in it, could lock up.
  with concurrent.futures.ProcessPoolExecutor(
    num_workers, multiprocessing.get_context("spawn"), _begin_worker
  ) as pool:
    pending = [pool.submit(_do, work, job, folder) for job in todo]
    try:
      for future in concurrent.futures.as_completed(pending):
        yield future.result()
    finally:
      pool.shutdown(wait=True, cancel_futures=True)


def _do(work, job, folder):
  buffer = io.BytesIO()
  np.savez(buffer, **work(*job.arguments))
  files.replace_bytes(folder / f"{job.name}.npz", buffer.getvalue())


def _begin_worker():
  """Leaves Ctrl-C to the parent, and ends with it."""
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  parent = multiprocessing.parent_process()

  def follow():
    parent.join()
    os._exit(1)

  threading.Thread(target=follow, daemon=True).start()
