"""The base class of every simulated data set.

A configuration says which law it has, how initial states are drawn and which
solver integrates them (`dataset_configs`); this class integrates in float64,
measures the label error, checks the stated bounds, computes the statistics that
models normalise with, and hands examples to TensorFlow Datasets (TFDS).
"""

import hashlib
import inspect
import json
import os
import pathlib
import shutil
import zlib
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from nbody_bench import (
  generation,
  pair_kernels,
  pair_sums,
  record_files,
  simulation,
  statistics,
  twins,
)
from nbody_bench.dataset_configs import SPLITS, Draw, NBodyConfig
from nbody_bench.states import OF_SYSTEM, State

# Statistics come from the first training trajectories, as many as hold so many
# particles but one block at most: the same whichever runner makes the data set.
_PARTICLES_FOR_STATISTICS = 6400

# In the place of a split.
_NOISE_STREAM = 1000


class LabelError(ValueError):
  """A trajectory broke a bound that its configuration states."""


class NBodyDatasetBuilder(
  tfds.core.GeneratorBasedBuilder,
  skip_registration=True,  # type: ignore[call-arg]
):
  """Base class: a subclass lists its configurations.

  Attributes:
    BUILDER_CONFIGS: a list of `NBodyConfig`; the first is the default.
    num_workers: blocks of trajectories made at a time; None for one for each
      processor.
  """

  BUILDER_CONFIGS: ClassVar[list[NBodyConfig]]
  num_workers: int | None = None

  def __init_subclass__(cls, **kwargs):
    super().__init_subclass__(**kwargs)
    # README.md, CITATIONS.bib and TAGS.txt lie beside the builder's module;
    # TFDS would look in `nbody_bench/datasets`, which a checkout does not have.
    cls.pkg_dir_path = epath.Path(inspect.getfile(cls)).parent

  def _info(self) -> tfds.core.DatasetInfo:
    config = self.builder_config
    num_dims = config.num_dims
    features = {
      "trajectory_id": np.int64,
      "time": _tensor_feature(None),
      "position": _tensor_feature(None, None, num_dims),
      "velocity": _tensor_feature(None, None, num_dims),
      "box": _tensor_feature(num_dims),
      "energy": _tensor_feature(None),
      "momentum": _tensor_feature(None, num_dims),
      "label_error": _tensor_feature(None),
    }
    if config.noise:
      for name in ("clean_position", "clean_velocity"):
        features[name] = _tensor_feature(None, None, num_dims)
    for name in config.constants:
      shape = () if name in OF_SYSTEM else (None,)
      features[name] = _tensor_feature(*shape)
    if "test_symmetry" in config.splits:
      features |= {
        "twin_of": np.int64,
        "rotation": _tensor_feature(num_dims, num_dims),
        "translation": _tensor_feature(num_dims),
        "boost": _tensor_feature(num_dims),
      }
    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict(features),
      # Trajectory k of a split stays in place k: tasks name "the first n".
      disable_shuffling=True,
      metadata=tfds.core.MetadataDict(config.metadata()),
    )

  def download_and_prepare(self, **kwargs):
    """Makes the data set; what an earlier, broken attempt finished is used."""
    super().download_and_prepare(**kwargs)
    shutil.rmtree(self._store().folder, ignore_errors=True)

  # What this call of `download_and_prepare` was asked for.
  _download_config: tfds.download.DownloadConfig | None = None

  def _download_and_prepare(self, dl_manager, download_config):
    self._download_config = download_config
    try:
      super()._download_and_prepare(dl_manager, download_config)
    except Exception:
      # Beam makes another exception of one that passes through a worker.
      generation.stop_if_requested()
      raise

  def _example_writer(self):
    return record_files.CanonicalWriter(self.info.file_format)

  def _store(self) -> generation.Store:
    # Blocks of another setting, or of other code, must not be mixed in.
    version = str(self.version)
    digest = hashlib.sha256(json.dumps(self.builder_config.metadata()).encode())
    sources = sorted(pathlib.Path(__file__).parent.glob("*.py"))
    for source in [*sources, pathlib.Path(inspect.getfile(type(self)))]:
      digest.update(source.read_bytes())
    for array in self._initial_state("train", 0)[0]:
      digest.update(array.tobytes())
    # While TFDS writes, `data_dir` is a temporary folder beside the final one.
    folder = pathlib.Path(self.data_dir).parent
    return generation.Store(
      folder / f".finished-{version}-{digest.hexdigest()[:16]}"
    )

  def _split_generators(self, dl_manager):
    del dl_manager
    config = self.builder_config
    some = max(1, _PARTICLES_FOR_STATISTICS // config.num_particles)
    sample = self._made("train", min(some, pair_kernels.NUM_LANES))
    self.info.metadata["statistics"] = statistics.compute(
      [self._observed(*made) for made in sample]
    )
    download = self._download_config
    on_beam = download is not None and (
      download.beam_options is not None or download.beam_runner is not None
    )
    generate = self._generate_on_beam if on_beam else self._generate_examples
    return {split: generate(split) for split in config.splits}

  def blocks(
    self, split: str, count: int | None = None
  ) -> list[generation.Block]:
    """Returns the blocks of a split, or those of its first trajectories."""
    total, num_frames = self.builder_config.splits[split]
    size = pair_sums.block_size(self.builder_config.size(split))
    blocks = generation.blocks(split, total, num_frames, size)
    return [b for b in blocks if count is None or b.indices.start < count]

  def _made(self, split, count=None):
    return generation.in_order(
      lambda block, tick: self.simulate(block.split, block.indices, tick),
      self.blocks(split, count),
      self._store(),
      self.num_workers or os.cpu_count() or 1,
      f"{self.name}/{self.builder_config.name} {split}",
    )

  def _generate_examples(
    self, split: str
  ) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields examples in order; blocks are simulated in parallel threads."""
    for block, truth in self._made(split):
      yield from self.examples(block, truth)

  def _generate_on_beam(self, split: str):
    """Returns a PTransform that makes what `_generate_examples` yields."""
    import apache_beam as beam  # optional: nbody_bench[beam]

    assert self._download_config is not None
    keys = record_files.beam_keys(
      self.builder_config.splits[split].num_trajectories,
      self._download_config.num_shards,
    )
    work = [
      (block, keys[block.indices.start : block.indices.stop])
      for block in self.blocks(split)
    ]
    # Without a reshuffle the blocks are fused with their list: one worker.
    return beam.Create(work) | beam.Reshuffle() | beam.FlatMap(self._beam_block)

  def _beam_block(self, work):
    """Runs on a worker, which makes this builder anew (`__getstate__`)."""
    block, keys = work
    truth = self.simulate(block.split, block.indices)
    examples = self.examples(block, truth)
    for key, (_, example) in zip(keys, examples, strict=True):
      yield key, example

  def simulate(
    self,
    split: str,
    indices: range,
    on_frame: Callable[[int], None] = generation.stop_if_requested,
  ) -> simulation.GroundTruth:
    """Returns trajectories `indices` of `split`, checked against the bounds.

    Trajectory k depends on the configuration's name and seed, the split and k
    alone, never on which others are made.

    Raises:
      LabelError: naming the trajectory, the value, the bound and the mend.
    """
    config = self.builder_config
    source = "test" if split == "test_symmetry" else split
    drawn = [self._initial_state(source, k) for k in indices]
    state, particles, domain = (
      _concatenate(x) for x in zip(*drawn, strict=True)
    )
    if split == "test_energetic":
      state = state._replace(velocity=2 * state.velocity)
    truth = simulation.simulate(
      config.system,
      state,
      particles,
      domain,
      times=config.times(split),
      solver=config.solver,
      check=config.check,
      on_frame=on_frame,
    )
    if split == "test_symmetry":
      truth = self._twins(indices, truth)
    self._check(split, indices, truth)
    return truth

  def _generator(self, stream, index):
    key = zlib.crc32(f"{self.name}/{self.builder_config.name}".encode())
    return np.random.default_rng(
      np.random.SeedSequence(
        self.builder_config.seed, spawn_key=(key, stream, index)
      )
    )

  def _initial_state(self, split, index):
    config = self.builder_config
    return config.initial(
      Draw(
        self._generator(SPLITS.index(split), index),
        config.size(split),
        split,
        index,
      )
    )

  def _transformation(self, index, box):
    rng = self._generator(SPLITS.index("test_symmetry"), index)
    return twins.draw(rng, self.builder_config.system, box)

  def _twins(self, indices, truth):
    turned = []
    for row, index in enumerate(indices):
      one = truth.trajectory.select(slice(row, row + 1))
      turned.append(self._transformation(index, one.domain.box[0])(one))
    state = _concatenate([one.state for one in turned])
    return simulation.measured(
      self.builder_config.system,
      truth.trajectory._replace(state=state),
      truth.label_error,
    )

  def _check(self, split, indices, truth):
    config = self.builder_config
    for name, drift in simulation.drifts(config.system, truth).items():
      bound = getattr(config, f"max_{name}")
      if bound is None or (split, name) == ("test_long", "label_error"):
        continue
      worst = int(np.argmax(np.where(np.isnan(drift), np.inf, drift)))
      if not drift[worst] <= bound:
        raise LabelError(
          f"{self.name}/{config.name} {split} trajectory {indices[worst]}: "
          f"{name} is {drift[worst]:.3g}, over the stated bound {bound:.3g}; "
          f"use a finer solver (now {config.solver}) or a wider bound"
        )

  def examples(
    self, block: generation.Block, truth: simulation.GroundTruth
  ) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields the examples of a block, each with its key."""
    config = self.builder_config
    trajectory = self._observed(block, truth)
    for row, index in enumerate(block.indices):
      box = trajectory.domain.box[row]
      example = {
        "trajectory_id": index,
        "time": trajectory.time,
        "position": trajectory.state.position[row],
        "velocity": trajectory.state.velocity[row],
        "box": box,
        "energy": truth.energy[row],
        "momentum": truth.momentum[row],
        "label_error": truth.label_error[row],
      }
      if config.noise:
        clean = truth.trajectory.state
        example["clean_position"] = clean.position[row]
        example["clean_velocity"] = clean.velocity[row]
      for name in config.constants:
        example[name] = getattr(trajectory.particles, name)[row]
      if "test_symmetry" in config.splits:
        is_twin = block.split == "test_symmetry"
        change = (
          self._transformation(index, box)
          if is_twin
          else twins.identity(config.num_dims)
        )
        example |= {"twin_of": index if is_twin else -1, **change._asdict()}
      yield index, example

  def _observed(self, block, truth):
    """Returns the trajectories as they are stored."""
    trajectory, noise = truth.trajectory, self.builder_config.noise
    if not noise or block.split != "train":
      return trajectory
    rngs = [self._generator(_NOISE_STREAM, k) for k in block.indices]

    def draw(x):
      return np.stack([rng.normal(0, noise, x.shape[1:]) for rng in rngs])

    position, velocity = trajectory.state
    mass = trajectory.particles.mass[:, None, :, None]
    return trajectory._replace(
      state=State(position + draw(position), velocity + draw(velocity) / mass)
    )


def _tensor_feature(*shape):
  # As bytes: a float feature of a TFRecord would be rounded to float32.
  return tfds.features.Tensor(
    shape=shape, dtype=np.float64, encoding=tfds.features.Encoding.BYTES
  )


def _concatenate(parts):
  """Joins `State`s, `Particles` or `Domain`s along the batch."""
  return type(parts[0])(
    *(
      None if x[0] is None else np.concatenate(x)
      for x in zip(*parts, strict=True)
    )
  )
