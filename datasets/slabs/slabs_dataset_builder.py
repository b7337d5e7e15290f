"""Adsorbates on metal slabs; see README.md beside this file."""

import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from nbody_bench import (
  effective_medium,
  elements,
  jobs,
  periodic_pairs,
  slab_relaxations,
  slabs,
  slabs_ase,
  structures,
)
from nbody_bench.slab_relaxations import SPLITS, Made
from nbody_bench.slabs import Settings
from nbody_bench.systems import System


@dataclasses.dataclass(eq=False, kw_only=True)
class SlabsConfig(structures.StructuresConfig):
  """One selection of slabs.

  Attributes:
    settings: how they are drawn and what becomes of them.
    num_relaxations: of each split.
  """

  settings: Settings
  num_relaxations: Mapping[str, int]


def _config(
  name: str, settings: Settings, counts: Mapping[str, int], **others: Any
) -> SlabsConfig:
  facts = dataclasses.asdict(settings)
  tight = {k: facts.pop(k) for k in ("tight_tolerance", "max_label_error")}
  return SlabsConfig(
    name=name,
    system=System(law="emt", coupling=1.0),
    source={"name": "L-BFGS", **facts},
    check={"name": "L-BFGS", "tolerance": tight["tight_tolerance"]},
    splits={k: 2 if v.ends_alone else 1 for k, v in SPLITS.items()},
    max_label_error=tight["max_label_error"],
    seed=settings.seed,
    settings=settings,
    num_relaxations=counts,
    **others,
  )


def _counts(train: int, structures: int, relaxations: int) -> dict[str, int]:
  usual = {
    k: relaxations if v.ends_alone else structures for k, v in SPLITS.items()
  }
  return usual | {"train": train}


class Builder(structures.StructuresDatasetBuilder):
  """TFDS builder `slabs`."""

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
  BUILDER_CONFIGS: ClassVar[list[SlabsConfig]] = [
    _config(
      "emt",
      Settings(),
      _counts(2000, 125, 50),
      description="Small molecules on slabs of metals and alloys, 28 to 69 "
      "atoms, effective-medium potential, 21,000 structures.",
    ),
    _config(
      "smoke",
      Settings(
        sizes={"fcc111": ((3, 3, 3),), "fcc110": ((3, 2, 5),)},
        num_frames=2,
        num_perturbed=1,
      ),
      _counts(4, 1, 1),
      description="A few small slabs.",
    ),
  ]
  # More run the main program of a script again, which may not expect it.
  num_workers: int | None = 1

  def download_and_prepare(self, **kwargs):
    """Makes the data set; what an earlier, broken attempt computed is used."""
    super().download_and_prepare(**kwargs)
    if self._folder is not None:
      shutil.rmtree(self._folder, ignore_errors=True)

  _folder: pathlib.Path | None = None

  def structures(self, dl_manager):
    """See base class."""
    del dl_manager
    config = self.builder_config
    self.info.metadata["software"] = {"ase": slabs_ase.version()}
    # While TFDS writes, `data_dir` is a temporary folder beside the final one.
    self._folder = pathlib.Path(self.data_dir).parent / self._folder_name()
    todo = {
      split: [
        jobs.Job(f"{split}-{k:05d}", (config.settings, split, k))
        for k in range(count)
      ]
      for split, count in config.num_relaxations.items()
    }
    jobs.run(
      _work,
      [job for of_split in todo.values() for job in of_split],
      self._folder,
      self.num_workers or os.cpu_count() or 1,
      f"{self.full_config} relaxations",
    )
    return {k: self._finished(k, of_split) for k, of_split in todo.items()}

  def _finished(self, split, of_split):
    found = (jobs.load(self._folder, job.name) for job in of_split)
    made = [Made(**arrays) for arrays in found]
    yield from slab_relaxations.structures(made, split)

  def _folder_name(self):
    """Returns a name that relaxations made otherwise do not have."""
    facts = [dataclasses.asdict(self.builder_config.settings)]
    facts.append(self.info.metadata["software"])
    digest = hashlib.sha256(json.dumps(facts).encode())
    sources = (effective_medium, elements, periodic_pairs, slabs)
    for module in (*sources, slabs_ase, slab_relaxations):
      digest.update(pathlib.Path(module.__file__).read_bytes())
    return f".relaxations-{digest.hexdigest()[:16]}"


def _work(settings: Settings, split: str, index: int) -> dict[str, Any]:
  return slab_relaxations.make(settings, split, index)._asdict()
