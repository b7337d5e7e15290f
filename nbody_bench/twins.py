"""Symmetry twins: the same solution, moved, boosted, turned or mirrored."""

from typing import NamedTuple

import numpy as np

from nbody_bench.states import State, Trajectory
from nbody_bench.systems import System


class Transformation(NamedTuple):
  """Maps q to R q + b + u t and v to R v + u.

  Attributes:
    rotation: `[D, D]` orthogonal matrix R, of determinant 1 or -1.
    translation: `[D]`, b.
    boost: `[D]`, u.
  """

  rotation: np.ndarray
  translation: np.ndarray
  boost: np.ndarray

  def __call__(self, trajectory: Trajectory) -> Trajectory:
    """Returns the trajectory transformed, in its box."""
    position, velocity = (x @ self.rotation.T for x in trajectory.state)
    position = position + (
      self.translation + self.boost * trajectory.time[:, None, None]
    )
    return trajectory._replace(
      state=State(trajectory.domain.wrap(position), velocity + self.boost)
    )


def identity(num_dims: int) -> Transformation:
  """Returns what changes nothing."""
  zero = np.zeros(num_dims)
  return Transformation(np.eye(num_dims), zero, zero)


def draw(
  rng: np.random.Generator, system: System, box: np.ndarray
) -> Transformation:
  """Returns a random symmetry of a system in a box.

  Rotations by any angle where space is open, else by quarter turns; half of
  them with a reflection. Boosts and translations are uniform in a cube: within
  (-1, 1), and a periodic box whole.

  Args:
    rng: source of randomness.
    system: says which symmetries it has.
    box: `[D]` sides.
  """
  num_dims = len(box)
  result = identity(num_dims)
  is_open = np.isinf(box)
  if "rotation" in system.symmetries:
    if is_open.all():
      matrix, upper = np.linalg.qr(rng.normal(size=(num_dims, num_dims)))
      # Signs that make the rotations uniform, reflections half of them.
      matrix *= np.sign(np.diag(upper))
    else:
      # Only sides of one length may change places.
      order = np.arange(num_dims)
      for side in np.unique(box):
        (alike,) = np.nonzero(box == side)
        order[alike] = rng.permutation(alike)
      matrix = np.eye(num_dims)[order] * rng.choice([-1.0, 1.0], num_dims)
    result = result._replace(rotation=matrix)
  if "translation" in system.symmetries:
    reach = np.where(is_open, 1, box / 2)
    result = result._replace(translation=reach * rng.uniform(-1, 1, num_dims))
  if "boost" in system.symmetries:
    result = result._replace(boost=rng.uniform(-1, 1, num_dims))
  return result
