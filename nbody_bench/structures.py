"""The base class of data sets of structures: atoms at rest, with forces.

An example is one structure, or the first and the last of a relaxation, with as
many atoms as it has. Lengths in Angstrom, energies in eV, masses in atomic mass
units; nothing moves, so that velocities are zero, and time counts frames.
"""

import abc
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from nbody_bench import external, generation
from nbody_bench.elements import MASSES
from nbody_bench.external import floats, integers
from nbody_bench.states import FIXED, Domain
from nbody_bench.systems import System

# Where a structure comes from: a relaxation, atoms that were displaced from
# where they are in one, or molecular dynamics that begins there.
RELAXATION, PERTURBED, DYNAMICS = range(3)


class Structure(NamedTuple):
  """T frames of the same N atoms.

  Attributes:
    position: `[T, N, 3]`, inside the box or not.
    force: `[T, N, 3]`, on every atom, of those that are held too.
    potential_energy: `[T]`.
    label_error: `[T]`: 0 for forces that are exact; of a relaxed frame, how far
      its free atoms are from where they end, root mean square; NaN: not known.
    species: `[N]` atomic numbers.
    tag: `[N]`, `FIXED`, `SURFACE` or `ADSORBATE`.
    box: `[3]` lengths of the sides, infinite along open directions.
    cell: `[3, 3]`, sides as rows.
    sid: number of the relaxation, of which a split has all or none.
    fid: frame of the relaxation; of other origins, the one they began with.
    origin: `RELAXATION`, `PERTURBED` or `DYNAMICS`.
  """

  position: np.ndarray
  force: np.ndarray
  potential_energy: np.ndarray
  label_error: np.ndarray
  species: np.ndarray
  tag: np.ndarray
  box: np.ndarray
  cell: np.ndarray
  sid: int
  fid: int
  origin: int


@dataclasses.dataclass(eq=False, kw_only=True)
class StructuresConfig(tfds.core.BuilderConfig):
  """One configuration of a data set of structures.

  Attributes:
    system: the law of the forces.
    source: how structures and labels were made: `{"name": ..., other facts}`.
    check: how the label errors of relaxed structures were found, likewise.
    splits: frames of the examples of each.
    max_label_error: bound on the label error.
    seed: of what is drawn.
  """

  system: System
  source: Mapping[str, Any]
  check: Mapping[str, Any]
  splits: Mapping[str, int]
  max_label_error: float | None = None
  seed: int = 0

  def metadata(self) -> dict[str, Any]:
    """Returns what is known before the examples are, as plain data."""
    bounds = ("energy_drift", "momentum_drift", "angular_momentum_drift")
    return {
      "system": self.system.to_dict(),
      "solver": dict(self.source),
      "check": dict(self.check),
      "num_dims": 3,
      "time_step": 1.0,
      "first_time": 0.0,
      "noise": 0.0,
      "num_context_frames": 1,
      "withheld": [],
      "seed": self.seed,
      "jump": [0, self.splits["test"] - 1],
      # Nothing moves, and N differs: sizes are the largest.
      "static": True,
      "splits": {k: {"num_frames": n} for k, n in self.splits.items()},
      "max_label_error": self.max_label_error,
      **{f"max_{k}": None for k in bounds},
    }


