"""Gravity, softened in a periodic box and open; see README.md beside this."""

import functools
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from nbody_bench import dataset_builder, initial_conditions
from nbody_bench.dataset_configs import NBodyConfig, Size, sizes
from nbody_bench.solvers import AdaptiveSteps, BlockSteps, FixedSteps
from nbody_bench.systems import System

BOX = System(law="plummer", coupling=-2.0, softening=0.2)
OPEN = System(law="plummer", coupling=-1.0)

# The published literal values, about 12 area units a particle; where none was
# published, sqrt(12 N) rounded to 0.1.
_SIDES = {3: 6.0, 50: 24.5, 500: 77.5, 5000: 244.9, 10_000: 346.4}


def side(num_particles: int) -> float:
  """Returns the side of the periodic square."""
  return _SIDES.get(num_particles, round((12 * num_particles) ** 0.5, 1))


def boxed(name: str, num_particles: int, **settings: Any) -> NBodyConfig:
  """Returns a configuration of the main, periodic system."""
  return NBodyConfig(
    name=name,
    system=BOX,
    initial=functools.partial(initial_conditions.uniform_box, side=side),
    num_particles=num_particles,
    **settings,
  )


# What large systems can afford.
_LARGE: dict[str, Any] = {
  "splits": sizes(200, 50, 50, extra=8),
  "solver": FixedSteps(8),
  "max_label_error": 5e-2,
}


def _huge(*counts: int) -> dict[str, Any]:
  return {
    "splits": sizes(*counts, extra=0),
    "solver": FixedSteps(4),
    "max_label_error": 1e-1,
  }


def _cluster(name: str, **settings: Any) -> NBodyConfig:
  """Returns a configuration of a collapsing cluster in open space."""
  usual: dict[str, Any] = {
    "splits": sizes(1000, 200, 200, num_frames=101),
    "solver": FixedSteps(32, "yoshida4"),
  }
  return NBodyConfig(
    name=name,
    system=System(law="plummer", coupling=-1.0, softening=0.1),
    initial=functools.partial(
      initial_conditions.cold_cluster, published=name != "open_n100"
    ),
    num_particles=100,
    num_dims=3,
    **usual | settings,
  )


# The published generator's scheme. Its label error is the distance to what it
# should have done.
_PUBLISHED: dict[str, Any] = {
  "splits": sizes(1000, 200, 200, extra=0),
  "solver": BlockSteps(frozen=True),
  "check": FixedSteps(64),
  "max_momentum_drift": None,
  "max_label_error": None,
  "max_energy_drift": 1e-2,
}

# The four-body problem of "Momentum Conserving Lagrangian Neural Networks": two
# eccentric pairs, no softening.
FOUR = initial_conditions.Stated(
  position=((1.0, 0.0), (9.0, 0.0), (11.0, 0.0), (-1.0, 0.0)),
  velocity=((0.0, 0.05), (0.0, -0.05), (0.0, 0.65), (0.0, -0.65)),
  separation=20.0,
)
_LONG = {"test_long": Size(20, 301)}
_FOUR_SPLITS = sizes(100, 20, 20, num_frames=20, extra=20) | _LONG
_PLANAR: dict[str, Any] = {
  "system": OPEN,
  "time_step": 0.1,
  "solver": AdaptiveSteps(),
  "splits": _FOUR_SPLITS,
  "max_label_error": 1e-1,  # bodies may meet closely
}
_WINDOWS = functools.partial(
  initial_conditions.windows,
  stated=FOUR,
  system=OPEN,
  length=2.0,
  counts=tuple((k, v.num_trajectories) for k, v in _FOUR_SPLITS.items()),
)


class Builder(dataset_builder.NBodyDatasetBuilder):
  """TFDS builder `nbody_gravity`."""

  VERSION = tfds.core.Version("2.0.0")
  RELEASE_NOTES: ClassVar[dict[str, str]] = {
    "2.0.0": "More systems, extra test splits, solver in the metadata.",
    "1.0.0": "First release.",
  }
  BUILDER_CONFIGS: ClassVar[list[NBodyConfig]] = [
    boxed("n20", 20),
    boxed("n3", 3, max_energy_drift=1e-3),
    boxed("n10", 10),
    boxed("n50", 50),
    boxed("n100", 100),
    boxed("n200", 200),
    boxed("n500", 500, **_LARGE),
    boxed("n1000", 1000, **_LARGE),
    boxed("n5000", 5000, **_huge(32, 8, 8)),
    boxed("n10000", 10_000, **_huge(12, 4, 4)),
    boxed("published_n20", 20, **_PUBLISHED),
    boxed("published_n100", 100, **_PUBLISHED),
    boxed(
      "published_n1000",
      1000,
      **_PUBLISHED | {"splits": sizes(200, 50, 50, extra=0)},
    ),
    _cluster("open_n100"),
    _cluster(
      "published_open_n100",
      time_step=0.1,
      splits=sizes(10_000, 2_000, 2_000, num_frames=50, extra=0),
      solver=FixedSteps(100),
      max_energy_drift=1e-2,
      max_label_error=None,
    ),
    NBodyConfig(name="four", num_particles=4, initial=_WINDOWS, **_PLANAR),
    NBodyConfig(
      name="four_random",
      num_particles=4,
      initial=functools.partial(initial_conditions.around, stated=FOUR),
      **_PLANAR,
    ),
    NBodyConfig(
      name="eight",
      num_particles=8,
      initial=functools.partial(initial_conditions.around, stated=FOUR),
      **_PLANAR
      | {"splits": sizes(100, 20, 20, num_frames=20, unseen_n=False) | _LONG},
    ),
    NBodyConfig(
      name="disc_n100",
      system=System(law="plummer", coupling=-1.0, softening=0.05),
      initial=initial_conditions.plummer_disc,
      num_particles=100,
      time_step=0.02,
      solver=FixedSteps(32, "yoshida4"),
    ),
    NBodyConfig(
      name="two_body_orbits",
      system=OPEN,
      initial=initial_conditions.two_body_orbit,
      num_particles=2,
      time_step=20 / 49,
      splits=sizes(800, 100, 100, num_frames=50, unseen_n=False),
      solver=AdaptiveSteps(),
    ),
    NBodyConfig(
      name="three_body_orbits",
      system=OPEN,
      initial=initial_conditions.three_body_orbit,
      num_particles=3,
      time_step=5 / 19,
      splits=sizes(4000, 500, 500, num_frames=20, unseen_n=False),
      solver=AdaptiveSteps(),
    ),
    boxed(
      "smoke",
      20,
      splits=sizes(4, 2, 2, num_frames=41, extra=2)
      | {"test_long": Size(2, 101)},
    ),
  ]
