import fcntl
import os
import signal

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest
import simulated
from absl import flags

np.seterr(invalid="raise")


@pytest.fixture(scope="session", autouse=True)
def parsed_flags():
  flags.FLAGS.mark_as_parsed()


@pytest.fixture(scope="session", autouse=True)
def interrupts():
  """Tests send SIGINT, which a shell tells its background jobs to ignore."""
  before = signal.signal(signal.SIGINT, signal.default_int_handler)
  yield
  signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory, worker_id):
  """A folder where the smoke configuration of every set that is made is."""
  import tensorflow_datasets as tfds

  folder = tmp_path_factory.getbasetemp()
  if worker_id != "master":  # of `pytest -n`: one folder for all
    folder = folder.parent
  folder /= "data"
  folder.mkdir(exist_ok=True)
  names = [*simulated.NAMES, "slabs"]
  # One worker begins at the other end, so that two share the work.
  for name in reversed(names) if worker_id == "gw1" else names:
    with open(folder / f"{name}.lock", "w") as lock:
      fcntl.flock(lock, fcntl.LOCK_EX)
      builder = tfds.builder(f"{name}/smoke", data_dir=folder)
      builder.download_and_prepare()
  return str(folder)
