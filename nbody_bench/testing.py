"""Tiny valid inputs to build tests on, here and in other projects."""

import numpy as np
import tensorflow as tf

from nbody_bench.problems import Problem
from nbody_bench.states import Domain, Particles, State, Trajectory, map_arrays
from nbody_bench.systems import System

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


def trajectory(num_frames: int = 4, **kwargs) -> Trajectory:
  """Returns random systems in free flight; arguments as in `random_system`."""
  state, particles, domain = random_system(**kwargs)
  time = 0.01 * np.arange(num_frames)
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
