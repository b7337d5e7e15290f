"""Published adsorbates on catalysts; see README.md beside this file."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import tensorflow_datasets as tfds

from nbody_bench import oc20, structures
from nbody_bench.oc20 import Part
from nbody_bench.systems import System


@dataclasses.dataclass(eq=False, kw_only=True)
class OC20Config(structures.StructuresConfig):
  """One selection of the published structures.

  Attributes:
    parts: what makes each split.
  """

  parts: Mapping[str, Part]


def _config(
  name: str, train: tuple[str, ...], num_train: int | None, num_test: int | None
) -> OC20Config:
  parts = {
    "train": Part(train, num_train),
    "validation": Part(("s2ef_val_id",), num_test, (0.0, 0.5)),
    "test": Part(("s2ef_val_id",), num_test, (0.5, 1.0)),
    "test_unseen_adsorbate": Part(("s2ef_val_ood_ads",), num_test),
    "test_unseen_catalyst": Part(("s2ef_val_ood_cat",), num_test),
    "test_unseen_both": Part(("s2ef_val_ood_both",), num_test),
  }
  return OC20Config(
    name=name,
    description="OC20: adsorbates on catalysts, 7 to 225 atoms, density "
    f"functional theory, the training structures of {train[0]}.",
    system=System(law="unknown", coupling=0.0),
    source={"name": "OC20 S2EF", "theory": "RPBE", "train": train[0]},
    check={"name": "none"},
    splits=dict.fromkeys(parts, 1),
    parts=parts,
  )


class Builder(structures.StructuresDatasetBuilder):
  """TFDS builder `oc20`."""

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
  get the S2EF archives (s2ef_train_200K.tar or s2ef_train_2M.tar, and
  s2ef_val_id.tar, s2ef_val_ood_ads.tar, s2ef_val_ood_cat.tar,
  s2ef_val_ood_both.tar) from the Open Catalyst Project (fair-chem.github.io)
  and unpack each in a folder of its name there or in another folder; their
  .xz files may stay as they are.
  """
  BUILDER_CONFIGS: ClassVar[list[OC20Config]] = [
    _config("s2ef_200k", ("s2ef_train_200K", "s2ef_200K"), None, 25_000),
    _config("s2ef_2m", ("s2ef_train_2M", "s2ef_2M"), None, 25_000),
    _config("smoke", ("s2ef_train_200K", "s2ef_200K"), 8, 2),
  ]

  def structures(self, dl_manager):
    """See base class."""
    folder = self.manual_folder(dl_manager)
    result = {}
    for split, part in self.builder_config.parts.items():
      paths = oc20.find(folder, part.archives) if folder else []
      if not paths:
        raise self.missing(folder, f"{part.archives[0]}/*.extxyz[.xz]")
      result[split] = oc20.structures(paths, part)
    return result
