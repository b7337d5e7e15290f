"""Charged bodies in open space; see README.md beside this file."""

import dataclasses
import functools
from typing import Any, ClassVar

import numba
import numpy as np
import tensorflow_datasets as tfds

from nbody_bench import dataset_builder, initial_conditions, solvers
from nbody_bench.dataset_configs import NBodyConfig, Size, sizes
from nbody_bench.solvers import AdaptiveSteps
from nbody_bench.states import State
from nbody_bench.systems import System

CHARGES = System(law="plummer", coupling=1.0, source="charge")
# The variants of Du et al., SE(3) Equivariant Graph Neural Networks with
# Complete Local Frames (2022).
IN_UNIFORM_FIELD = dataclasses.replace(CHARGES, field=(0.0, 0.0, 0.098))
IN_MAGNETIC_FIELD = dataclasses.replace(CHARGES, magnetic_field=(0.5, 0.5, 0.5))


@dataclasses.dataclass(frozen=True)
class PublishedRules:
  """The generator that the field has used since Kipf et al. (2018).

  Symplectic Euler, and each component of the force on a body cut off at
  `max_force`. A stored velocity is the one that led to the stored position: it
  lags behind by half a step. Neither energy nor momentum is conserved.

  Attributes:
    step: of the integration.
    max_force: where the components are cut off.
  """

  step: float = 0.001
  max_force: float = 100.0

  def finer(self) -> solvers.Solver:
    """Returns what the law says."""
    return AdaptiveSteps()

  def solve(self, system, state, particles, domain, times, on_frame):
    """See `solvers.Solver`."""
    bodies = system.bodies(state, particles, domain)
    counts = np.round(np.asarray(times) / self.step).astype(np.int64)
    shape = (len(times), *bodies.position.shape[1:])
    frames = []
    for b in range(len(bodies.position)):
      position, velocity = np.empty(shape), np.empty(shape)
      _run(bodies, b, self.step, self.max_force, counts, position, velocity)
      frames.append((position, velocity))
      on_frame(len(times))
    return State(*(np.stack(x) for x in zip(*frames, strict=True)))


@numba.njit(nogil=True)
def _run(bodies, b, step, max_force, counts, position, velocity):
  q, v = bodies.position[b].copy(), bodies.velocity[b].copy()
  strength, field = bodies.strength[b], bodies.magnetic_field
  force = np.empty_like(q)
  d = np.empty(3)
  frame = 0
  if counts[0] == 0:
    position[0], velocity[0] = q, v
    frame = 1
  for i in range(counts[-1]):
    for j in range(len(q)):
      # Each component of v x B, then the pairs.
      for c in range(3):
        e, f = (c + 1) % 3, (c + 2) % 3
        turned = v[j, e] * field[f] - v[j, f] * field[e]
        force[j, c] = bodies.field[c] + strength[j] * turned
      for k in range(len(q)):
        if j == k:
          continue
        r2 = 0.0
        for c in range(3):
          d[c] = q[j, c] - q[k, c]
          r2 += d[c] * d[c]
        factor = bodies.coupling[b] * strength[j] * strength[k]
        factor /= r2 * np.sqrt(r2)
        for c in range(3):
          force[j, c] += factor * d[c]
    for j in range(len(q)):
      for c in range(3):
        v[j, c] += step * min(max(force[j, c], -max_force), max_force)
        q[j, c] += step * v[j, c]
    if i + 1 == counts[frame]:
      position[frame], velocity[frame] = q, v
      frame += 1


def _charged(
  name: str, system: System, num_particles: int, **settings: Any
) -> NBodyConfig:
  """Returns a configuration of the law itself, synchronised and converged."""
  published = num_particles == 5  # whose random numbers are known
  usual: dict[str, Any] = {
    "splits": sizes(3000, 2000, 2000, num_frames=49),
    "solver": AdaptiveSteps(),
    "max_energy_drift": 1e-6,
  }
  return NBodyConfig(
    name=name,
    system=system,
    initial=functools.partial(
      initial_conditions.charged_cluster, published=published
    ),
    num_particles=num_particles,
    num_dims=3,
    time_step=0.1,
    first_time=0.1,
    # Published: from frame 30 to frame 40.
    jump=(30, 10),
    **usual | settings,
  )


# Of the published rules: neither is anything conserved nor is there an extra
# split to score on.
_PUBLISHED: dict[str, Any] = {
  "splits": sizes(3000, 2000, 2000, num_frames=49, extra=0),
  "solver": PublishedRules(),
  "max_energy_drift": None,
  "max_momentum_drift": None,
  "max_angular_momentum_drift": None,
  "max_label_error": None,
}
_ALL = (10_000, 2000, 2000)


class Builder(dataset_builder.NBodyDatasetBuilder):
  """TFDS builder `nbody_charged`."""

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
  BUILDER_CONFIGS: ClassVar[list[NBodyConfig]] = [
    _charged("accurate", CHARGES, 5, splits=sizes(*_ALL, num_frames=49)),
    _charged(
      "published",
      CHARGES,
      5,
      **_PUBLISHED | {"splits": sizes(*_ALL, num_frames=49, extra=0)},
    ),
    _charged("n20", CHARGES, 20),
    _charged("uniform_field_n20", IN_UNIFORM_FIELD, 20),
    _charged("magnetic_field_n20", IN_MAGNETIC_FIELD, 20),
    _charged("published_n20", CHARGES, 20, **_PUBLISHED),
    _charged("published_uniform_field_n20", IN_UNIFORM_FIELD, 20, **_PUBLISHED),
    _charged(
      "published_magnetic_field_n20", IN_MAGNETIC_FIELD, 20, **_PUBLISHED
    ),
    _charged(
      "smoke",
      CHARGES,
      5,
      splits=sizes(4, 2, 2, num_frames=41, extra=2)
      | {"test_long": Size(2, 101)},
    ),
  ]
