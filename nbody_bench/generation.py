"""Long generations: blocks in parallel, in order, kept when finished."""

import concurrent.futures
import io
import pathlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tqdm

from nbody_bench import files, signals
from nbody_bench.simulation import GroundTruth
from nbody_bench.states import Domain, Particles, State, Trajectory


class Block(NamedTuple):
  """Trajectories that are made together.

  Attributes:
    split: of the data set.
    indices: of the trajectories in the split.
    num_frames: of each.
  """

  split: str
  indices: range
  num_frames: int

  @property
  def num_ticks(self) -> int:
    """Frames to compute, those of the second run included."""
    return 2 * len(self.indices) * self.num_frames


def blocks(
  split: str, num_trajectories: int, num_frames: int, size: int
) -> list[Block]:
  """Returns a split cut into blocks of `size` trajectories."""
  return [
    Block(split, range(i, min(i + size, num_trajectories)), num_frames)
    for i in range(0, num_trajectories, size)
  ]


class Store:
  """Finished blocks on disk, so that a restart need not make them again."""

  def __init__(self, folder: pathlib.Path):
    """Remembers the folder, which is created with the first block."""
    self.folder = folder

  def _path(self, block):
    return self.folder / f"{block.split}-{block.indices.start}.npz"

  def __contains__(self, block: Block) -> bool:
    return self._path(block).exists()

  def save(self, block: Block, truth: GroundTruth) -> None:
    """Keeps a block."""
    arrays = {
      "time": truth.trajectory.time,
      "box": truth.trajectory.domain.box,
      **truth.trajectory.state._asdict(),
      **truth.trajectory.particles._asdict(),
      **{k: getattr(truth, k) for k in ("label_error", "energy", "momentum")},
    }
    buffer = io.BytesIO()
    np.savez(buffer, **{k: v for k, v in arrays.items() if v is not None})
    files.replace_bytes(self._path(block), buffer.getvalue())

  def load(self, block: Block) -> GroundTruth | None:
    """Returns a block, or None if it is not there or not whole."""
    try:
      with self._path(block).open("rb") as file:
        arrays: dict[str, Any] = dict(np.load(file, allow_pickle=False))
      shape = arrays["position"].shape[:2]
      if shape != (len(block.indices), block.num_frames):
        return None
    except Exception:  # whatever a damaged archive brings about
      return None
    known = [f for f in Particles._fields if f in arrays]
    return GroundTruth(
      Trajectory(
        arrays["time"],
        State(arrays["position"], arrays["velocity"]),
        Particles(**{f: arrays[f] for f in known}),
        Domain(arrays["box"]),
      ),
      arrays["label_error"],
      arrays["energy"],
      arrays["momentum"],
    )


Work = Callable[[Block, Callable[[int], None]], GroundTruth]


def in_order(
  work: Work, todo: Sequence[Block], store: Store, num_workers: int, title: str
) -> Iterator[tuple[Block, GroundTruth]]:
  """Yields each block with its trajectories, in order.

  Args:
    work: makes a block; calls its second argument after each frame.
    todo: the blocks.
    store: has the finished ones, and gets the others.
    num_workers: blocks at a time, in threads: the loops release the lock of the
      interpreter.
    title: of the progress bar.
  """
  stop = threading.Event()
  bar = tqdm.tqdm(
    desc=title,
    total=sum(block.num_ticks for block in todo),
    initial=sum(block.num_ticks for block in todo if block in store),
    unit=" frames",
    unit_scale=True,
    mininterval=0.5,
  )

  def on_frame(num_systems):
    stop_if_requested()
    if stop.is_set():
      raise InterruptedError("generation was stopped")
    bar.update(num_systems)

  def make(block):
    truth = store.load(block)
    if truth is None:
      truth = work(block, on_frame)
      store.save(block, truth)
    return truth

  with concurrent.futures.ThreadPoolExecutor(num_workers) as pool:
    try:
      # A window of blocks, so that finished ones do not pile up in memory.
      ahead = num_workers + 1
      pending = [pool.submit(make, block) for block in todo[:ahead]]
      for i, block in enumerate(todo):
        truth = pending.pop(0).result()
        if i + ahead < len(todo):
          pending.append(pool.submit(make, todo[i + ahead]))
        yield block, truth
    finally:
      stop.set()
      bar.close()


def stop_if_requested(num_systems: int = 0) -> None:
  """Raises KeyboardInterrupt if a signal was lost in native code."""
  del num_systems
  if signals.stop_requested():
    raise KeyboardInterrupt
