"""Bodies on springs; see README.md beside this file."""

import functools
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from nbody_bench import dataset_builder, initial_conditions
from nbody_bench.dataset_configs import NBodyConfig, Size, sizes
from nbody_bench.solvers import AdaptiveSteps, ExactSprings
from nbody_bench.systems import System

FIVE = System(law="harmonic", coupling=1.0, source="stiffness")
# One body tied to the origin; the pair law has no pairs.
MASS_SPRING = System(law="harmonic", coupling=0.0, trap=1.0)
HNN_SPRING = System(law="harmonic", coupling=0.0, trap=2.0)
LINEAR = System(law="spring", coupling=1.0, source="stiffness", rest_length=1.0)
QUARTIC = System(
  law="quartic_spring", coupling=1.0, source="stiffness", rest_length=1.0
)

# Stated in "Momentum Conserving Lagrangian Neural Networks" for both laws.
THREE = initial_conditions.Stated(
  position=(
    (0.486657678894505, 0.755041888583519),
    (-0.681737994414464, 0.293660233197210),
    (-0.022596327468640, -0.612645601255358),
  ),
  velocity=(
    (-0.182709864466916, 0.363013287999004),
    (-0.579074922540872, -0.748157481446087),
    (0.761784787007641, 0.385144193447218),
  ),
  separation=2.0,
)


def _five(name: str, **settings: Any) -> NBodyConfig:
  # Trained on times up to 4, tested on twice that.
  return NBodyConfig(
    name=name,
    system=FIVE,
    initial=initial_conditions.five_springs,
    num_particles=5,
    time_step=0.1,
    splits=sizes(100, 20, 20, num_frames=41, extra=20) | {"test": Size(20, 81)},
    solver=ExactSprings(),
    max_energy_drift=1e-12,
    max_label_error=1e-10,
    **settings,
  )


def _mass_spring(name: str, **settings: Any) -> NBodyConfig:
  splits = sizes(100, 20, 20, num_frames=61, extra=20, unseen_n=False)
  return NBodyConfig(
    name=name,
    system=MASS_SPRING,
    initial=initial_conditions.mass_spring,
    num_particles=1,
    num_dims=1,
    time_step=0.1,
    splits=splits | {"test": Size(20, 121)},
    solver=ExactSprings(),
    max_energy_drift=1e-12,
    max_label_error=1e-10,
    **settings,
  )


def _three(
  name: str, system: System, num_particles: int = 3, random: bool = False
) -> NBodyConfig:
  splits = sizes(
    100, 20, 20, num_frames=20, extra=20, unseen_n=num_particles == 3
  ) | {"test_long": Size(20, 301)}
  counts = tuple((k, v.num_trajectories) for k, v in splits.items())
  initial = (
    functools.partial(initial_conditions.around, stated=THREE, stiffness=1.0)
    if random or num_particles == 6
    else functools.partial(
      initial_conditions.windows,
      stated=THREE,
      system=system,
      length=2.0,
      counts=counts,
      stiffness=1.0,
    )
  )
  return NBodyConfig(
    name=name,
    system=system,
    initial=initial,
    num_particles=num_particles,
    time_step=0.1,
    splits=splits,
    solver=AdaptiveSteps(),
    max_energy_drift=1e-9,
    max_label_error=1e-6,
  )


class Builder(dataset_builder.NBodyDatasetBuilder):
  """TFDS builder `nbody_spring`."""

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
  BUILDER_CONFIGS: ClassVar[list[NBodyConfig]] = [
    _five("five"),
    _five("five_noisy", noise=0.1),
    _mass_spring("mass_spring"),
    _mass_spring("mass_spring_noisy", noise=0.1),
    NBodyConfig(
      name="mass_spring_hnn",
      system=HNN_SPRING,
      initial=initial_conditions.hamiltonian_spring,
      num_particles=1,
      num_dims=1,
      time_step=3 / 29,  # 30 frames from 0 to 3
      # The published set has no validation split; test runs to 20.
      splits=sizes(25, 25, 25, num_frames=30, extra=25, unseen_n=False)
      | {"test": Size(25, 194)},
      solver=ExactSprings(),
      noise=0.1,
      max_energy_drift=1e-12,
      max_label_error=1e-10,
    ),
    _three("three_linear", LINEAR),
    _three("three_quartic", QUARTIC),
    _three("three_linear_random", LINEAR, random=True),
    _three("three_quartic_random", QUARTIC, random=True),
    _three("six_linear", LINEAR, num_particles=6),
    _three("six_quartic", QUARTIC, num_particles=6),
    NBodyConfig(
      name="smoke",
      system=FIVE,
      initial=initial_conditions.five_springs,
      num_particles=5,
      time_step=0.1,
      splits=sizes(4, 2, 2, num_frames=41, extra=2)
      | {"test_long": Size(2, 101)},
      solver=ExactSprings(),
      max_label_error=1e-10,
    ),
  ]
