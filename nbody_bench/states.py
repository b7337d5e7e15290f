"""The types that every part of the suite exchanges.

Shape letters, the same everywhere: B batch, T frames, P output times,
N particles, D space dimensions. All quantities are in the units of the data
set. Arrays are NumPy arrays or tensors, of one kind within a call.

A batch may hold samples with different numbers of particles: `Particles.mask`
marks the real ones with 1 and padding with 0, and padding changes nothing.
"""

from typing import NamedTuple

import numpy as np

from nbody_bench import arrays
from nbody_bench.arrays import Array


class State(NamedTuple):
  """A point of phase space.

  Attributes:
    position: `[B, N, D]`.
    velocity: `[B, N, D]`.
  """

  position: Array
  velocity: Array


class Forces(NamedTuple):
  """What a force model predicts.

  Attributes:
    force: `[B, N, D]`, or by frames `[B, P, N, D]`.
    potential_energy: `[B]` or `[B, P]`; NaN of a model that knows none.
  """

  force: Array
  potential_energy: Array


class Particles(NamedTuple):
  """What stays constant along a trajectory.

  Attributes:
    mass: `[B, N]`.
    charge: `[B, N]`, or None where the law has no charges.
    stiffness: `[B, N]`, or None where the law has no springs.
    species: `[B, N]` integers such as atomic numbers, or None.
    tag: `[B, N]`: `FIXED`, `SURFACE` or `ADSORBATE`, or None.
    mask: `[B, N]`, 1 for a particle and 0 for padding, or None if all are real.
    bonds: `[B, E, 2]` integer pairs of particles, or None.
    coupling: `[B]`, of each system, or None where the law's own holds.
    softening: `[B]`, likewise.
    history: `State` `[B, K, N, D]` of the K frames up to time 0, that one
      included, one time step of the data apart; None where nothing but the
      initial state is given.
  """

  mass: Array
  charge: Array | None = None
  stiffness: Array | None = None
  species: Array | None = None
  tag: Array | None = None
  mask: Array | None = None
  bonds: Array | None = None
  coupling: Array | None = None
  softening: Array | None = None
  history: State | None = None


# Values of `Particles.tag`, as in OC20: held below the surface, of the surface,
# on it.
FIXED, SURFACE, ADSORBATE = 0, 1, 2
# The fields of `Particles` that are one number for each system.
OF_SYSTEM = ("coupling", "softening")


class Domain(NamedTuple):
  """The space that the particles live in.

  A periodic box is centred at the origin: coordinates in `[-L/2, L/2)`.

  Attributes:
    box: `[B, D]` sides L; infinite along directions that are open.
    cell: `[B, D, D]`, the sides as vectors, one a row, of a box whose sides are
      not along the axes; along open directions any that make the rows linearly
      independent. None where the box is all there is to know.
  """

  box: Array
  cell: Array | None = None

  def check(self) -> None:
    """Raises ValueError if a side is no length.

    For arrays whose values are known, not those of a program.
    """
    sides = np.asarray(self.box)
    wrong = ~np.all(sides > 0, -1)
    if np.any(wrong):
      raise ValueError(
        f"a box has sides {sides[wrong][0].tolist()}; they must be positive, "
        "and infinite along open directions"
      )

  def displacement(self, origin: Array, target: Array) -> Array:
    """Returns `target - origin` by the shortest way, `[B, ..., D]`.

    Minimum image per coordinate, in `(-L/2, L/2]`: half the box stays, minus
    half the box becomes plus half the box. With a cell, per coordinate along
    its sides, which in a very oblique one is not always the shortest.

    >>> domain = Domain(box=np.array([[4.0, np.inf]]))
    >>> domain.displacement(np.array([[[-1.5, 0.0]]]), np.array([[[1.5, 9.0]]]))
    array([[[-1.,  9.]]])
    """
    xp = arrays.namespace(target)
    return self._shift(target - origin, lambda d: xp.ceil(d - 0.5))

  def wrap(self, position: Array) -> Array:
    """Returns the image of `position` `[B, ..., D]` inside the box."""
    xp = arrays.namespace(position)
    return self._shift(position, lambda d: xp.floor(d + 0.5))

  def lattice(self) -> Array:
    """Returns the sides as vectors, one a row, `[B, D, D]`; 1 where open."""
    if self.cell is not None:
      return self.cell
    xp = arrays.namespace(self.box)
    side = xp.where(xp.isinf(self.box), xp.ones_like(self.box), self.box)
    num_dims = self.box.shape[-1]
    return side[..., None] * xp.eye(num_dims, dtype=self.box.dtype)

  def _shift(self, vector, num_boxes):
    if self.cell is not None:
      return self._shift_cell(vector, num_boxes)
    xp = arrays.namespace(vector)
    rank_gap = len(vector.shape) - len(self.box.shape)
    shape = (self.box.shape[0], *[1] * rank_gap, self.box.shape[-1])
    box = xp.reshape(self.box, tuple(-1 if s is None else s for s in shape))
    # Infinite sides must not meet a zero in a product: inf * 0 is NaN.
    periodic = ~xp.isinf(box)
    side = xp.where(periodic, box, xp.ones_like(box))
    shift = side * num_boxes(vector / side)
    return vector - xp.where(periodic, shift, xp.zeros_like(vector))

  def _shift_cell(self, vector, num_boxes):
    xp = arrays.namespace(vector)
    num_dims = self.box.shape[-1]
    flat = xp.reshape(vector, (self.box.shape[0], -1, num_dims))

    def times(rows, matrix):
      # Not by `@`, which on some devices rounds to ten bits.
      return xp.sum(rows[..., None] * matrix[:, None], -2)

    count = num_boxes(times(flat, xp.inv(self.cell)))
    count = xp.where(xp.isinf(self.box)[:, None], xp.zeros_like(count), count)
    return vector - xp.reshape(times(count, self.cell), vector.shape)


