"""Our own molecular dynamics; see README.md beside this file."""

import dataclasses
import pathlib
import shutil
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from nbody_bench import elements, molecular_dynamics, observed
from nbody_bench.dataset_configs import Size
from nbody_bench.molecular_dynamics import Dynamics


@dataclasses.dataclass(eq=False, kw_only=True)
class MoleculesConfig(observed.ObservedConfig):
  """One molecule.

  Attributes:
    dynamics: that the windows are cut from.
  """

  dynamics: Dynamics


_NUM_ATOMS = {"benzene": 12, "ethanol": 9, "aspirin": 21}


def _config(
  name: str, dynamics: Dynamics, horizon: int, *counts: int, **settings: Any
) -> MoleculesConfig:
  step = dynamics.time_step * dynamics.record_every
  return MoleculesConfig(
    name=name,
    description=f"{dynamics.molecule}: all its atoms at "
    f"{dynamics.temperature:g} K, GFN2-xTB, windows of {horizon * step:g} fs.",
    origin={"name": "Langevin dynamics", "theory": "GFN2-xTB"}
    | dataclasses.asdict(dynamics),
    num_particles=_NUM_ATOMS[dynamics.molecule],
    time_step=step,
    splits={
      k: Size(n, horizon + 1)
      for k, n in zip(("train", "validation", "test"), counts, strict=True)
    },
    has_species=True,
    has_forces=True,
    force_unit=elements.FORCE_UNIT,
    seed=dynamics.seed,
    dynamics=dynamics,
    **settings,
  )


class Builder(observed.ObservedDatasetBuilder):
  """TFDS builder `molecules`."""

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
  BUILDER_CONFIGS: ClassVar[list[MoleculesConfig]] = [
    *(
      _config(molecule, Dynamics(molecule), 10, 2000, 400, 400)
      for molecule in _NUM_ATOMS
    ),
    _config(
      "smoke",
      Dynamics(
        "ethanol",
        num_steps=600,
        warm_up_steps=40,
        record_every=5,
        save_every=100,
      ),
      *(4, 4, 2, 2),
    ),
  ]

  def download_and_prepare(self, **kwargs):
    """Makes the data set; what an earlier, broken attempt computed is used."""
    super().download_and_prepare(**kwargs)
    if self._folder is not None:
      shutil.rmtree(self._folder, ignore_errors=True)

  _folder: pathlib.Path | None = None

  def windows(self, dl_manager):
    """See base class."""
    del dl_manager
    config = self.builder_config
    self.info.metadata["software"] = molecular_dynamics.versions()
    # While TFDS writes, `data_dir` is a temporary folder beside the final one.
    name = molecular_dynamics.folder_name(config.dynamics)
    self._folder = pathlib.Path(self.data_dir).parent / name
    recorded = molecular_dynamics.run(config.dynamics, self._folder)
    horizon = config.splits["train"].num_frames - 1
    starts = molecular_dynamics.split_by_time(
      len(recorded.position),
      horizon,
      {k: v.num_trajectories for k, v in config.splits.items()},
      config.seed,
    )
    return molecular_dynamics.run_windows(recorded, starts, horizon)
