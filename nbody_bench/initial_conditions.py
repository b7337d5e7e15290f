"""Initial states, each drawn from one generator."""

import numpy as np

from nbody_bench.states import Domain, Particles, State


def uniform_box(
  rng: np.random.Generator, num_particles: int, box_side: float
) -> tuple[State, Particles, Domain]:
  """Returns one system spread evenly over a periodic square, batch of 1.

  Positions are uniform in the box, velocity components uniform in (-1, 1),
  masses 1; the mean velocity is not removed and close pairs are kept. This is
  the published distribution (Martinkus, Lucchi and Perraudin 2021, section
  4.1).
  """
  shape = (1, num_particles, 2)
  state = State(
    position=box_side * rng.uniform(-0.5, 0.5, shape),
    velocity=rng.uniform(-1, 1, shape),
  )
  mass = np.ones((1, num_particles))
  return state, Particles(mass), Domain(np.full((1, 2), box_side))


def random_charges(rng: np.random.Generator, num_particles: int) -> np.ndarray:
  """Returns charges `[1, N]`: size uniform in (0.5, 1.5), sign at random.

  The total charge is not neutralised (published, as in `uniform_box`).
  """
  size = rng.uniform(0.5, 1.5, (1, num_particles))
  return size * rng.choice([-1.0, 1.0], (1, num_particles))