class StructuresDatasetBuilder(
  external.ExternalDatasetBuilder,
  skip_registration=True,  # type: ignore[call-arg]
):
  """Base class: a subclass lists its configurations, defines `structures`.

  Attributes:
    BUILDER_CONFIGS: a list of `StructuresConfig`; the first is the default.
  """

  BUILDER_CONFIGS: ClassVar[list[Any]]

  @abc.abstractmethod
  def structures(
    self, dl_manager: tfds.download.DownloadManager
  ) -> Mapping[str, Iterable[Structure]]:
    """Returns the structures of each split of the configuration.

    Each split is gone through once, in this order of examples: "the first n" of
    a task or a training are the first ones here.

    Args:
      dl_manager: for `find`.
    """

  def _info(self) -> tfds.core.DatasetInfo:
    features = external.motion_features(3) | {
      "force": floats(None, None, 3),
      "potential_energy": floats(None),
      "cell": floats(3, 3),
      "species": integers(None),
      "tag": integers(None),
      **dict.fromkeys(("sid", "fid", "origin"), np.int64),
    }
    return self.info_of(features, self.builder_config.metadata())

  def _download_and_prepare(self, dl_manager, download_config):
    self._seen: dict[str, _Sizes] = {}
    self._labels = Labels()
    super()._download_and_prepare(dl_manager, download_config)
    metadata = self.info.metadata
    metadata["splits"] = {
      split: {"num_frames": frames, **self._seen[split]._asdict()}
      for split, frames in self.builder_config.splits.items()
    }
    sizes = (x.num_particles for x in self._seen.values())
    metadata["num_particles"] = max(sizes)
    metadata["statistics"] = self._labels.statistics()

  def _split_generators(self, dl_manager):
    found = self.structures(dl_manager)
    return {
      split: self._generate_examples(split, found[split])
      for split in self.builder_config.splits
    }

  def _generate_examples(
    self, split: str, structures: Iterable[Structure]
  ) -> Iterator[tuple[int, dict[str, Any]]]:
    count = largest = 0
    for structure in structures:
      generation.stop_if_requested()
      if split == "train":
        self._labels.add(
          structure.force, structure.potential_energy, structure.tag
        )
      yield count, _example(count, structure)
      count += 1
      largest = max(largest, len(structure.species))
    if not count:
      raise ValueError(f"{self.full_config} has no structures for {split!r}")
    self._seen[split] = _Sizes(count, largest)


class _Sizes(NamedTuple):
  num_trajectories: int
  num_particles: int


def _example(index, structure):
  num_frames = len(structure.position)
  domain = Domain(structure.box[None], structure.cell[None])
  return {
    "trajectory_id": index,
    "time": np.arange(num_frames, dtype=np.float64),
    "velocity": np.zeros_like(structure.position),
    "momentum": np.zeros((num_frames, 3)),
    "energy": structure.potential_energy,
    "mass": MASSES[structure.species],
    **structure._asdict(),
    "position": domain.wrap(structure.position[None])[0],
  }


class Labels:
  """Gathers statistics of forces and energies, structure by structure."""

  def __init__(self):
    self._energies: list[float] = []
    self._count = 0
    self._sum = self._sum_of_squares = 0.0  # of |components|

  def add(self, force: np.ndarray, energy: np.ndarray, tag: np.ndarray) -> None:
    """Takes a structure's frames into account.

    Args:
      force: `[T, N, 3]`.
      energy: `[T]`.
      tag: `[N]`.
    """
    force = np.abs(force[:, tag != FIXED])
    self._energies += energy.tolist()
    self._count += force.size
    self._sum += float(np.sum(force))
    self._sum_of_squares += float(np.sum(force**2))

  def statistics(self) -> dict[str, float]:
    """Returns statistics that models normalise with.

    Returns:
      `force_std` and `force_mean_abs`, about zero, of the components of the
      forces on atoms that are not held; `energy_mean` and `energy_std` of the
      structures; and 1 for the standard deviations of motion that
      `statistics.compute` tells of, as there is none to normalise. 1 also for
      what would be 0.
    """
    count = max(self._count, 1)
    found = {
      "force_std": np.sqrt(self._sum_of_squares / count),
      "force_mean_abs": self._sum / count,
      "energy_std": np.std(self._energies),
    }
    motion = ("velocity", "position_increment", "velocity_increment")
    return {
      **{f"{k}_std": 1.0 for k in motion},
      **{k: float(x) or 1.0 for k, x in found.items()},
      "energy_mean": float(np.mean(self._energies)),
    }
