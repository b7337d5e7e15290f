"""The base class of every simulated data set.

A builder says which law it has and how to draw an initial state; this class
integrates in float64, measures the label error, checks the stated bounds,
computes the statistics that models normalise with, and hands examples to
TensorFlow Datasets (TFDS).
"""

import abc
import concurrent.futures
import dataclasses
import inspect
import os
import threading
import zlib
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
import tqdm
from etils import epath

from nbody_bench import pair_sums, signals, simulation, statistics
from nbody_bench.states import Domain, Particles, State
from nbody_bench.systems import System

SPLITS = ("train", "validation", "test")

# The statistics come from this many training trajectories, which are the same
# whichever machine or runner makes the data set.
_NUM_FOR_STATISTICS = pair_sums.NUM_LANES


@dataclasses.dataclass(eq=False, kw_only=True)
class NBodyConfig(tfds.core.BuilderConfig):
  """One configuration of a simulated data set.

  Attributes:
    num_particles: N.
    box_side: L of the periodic square; infinite for an open domain.
    num_trajectories: of each of `SPLITS`.
    num_frames: T, the initial state included.
    time_step: time between frames.
    num_substeps: equal integration steps between frames.
    seed: of the whole configuration.
    max_energy_drift: bound on |H(t) - H(0)| / (T(0) + |U(0)|), each trajectory.
    max_momentum_drift: bound on |P(t) - P(0)|, each trajectory and component.
    max_label_error: bound on the label error, each trajectory and frame.
  """

  num_particles: int
  box_side: float
  num_trajectories: tuple[int, int, int] = (1000, 200, 200)
  num_frames: int = 201
  time_step: float = 0.01
  num_substeps: int = 64
  seed: int = 0
  max_energy_drift: float = 1e-4
  max_momentum_drift: float = 1e-11
  max_label_error: float = 1e-2

  def __post_init__(self):
    self.description = (
      f"{self.num_particles} particles, box side {self.box_side}."
    )


# Every data set has a configuration `smoke` that is made in seconds.
SMOKE: dict[str, Any] = {"num_trajectories": (4, 2, 2), "num_frames": 41}
# What large systems can afford.
LARGE: dict[str, Any] = {
  "num_trajectories": (200, 50, 50),
  "num_substeps": 8,
  "max_label_error": 5e-2,
}


class LabelError(ValueError):
  """A trajectory broke a bound that its configuration states."""


