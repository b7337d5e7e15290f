"""Softened Coulomb forces in a periodic box; see README.md beside this file."""

from typing import ClassVar

import tensorflow_datasets as tfds

from nbody_bench import dataset_builder, initial_conditions
from nbody_bench.dataset_builder import NBodyConfig
from nbody_bench.systems import System

# Box sides are the published literal values, which are not those of gravity
# for the same N; where none was published, sqrt(12 N) rounded to 0.1.
_LARGE = {
  "num_trajectories": (200, 50, 50),
  "num_substeps": 8,
  "max_label_error": 5e-2,
}


def _config(name, num_particles, box_side, **kwargs):
  bounds = {"max_energy_drift": 1e-4, "max_label_error": 1e-2}
  return NBodyConfig(
    name=name,
    description=f"{num_particles} charges, box side {box_side}.",
    num_particles=num_particles,
    box_side=box_side,
    **(bounds | kwargs),
  )


class Builder(dataset_builder.NBodyDatasetBuilder):
  """TFDS builder `nbody_coulomb`."""

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
  SYSTEM = System(law="plummer", coupling=2.0, softening=0.2, source="charge")
  BUILDER_CONFIGS: ClassVar[list[NBodyConfig]] = [
    _config("n20", 20, 15.5),
    _config("n100", 100, 34.5),
    _config("n1000", 1000, 110.0, **_LARGE),
    _config("smoke", 20, 15.5, **dataset_builder.SMOKE),
  ]

  def initial_state(self, rng):
    """See base class."""
    config = self.builder_config
    state, particles, domain = initial_conditions.uniform_box(
      rng, config.num_particles, config.box_side
    )
    charge = initial_conditions.random_charges(rng, config.num_particles)
    return state, particles._replace(charge=charge), domain
