"""Processes of an experiment: they are told to stop, and once only."""

import sys
import threading
import time

import pytest

from nbody_bench import experiment_calls

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
