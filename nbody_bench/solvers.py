"""Solvers: from initial states to states at given times, in float64.

A solver is one method with its setting, and plain data: a data set states in
its metadata which one made it. `finer()` is the one that its label error is
measured against.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from nbody_bench import (
  block_steps,
  integrators,
  pair_sums,
  runge_kutta,
)
from nbody_bench.bodies import Bodies
from nbody_bench.integrators import RungeKutta
from nbody_bench.states import Domain, Particles, State
from nbody_bench.systems import System


class Solver(Protocol):
  """The contract."""

  def solve(
    self,
    system: System,
    state: State,
    particles: Particles,
    domain: Domain,
    times: np.ndarray,
    on_frame: Callable[[int], None],
  ) -> State:
    """Returns the states at `times`, `[B, T, N, D]`.

    Args:
      system: the law.
      state: `[B, N, D]` at time 0.
      particles: `[B, N]`.
      domain: `[B, D]`.
      times: `[T]`, increasing, from 0 or later on.
      on_frame: called with the number of systems that reached one more of the
        times; may raise to stop the work.
    """

  def finer(self) -> "Solver":
    """Returns the solver to compare with."""


def describe(solver: Solver) -> dict[str, Any]:
  """Returns a solver as plain data: its name and its setting."""
  fields = dataclasses.asdict(solver)  # type: ignore[call-overload]
  return {"name": type(solver).__name__, **fields}


@dataclasses.dataclass(frozen=True)
class FixedSteps:
  """Equal steps, the same for all particles.

  Attributes:
    num_substeps: steps from one time to the next, and from 0 to the first.
    integrator: a row of `integrators.INTEGRATORS`.
  """

  num_substeps: int = 64
  integrator: str = "leapfrog"

  def finer(self) -> Solver:
    """Returns half the step."""
    return dataclasses.replace(self, num_substeps=2 * self.num_substeps)

  def solve(self, system, state, particles, domain, times, on_frame):
    """See `Solver`."""
    method = integrators.INTEGRATORS[self.integrator]
    bodies = system.bodies(state, particles, domain)
    if isinstance(method, RungeKutta):

      def runge_kutta_steps(interval):
        runge_kutta.advance(
          system.law, bodies, method, interval, num_substeps=self.num_substeps
        )

      return _collect(bodies, runge_kutta_steps, times, on_frame)
    size = pair_sums.block_size(state.position.shape[1])
    parts = []
    for start in range(0, len(state.position), size):
      some = bodies.select(slice(start, start + size))
      block = pair_sums.Block(system.law, some)

      def advance(interval, block=block, some=some):
        block.advance(method, interval, self.num_substeps)
        some.position[:], some.velocity[:] = block.state()

      parts.append(_collect(some, advance, times, on_frame))
    return State(*(np.concatenate(x) for x in zip(*parts, strict=True)))


@dataclasses.dataclass(frozen=True)
class AdaptiveSteps:
  """Steps that keep the estimated error of each below a tolerance.

  For few bodies that may come close, and for forces that depend on velocity.

  Attributes:
    tolerance: relative and absolute, for each coordinate and step.
    integrator: a row of `integrators.INTEGRATORS` with error weights.
    fewest: steps from one time to the next, at least.
  """

  tolerance: float = 1e-13
  integrator: str = "dop853"
  fewest: int = 1

  def finer(self) -> Solver:
    """Returns a hundredth of the tolerance.

    And twice the fewest steps: where one step from frame to frame is good
    enough for both, their difference would say that there is no error at all.
    """
    return dataclasses.replace(
      self, tolerance=self.tolerance / 100, fewest=2 * self.fewest
    )

  def solve(self, system, state, particles, domain, times, on_frame):
    """See `Solver`."""
    method = integrators.INTEGRATORS[self.integrator]
    if not isinstance(method, RungeKutta) or not method.error_weights:
      raise ValueError(
        f"integrator {self.integrator!r} does not estimate its error; use "
        f"'dop853', or FixedSteps"
      )
    bodies = system.bodies(state, particles, domain)
    steps = None

    def advance(interval):
      nonlocal steps
      steps = runge_kutta.advance(
        system.law,
        bodies,
        method,
        interval,
        tolerance=self.tolerance,
        fewest=self.fewest,
        first_step=steps,
      )

    return _collect(bodies, advance, times, on_frame)


@dataclasses.dataclass(frozen=True)
class BlockSteps:
  """Individual steps: halves of halves of the interval, for each particle.

  Attributes:
    accuracy: eta in the step eta sqrt(eps / |a|).
    frozen: whether slow particles stand still while fast ones move, as in the
      published generator (Martinkus, Lucchi and Perraudin 2021), instead of
      being predicted.
  """

  accuracy: float = 0.001
  frozen: bool = False

  def finer(self) -> Solver:
    """Returns half the step; for frozen particles, what they should do."""
    return BlockSteps(self.accuracy / 2)

  def solve(self, system, state, particles, domain, times, on_frame):
    """See `Solver`."""
    bodies = system.bodies(state, particles, domain)

    def advance(interval):
      block_steps.advance(
        system.law, bodies, interval, 1, self.accuracy, self.frozen
      )

    return _collect(bodies, advance, times, on_frame)


@dataclasses.dataclass(frozen=True)
class ExactSprings:
  """The solution of linear springs in open space, by normal modes.

  With mass-weighted coordinates x = sqrt(m) q the equations are x'' = -A x
  with a constant symmetric matrix A, the same for each dimension.
  """

  def finer(self) -> Solver:
    """Returns an independent method: adaptive Runge-Kutta."""
    return AdaptiveSteps()

  def solve(self, system, state, particles, domain, times, on_frame):
    """See `Solver`."""
    bodies = system.bodies(state, particles, domain)
    if system.law != "harmonic" or np.isfinite(bodies.box).any():
      raise ValueError(
        f"the law {system.law!r} in a box of {domain.box[0]} has no exact "
        f"solution here: 'harmonic' in an open box has; use AdaptiveSteps"
      )
    if system.field or system.magnetic_field:
      raise ValueError("ExactSprings knows no fields; use AdaptiveSteps")
    frames = [_normal_modes(bodies, t) for t in times]
    on_frame(len(times) * len(bodies.position))
    return State(*(np.stack(x, 1) for x in zip(*frames, strict=True)))


def _normal_modes(bodies: Bodies, time: float):
  pull = bodies.coupling[:, None, None] * (
    bodies.strength[:, :, None] * bodies.strength[:, None, :]
  )
  eye = np.eye(pull.shape[-1])
  stiffness = eye * (np.sum(pull * (1 - eye), -1)[..., None] + bodies.trap)
  stiffness -= pull * (1 - eye)
  # Padding has strength 0 and moves freely.
  root = np.sqrt(np.where(bodies.inverse_mass > 0, bodies.inverse_mass, 1))
  squared, modes = np.linalg.eigh(stiffness * root[:, None] * root[:, :, None])
  # Rounding leaves a free motion at a tiny frequency of either sign.
  free = np.abs(squared) < 1e-12 * np.abs(squared).max(-1, keepdims=True)
  omega = np.sqrt(np.where(free, 0, squared) + 0j)[..., None]
  safe = np.where(omega == 0, 1, omega)
  cos = np.cos(omega * time).real
  sin_over = np.where(omega == 0, time, (np.sin(safe * time) / safe).real)
  sin_times = -(omega * np.sin(omega * time)).real
  to_modes = np.swapaxes(modes, -1, -2)
  x = to_modes @ (bodies.position / root[..., None])
  v = to_modes @ (bodies.velocity / root[..., None])
  moved = (x * cos + v * sin_over, x * sin_times + v * cos)
  return tuple((modes @ y) * root[..., None] for y in moved)


def _collect(bodies, advance, times, on_frame) -> State:
  """Returns the states at `times` of bodies that `advance` moves in place."""
  states, now = [], 0.0
  for time in times:
    if time > now:
      advance(time - now)
      now = time
    on_frame(len(bodies.position))
    states.append(State(bodies.position.copy(), bodies.velocity.copy()))
  return State(*(np.stack(x, 1) for x in zip(*states, strict=True)))
