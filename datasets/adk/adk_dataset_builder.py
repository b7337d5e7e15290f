"""A protein in equilibrium; see README.md beside this file."""

import dataclasses
from typing import ClassVar

import tensorflow_datasets as tfds

from nbody_bench import observed, proteins
from nbody_bench.dataset_configs import Size

# A start and the 15 frames that follow.
_NUM_FRAMES = 16
_SHARES = {"train": (0, 0.6), "validation": (0.6, 0.8), "test": (0.8, 1)}
# N, CA, C and O of 214 residues; the last one's O has another name.
_NUM_ATOMS = 855


@dataclasses.dataclass(eq=False, kw_only=True)
class AdKConfig(observed.ObservedConfig):
  """One trajectory.

  Attributes:
    topology: file of the atoms.
    trajectory: file of their positions.
  """

  topology: str = "adk4AKE.psf"
  trajectory: str = "1ake_007-nowater-core-dt240ps.dcd"


def _config(name: str, *counts: int) -> AdKConfig:
  return AdKConfig(
    name=name,
    description="Adenylate kinase at 300 K in water, its backbone: 855 atoms, "
    "windows of 16 frames of 240 ps.",
    origin={"name": "CHARMM27, NAMD", "protein": "4AKE", "temperature": 300},
    num_particles=_NUM_ATOMS,
    splits={
      k: Size(n, _NUM_FRAMES) for k, n in zip(_SHARES, counts, strict=True)
    },
    has_bonds=False,
    has_charge=True,
    contact_radius=8.0,
  )


class Builder(observed.ObservedDatasetBuilder):
  """TFDS builder `adk`."""

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
  get adk_equilibrium of MDAnalysisData (Seyler and Beckstein, figshare,
  doi:10.6084/m9.figshare.5108170), and put its files there or in another
  folder.
  """
  BUILDER_CONFIGS: ClassVar[list[AdKConfig]] = [
    _config("equilibrium", 2496, 821, 822),
    # Any trajectory of the same atoms with 90 frames or more will do.
    _config("smoke", 4, 2, 2),
  ]

  def windows(self, dl_manager):
    """See base class."""
    config = self.builder_config
    return proteins.windows(
      self.find(dl_manager, config.topology),
      self.find(dl_manager, config.trajectory),
      _SHARES,
      _NUM_FRAMES,
    )
