"""The same bytes whoever makes a data set, however often it is broken off."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow_datasets as tfds

from nbody_bench import (
  generation,
  pair_kernels,
  pair_sums,
  plugins,
  preparation,
  record_files,
  signals,
)
from nbody_bench.dataset_configs import sizes
from nbody_bench.files import sha256

SPRING = "nbody_spring/three_linear"  # 240 trajectories, a second


def hashes(data_dir, dataset=SPRING):
  """Returns the SHA-256 of each file of a prepared data set but its facts."""
  builder = tfds.builder(dataset, data_dir=data_dir)
  files = sorted(pathlib.Path(builder.data_dir).glob("*tfrecord*"))
  assert len(files) == len(builder.info.splits)
  return {f.name: sha256(f) for f in files} | {
    "metadata": dict(builder.info.metadata)
  }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
  folder = tmp_path_factory.mktemp("undisturbed")
  preparation.prepare(SPRING, str(folder))
  return hashes(folder)


def test_one_worker_makes_the_same_bytes(undisturbed, tmp_path):
  preparation.prepare(SPRING, str(tmp_path), num_workers=1)
  assert hashes(tmp_path) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["in_memory", "multi_processing"])
def test_beam_makes_the_same_bytes(mode, undisturbed, tmp_path):
  pytest.importorskip("apache_beam")
  preparation.prepare(
    SPRING,
    str(tmp_path),
    beam_options=[
      "runner=FnApiRunner",
      "direct_num_workers=2",
      f"direct_running_mode={mode}",
    ],
  )
  assert hashes(tmp_path) == undisturbed


def test_beam_is_asked_for_by_name(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, "apache_beam.options", None)
  with pytest.raises(ValueError, match=r"pip install .nbody_bench\[beam\]"):
    preparation.prepare(SPRING, str(tmp_path), beam_options=["runner=X"])


def test_a_restart_uses_what_is_finished(undisturbed, tmp_path, monkeypatch):
  builder_class = plugins.load("datasets", "nbody_spring").Builder
  simulate = builder_class.simulate
  made = []

  def broken(self, split, indices, on_frame):
    if len(made) == 3:
      raise KeyboardInterrupt
    made.append((split, indices))
    return simulate(self, split, indices, on_frame)

  monkeypatch.setattr(builder_class, "simulate", broken)
  with pytest.raises(KeyboardInterrupt):
    preparation.prepare(SPRING, str(tmp_path), num_workers=1)
  folder = tmp_path / "nbody_spring" / "three_linear"
  (kept,) = folder.glob(".finished-*")
  assert len(list(kept.glob("*.npz"))) == 3
  # One of them is damaged: it is made anew.
  damaged = kept / "train-0.npz"
  damaged.write_bytes(damaged.read_bytes()[:1000])

  again = []

  def counting(self, split, indices, on_frame):
    again.append((split, indices))
    return simulate(self, split, indices, on_frame)

  monkeypatch.setattr(builder_class, "simulate", counting)
  preparation.prepare(SPRING, str(tmp_path))
  assert set(made) & set(again) == {("train", range(32))}
  assert hashes(tmp_path) == undisturbed
  assert sorted(f.name for f in folder.iterdir()) == [".lock", "1.0.0"]


def test_blocks_of_another_setting_are_not_used(tmp_path):
  builder_class = plugins.load("datasets", "nbody_spring").Builder
  stores = {
    builder_class(config=name, data_dir=tmp_path)._store().folder
    for name in ("five", "five_noisy", "three_linear", "six_linear")
  }
  assert len(stores) == 4


def test_a_store_returns_what_it_got(tmp_path):
  builder = plugins.load("datasets", "nbody_latent").Builder(
    config="smoke", data_dir=tmp_path
  )
  block = generation.Block("train", range(3), 41)
  truth = builder.simulate("train", block.indices)
  store = generation.Store(tmp_path / "store")
  assert store.load(block) is None
  assert block not in store
  store.save(block, truth)
  assert block in store
  found = store.load(block)
  np.testing.assert_array_equal(
    found.trajectory.particles.coupling, truth.trajectory.particles.coupling
  )
  for one, other in zip(
    found.trajectory.state, truth.trajectory.state, strict=True
  ):
    assert one.tobytes() == other.tobytes()
  assert found.energy.tobytes() == truth.energy.tobytes()


@pytest.mark.parametrize("change", ["initial", "source"])
def test_blocks_of_other_code_are_not_used(change, tmp_path, monkeypatch):
  """Neither of other initial states nor of another solver's source."""
  builder = plugins.load("datasets", "nbody_spring").Builder(
    config="five", data_dir=tmp_path
  )
  before = builder._store().folder
  assert builder._store().folder == before
  if change == "initial":
    draw = builder.builder_config.initial
    monkeypatch.setattr(
      builder.builder_config,
      "initial",
      lambda d: (
        draw(d)[0]._replace(velocity=0 * draw(d)[0].velocity),
        *draw(d)[1:],
      ),
    )
  else:
    read = pathlib.Path.read_bytes
    monkeypatch.setattr(
      pathlib.Path,
      "read_bytes",
      lambda p: read(p) + (b"#" if p.name == "solvers.py" else b""),
    )
  assert builder._store().folder != before


