"""Ground truth: trajectories in float64 with their own error beside them."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from nbody_bench import solvers
from nbody_bench.solvers import Solver
from nbody_bench.states import Domain, Particles, State, Trajectory
from nbody_bench.systems import System


class GroundTruth(NamedTuple):
  """Simulated trajectories.

  Attributes:
    trajectory: `[B, T, N, D]`.
    label_error: `[B, T]`, the distance at each frame to a second, finer run:
      root mean square over particles and the 2 D phase-space coordinates,
      positions by minimum image.
    energy: `[B, T]` total energy H.
    momentum: `[B, T, D]` total momentum.
  """

  trajectory: Trajectory
  label_error: np.ndarray
  energy: np.ndarray
  momentum: np.ndarray


def phase_space_distance(
  one: State, other: State, particles: Particles, domain: Domain
) -> np.ndarray:
  """Returns the root-mean-square difference of two states, `[B]`.

  Over the real particles and all 2 D coordinates; positions by minimum image.
  """
  return np.sqrt(mean_squared_difference(one, other, particles, domain))


def mean_squared_difference(
  one: State, other: State, particles: Particles, domain: Domain
) -> np.ndarray:
  """Returns the square of `phase_space_distance`, `[B]`."""
  difference = domain.displacement(one.position, other.position)
  squared = np.mean(
    difference**2 + (other.velocity - one.velocity) ** 2, axis=-1
  )
  mask = particles.mask if particles.mask is not None else np.ones_like(squared)
  return 0.5 * np.sum(squared * mask, -1) / np.sum(mask, -1)


def simulate(
  system: System,
  state: State,
  particles: Particles,
  domain: Domain,
  *,
  times: np.ndarray,
  solver: Solver,
  check: Solver | None = None,
  on_frame: Callable[[int], None] = lambda num_systems: None,
) -> GroundTruth:
  """Integrates a batch of systems, and once more to see how well.

  Args:
    system: the law.
    state: positions and velocities at time 0, `[B, N, D]`.
    particles: masses and source strengths, `[B, N]`.
    domain: box `[B, D]`.
    times: `[T]`, of the frames; increasing, from 0 or later on.
    solver: makes the trajectories.
    check: makes the second run; default `solver.finer()`.
    on_frame: called by both runs with the number of systems that reached one
      more frame; may raise to stop the work.

  Returns:
    Trajectories with their label error.
  """
  problem = (system, state, particles, domain, times, on_frame)
  trajectory = Trajectory(times, solver.solve(*problem), particles, domain)
  second = trajectory._replace(state=(check or solver.finer()).solve(*problem))
  return measured(
    system,
    trajectory,
    np.stack(
      [
        phase_space_distance(
          trajectory.frame(t), second.frame(t), particles, domain
        )
        for t in range(len(times))
      ],
      1,
    ),
  )


def followed(
  system: System,
  state: State,
  particles: Particles,
  domain: Domain,
  times: np.ndarray,
  tolerance: float = 1e-10,
) -> State:
  """Returns what the law makes of a state, by adaptive steps in float64.

  Args:
    system: the law, of pairs.
    state: `[B, N, D]` at time 0.
    particles: `[B, N]`.
    domain: box `[B, D]`.
    times: `[T]`, increasing.
    tolerance: of the error of a step, relative and absolute.

  Returns:
    States `[B, T, N, D]`, in the box.
  """
  # Steps are chosen by relative errors too: not of positions far outside.
  inside = state._replace(position=domain.wrap(state.position))
  found = solvers.AdaptiveSteps(tolerance).solve(
    system, inside, particles, domain, times, on_frame=lambda num_systems: None
  )
  return found._replace(position=domain.wrap(found.position))


def measured(
  system: System, trajectory: Trajectory, label_error: np.ndarray
) -> GroundTruth:
  """Returns trajectories with their energy and momentum beside them."""
  return GroundTruth(
    trajectory,
    label_error,
    trajectory.at_each_frame(system.hamiltonian),
    trajectory.at_each_frame(system.momentum),
  )


def drifts(system: System, truth: GroundTruth) -> dict[str, np.ndarray]:
  """Returns the worst of each trajectory over its frames, `[B]` each.

  Returns:
    `energy_drift`: |H(t) - H(0)| / (T(0) + |U(0)|). The denominator is not
    H(0), which may be close to zero; `label_error`; and where they are
    conserved, `momentum_drift` and `angular_momentum_drift`: |P(t) - P(0)| and
    |L(t) - L(0)|, largest component.
  """
  trajectory = truth.trajectory
  constants = (trajectory.particles, trajectory.domain)
  kinetic = system.kinetic_energy(trajectory.frame(0), *constants)
  scale = kinetic + np.abs(truth.energy[:, 0] - kinetic)

  def worst(values):
    return np.max(np.abs(values - values[:, :1]), tuple(range(1, values.ndim)))

  result = {
    "energy_drift": worst(truth.energy) / scale,
    "label_error": np.max(truth.label_error, 1),
  }
  if system.conserves_momentum:
    result["momentum_drift"] = worst(truth.momentum)
  is_open = np.isinf(trajectory.domain.box).all()
  if is_open and "rotation" in system.symmetries:
    spin = trajectory.at_each_frame(system.angular_momentum)
    if spin.shape[-1]:
      result["angular_momentum_drift"] = worst(spin)
  return result
