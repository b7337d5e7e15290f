"""Pair sums in float64: ground truth and scoring.

Numbers lie in *rows* of lanes side by side, which the compiler (Numba, see
`pair_kernels`) turns into vector instructions. There are two layouts:

  * small systems are advanced `NUM_LANES` at a time: a row is one particle of
    all of them, a system in each lane;
  * a large system is advanced alone: a row is a tile of its particles, one in
    each lane. Large systems come in few trajectories, and many of them side by
    side would not fit in the cache.

In both each pair is visited once (Newton's third law). The layout follows from
the number of particles alone, and the arithmetic of a system never depends on
what other lanes hold, so a trajectory has the same bytes whichever others are
made beside it.
"""

import math
from collections.abc import Iterator

import numpy as np

from nbody_bench import pair_kernels
from nbody_bench.bodies import Bodies
from nbody_bench.integrators import Splitting
from nbody_bench.states import Domain

# From this number of particles on, a system is advanced alone.
_MIN_LARGE = 256
_LINE = 64  # bytes in a line of the cache


def _zeros(*shape: int) -> np.ndarray:
  """Returns zeros whose vectors do not straddle two lines of the cache."""
  size = math.prod(shape)
  spare = np.zeros(size + _LINE // 8)
  start = -spare.ctypes.data % _LINE // 8
  return spare[start : start + size].reshape(shape)


def block_size(num_particles: int) -> int:
  """Returns how many systems of this size a `Block` holds."""
  return pair_kernels.NUM_LANES if num_particles < _MIN_LARGE else 1


def forces(law: str, bodies: Bodies) -> np.ndarray:
  """Returns the pair force on each particle.

  Args:
    law: a row of `systems.LAWS`.
    bodies: any number of systems.

  Returns:
    `[B, N, D]`.
  """
  return np.concatenate([block.forces() for block in _blocks(law, bodies)])


def potentials(law: str, bodies: Bodies) -> np.ndarray:
  """Returns the pair potential `[B]`; arguments as in `forces`."""
  return np.concatenate([block.potentials() for block in _blocks(law, bodies)])


def _blocks(law: str, bodies: Bodies) -> Iterator["Block"]:
  size = block_size(bodies.position.shape[1])
  for start in range(0, len(bodies.position), size):
    yield Block(law, bodies.select(slice(start, start + size)))


class Block:
  """At most `block_size` systems, advanced together.

  Raises:
    ValueError: if there are more.
  """

  def __init__(self, law: str, bodies: Bodies):
    batch, num_particles, num_dims = bodies.position.shape
    size = block_size(num_particles)
    if batch > size:
      raise ValueError(
        f"a block holds at most {size} systems of {num_particles} particles, "
        f"{batch} given; make a block for each {size}"
      )
    self._batch, self._num_particles = batch, num_particles
    self._is_large = size == 1
    self._field, self._trap = bodies.field, bodies.trap
    self._is_magnetic = bool(np.any(bodies.magnetic_field))
    self._kernels = pair_kernels.kernels(law, num_dims, self._is_large)
    self._layout = part = self._kernels.layout
    strength = self._to_rows(bodies.strength)
    self._rows = _zeros(len(strength), part.size)
    for start, array in (
      (0, self._to_rows(Domain(bodies.box).wrap(bodies.position))),
      (part.strength, strength),
      (part.apart, strength == 0),
      (part.velocity, self._to_rows(bodies.velocity)),
      (part.inverse_mass, self._to_rows(bodies.inverse_mass)),
    ):
      self._rows[:, start : start + array.shape[1]] = array
    # Of an open side both length and inverse are set to 0: the nearest image
    # x - L ceil(x / L - 1/2) is x then, without a branch.
    constants = (
      np.where(np.isinf(bodies.box), 0, bodies.box),
      1 / bodies.box,
      bodies.coupling[:, None],
      bodies.length[:, None],
    )
    constants = np.concatenate(constants, 1)[self._lanes()].T.ravel()
    # Two particles and the constants: what the rows are visited with.
    self._held = _zeros(1, part.side + len(constants))
    self._held[0, part.side :] = constants
    self._is_current = False

  def _lanes(self):
    # Spare lanes repeat the last system, so that they hold something harmless.
    return np.minimum(np.arange(self._layout.width), self._batch - 1)

  def _to_rows(self, array):
    """Returns `[B, N, ...]` as rows `[K, parts * width]`."""
    array = array.reshape(*array.shape[:2], -1)
    if self._is_large:
      padding = -self._num_particles % self._layout.width
      array = np.pad(array[0], [(0, padding), (0, 0)])
      array = array.reshape(-1, self._layout.width, array.shape[-1])
      array = array.transpose(0, 2, 1)
    else:
      array = array[self._lanes()].transpose(1, 2, 0)
    return array.reshape(len(array), -1)

  def _from_rows(self, start, num_parts):
    """Returns parts of the rows as a new array, `[B, N, num_parts]`."""
    width = self._layout.width
    array = self._rows[:, start : start + num_parts * width]
    array = array.reshape(-1, num_parts, width)
    if self._is_large:
      array = array.transpose(0, 2, 1).reshape(1, -1, num_parts)
    else:
      array = array.transpose(2, 0, 1)
    return array[: self._batch, : self._num_particles].copy()

  def forces(self) -> np.ndarray:
    """Returns the pair force on each particle, `[B, N, D]`."""
    self._kernels.forces(self._rows, self._held, self._num_particles)
    self._is_current = True
    return self._from_rows(self._layout.force, self._layout.num_dims)

  def potentials(self) -> np.ndarray:
    """Returns the pair potential `[B]`."""
    self._kernels.potentials(self._rows, self._held, self._num_particles)
    self._is_current = False
    # Each pair is in the sums of both its particles.
    return 0.5 * self._from_rows(self._layout.force, 1).sum((1, 2))

  def advance(
    self, integrator: Splitting, time_step: float, num_substeps: int
  ) -> None:
    """Advances by `time_step` in equal sub-steps.

    Raises:
      ValueError: if there is a magnetic field.
    """
    if self._is_magnetic:
      raise ValueError(
        "a splitting needs a force that does not depend on velocity, and there "
        "is a magnetic field; use the solver AdaptiveSteps, or FixedSteps with "
        "integrator 'rk4'"
      )
    self._is_current = self._kernels.advance(
      self._rows,
      self._held,
      self._num_particles,
      np.array(integrator.kicks),
      np.array(integrator.drifts),
      self._field,
      self._trap,
      time_step / num_substeps,
      num_substeps,
      self._is_current,
    )

  def state(self) -> tuple[np.ndarray, np.ndarray]:
    """Returns copies of position and velocity, `[B, N, D]`."""
    part = self._layout
    return (
      self._from_rows(0, part.num_dims),
      self._from_rows(part.velocity, part.num_dims),
    )
