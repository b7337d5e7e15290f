"""Softened Coulomb forces in a periodic box; see README.md beside this file."""

from typing import ClassVar

import tensorflow_datasets as tfds

from nbody_bench import dataset_builder, initial_conditions
from nbody_bench.dataset_builder import LARGE, SMOKE, NBodyConfig
from nbody_bench.systems import System


class Builder(dataset_builder.NBodyDatasetBuilder):
  """TFDS builder `nbody_coulomb`."""

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
  SYSTEM = System(law="plummer", coupling=2.0, softening=0.2, source="charge")
  # Box sides are the published literal values, which are not those of gravity
  # for the same N; where none was published, sqrt(12 N) rounded to 0.1.
  BUILDER_CONFIGS: ClassVar[list[NBodyConfig]] = [
    NBodyConfig(name="n20", num_particles=20, box_side=15.5),
    NBodyConfig(name="n100", num_particles=100, box_side=34.5),
    NBodyConfig(name="n1000", num_particles=1000, box_side=110.0, **LARGE),
    NBodyConfig(name="smoke", num_particles=20, box_side=15.5, **SMOKE),
  ]

  def initial_state(self, rng):
    """See base class."""
    config = self.builder_config
    state, particles, domain = initial_conditions.uniform_box(
      rng, config.num_particles, config.box_side
    )
    charge = initial_conditions.random_charges(rng, config.num_particles)
    return state, particles._replace(charge=charge), domain
