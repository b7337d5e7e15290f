"""SIGKILL at random moments loses nothing and leaves nothing half-written.

`NBODY_BENCH_KILLS=50 pytest -s tests/kill_test.py` kills more often than the
default and prints when.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from nbody_bench import run
from nbody_bench.leaderboard import entries

KILLS = int(os.environ.get("NBODY_BENCH_KILLS", "1"))


def module(name, *arguments):
  return [sys.executable, "-m", f"nbody_bench.{name}", *map(str, arguments)]


def seconds_of(command, folder):
  """Runs a command to its end and returns how long it took."""
  began = time.monotonic()
  subprocess.run(command, check=True, capture_output=True)
  assert folder.exists()
  return time.monotonic() - began


def kill_often(command, earliest, latest, check, seed):
  """Starts `command` and kills it between two times, `KILLS` times.

  Calls `check` after each kill. A command that is done before its time counts
  too, and is started again.
  """
  rng = np.random.default_rng(seed)
  for i in range(KILLS):
    process = subprocess.Popen(
      command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    delay = rng.uniform(earliest, latest)
    try:
      process.wait(timeout=delay)
      what = f"had ended with {process.returncode}"
    except subprocess.TimeoutExpired:
      process.kill()
      process.wait()
      what = "killed"
    print(f"{command[2]} {i + 1}: {what} after {delay:.2f} s; {check()}")


@pytest.mark.slow
def test_killed_training_ends_as_if_undisturbed(tmp_path, data_dir):
  flags = ["--model=delta_gn", "--dataset=nbody_gravity/smoke"]
  flags += [f"--data_dir={data_dir}", "--batch_size=8"]
  flags += [f"--train_steps={400 * KILLS}"]
  flags += ["--config.edge_widths=8,8", "--config.node_widths=8"]
  flags += ["--checkpoint_every=20", "--validate_every=100"]
  whole, parts = tmp_path / "whole", tmp_path / "parts"
  command = module("run", *flags, "--resume", f"--output_dir={parts}")
  began = time.monotonic()
  subprocess.run(
    module("run", *flags, f"--output_dir={whole}"),
    check=True,
    capture_output=True,
  )

  total = time.monotonic() - began
  text = (whole / "submission" / "submission.json").read_text()
  trained = json.loads(text)["training"]["seconds"]

  def check():
    saved = list((parts / "seed_0" / "checkpoints").glob("last-*.index"))
    steps = sorted(int(p.stem.removeprefix("last-")) for p in saved)
    return f"checkpoints at steps {steps}"

  # Some kills before the first step, most while it trains, some at the end.
  latest = total - trained + 2 * trained / KILLS
  kill_often(command, 0.5 * (total - trained), latest, check, seed=1)
  subprocess.run(command, check=True, capture_output=True)
  for name in ("submission/predictions/test-seed0.npz", "seed_0/scores.json"):
    assert (whole / name).read_bytes() == (parts / name).read_bytes(), name
  one, other = (
    tf.train.load_checkpoint(
      tf.train.latest_checkpoint(str(folder / "seed_0" / "checkpoints"))
    )
    for folder in (whole, parts)
  )
  names = [
    n
    for n in one.get_variable_to_shape_map()
    if n.startswith(("model/", "optimizer/", "random/")) and "VALUE" in n
  ]
  assert len(names) > 20
  for name in names:
    values = one.get_tensor(name), other.get_tensor(name)
    assert values[0].tobytes() == values[1].tobytes(), name
  losses = [
    [x for x in log(folder) if "train_loss" in x] for folder in (whole, parts)
  ]
  assert losses[0] == losses[1]


def log(folder):
  text = (folder / "seed_0" / "metrics.jsonl").read_text()
  return [json.loads(line) for line in text.splitlines()]


@pytest.mark.slow
def test_killed_generation_is_there_whole_or_not_at_all(tmp_path, data_dir):
  name = "nbody_gravity/smoke"

  def examples(folder):
    builder = tfds.builder(name, data_dir=folder)
    if not builder.is_prepared():
      return None
    return [
      {k: v.tobytes() for k, v in e.items()}
      for split in builder.info.splits
      for e in tfds.as_numpy(builder.as_dataset(split=split))
    ]

  expected = examples(data_dir)
  assert expected
  command = module("prepare", f"--dataset={name}", f"--data_dir={tmp_path}")

  def check():
    found = examples(tmp_path)
    if found is not None:
      assert found == expected
      shutil.rmtree(tmp_path / "nbody_gravity")
    return "absent" if found is None else "whole"

  seconds = seconds_of(command, tmp_path)
  check()
  kill_often(command, 0.4 * seconds, seconds, check, seed=2)
  subprocess.run(command, check=True, capture_output=True)
  assert examples(tmp_path) == expected


@pytest.mark.slow
def test_killed_submit_enters_a_whole_entry_or_none(tmp_path, data_dir):
  flags = [f"--data_dir={data_dir}", f"--output_dir={tmp_path / 'run'}"]
  flags += ["--model=ballistic", "--dataset=nbody_gravity/smoke"]
  flags += ["--timing=none"]
  assert run.main(["run", *flags]) == 0
  board = tmp_path / "board"
  command = module(
    "leaderboard",
    "submit",
    tmp_path / "run" / "submission",
    f"--board={board}",
    f"--data_dir={data_dir}",
  )

  def check():
    found = entries.scored(board)  # raises if one is incomplete
    shutil.rmtree(board, ignore_errors=True)
    return f"{len(found)} entries"

  seconds = seconds_of(command, board)
  check()
  kill_often(command, 0.4 * seconds, seconds, check, seed=3)
  subprocess.run(command, check=True, capture_output=True)
  assert len(entries.scored(board)) == 1
  assert pathlib.Path(board, "ballistic").is_dir()