def test_any_damage_to_a_block_makes_it_anew(tmp_path):
  builder = plugins.load("datasets", "nbody_spring").Builder(
    config="smoke", data_dir=tmp_path
  )
  block = generation.Block("train", range(2), 41)
  store = generation.Store(tmp_path / "store")
  store.save(block, builder.simulate("train", block.indices))
  path = store.folder / "train-0.npz"
  whole = path.read_bytes()
  rng = np.random.default_rng(0)
  for place in rng.integers(len(whole), size=300):
    damaged = bytearray(whole)
    damaged[place] ^= 1 << rng.integers(8)
    path.write_bytes(damaged)
    found = store.load(block)
    if found is not None:  # in a part that means nothing
      assert np.isfinite(found.energy).all()
  path.write_bytes(whole)
  assert store.load(block) is not None
  # Of a split that has changed its size since.
  assert store.load(block._replace(indices=range(3))) is None
  assert store.load(block._replace(num_frames=40)) is None


@pytest.mark.parametrize("n", [1, 2, 5, 100, 1400, 14_000])
def test_beam_cuts_shards_where_tfds_does(n):
  from tensorflow_datasets.core import shuffle

  keys = record_files.beam_keys(n)
  assert np.all(np.diff(keys) > 0)
  for num_shards in (1, 2, 8, 64, 1024):
    if num_shards > n:
      continue
    buckets = [shuffle.get_bucket_number(k, num_shards, keys[-1]) for k in keys]
    cuts = [round(n * s / num_shards) for s in range(num_shards + 1)]
    assert np.bincount(buckets, minlength=num_shards).tolist() == (
      np.diff(cuts).tolist()
    )


def test_large_systems_are_made_one_by_one():
  assert pair_sums.block_size(20) == pair_kernels.NUM_LANES
  assert pair_sums.block_size(1000) == 1
  blocks = generation.blocks("train", 40, 5, 32)
  assert [list(b.indices) for b in blocks] == [
    list(range(32)),
    list(range(32, 40)),
  ]


def test_sizes_of_extra_splits():
  found = sizes(10, 5, 5, num_frames=21, extra=8, unseen_n=False)
  assert found["test_long"] == (8, 101)
  assert found["test_symmetry"] == (5, 21)
  assert "test_unseen_n" not in found
  assert set(sizes(extra=0)) == {"train", "validation", "test"}


def test_a_lost_signal_is_found(monkeypatch):
  monkeypatch.setattr(signals, "_received", True)
  with pytest.raises(KeyboardInterrupt):
    generation.stop_if_requested()


@pytest.mark.slow
def test_a_killed_generation_ends_as_an_undisturbed_one(tmp_path):
  dataset = "nbody_gravity/n3"
  preparation.prepare(dataset, str(tmp_path / "undisturbed"))
  folder = tmp_path / "killed"
  command = [
    *(sys.executable, "-m", "nbody_bench.prepare", f"--dataset={dataset}"),
    f"--data_dir={folder}",
  ]
  for kill in range(3):
    process = subprocess.Popen(
      command, stderr=subprocess.DEVNULL, env=os.environ
    )
    while len(list(folder.glob("**/*.npz"))) < 8 * (kill + 1):
      assert process.poll() is None
      time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not list(folder.glob("**/2.0.0"))
  subprocess.run(command, check=True)
  assert hashes(folder, dataset) == hashes(tmp_path / "undisturbed", dataset)
