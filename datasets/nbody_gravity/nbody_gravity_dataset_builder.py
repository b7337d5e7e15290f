"""Softened gravity in a periodic box; see README.md beside this file."""

from typing import ClassVar

import tensorflow_datasets as tfds

from nbody_bench import dataset_builder, initial_conditions
from nbody_bench.dataset_builder import LARGE, SMOKE, NBodyConfig
from nbody_bench.systems import System


class Builder(dataset_builder.NBodyDatasetBuilder):
  """TFDS builder `nbody_gravity`."""

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
  SYSTEM = System(law="plummer", coupling=-2.0, softening=0.2)
  # Box sides are the published literal values, about 12 area units a particle;
  # where none was published, sqrt(12 N) rounded to 0.1.
  BUILDER_CONFIGS: ClassVar[list[NBodyConfig]] = [
    NBodyConfig(name="n20", num_particles=20, box_side=15.5),
    NBodyConfig(
      name="n3", num_particles=3, box_side=6.0, max_energy_drift=1e-3
    ),
    NBodyConfig(name="n10", num_particles=10, box_side=11.0),
    NBodyConfig(name="n50", num_particles=50, box_side=24.5),
    NBodyConfig(name="n100", num_particles=100, box_side=34.6),
    NBodyConfig(name="n200", num_particles=200, box_side=49.0),
    NBodyConfig(name="n500", num_particles=500, box_side=77.5, **LARGE),
    NBodyConfig(name="n1000", num_particles=1000, box_side=109.5, **LARGE),
    NBodyConfig(name="smoke", num_particles=20, box_side=15.5, **SMOKE),
  ]

  def initial_state(self, rng):
    """See base class."""
    return initial_conditions.uniform_box(
      rng, self.builder_config.num_particles, self.builder_config.box_side
    )
