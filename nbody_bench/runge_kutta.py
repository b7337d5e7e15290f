"""Runge-Kutta methods in float64, compiled by Numba, one system at a time.

For few bodies under any force, velocity-dependent ones included: adaptive steps
follow each system through its own close encounters.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numba
import numpy as np

from nbody_bench import systems
from nbody_bench.bodies import Bodies
from nbody_bench.integrators import RungeKutta

# No sum may be reordered: see `derive`.
_jit = functools.partial(numba.njit, nogil=True, error_model="numpy")
# A step this small against the interval does not move double precision.
_SMALLEST_STEP = 1e-15


class _Tableau(NamedTuple):
  stages: np.ndarray  # [S, S]
  weights: np.ndarray  # [S]
  error_weights: np.ndarray  # [2, S + 1]
  exponent: float  # of the error in the choice of the step


def advance(
  law: str,
  bodies: Bodies,
  method: RungeKutta,
  interval: float,
  *,
  num_substeps: int = 0,
  tolerance: float = 0.0,
  fewest: int = 1,
  first_step: np.ndarray | None = None,
) -> np.ndarray:
  """Advances systems in place.

  Args:
    law: a row of `systems.LAWS`.
    bodies: systems `[B, N, D]`; their positions and velocities are changed.
    method: the tableau.
    interval: of time.
    num_substeps: equal steps; 0 for adaptive ones.
    tolerance: of adaptive steps, relative and absolute, for each coordinate.
    fewest: adaptive steps that the interval takes at least.
    first_step: `[B]`, what an earlier call returned.

  Returns:
    `[B]` the step that each system would take next.

  Raises:
    ValueError: if a system needs steps too small for double precision, as in a
      collision of two bodies without softening.
  """
  kernel = _kernel(law, bodies.position.shape[-1])
  size = len(method.weights)
  stages = np.zeros((size, size))
  for i, row in enumerate(method.stages):
    stages[i, :i] = row
  error_weights = np.zeros((2, size + 1))
  if method.error_weights:
    error_weights[:] = method.error_weights
  tableau = _Tableau(
    stages, np.array(method.weights), error_weights, -1 / method.order
  )
  fixed = interval / num_substeps if num_substeps else 0.0
  steps = (
    np.full(len(bodies.position), fixed or interval / 100)
    if first_step is None
    else first_step.copy()
  )
  for b in range(len(bodies.position)):
    steps[b] = kernel(
      bodies, b, tableau, interval, steps[b], num_substeps, tolerance, fewest
    )
    if not steps[b] > 0:
      raise ValueError(
        f"system {b} of the batch needs steps below {_SMALLEST_STEP:g} of "
        f"{interval:g}: two bodies without softening collide, or a state is "
        f"not finite; soften the law or draw other initial states"
      )
  return steps


@functools.cache
def _kernel(law: str, num_dims: int) -> Callable:
  """Returns the loop for a row of `systems.LAWS`, compiled at first use."""
  pair_force = _jit(systems.LAWS[law].force)

  # Plain loops over flat arrays: array expressions take Numba ten times as
  # long to compile. y holds all positions, then all velocities.
  #
  # The state is y + low, and a stage lies `moved` from it. Two bodies in a
  # close encounter have almost the same coordinates: the difference of these is
  # exact, that of their small movements is added to it, and no digit of the
  # distance is lost.
  @_jit
  def derive(bodies, b, y, low, moved, out):
    num_particles = bodies.position.shape[1]
    half = num_particles * num_dims
    d = np.empty(num_dims)
    for c in range(half):
      out[c] = y[half + c] + (low[half + c] + moved[half + c])
      out[half + c] = bodies.field[c % num_dims] - bodies.trap * (
        y[c] + (low[c] + moved[c])
      )
    for i in range(num_particles):
      for j in range(i + 1, num_particles):
        weight = bodies.strength[b, i] * bodies.strength[b, j]
        if weight == 0.0:
          continue  # padding may lie anywhere, on another particle too
        squared = 0.0
        for k in range(num_dims):
          side = bodies.box[b, k]
          m, n = i * num_dims + k, j * num_dims + k
          x = (y[m] - y[n]) + ((low[m] + moved[m]) - (low[n] + moved[n]))
          # A stage may leave the box, by less than a side.
          for _ in range(2):
            x -= side if x > 0.5 * side else 0.0
            x += side if x <= -0.5 * side else 0.0
          d[k] = x
          squared += x * x
        factor = (
          bodies.coupling[b] * weight * pair_force(squared, bodies.length[b])
        )
        for k in range(num_dims):
          out[half + i * num_dims + k] += factor * d[k]
          out[half + j * num_dims + k] -= factor * d[k]
    if num_dims == 3:
      field = bodies.magnetic_field
      for i in range(num_particles):
        for k in range(3):
          l, m = (k + 1) % 3, (k + 2) % 3
          turned = out[i * 3 + l] * field[m] - out[i * 3 + m] * field[l]
          out[half + i * 3 + k] += bodies.strength[b, i] * turned
    for c in range(half):
      out[half + c] *= bodies.inverse_mass[b, c // num_dims]

  @_jit
  def move(slopes, shares, count, step, out):
    for c in range(len(out)):
      out[c] = 0.0
    for s in range(count):
      if shares[s] != 0.0:
        for c in range(len(out)):
          out[c] += shares[s] * slopes[s, c]
    for c in range(len(out)):
      out[c] *= step

  @_jit
  def error_of(y, moved, slopes, tableau, step, tolerance):
    fifth = third = 0.0
    for c in range(len(y)):
      five = three = 0.0
      for s in range(slopes.shape[0]):
        five += tableau.error_weights[0, s] * slopes[s, c]
        three += tableau.error_weights[1, s] * slopes[s, c]
      scale = tolerance * (1.0 + max(abs(y[c]), abs(y[c] + moved[c])))
      fifth += (five / scale) ** 2
      third += (three / scale) ** 2
    if fifth == 0.0 and third == 0.0:
      return 0.0
    return step * fifth / np.sqrt((fifth + 0.01 * third) * len(y))

  @_jit
  def run(bodies, b, tableau, interval, step, num_substeps, tolerance, fewest):
    half = bodies.position.shape[1] * num_dims
    size = len(tableau.weights)
    y, low, moved = np.empty(2 * half), np.zeros(2 * half), np.zeros(2 * half)
    slopes = np.empty((size + 1, 2 * half))
    for c in range(half):
      y[c] = bodies.position[b, c // num_dims, c % num_dims]
      y[half + c] = bodies.velocity[b, c // num_dims, c % num_dims]
    derive(bodies, b, y, low, moved, slopes[0])
    now, done = 0.0, 0
    while done < num_substeps or (num_substeps == 0 and now < interval):
      trial = step
      if num_substeps == 0:
        trial = min(step, interval / fewest, interval - now)
      for s in range(1, size):
        move(slopes, tableau.stages[s], s, trial, moved)
        derive(bodies, b, y, low, moved, slopes[s])
      move(slopes, tableau.weights, size, trial, moved)
      derive(bodies, b, y, low, moved, slopes[size])
      if num_substeps == 0:
        error = error_of(y, moved, slopes, tableau, trial, tolerance)
        factor = 10.0 if error == 0.0 else 0.9 * error**tableau.exponent
        if not error < 1.0:
          step = trial * (max(0.2, factor) if error > 0.0 else 0.2)
          if step < _SMALLEST_STEP * interval:
            return -1.0
          continue
        # A step cut at the end of the interval says nothing about the next.
        if trial == step or factor < 1.0:
          step = trial * min(10.0, max(0.2, factor))
      now += trial
      if num_substeps == 0 and interval - now < _SMALLEST_STEP * interval:
        now = interval
      done += 1
      for c in range(2 * half):
        before, change = y[c], low[c] + moved[c]
        y[c] = before + change
        low[c] = change - (y[c] - before)
        slopes[0, c] = slopes[size, c]
      for c in range(half):
        side = bodies.box[b, c % num_dims]
        y[c] -= side if y[c] >= 0.5 * side else 0.0
        y[c] += side if y[c] < -0.5 * side else 0.0
    for c in range(half):
      bodies.position[b, c // num_dims, c % num_dims] = y[c]
      bodies.velocity[b, c // num_dims, c % num_dims] = y[half + c]
    return step

  return run
