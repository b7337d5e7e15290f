"""Published molecular dynamics; see README.md beside this file."""

import dataclasses
from typing import ClassVar

import tensorflow_datasets as tfds

from nbody_bench import md17, observed
from nbody_bench.dataset_configs import Size

# A start, and eight frames 375 apart.
_NUM_FRAMES = 9


@dataclasses.dataclass(eq=False, kw_only=True)
class MD17Config(observed.ObservedConfig):
  """One molecule.

  Attributes:
    names: that its file may have.
    published: which frames of it.
  """

  names: tuple[str, ...]
  published: md17.Published


# Heavy atoms, and published training start frames, of each molecule.
_MOLECULES = {
  "aspirin": (13, 19_176),
  "benzene": (6, 60_798),
  "ethanol": (3, 53_509),
  "malonaldehyde": (5, 97_323),
  "naphthalene": (10, 30_624),
  "salicylic": (10, 30_023),
  "toluene": (7, 42_278),
  "uracil": (8, 11_376),
}
_OTHER_NAMES = {
  "benzene": ("md17_benzene_old.npz", "md17_benzene2017.npz"),
  "salicylic": ("md17_salicylic.npz", "md17_salicylic_acid.npz"),
}


def _config(
  name: str,
  molecule: str,
  num_train: int | None,
  counts: tuple[int, ...] = (500, 2000, 2000),
) -> MD17Config:
  return MD17Config(
    name=name,
    description=f"{molecule}: its heavy atoms at 500 K, density functional "
    "theory, windows of 3000 frames of which 9 are stored.",
    origin={"name": "MD17", "molecule": molecule, "temperature": 500},
    num_particles=_MOLECULES[molecule][0],
    time_step=375.0,
    splits={
      k: Size(n, _NUM_FRAMES)
      for k, n in zip(("train", "validation", "test"), counts, strict=True)
    },
    has_species=True,
    overlap="across splits",
    seed=100,
    names=_OTHER_NAMES.get(molecule, (f"md17_{molecule}.npz",)),
    published=md17.Published(num_train=num_train),
  )


class Builder(observed.ObservedDatasetBuilder):
  """TFDS builder `md17`."""

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
  get it from sgdml.org (or quantum-machine.org/datasets), where the
  trajectories of MD17 are offered as NumPy archives, and put it there or in
  another folder.
  """
  BUILDER_CONFIGS: ClassVar[list[MD17Config]] = [
    *(_config(k, k, starts) for k, (_, starts) in _MOLECULES.items()),
    # Any trajectory of ethanol with more than 20,040 frames will do.
    _config("smoke", "ethanol", None, (4, 2, 2)),
  ]

  def windows(self, dl_manager):
    """See base class."""
    config = self.builder_config
    path = self.find(dl_manager, *config.names)
    return md17.windows(path, config.published)
