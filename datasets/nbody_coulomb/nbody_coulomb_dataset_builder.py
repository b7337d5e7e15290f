"""Softened Coulomb forces in a periodic box; see README.md beside this file."""

from typing import Any, ClassVar

import tensorflow_datasets as tfds

from nbody_bench import dataset_builder, initial_conditions
from nbody_bench.dataset_configs import NBodyConfig, Size, sizes
from nbody_bench.solvers import FixedSteps
from nbody_bench.systems import System

BOX = System(law="plummer", coupling=2.0, softening=0.2, source="charge")

# The published literal values, which are not those of gravity for the same N;
# where none was published, sqrt(12 N) rounded to 0.1.
_SIDES = {100: 34.5, 1000: 110.0}


def side(num_particles: int) -> float:
  """Returns the side of the periodic square."""
  return _SIDES.get(num_particles, round((12 * num_particles) ** 0.5, 1))


def charged_box(draw):
  """Returns `uniform_box` with random charges."""
  state, particles, domain = initial_conditions.uniform_box(draw, side=side)
  charge = initial_conditions.random_charges(draw.rng, draw.num_particles)
  return state, particles._replace(charge=charge), domain


def boxed(name: str, num_particles: int, **settings: Any) -> NBodyConfig:
  """Returns a configuration."""
  return NBodyConfig(
    name=name,
    system=BOX,
    initial=charged_box,
    num_particles=num_particles,
    **settings,
  )


class Builder(dataset_builder.NBodyDatasetBuilder):
  """TFDS builder `nbody_coulomb`."""

  VERSION = tfds.core.Version("2.0.0")
  RELEASE_NOTES: ClassVar[dict[str, str]] = {
    "2.0.0": "Extra test splits, solver in the metadata.",
    "1.0.0": "First release.",
  }
  BUILDER_CONFIGS: ClassVar[list[NBodyConfig]] = [
    boxed("n20", 20),
    boxed("n100", 100),
    boxed(
      "n1000",
      1000,
      splits=sizes(200, 50, 50, extra=8),
      solver=FixedSteps(8),
      max_label_error=5e-2,
    ),
    boxed(
      "smoke",
      20,
      splits=sizes(4, 2, 2, num_frames=41, extra=2)
      | {"test_long": Size(2, 101)},
    ),
  ]
