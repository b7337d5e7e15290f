"""Processes of an experiment: they are told to stop, and once only."""

import sys
import threading
import time

import pytest

from nbody_bench import experiment_calls

# Ends with 130 and a line for each signal, as a run that saves does.
_RUN = """
import signal, sys, time
def stop(*_):
  print("told", flush=True)
  time.sleep({after})
  sys.exit(130)
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
time.sleep({alone})
"""


@pytest.mark.parametrize(
  ("alone", "stops", "code", "lines"),
  [
    # It ends by itself.
    (0, False, 0, ["ready"]),
    # It has heard of the end already.
    (3, True, 0, ["ready"]),
    (60, True, 130, ["ready", "told"]),
  ],
)
def test_a_process_is_told_to_stop(
  tmp_path, monkeypatch, alone, stops, code, lines
):
  monkeypatch.setattr(experiment_calls, "_GRACE", 30 if alone == 3 else 0.1)
  stopping, path = threading.Event(), tmp_path / "log.txt"

  def stop_when_ready():
    while "ready" not in path.read_text():
      time.sleep(0.05)
    stopping.set()

  command = [sys.executable, "-c", _RUN.format(after=0.5, alone=alone)]
  with path.open("w") as log:
    thread = threading.Thread(target=stop_when_ready)
    if stops:
      thread.start()
    found = experiment_calls._finished_process(command, log, stopping)
    if stops:
      thread.join()
  assert found == code
  assert path.read_text().split() == lines
