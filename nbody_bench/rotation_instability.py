"""How much predicted forces depend on how a structure is turned.

Table 1 of Hu et al. (2021): structures are turned about the surface normal,
and forces predicted and turned back. A model whose forces turn with the
structure gives 0.
"""

import math
from typing import Any

import numpy as np

from nbody_bench import forces, rollouts
from nbody_bench.metrics.force_mae import free_atoms
from nbody_bench.states import State, Trajectory

_CAP = 1e6  # of an atom with a force that is not finite


def measure(
  model: Any,
  data: Trajectory,
  num_structures: int = 1000,
  num_rotations: int = 100,
  batch_size: int = 32,
  seed: int = 0,
) -> float:
  """Returns the mean standard deviation of the errors, a force.

  The error of a turned structure is the force predicted for it, turned back,
  less that for the structure as it is. The deviation is that of each component
  over the rotations, as a mean over components and free atoms.

  Args:
    model: a force model, maps (state, particles, domain) to `[B, N, D]`.
    data: `[B, T, N, 3]` NumPy arrays, whose first frames are the structures.
    num_structures: drawn from them, or all if there are fewer.
    num_rotations: of each of them, by angles of its own.
    batch_size: structures in one call of the model.
    seed: of structures and angles.

  Raises:
    ValueError: if there is no third axis to turn about.
  """
  total, _, _, num_dims = data.state.position.shape
  if num_dims != 3:
    raise ValueError(
      f"structures are turned about the third axis, and these have {num_dims}; "
      "take data in three dimensions"
    )
  rng = np.random.default_rng(seed)
  chosen = rng.permutation(total)[:num_structures]
  data = data.frames(0, 1).select(np.sort(chosen))
  # As those that are turned have it, for one program for all.
  domain = data.domain._replace(cell=data.domain.lattice())
  data = data._replace(domain=domain)
  predict = rollouts.compiled(forces.Evaluator(model))

  def force(turned):
    found = rollouts.rollout(
      predict,
      *(turned.frame(0), turned.particles, turned.domain),
      np.ones(1),
      batch_size=batch_size,
    )
    return found.state.force[:, 0].astype(np.float64)

  first = force(data)
  # Sums of what is small already: squares lose no digits.
  mean, square = np.zeros_like(first), np.zeros_like(first)
  for _ in range(num_rotations):
    rotation = _rotations(rng.uniform(0, 2 * math.pi, len(first)))
    back = np.swapaxes(rotation, 1, 2)
    with np.errstate(invalid="ignore"):
      error = force(_turned(data, rotation)) @ back - first
      mean += error / num_rotations
      square += error**2 / num_rotations
  with np.errstate(invalid="ignore"):
    deviation = np.sqrt(np.maximum(square - mean**2, 0)).mean(-1)
  deviation = np.where(deviation < _CAP, deviation, _CAP)
  return float(np.mean(deviation[free_atoms(data.particles)]))


def _rotations(angles):
  """Returns matrices R of rotations x @ R about the third axis, `[B, 3, 3]`."""
  cos, sin = np.cos(angles), np.sin(angles)
  zero, one = np.zeros_like(cos), np.ones_like(cos)
  rows = [[cos, sin, zero], [-sin, cos, zero], [zero, zero, one]]
  return np.stack([np.stack(row, -1) for row in rows], -2)


def _turned(data, rotation):
  state = State(*(x @ rotation[:, None] for x in data.state))
  domain = data.domain._replace(cell=data.domain.cell @ rotation)
  return data._replace(state=state, domain=domain)
