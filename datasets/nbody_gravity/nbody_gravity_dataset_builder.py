"""Softened gravity in a periodic box; see README.md beside this file."""

from typing import ClassVar

import tensorflow_datasets as tfds

from nbody_bench import dataset_builder, initial_conditions
from nbody_bench.dataset_builder import NBodyConfig
from nbody_bench.systems import System

# Box sides are the published literal values, about 12 area units a particle;
# where none was published, sqrt(12 N) rounded to 0.1.
_LARGE = {
  "num_trajectories": (200, 50, 50),
  "num_substeps": 8,
  "max_label_error": 5e-2,
}


def _config(name, num_particles, box_side, **kwargs):
  bounds = {"max_energy_drift": 1e-5, "max_label_error": 1e-2}
  return NBodyConfig(
    name=name,
    description=f"{num_particles} bodies, box side {box_side}.",
    num_particles=num_particles,
    box_side=box_side,
    **(bounds | kwargs),
  )


class Builder(dataset_builder.NBodyDatasetBuilder):
  """TFDS builder `nbody_gravity`."""

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
  SYSTEM = System(law="plummer", coupling=-2.0, softening=0.2)
  BUILDER_CONFIGS: ClassVar[list[NBodyConfig]] = [
    _config("n20", 20, 15.5),
    _config("n3", 3, 6.0, max_energy_drift=1e-3),
    _config("n10", 10, 11.0, max_energy_drift=1e-4),
    _config("n50", 50, 24.5),
    _config("n100", 100, 34.6),
    _config("n200", 200, 49.0),
    _config("n500", 500, 77.5, **_LARGE),
    _config("n1000", 1000, 109.5, **_LARGE),
    _config("smoke", 20, 15.5, **dataset_builder.SMOKE),
  ]

  def initial_state(self, rng):
    """See base class."""
    return initial_conditions.uniform_box(
      rng, self.builder_config.num_particles, self.builder_config.box_side
    )
