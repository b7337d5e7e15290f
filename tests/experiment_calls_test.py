"""Processes of an experiment: told to stop once, and asked why they failed."""

import sys
import threading
import time

import pytest

from nbody_bench import experiment_calls, experiments

# Ends with 130 and a line for each signal, as a run that saves does, or late.
_RUN = """
import signal, sys, time
def stop(*_):
  print("told", flush=True)
  time.sleep({saving})
  sys.exit(130)
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
time.sleep({alone})
"""


@pytest.mark.parametrize(
  ("alone", "saving", "grace", "patience", "code", "lines"),
  [
    # It ends by itself, and when it has heard of the end already.
    (0, 0, None, None, 0, ["ready"]),
    (3, 0, 60, None, 0, ["ready"]),
    (60, 0.5, 0.1, 60, 130, ["ready", "told"]),
    (60, 60, 0.1, 0.5, -9, ["ready", "told"]),
  ],
)
def test_a_process_is_told_to_stop(
  tmp_path, monkeypatch, alone, saving, grace, patience, code, lines
):
  monkeypatch.setattr(experiment_calls, "_GRACE", grace)
  monkeypatch.setattr(experiment_calls, "_PATIENCE", patience)
  stopping, path = threading.Event(), tmp_path / "log.txt"

  def stop_when_ready():
    while "ready" not in path.read_text():
      time.sleep(0.05)
    stopping.set()

  command = [sys.executable, "-c", _RUN.format(saving=saving, alone=alone)]
  with path.open("w") as log:
    thread = threading.Thread(target=stop_when_ready)
    if grace:
      thread.start()
    found = experiment_calls._finished_process(command, log, stopping)
    if grace:
      thread.join()
  assert found == code
  assert path.read_text().split() == lines


RUN = experiments.Run("small", "Small", "ogn", "nbody_gravity/smoke", (2,))
PLAN = experiments.Experiment(
  "own", "Own", ("rollout_rmse",), 1.0, (0,), (RUN,)
)


@pytest.mark.parametrize(
  ("printed", "reason"),
  [
    (
      "step 3\nerror: 5 is too many; give 4\n\n \n",
      "error: 5 is too many; give 4",
    ),
    ("error: one\r\n", "error: one"),
    # What an earlier process wrote is not its reason.
    ("", "it ended with code 2"),
  ],
)
def test_a_failure_says_what_the_log_ends_with(
  tmp_path, monkeypatch, printed, reason
):
  def fail(command, log, stopping):
    del command, stopping
    log.write(printed)
    return 2

  monkeypatch.setattr(experiment_calls, "_finished_process", fail)
  place = experiment_calls.Place(PLAN, tmp_path, tmp_path, None, None)
  folder = tmp_path / "small"
  folder.mkdir()
  (folder / "log.txt").write_text("error: é, of another time\n")
  with pytest.raises(ValueError, match="small failed") as error:
    experiment_calls.call(place, RUN, folder, (0,), [])
  log = folder / "log.txt"
  assert str(error.value) == f"small failed: {reason} (see {log})"
