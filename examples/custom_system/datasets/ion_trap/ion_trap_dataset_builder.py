"""Charges in a trap; see README.md beside this file."""

import math
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from nbody_bench import systems
from nbody_bench.dataset_builder import NBodyDatasetBuilder
from nbody_bench.dataset_configs import NBodyConfig, Size, sizes
from nbody_bench.solvers import AdaptiveSteps
from nbody_bench.states import Domain, Particles, State
from nbody_bench.systems import PairLaw, System

# A law of one's own: phi = exp(-r / l) / r and f = -2 dphi/d(r^2), in operators
# that NumPy, TensorFlow and Numba share. `length` says which field of `System`
# is l; there it is called softening.
systems.LAWS["yukawa"] = PairLaw(
  potential=lambda r2, l: math.e ** (-(r2**0.5) / l) * r2**-0.5,
  force=lambda r2, l: math.e ** (-(r2**0.5) / l) * (r2**-0.5 + 1 / l) / r2,
  length="softening",
)

TRAP: dict[str, Any] = {"coupling": 1.0, "source": "charge", "trap": 1.0}
IONS = System(law="plummer", magnetic_field=(0.0, 0.0, 2.0), **TRAP)
DUST = System(law="yukawa", softening=0.5, **TRAP)


def two_species(draw):
  """Returns charges of 1, each of mass 1 or 2, as batches of 1.

  Args:
    draw: a `dataset_configs.Draw`; its generator is the only randomness.
  """
  shape = (1, draw.num_particles)
  state = State(
    draw.rng.normal(0, 1, (*shape, 3)), draw.rng.normal(0, 0.5, (*shape, 3))
  )
  mass = draw.rng.choice([1.0, 2.0], shape)
  open_space = Domain(np.full((1, 3), np.inf))
  return state, Particles(mass, charge=np.ones(shape)), open_space


FULL = sizes(num_frames=101)
FEW = sizes(4, 2, 2, num_frames=101, extra=2)


def trapped(name: str, system: System, splits: dict[str, Size]) -> NBodyConfig:
  """Returns a configuration."""
  return NBodyConfig(
    name=name,
    system=system,
    initial=two_species,
    num_particles=6,
    num_dims=3,
    time_step=0.1,
    splits=splits,
    solver=AdaptiveSteps(1e-11),  # the magnetic force depends on velocity
    max_energy_drift=1e-8,
    max_label_error=1e-5,
  )


class Builder(NBodyDatasetBuilder):
  """TFDS builder `ion_trap`."""

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
  BUILDER_CONFIGS: ClassVar[list[NBodyConfig]] = [
    trapped("ions", IONS, FULL),
    trapped("dust", DUST, FULL),
    trapped("smoke", IONS, FEW),
    trapped("dust_smoke", DUST, FEW),
  ]
