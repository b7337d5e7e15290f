"""Ground truth: trajectories in float64 with their own error beside them."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from nbody_bench import integrators, pair_sums
from nbody_bench.states import Domain, Particles, State, Trajectory
from nbody_bench.systems import System


class GroundTruth(NamedTuple):
  """Simulated trajectories.

  Attributes:
    trajectory: `[B, T, N, D]`, frame 0 is the initial state.
    label_error: `[B, T]`, the distance at each frame to a second run with half
      the step: root mean square over particles and the 2 D phase-space
      coordinates, positions by minimum image.
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
  time_step: float,
  num_frames: int,
  num_substeps: int,
  integrator: str = "leapfrog",
  on_frame: Callable[[], None] = lambda: None,
) -> GroundTruth:
  """Integrates a batch of at most `pair_sums.NUM_LANES` systems.

  Args:
    system: the law.
    state: initial positions and velocities, `[B, N, D]`.
    particles: masses and source strengths, `[B, N]`.
    domain: box `[B, D]`.
    time_step: time between frames.
    num_frames: T, the initial one included.
    num_substeps: equal steps between frames; the second run takes twice as
      many.
    integrator: a row of `integrators.INTEGRATORS`.
    on_frame: called after each frame; may raise to stop the work.

  Returns:
    Trajectories with their label error.

  Raises:
    ValueError: if the batch is larger than `pair_sums.NUM_LANES`.
  """
  batch = len(state.position)
  if batch > pair_sums.NUM_LANES:
    raise ValueError(
      f"a block holds at most {pair_sums.NUM_LANES} systems, {batch} given; "
      f"call once for each block"
    )
  method = integrators.INTEGRATORS[integrator]
  mass = np.where(particles.mass > 0, particles.mass, 1)
  strength = system.source_strength(particles)

  def block():
    return pair_sums.Lanes(
      pair_sums.to_lanes(domain.wrap(state.position)),
      pair_sums.to_lanes(state.velocity),
      pair_sums.to_lanes(1 / mass),
      pair_sums.to_lanes(strength),
      pair_sums.to_lanes(domain.box),
    )

  def current(lanes):
    return State(
      np.moveaxis(lanes.position, -1, 0)[:batch].copy(),
      np.moveaxis(lanes.velocity, -1, 0)[:batch].copy(),
    )

  coarse, fine = block(), block()
  states, label_error = [current(coarse)], [np.zeros(batch)]
  for _ in range(num_frames - 1):
    pair_sums.advance(system, method, coarse, time_step, num_substeps)
    pair_sums.advance(system, method, fine, time_step, 2 * num_substeps)
    states.append(current(coarse))
    label_error.append(
      phase_space_distance(states[-1], current(fine), particles, domain)
    )
    on_frame()
  trajectory = Trajectory(
    time_step * np.arange(num_frames),
    State(*(np.stack(x, 1) for x in zip(*states, strict=True))),
    particles,
    domain,
  )
  return GroundTruth(
    trajectory,
    np.stack(label_error, 1),
    trajectory.at_each_frame(system.hamiltonian),
    trajectory.at_each_frame(system.momentum),
  )


def drifts(system: System, truth: GroundTruth) -> dict[str, np.ndarray]:
  """Returns the worst of each trajectory over its frames, `[B]` each.

  Returns:
    `energy_drift`: |H(t) - H(0)| / (T(0) + |U(0)|). The denominator is not
    H(0), which may be close to zero; `momentum_drift`: |P(t) - P(0)|, largest
    component; `label_error`.
  """
  first = truth.trajectory.frame(0)
  kinetic = system.kinetic_energy(
    first, truth.trajectory.particles, truth.trajectory.domain
  )
  scale = kinetic + np.abs(truth.energy[:, 0] - kinetic)
  return {
    "energy_drift": np.max(np.abs(truth.energy - truth.energy[:, :1]), 1)
    / scale,
    "momentum_drift": np.max(
      np.abs(truth.momentum - truth.momentum[:, :1]), (1, 2)
    ),
    "label_error": np.max(truth.label_error, 1),
  }
