"""The runs of an experiment as processes of their own."""

import dataclasses
import json
import pathlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence

from nbody_bench import experiment_records, experiment_settings, weights
from nbody_bench.experiments import Experiment, Run

RUN = "nbody_bench.run"
# Seconds for what Ctrl-C in a terminal stops by itself, for it reaches every
# process there; a second signal would be one to stop at once. Then for what is
# told to stop: one call of a long roll-out cannot be broken off, only killed,
# and goes on another time from what it saved.
_GRACE, _PATIENCE = 10.0, 60.0


@dataclasses.dataclass(frozen=True)
class Place:
  """An experiment, and where it is done.

  Attributes:
    plan: the experiment.
    output: gets a folder a run.
    shown: has its record, and gets the table.
    data_dir: where TFDS keeps its data; None for its default.
    board: to enter runs into; None for none.
    stopping: set to stop what is running; it saves and goes on another time.
  """

  plan: Experiment
  output: pathlib.Path
  shown: pathlib.Path
  data_dir: str | None
  board: str | None
  stopping: threading.Event = dataclasses.field(default_factory=threading.Event)

  def start(self, run: Run) -> list[str]:
    """Returns the flag that names the weights to begin with, if any."""
    if not run.start_from:
      return []
    folder = self.kept(run) or self.output / run.start_from
    return [f"--start_from={folder}"]

  def kept(self, run: Run) -> pathlib.Path | None:
    """Returns the folder of weights to begin with that came with the suite.

    None if there are none of all seeds, if they are of another budget than
    this one, or if the earlier run is trained here.
    """
    name = run.start_from
    if not name or (self.output / name).is_dir():
      return None
    before = next(r for r in self.plan.runs if r.name == name)
    record = experiment_records.read(self.shown)
    row = experiment_records.recorded(record, before, self.plan.metrics)
    if not row or row["core_minutes"] != self.plan.core_minutes:
      return None
    folder = self.shown.parents[1] / "baselines" / "weights"
    folder = folder / self.plan.name / name
    files = [folder / f"seed_{k}" / weights.FILE for k in self.plan.seeds]
    return folder if all(f.is_file() for f in files) else None


def call(
  place: Place,
  run: Run,
  folder: pathlib.Path,
  seeds: Iterable[int],
  arguments: Sequence[str],
  metrics: Iterable[str] = (),
  module: str = RUN,
) -> None:
  """Runs `nbody_bench.run` with the seeds, unless all have finished.

  Args:
    place: see there.
    run: to make.
    folder: of its output and of its log.
    seeds: of it.
    arguments: flags more.
    metrics: to score; those of the experiment if there are none.
    module: another command that takes the same flags.

  Raises:
    ValueError: naming the log, with what it ends with, if it fails.
    KeyboardInterrupt: if it was stopped.
  """
  if module == RUN and set(seeds) <= finished(folder):
    return
  folder.mkdir(parents=True, exist_ok=True)
  command = [
    *(sys.executable, "-m", module),
    *experiment_settings.flags(run, tuple(metrics) or place.plan.metrics),
    f"--output_dir={folder}",
    f"--seeds={','.join(map(str, seeds))}",
    "--resume",
    *arguments,
    *_data(place),
  ]
  if place.stopping.is_set():
    raise KeyboardInterrupt
  print(f"{run.name}: " + " ".join(command[1:]), flush=True)
  began = time.monotonic()
  path = folder / "log.txt"
  with path.open("a") as log:
    begin = log.tell()
    code = _finished_process(command, log, place.stopping)
  stopped = code == 130 or (code and place.stopping.is_set())
  how = "stopped" if stopped else "failed" if code else "done"
  minutes = (time.monotonic() - began) / 60
  print(f"{run.name}: {how} in {minutes:.1f} min", flush=True)
  if stopped:
    raise KeyboardInterrupt
  if code:
    reason = _last_line(path, begin) or f"it ended with code {code}"
    raise ValueError(f"{folder.name} failed: {reason} (see {path})")


def _last_line(path, begin):
  """Returns the last line that is not blank, of those from a byte on."""
  with path.open("rb") as log:
    log.seek(begin)
    lines = log.read().decode(errors="replace").split("\n")
  return next((x.strip() for x in reversed(lines) if x.strip()), "")


def _finished_process(command, log, stopping):
  """Returns the exit code; if `stopping` is set, the process is told so."""
  process = subprocess.Popen(command, stdout=log, stderr=log)
  while process.poll() is None and not stopping.wait(0.2):
    pass
  for seconds, insist in (
    (_GRACE, process.terminate),
    (_PATIENCE, process.kill),
  ):
    try:
      return process.wait(seconds)
    except subprocess.TimeoutExpired:
      insist()
  return process.wait()


def finished(folder: pathlib.Path) -> set[int]:
  """Returns the seeds of which a run has predictions."""
  path = folder / "submission" / "submission.json"
  if not path.is_file():
    return set()
  return {p["seed"] for p in json.loads(path.read_text())["predictions"]}


def version(folder: pathlib.Path) -> str:
  """Returns what a finished run is called on the board."""
  path = folder / "submission" / "submission.json"
  return json.loads(path.read_text())["version"]


def submit(place: Place, folder: pathlib.Path) -> None:
  """Enters a run into the board, unless it is there as it is.

  Raises:
    ValueError: with what the board said against it.
  """
  done = folder / "submitted.txt"
  made = folder / "submission" / "submission.json"
  if done.is_file() and done.stat().st_mtime >= made.stat().st_mtime:
    return
  command = [
    *(sys.executable, "-m", "nbody_bench.leaderboard", "submit"),
    *(str(made.parent), f"--board={place.board}", *_data(place)),
  ]
  result = subprocess.run(command, capture_output=True, text=True, check=False)
  if result.returncode:
    raise ValueError(f"{folder.name} was not entered: {result.stderr.strip()}")
  done.write_text(result.stdout)


def _data(place):
  return [f"--data_dir={place.data_dir}"] if place.data_dir else []
