"""What a training run leaves on disk, and its line on the screen."""

import glob
import json
import pathlib
import sys
import time
from typing import Any

import tensorflow as tf

from nbody_bench.files import replace_bytes


class RunDirectory:
  """Checkpoints and logs of one training run.

  Used as a context manager, which opens and closes the logs.

  Layout: `checkpoints/last-<step>`, `checkpoints/best-<step>`,
  `metrics.jsonl`, `tensorboard/`.

  Attributes:
    step: optimiser steps done.
    sizes: of the compiled program, see `capacity`.
  """

  def __init__(self, directory: pathlib.Path, *, model: Any, optimizer: Any):
    self.step = 0
    self.sizes: dict[str, int] = {}
    self._sizes = tf.Variable("{}", dtype=tf.string, trainable=False)
    self._directory = directory
    self._step = tf.Variable(0, dtype=tf.int64, trainable=False)
    self._seconds = tf.Variable(0.0, dtype=tf.float64, trainable=False)
    self._best_value = tf.Variable(
      float("inf"), dtype=tf.float64, trainable=False
    )
    folder = str(directory / "checkpoints")
    self._last = tf.train.CheckpointManager(
      tf.train.Checkpoint(
        model=model,
        optimizer=optimizer,
        step=self._step,
        seconds=self._seconds,
        best_loss=self._best_value,
        sizes=self._sizes,
        random=tf.random.get_global_generator(),
      ),
      folder,
      max_to_keep=2,
      checkpoint_name="last",
    )
    self._best = tf.train.CheckpointManager(
      tf.train.Checkpoint(model=model, optimizer=optimizer, step=self._step),
      str(directory / "checkpoints" / "best"),
      max_to_keep=1,
      checkpoint_name="best",
    )
    self._log_path = directory / "metrics.jsonl"
    self._log: Any = None
    self._summary: Any = None
    self._began = time.perf_counter()

  @property
  def seconds(self) -> float:
    """Wall time of training over all sessions."""
    return time.perf_counter() - self._began

  @property
  def last_checkpoint(self) -> str | None:
    """Path of the newest checkpoint, None before the first."""
    paths = [p for p in self._last.checkpoints if _files_of(p)]
    return paths[-1] if paths else None

  def restore(self) -> None:
    """Loads the newest checkpoint, if there is one, and cuts the log to it.

    Raises:
      ValueError: if it is damaged or belongs to another model.
    """
    self.load()
    if self._log_path.exists():
      lines = self._log_path.read_text().splitlines(keepends=True)
      kept = [x for x in lines if _step_of(x) <= self.step]
      replace_bytes(self._log_path, "".join(kept).encode())

  def load(self) -> None:
    """Loads the newest checkpoint, if there is one; changes nothing on disk.

    Raises:
      ValueError: as `restore`.
    """
    path = self.last_checkpoint
    if not path:
      return
    try:
      status = self._last.checkpoint.restore(path)
      status.assert_existing_objects_matched()
    except (
      tf.errors.OpError,
      ValueError,
      AssertionError,
      IndexError,  # of a truncated file
    ) as error:
      reason = str(error).strip().partition("\n")[0][:200]
      raise ValueError(
        f"checkpoint {path} is damaged or of another model ({reason}); "
        "remove it to go on from the one before, or choose another "
        "--output_dir"
      ) from None
    self.step = int(self._step.numpy())
    self.sizes = json.loads(self._sizes.numpy())
    self._began = time.perf_counter() - float(self._seconds.numpy())

  def save(self) -> None:
    """Writes the checkpoint of the present step."""
    self._step.assign(self.step)
    self._sizes.assign(json.dumps(self.sizes))
    self._seconds.assign(self.seconds)
    self._last.save(self.step)

  def save_if_best(self, value: float) -> None:
    """Writes the best checkpoint if `value` is the lowest so far."""
    if value < float(self._best_value.numpy()):
      self._best_value.assign(value)
      self._step.assign(self.step)
      self._best.save(self.step)

  def load_best(self) -> int:
    """Loads model and optimiser of the best checkpoint; returns its step.

    Raises:
      ValueError: if there is none, as no validation was finite.
    """
    if not self._best.latest_checkpoint:
      raise ValueError(
        f"{self._directory} has no best checkpoint, for no validation gave a "
        "finite error; take --checkpoint=last, or train otherwise"
      )
    self._best.checkpoint.restore(self._best.latest_checkpoint).expect_partial()
    return int(self._step)

  def log(self, values: dict[str, float]) -> None:
    """Appends numbers of the present step to the log and to TensorBoard."""
    self._log.write(json.dumps({"step": self.step, **values}) + "\n")
    self._log.flush()
    with self._summary.as_default(step=self.step):
      for name, value in values.items():
        tf.summary.scalar(name, value)

  def __enter__(self):
    self._directory.mkdir(parents=True, exist_ok=True)
    self._log = self._log_path.open("a")
    self._summary = tf.summary.create_file_writer(
      str(self._directory / "tensorboard")
    )
    return self

  def __exit__(self, *_):
    self._log.close()
    self._summary.close()


class Progress:
  """A line with steps per second, time left and loss.

  Rewritten in place on a terminal; elsewhere a new line every ten seconds.
  """

  def __init__(self, label: str, start: int, total: int):
    self._label, self._start, self._total = label, start, total
    self._live = sys.stderr.isatty()
    self._began = self._shown = time.perf_counter()

  def show(self, step: int, loss: float) -> None:
    """Prints the line if it is time."""
    now = time.perf_counter()
    if now - self._shown < (0.2 if self._live else 10) and step < self._total:
      return
    self._shown = now
    rate = (step - self._start) / (now - self._began)
    minutes, seconds = divmod(round((self._total - step) / rate), 60)
    line = (
      f"{self._label}: step {step}/{self._total}, {rate:.1f} steps/s, "
      f"{minutes}:{seconds:02d} left, loss {loss:.4g}"
    )
    print(
      ("\r\033[K" if self._live else "") + line,
      end="" if self._live else "\n",
      file=sys.stderr,
      flush=True,
    )

  def __enter__(self):
    return self

  def __exit__(self, *_):
    if self._live:
      print(file=sys.stderr)


def _step_of(line):
  try:
    return json.loads(line)["step"]
  except (ValueError, KeyError):  # cut off by a crash
    return sys.maxsize


def _files_of(checkpoint):
  return tf.io.gfile.glob(f"{glob.escape(checkpoint)}.*")