class NBodyDatasetBuilder(
  tfds.core.GeneratorBasedBuilder,
  skip_registration=True,  # type: ignore[call-arg]
):
  """Base class: a subclass sets the class data and draws initial states.

  Attributes:
    SYSTEM: the law and its constants.
    BUILDER_CONFIGS: a list of `NBodyConfig`; the first is the default.
  """

  SYSTEM: ClassVar[System]
  BUILDER_CONFIGS: ClassVar[list[NBodyConfig]]

  def __init_subclass__(cls, **kwargs):
    super().__init_subclass__(**kwargs)
    # README.md, CITATIONS.bib and TAGS.txt lie beside the builder's module;
    # TFDS would look in `nbody_bench/datasets`, which a checkout does not have.
    cls.pkg_dir_path = epath.Path(inspect.getfile(cls)).parent

  @abc.abstractmethod
  def initial_state(
    self, rng: np.random.Generator
  ) -> tuple[State, Particles, Domain]:
    """Returns one initial state of `self.builder_config`, a batch of 1."""

  def _info(self) -> tfds.core.DatasetInfo:
    config = self.builder_config
    num_dims = 2
    features = {
      "trajectory_id": np.int64,
      "time": _tensor_feature(None),
      "mass": _tensor_feature(None),
      "position": _tensor_feature(None, None, num_dims),
      "velocity": _tensor_feature(None, None, num_dims),
      "box": _tensor_feature(num_dims),
      "energy": _tensor_feature(None),
      "momentum": _tensor_feature(None, num_dims),
      "label_error": _tensor_feature(None),
    }
    if self.SYSTEM.source != "mass":
      features[self.SYSTEM.source] = _tensor_feature(None)
    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict(features),
      # Trajectory k of a split stays in place k: tasks name "the first n".
      disable_shuffling=True,
      metadata=tfds.core.MetadataDict(
        system=self.SYSTEM.to_dict(),
        num_dims=num_dims,
        num_particles=config.num_particles,
        num_frames=config.num_frames,
        box_side=config.box_side,
        time_step=config.time_step,
        num_substeps=config.num_substeps,
        seed=config.seed,
        max_energy_drift=config.max_energy_drift,
        max_momentum_drift=config.max_momentum_drift,
        max_label_error=config.max_label_error,
      ),
    )

  def _split_generators(self, dl_manager):
    del dl_manager
    counts = dict(
      zip(SPLITS, self.builder_config.num_trajectories, strict=True)
    )
    sample = self.simulate(
      "train",
      range(min(_NUM_FOR_STATISTICS, counts["train"])),
      _stop_if_requested,
    )
    self.info.metadata["statistics"] = statistics.compute(sample.trajectory)
    return {s: self._generate_examples(s, n) for s, n in counts.items()}

  def _generate_examples(
    self, split: str, num_trajectories: int
  ) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields examples in order; blocks are simulated in parallel threads."""
    blocks = [
      range(start, min(start + pair_sums.NUM_LANES, num_trajectories))
      for start in range(0, num_trajectories, pair_sums.NUM_LANES)
    ]
    stop = threading.Event()
    bar = tqdm.tqdm(
      desc=f"{self.name}/{self.builder_config.name} {split}",
      total=num_trajectories * (self.builder_config.num_frames - 1),
      unit=" frames",
      unit_scale=True,
      mininterval=0.5,
    )

    def work(block):
      def on_frame():
        _stop_if_requested()
        if stop.is_set():
          raise InterruptedError("generation was stopped")
        bar.update(len(block))

      return self.simulate(split, block, on_frame)

    workers = os.cpu_count() or 1
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
      try:
        # A window of blocks, so that finished ones do not pile up in memory.
        pending = [pool.submit(work, b) for b in blocks[: workers + 1]]
        for i, block in enumerate(blocks):
          truth = pending.pop(0).result()
          if i + workers + 1 < len(blocks):
            pending.append(pool.submit(work, blocks[i + workers + 1]))
          for row, index in enumerate(block):
            yield index, self._example(truth, row, index)
      finally:
        stop.set()
        bar.close()

  def simulate(
    self, split: str, indices: range, on_frame=lambda: None
  ) -> simulation.GroundTruth:
    """Returns trajectories `indices` of `split`, checked against the bounds.

    Trajectory k depends on the configuration's name and seed, the split and k
    alone, never on which others are made.

    Raises:
      LabelError: naming the trajectory, the value, the bound and the mend.
    """
    config = self.builder_config
    drawn = [self.initial_state(self._generator(split, k)) for k in indices]
    state, particles, domain = (
      _concatenate(x) for x in zip(*drawn, strict=True)
    )
    truth = simulation.simulate(
      self.SYSTEM,
      state,
      particles,
      domain,
      time_step=config.time_step,
      num_frames=config.num_frames,
      num_substeps=config.num_substeps,
      on_frame=on_frame,
    )
    self._check(split, indices, truth)
    return truth

  def _generator(self, split, index):
    key = zlib.crc32(f"{self.name}/{self.builder_config.name}".encode())
    return np.random.default_rng(
      np.random.SeedSequence(
        self.builder_config.seed, spawn_key=(key, SPLITS.index(split), index)
      )
    )

  def _check(self, split, indices, truth):
    config = self.builder_config
    for name, drift in simulation.drifts(self.SYSTEM, truth).items():
      bound = getattr(config, f"max_{name}")
      worst = int(np.argmax(drift))
      if not drift[worst] <= bound:
        raise LabelError(
          f"{self.name}/{config.name} {split} trajectory {indices[worst]}: "
          f"{name} is {drift[worst]:.3g}, over the stated bound {bound:.3g}; "
          f"raise num_substeps (now {config.num_substeps}) or the bound"
        )

  def _example(self, truth, row, index):
    trajectory = truth.trajectory
    example = {
      "trajectory_id": index,
      "time": trajectory.time,
      "mass": trajectory.particles.mass[row],
      "position": trajectory.state.position[row],
      "velocity": trajectory.state.velocity[row],
      "box": trajectory.domain.box[row],
      "energy": truth.energy[row],
      "momentum": truth.momentum[row],
      "label_error": truth.label_error[row],
    }
    if self.SYSTEM.source != "mass":
      source = getattr(trajectory.particles, self.SYSTEM.source)
      example[self.SYSTEM.source] = source[row]
    return example


def _stop_if_requested():
  if signals.stop_requested():
    raise KeyboardInterrupt


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