class Trajectory(NamedTuple):
  """States of a batch of systems at common times.

  Attributes:
    time: `[T]`.
    state: position and velocity `[B, T, N, D]`.
    particles: `[B, N]`.
    domain: box `[B, D]`.
    clean: the state before noise, in training data that have noise, else None.
    force: `[B, T, N, D]`, where the data tell it, else None.
    potential_energy: `[B, T]`, likewise.
  """

  time: Array
  state: State
  particles: Particles
  domain: Domain
  clean: State | None = None
  force: Array | None = None
  potential_energy: Array | None = None

  def frames(self, start: int | None = None, stop: int | None = None):
    """Returns the trajectory cut to frames `start` to `stop` (exclusive)."""
    cut = slice(start, stop)
    return self.each_frame(lambda x: x[:, cut])._replace(time=self.time[cut])

  def each_frame(self, function):
    """Returns the trajectory with every array `[B, T, ...]` changed.

    Times are left to the caller.
    """
    changed = {k: getattr(self, k) for k in _BY_FRAME}
    return self._replace(
      **{k: map_arrays(function, x) for k, x in changed.items()}
    )

  def frame(self, index: int) -> State:
    """Returns the state of one frame, `[B, N, D]`."""
    return State(*(x[:, index] for x in self.state))

  def select(self, samples):
    """Returns the samples of the batch picked by an index array or slice."""
    return Trajectory(
      self.time, *map_arrays(lambda x: x[samples], tuple(self[1:]))
    )

  def at_each_frame(self, function) -> np.ndarray:
    """Returns `function(state, particles, domain)` by frame, `[B, T, ...]`.

    Args:
      function: maps `[B, N, D]` NumPy states to `[B, ...]`, as the methods of
        `System` do.
    """
    batch, num_frames = self.state.position.shape[:2]

    def flat(x):
      return x.reshape(batch * num_frames, *x.shape[2:])

    def repeat(x):
      return np.repeat(x, num_frames, axis=0)

    values = function(
      map_arrays(flat, self.state),
      map_arrays(repeat, self.particles),
      map_arrays(repeat, self.domain),
    )
    return values.reshape(batch, num_frames, *values.shape[1:])


# The fields of `Trajectory` beside the time that have an entry a frame.
_BY_FRAME = ("state", "clean", "force", "potential_energy")


def map_arrays(function, structure):
  """Applies `function` to each array of a (nested) type above; None stays."""
  if structure is None:
    return None
  if isinstance(structure, tuple):
    parts = (map_arrays(function, x) for x in structure)
    is_named = hasattr(structure, "_fields")
    return type(structure)(*parts) if is_named else tuple(parts)
  return function(structure)
