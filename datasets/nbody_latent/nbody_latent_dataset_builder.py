"""Constants to be found out from context; see README.md beside this file."""

from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from nbody_bench import dataset_builder, initial_conditions
from nbody_bench.dataset_configs import NBodyConfig, Size, sizes
from nbody_bench.systems import System

GRAVITY = System(law="plummer", coupling=-2.0, softening=0.2)
COULOMB = System(law="plummer", coupling=2.0, softening=0.2, source="charge")


def _box(draw):
  return initial_conditions.uniform_box(
    draw, side=lambda n: round((12 * n) ** 0.5, 1)
  )


def _log_uniform(rng, low, high, shape):
  return np.exp(rng.uniform(np.log(low), np.log(high), shape))


def random_coupling(draw):
  """Returns a box of gravity with G log-uniform in (0.5, 4)."""
  state, particles, domain = _box(draw)
  coupling = -_log_uniform(draw.rng, 0.5, 4, 1)
  return state, particles._replace(coupling=coupling), domain


def random_softening(draw):
  """Returns a box of gravity with eps log-uniform in (0.1, 1)."""
  state, particles, domain = _box(draw)
  softening = _log_uniform(draw.rng, 0.1, 1, 1)
  return state, particles._replace(softening=softening), domain


def random_masses(draw):
  """Returns a box of gravity with masses log-uniform in (0.3, 3)."""
  state, particles, domain = _box(draw)
  mass = _log_uniform(draw.rng, 0.3, 3, particles.mass.shape)
  return state, particles._replace(mass=mass), domain


def random_charges(draw):
  """Returns a box of charges of size (0.5, 1.5), sign at random."""
  state, particles, domain = _box(draw)
  charge = initial_conditions.random_charges(draw.rng, draw.num_particles)
  return state, particles._replace(charge=charge), domain


def _latent(name: str, system: System, initial, withheld: str, **settings: Any):
  return NBodyConfig(
    name=name,
    system=system,
    initial=initial,
    num_particles=10,
    withheld=(withheld,),
    num_context_frames=11,
    **settings,
  )


class Builder(dataset_builder.NBodyDatasetBuilder):
  """TFDS builder `nbody_latent`."""

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
  BUILDER_CONFIGS: ClassVar[list[NBodyConfig]] = [
    _latent("coupling", GRAVITY, random_coupling, "coupling"),
    _latent("softening", GRAVITY, random_softening, "softening"),
    _latent("mass", GRAVITY, random_masses, "mass"),
    _latent("charge", COULOMB, random_charges, "charge"),
    _latent(
      "smoke",
      GRAVITY,
      random_coupling,
      "coupling",
      splits=sizes(4, 2, 2, num_frames=41, extra=2)
      | {"test_long": Size(2, 101)},
    ),
  ]
