"""Pair sums in float64, compiled by Numba: ground truth and scoring.

`NUM_LANES` systems run side by side, one in each lane of the innermost loop,
which the compiler turns into vector instructions. Each pair is visited once
(Newton's third law), whatever the number of particles. The arithmetic of a
lane never depends on what the other lanes hold, so a trajectory has the same
bytes whichever others are made beside it.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numba
import numpy as np

from nbody_bench import integrators, systems
from nbody_bench.states import Domain

NUM_LANES = 32

# Sums may be reordered and fused; infinities keep their meaning, for they are
# the sides of an open box.
_FAST_MATH = {"reassoc", "contract", "arcp", "nsz", "afn"}
_jit = functools.partial(
  numba.njit, fastmath=_FAST_MATH, nogil=True, error_model="numpy"
)


class Lanes(NamedTuple):
  """A block of systems, the lane last.

  Attributes:
    position: `[N, D, NUM_LANES]`.
    velocity: `[N, D, NUM_LANES]`.
    inverse_mass: `[N, NUM_LANES]`.
    strength: `[N, NUM_LANES]` source strengths.
    box: `[D, NUM_LANES]`, infinite where open.
  """

  position: np.ndarray
  velocity: np.ndarray
  inverse_mass: np.ndarray
  strength: np.ndarray
  box: np.ndarray


class Kernels(NamedTuple):
  """Compiled loops for one pair law and one number of dimensions."""

  force: Callable  # (position, strength, box, coupling, softening, out)
  potential: Callable  # (position, strength, box, coupling, softening, out)
  advance: Callable  # (Lanes, coupling, softening, kicks, drifts, step, n)


def to_lanes(array: np.ndarray, start: int = 0) -> np.ndarray:
  """Returns systems `start` onward of `[B, ...]` as `[..., NUM_LANES]`.

  Spare lanes repeat the last system, so that they hold something harmless.
  """
  index = np.minimum(start + np.arange(NUM_LANES), len(array) - 1)
  return np.ascontiguousarray(
    np.moveaxis(array[index].astype(np.float64), 0, -1)
  )


def forces(system, position, strength, box) -> np.ndarray:
  """Returns the force on each particle.

  Args:
    system: a `System`.
    position: `[B, N, D]`.
    strength: `[B, N]` source strengths.
    box: `[B, D]` sides, infinite where open.

  Returns:
    `[B, N, D]` float64.
  """
  kernel = kernels(system.law, position.shape[-1]).force
  return _over_blocks(
    kernel, system, position, strength, box, position.shape[1:]
  )


def potentials(system, position, strength, box) -> np.ndarray:
  """Returns the potential energy `[B]`; arguments as in `forces`."""
  kernel = kernels(system.law, position.shape[-1]).potential
  return _over_blocks(kernel, system, position, strength, box, ())


def _over_blocks(kernel, system, position, strength, box, shape):
  position = Domain(box).wrap(position)
  outputs = []
  for start in range(0, len(position), NUM_LANES):
    out = np.zeros((*shape, NUM_LANES))
    kernel(
      to_lanes(position, start),
      to_lanes(strength, start),
      to_lanes(box, start),
      system.coupling,
      system.softening,
      out,
    )
    outputs.append(np.moveaxis(out, -1, 0))
  return np.concatenate(outputs)[: len(position)]


def advance(
  system: systems.System,
  integrator: integrators.Integrator,
  lanes: Lanes,
  time_step: float,
  num_substeps: int,
) -> None:
  """Advances a block in place by `time_step` in equal sub-steps."""
  kernels(system.law, lanes.position.shape[1]).advance(
    lanes,
    system.coupling,
    system.softening,
    np.array(integrator.kicks),
    np.array(integrator.drifts),
    time_step / num_substeps,
    num_substeps,
  )


@functools.cache
def kernels(law: str, num_dims: int) -> Kernels:
  """Returns the loops for a row of `systems.LAWS`, compiled at first use."""
  pair_force = _jit(systems.LAWS[law].force)
  pair_potential = _jit(systems.LAWS[law].potential)

  @_jit
  def separate(position, box, i, j, displacement, squared):
    squared[:] = 0.0
    for d in range(num_dims):
      for lane in range(NUM_LANES):
        # By selection: positions lie in the box, so one side is enough.
        x = position[i, d, lane] - position[j, d, lane]
        half = 0.5 * box[d, lane]
        x -= box[d, lane] if x > half else 0.0
        x += box[d, lane] if x <= -half else 0.0
        displacement[d, lane] = x
        squared[lane] += x * x

  @_jit
  def force(position, strength, box, coupling, softening, out):
    num_particles = position.shape[0]
    displacement = np.empty((num_dims, NUM_LANES))
    squared = np.empty(NUM_LANES)
    factor = np.empty(NUM_LANES)
    total = np.empty((num_dims, NUM_LANES))
    out[:] = 0.0
    for i in range(num_particles):
      total[:] = 0.0
      for j in range(i + 1, num_particles):
        separate(position, box, i, j, displacement, squared)
        for lane in range(NUM_LANES):
          factor[lane] = (
            coupling
            * strength[i, lane]
            * strength[j, lane]
            * pair_force(squared[lane], softening)
          )
        for d in range(num_dims):
          for lane in range(NUM_LANES):
            pull = factor[lane] * displacement[d, lane]
            total[d, lane] += pull
            out[j, d, lane] -= pull
      for d in range(num_dims):
        for lane in range(NUM_LANES):
          out[i, d, lane] += total[d, lane]

  @_jit
  def potential(position, strength, box, coupling, softening, out):
    num_particles = position.shape[0]
    displacement = np.empty((num_dims, NUM_LANES))
    squared = np.empty(NUM_LANES)
    out[:] = 0.0
    for i in range(num_particles):
      for j in range(i + 1, num_particles):
        separate(position, box, i, j, displacement, squared)
        for lane in range(NUM_LANES):
          out[lane] += (
            coupling
            * strength[i, lane]
            * strength[j, lane]
            * pair_potential(squared[lane], softening)
          )

  @_jit
  def kick(lanes, acceleration, step):
    for i in range(lanes.position.shape[0]):
      for d in range(num_dims):
        for lane in range(NUM_LANES):
          lanes.velocity[i, d, lane] += step * (
            acceleration[i, d, lane] * lanes.inverse_mass[i, lane]
          )

  @_jit
  def drift(lanes, step):
    for i in range(lanes.position.shape[0]):
      for d in range(num_dims):
        for lane in range(NUM_LANES):
          side = lanes.box[d, lane]
          x = lanes.position[i, d, lane] + step * lanes.velocity[i, d, lane]
          x -= side if x >= 0.5 * side else 0.0
          x += side if x < -0.5 * side else 0.0
          lanes.position[i, d, lane] = x

  @_jit
  def advance(lanes, coupling, softening, kicks, drifts, step, num_substeps):
    out = np.empty_like(lanes.position)
    force(lanes.position, lanes.strength, lanes.box, coupling, softening, out)
    for _ in range(num_substeps):
      for stage in range(len(drifts)):
        kick(lanes, out, kicks[stage] * step)
        drift(lanes, drifts[stage] * step)
        force(
          lanes.position, lanes.strength, lanes.box, coupling, softening, out
        )
      kick(lanes, out, kicks[-1] * step)

  return Kernels(force, potential, advance)
