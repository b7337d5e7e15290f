"""Inputs and assertions to build tests on, here and in other projects.

The cases that a model has to pass are in `conformance`, to be inherited.
"""

import numpy as np
import tensorflow as tf

from nbody_bench.problems import Problem
from nbody_bench.states import Domain, Particles, State, Trajectory, map_arrays
from nbody_bench.systems import System

# Two invariants agree within this part of their size: more than storing a copy
# in float32 costs, far less than chance brings about.
_TWIN_TOLERANCE = 1e-6

GRAVITY = System(law="plummer", coupling=-2.0, softening=0.2)
COULOMB = System(law="plummer", coupling=2.0, softening=0.2, source="charge")


def problem(system: System = GRAVITY, num_dims: int = 2) -> Problem:
  """Returns a problem with plausible statistics."""
  return Problem(
    dataset="testing",
    system=system,
    time_step=0.01,
    num_dims=num_dims,
    statistics={
      "velocity_std": 1.0,
      "position_increment_std": 2.5e-4,
      "velocity_increment_std": 0.05,
    },
  )


def random_system(
  batch: int = 2,
  num_particles: int = 5,
  num_dims: int = 2,
  box_side: float = 8.0,
  charged: bool = False,
  seed: int = 0,
) -> tuple[State, Particles, Domain]:
  """Returns random systems in a periodic box, as float64 NumPy arrays.

  Masses differ, so that a model or metric that ignores them is found out.
  """
  rng = np.random.default_rng(seed)
  shape = (batch, num_particles)
  half = box_side / 2 if np.isfinite(box_side) else 2.0
  state = State(
    rng.uniform(-half, half, (*shape, num_dims)),
    rng.uniform(-1, 1, (*shape, num_dims)),
  )
  charge = rng.choice([-1.0, 1.0], shape) if charged else None
  particles = Particles(mass=rng.uniform(0.5, 1.5, shape), charge=charge)
  return state, particles, Domain(np.full((batch, num_dims), box_side))


def trajectory(
  num_frames: int = 4, time_step: float = 0.01, **kwargs
) -> Trajectory:
  """Returns random systems in free flight; arguments as in `random_system`."""
  state, particles, domain = random_system(**kwargs)
  time = time_step * np.arange(num_frames)
  position = state.position[:, None] + (
    time[:, None, None] * state.velocity[:, None]
  )
  velocity = np.repeat(state.velocity[:, None], num_frames, 1)
  return Trajectory(
    time, State(domain.wrap(position), velocity), particles, domain
  )


def pad(
  state: State, particles: Particles, num_padding: int
) -> tuple[State, Particles]:
  """Appends padding with wild values that must change nothing."""
  rng = np.random.default_rng(1)

  def extend(x, low=-3, high=3):
    shape = (x.shape[0], num_padding, *x.shape[2:])
    return np.concatenate([x, rng.uniform(low, high, shape)], 1)

  mask = np.ones_like(particles.mass)
  padded = Particles(
    mass=extend(particles.mass),
    charge=None if particles.charge is None else extend(particles.charge),
    mask=np.concatenate([mask, np.zeros((len(mask), num_padding))], 1),
  )
  return State(*map(extend, state)), padded


def to_tensors(structure):
  """Returns float32 tensors for the arrays of a structure, None as it is."""
  return map_arrays(lambda x: tf.constant(x, tf.float32), structure)


def assert_no_symmetric_pair(
  one: Trajectory, other: Trajectory, system: System
) -> None:
  """Asserts that no trajectory of one split has a twin in the other.

  Twins are the same solution seen otherwise: rotated, reflected, shifted,
  boosted, in another order of particles, backwards in time, with all charges
  flipped, from another frame on, or several of these. States with equal
  invariants are taken for twins: sorted masses and absolute source strengths,
  potential and internal kinetic energy, sorted distances and relative speeds
  of all pairs. The first and last frame of each trajectory are compared with
  every frame of each trajectory of the other split, which meets every overlap
  in time.

  Args:
    one: `[B, T, N, D]` NumPy arrays; `T` may differ from that of `other`, and
      all numbers of particles are compared with their like.
    other: as `one`.
    system: the true law.

  Raises:
    AssertionError: naming both trajectories and frames.
  """
  splits = [
    [_invariants(split, b, system) for b in range(len(split.state.position))]
    for split in (one, other)
  ]
  # Each kind in units of its largest value, whatever the units of the data.
  scales = [
    max(np.max(np.abs(x), initial=0) for x in kind) or 1
    for kind in zip(*splits[0], *splits[1], strict=True)
  ]
  splits = [
    [
      np.concatenate([x / s for x, s in zip(row, scales, strict=True)], -1)
      for row in split
    ]
    for split in splits
  ]
  for first, second in ((0, 1), (1, 0)):
    for i, j in np.ndindex(len(splits[first]), len(splits[second])):
      a, b = splits[first][i], splits[second][j]
      if a.shape[-1] != b.shape[-1]:
        continue
      for s in (0, len(a) - 1):
        gap = np.max(np.abs(b - a[s]), -1)
        t = int(np.argmin(gap))
        assert gap[t] > _TWIN_TOLERANCE, (
          f"frame {s} of trajectory {i} of split {first} and frame {t} of "
          f"trajectory {j} of split {second} have the same masses, energies, "
          "distances and relative speeds: they are one solution seen "
          "otherwise; draw the initial states of each split anew"
        )


def _invariants(split, sample, system):
  """Returns the invariants of one trajectory, a list of `[T, F]`."""
  trajectory = split.select(slice(sample, sample + 1))
  particles, domain = trajectory.particles, trajectory.domain
  if particles.mask is not None:
    real = particles.mask[0] > 0
    particles = map_arrays(lambda x: x[:, real], particles._replace(bonds=None))
    states = State(*(x[:, :, real] for x in trajectory.state))
    trajectory = trajectory._replace(state=states, particles=particles)
  (position,), (velocity,) = trajectory.state
  num_frames, num_particles, _ = position.shape
  i, j = np.triu_indices(num_particles, 1)
  mass = particles.mass
  drift = np.sum(mass[..., None] * velocity, 1, keepdims=True) / np.sum(mass)
  displacement = domain.displacement(position[None, :, i], position[None, :, j])
  constants = np.sort([mass[0], np.abs(system.source_strength(particles)[0])])
  return [
    *np.repeat(constants[:, None], num_frames, 1),
    trajectory.at_each_frame(system.potential_energy)[0, :, None],
    0.5 * np.sum(mass * np.sum((velocity - drift) ** 2, -1), 1, keepdims=True),
    np.sort(np.linalg.norm(displacement[0], axis=-1)),
    np.sort(np.linalg.norm(velocity[:, j] - velocity[:, i], axis=-1)),
  ]
