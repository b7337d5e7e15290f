"""Initial states, each drawn from one generator, as batches of 1.

Each function is an `Initial` of `dataset_configs` once its settings are bound
(`functools.partial`).
"""

import functools
import threading
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from nbody_bench import solvers
from nbody_bench.states import Domain, Particles, State
from nbody_bench.systems import System

Initial = tuple[State, Particles, Domain]


def uniform_box(draw, *, side: Callable[[int], float]) -> Initial:
  """Returns a system spread evenly over a periodic square.

  Positions are uniform in the box, velocity components uniform in (-1, 1),
  masses 1; the mean velocity is not removed and close pairs are kept. This is
  the published distribution (Martinkus, Lucchi and Perraudin 2021, section
  4.1).

  Args:
    draw: a `dataset_configs.Draw`.
    side: of the box, by the number of particles.
  """
  shape = (1, draw.num_particles, 2)
  length = side(draw.num_particles)
  state = State(
    position=length * draw.rng.uniform(-0.5, 0.5, shape),
    velocity=draw.rng.uniform(-1, 1, shape),
  )
  mass = np.ones(shape[:2])
  return state, Particles(mass), Domain(np.full((1, 2), length))


def random_charges(rng: np.random.Generator, num_particles: int) -> np.ndarray:
  """Returns charges `[1, N]`: size uniform in (0.5, 1.5), sign at random.

  The total charge is not neutralised (published, as in `uniform_box`).
  """
  size = rng.uniform(0.5, 1.5, (1, num_particles))
  return size * rng.choice([-1.0, 1.0], (1, num_particles))


def open_space(num_dims: int) -> Domain:
  """Returns a domain without walls."""
  return Domain(np.full((1, num_dims), np.inf))


def plummer_disc(draw, *, cut: float = 10.0) -> Initial:
  """Returns a rotating disc with the profile of a Plummer sphere.

  In N-body units (G = 1, total mass 1, scale a = 3 pi / 16): masses from a
  normal distribution (1, 0.5) cut to (1e-6, 2), normalised to 1; radii of the
  Plummer mass profile, at most `cut` scales; circular speeds of the smooth
  potential, 1 % noise, direction off the tangent by pi times a normal (0,
  0.1); one sense of rotation for the whole disc.
  """
  rng, n = draw.rng, draw.num_particles
  mass = np.zeros(n)
  while not mass.all():
    trial = rng.normal(1, 0.5, n)
    mass = np.where((mass == 0) & (trial > 1e-6) & (trial < 2), trial, mass)
  mass /= mass.sum()
  scale = 3 * np.pi / 16
  largest = (1 + cut**-2) ** -1.5  # the share of mass inside the cut
  radius = scale * (rng.uniform(0, largest, n) ** (-2 / 3) - 1) ** -0.5
  angle = rng.uniform(0, 2 * np.pi, n)
  speed = radius * (radius**2 + scale**2) ** -0.75
  speed *= rng.choice([-1.0, 1.0]) * (1 + rng.normal(0, 0.01, n))
  heading = angle + np.pi / 2 + np.pi * rng.normal(0, 0.1, n)
  state = State(
    _polar(radius, angle)[None],
    _polar(speed, heading)[None],
  )
  return state, Particles(mass[None]), open_space(2)


def _polar(radius, angle):
  return np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1)


def two_body_orbit(draw) -> Initial:
  """Returns a nearly circular orbit of two unit masses, G = 1.

  Body 1 at (x, y) uniform in (0.5, 1.5)^2, speed of the circular orbit times
  1 + 0.05 N(0, 1); body 2 is its point mirror (Greydanus, Dzamba and Yosinski,
  Hamiltonian Neural Networks, 2019).
  """
  place = draw.rng.uniform(0.5, 1.5, 2)
  radius = np.linalg.norm(place)
  turned = np.array([-place[1], place[0]])
  velocity = turned / (2 * radius**1.5) * (1 + 0.05 * draw.rng.normal())
  return _open(np.stack([place, -place]), np.stack([velocity, -velocity]))


def three_body_orbit(draw) -> Initial:
  """Returns three unit masses at 120 degrees on disturbed circles, G = 1.

  Radius uniform in (0.9, 1.2), tangential speed that of the circle, each
  velocity component times 1 + 0.2 U(-1, 1) (Greydanus, Dzamba and Yosinski
  2019).
  """
  rng = draw.rng
  radius = rng.uniform(0.9, 1.2)
  angle = rng.uniform(0, 2 * np.pi) + 2 * np.pi / 3 * np.arange(3)
  # On a circle v^2 / r is the pull of two bodies at distance sqrt(3) r, as
  # published written sin 60 / (2 cos^2 30).
  speed = np.full(3, (np.sqrt(3) * radius) ** -0.5)
  velocity = _polar(speed, angle + np.pi / 2)
  velocity *= 1 + 0.2 * rng.uniform(-1, 1, (3, 2))
  return _open(_polar(np.full(3, radius), angle), velocity)


def five_springs(draw) -> Initial:
  """Returns bodies of random mass and stiffness, in the plane.

  Masses uniform in (0.1, 1), stiffnesses in (0.5, 1), positions in (-1, 1)^2,
  velocities in (-3, 3)^2 (Desai and Roberts, VIGN: Variational Integrator Graph
  Networks, 2020).
  """
  rng, n = draw.rng, draw.num_particles
  mass, stiffness = rng.uniform(0.1, 1, n), rng.uniform(0.5, 1, n)
  q, v = rng.uniform(-1, 1, (n, 2)), rng.uniform(-3, 3, (n, 2))
  state, _, domain = _open(q, v)
  return state, Particles(mass[None], stiffness=stiffness[None]), domain


def mass_spring(draw) -> Initial:
  """Returns one body on a line, of energy between 0.1 and 0.5.

  A random direction of phase space, squared radius uniform in (0.2, 1) (Desai
  and Roberts 2020).
  """
  radius = np.sqrt(draw.rng.uniform(0.2, 1))
  q, v = _polar(radius, draw.rng.uniform(0, 2 * np.pi))
  return _open(np.array([[q]]), np.array([[v]]))


def hamiltonian_spring(draw) -> Initial:
  """Returns one body of mass 1/2 on a line, of energy between 0.01 and 1.

  With a spring of stiffness 2 to the origin H = p^2 + q^2. A random direction
  of phase space (that of a point of a square, as published), radius uniform in
  (0.1, 1) (Greydanus, Dzamba and Yosinski 2019).
  """
  direction = draw.rng.uniform(-1, 1, 2)
  radius = draw.rng.uniform(0.1, 1)
  q, p = radius * direction / np.linalg.norm(direction)
  state, _, domain = _open(np.array([[q]]), np.array([[2 * p]]))
  return state, Particles(np.array([[0.5]])), domain


class Stated(NamedTuple):
  """One initial state that a paper states.

  Attributes:
    position: N points.
    velocity: of each.
    separation: of the two copies that make a system of 2 N: the second is
      displaced along x and moves the other way.
  """

  position: tuple[tuple[float, ...], ...]
  velocity: tuple[tuple[float, ...], ...]
  separation: float

  def state(self, num_particles: int) -> State:
    """Returns the state of N or 2 N particles, `[1, N, D]`."""
    q, v = np.array(self.position), np.array(self.velocity)
    if num_particles == 2 * len(q):
      shift = self.separation * np.eye(q.shape[1])[0]
      q, v = np.concatenate([q, q + shift]), np.concatenate([v, -v])
    return State(q[None], v[None])


def around(draw, *, stated: Stated, **constants: float) -> Initial:
  """Returns a state near a stated one: each number changed by up to 10 %.

  The mean velocity is removed. The first trajectory of `test` and of
  `test_unseen_n` starts from the stated state itself.

  Args:
    draw: a `dataset_configs.Draw`.
    stated: the state.
    **constants: of all particles, such as `stiffness=1.0`.
  """
  exact = stated.state(draw.num_particles)
  if draw.split in ("test", "test_unseen_n") and draw.trajectory_id == 0:
    return _uniform(exact, constants)
  q, v = (x * (1 + 0.1 * draw.rng.uniform(-1, 1, x.shape)) for x in exact)
  return _uniform(State(q, v - v.mean(1, keepdims=True)), constants)


def windows(
  draw,
  *,
  stated: Stated,
  system: System,
  length: float,
  counts: tuple[tuple[str, int], ...],
  **constants: float,
) -> Initial:
  """Returns states along one long trajectory from a stated one.

  Of the system of 2 N, which need not last that long before two bodies meet,
  states as in `around`.

  Args:
    draw: a `dataset_configs.Draw`.
    stated: where the trajectory starts.
    system: the law.
    length: time from one state to the next.
    counts: splits in their order along the trajectory, and how many states each
      takes.
    **constants: of all particles, such as `stiffness=1.0`.
  """
  if draw.num_particles != len(stated.position):
    return around(draw, stated=stated, **constants)
  before = [split for split, _ in counts].index(draw.split)
  place = sum(count for _, count in counts[:before]) + draw.trajectory_id
  total = sum(count for _, count in counts)
  _, particles, domain = _uniform(stated.state(draw.num_particles), constants)
  path = _path(stated, system, length, total, tuple(constants.items()))
  return State(*(x[:, place] for x in path)), particles, domain


@functools.cache
def _path(stated, system, length, count, constants):
  problem = _uniform(stated.state(len(stated.position)), dict(constants))
  times = length * np.arange(count)
  return solvers.AdaptiveSteps().solve(
    system, *problem, times, lambda num_systems: None
  )


def _uniform(state, constants):
  ones = np.ones(state.position.shape[:2])
  particles = Particles(ones, **{k: c * ones for k, c in constants.items()})
  return state, particles, open_space(state.position.shape[-1])


# Splits of the generators whose stream of random numbers is followed.
PUBLISHED_SETS = (("train", 10_000), ("validation", 2_000), ("test", 2_000))


def cold_cluster(draw, *, published: bool = False) -> Initial:
  """Returns normal positions and velocities in space, mean velocity removed.

  Of the generator of Brandstetter et al., Geometric and Physical Quantities
  Improve E(3) Equivariant Message Passing (2022).

  Args:
    draw: a `dataset_configs.Draw`.
    published: whether to follow that generator's own stream of random numbers
      (seed 43; training, validation and test set one after the other), which
      gives the published initial states; extra splits have no place in it.
  """
  position, velocity = _drawn(draw, _draw_cluster, published)
  return _open(position, velocity - velocity.mean(0))


def _draw_cluster(rng, num_particles):
  q, v = (rng.randn(num_particles, 3) for _ in range(2))
  rng.randn(3, 50, num_particles, 3)  # drawn by the generator and not used
  return q, v


def charged_cluster(draw, *, published: bool = False) -> Initial:
  """Returns charges of 1 or -1 in space, speeds 0.5.

  Positions normal with standard deviation (N / 5)^(1/3), a coordinate beyond 5
  reflected; velocities of norm 0.5 in random directions. Of the generator of
  Satorras, Hoogeboom and Welling, E(n) Equivariant Graph Neural Networks
  (2021), after Kipf et al. (2018). Arguments as in `cold_cluster`.
  """
  charge, q, v = _drawn(draw, _draw_charges, published)
  q = q * (draw.num_particles / 5) ** (1 / 3)
  q = np.where(q > 5, 10 - q, np.where(q < -5, -10 - q, q))
  v = 0.5 * v / np.sqrt((v**2).sum(0))
  return _open(q.T, v.T, charge=charge.T)


def _draw_charges(rng, num_particles):
  charge = rng.choice([-1.0, 0.0, 1.0], (num_particles, 1), p=[0.5, 0, 0.5])
  q, v = (rng.randn(3, num_particles) for _ in range(2))
  rng.randn(2, 49, 3, num_particles)  # drawn by the generator and not used
  return charge, q, v


def _drawn(draw, function, published):
  names = [split for split, _ in PUBLISHED_SETS]
  if not published or draw.split not in names:
    legacy = np.random.RandomState(draw.rng.integers(2**32))
    return function(legacy, draw.num_particles)
  before = sum(n for _, n in PUBLISHED_SETS[: names.index(draw.split)])
  return _stream(function, draw.num_particles).draw(before + draw.trajectory_id)


class _Stream:
  """A legacy generator's draws one after the other, with places to start at."""

  _STRIDE = 32

  def __init__(self, function, num_particles):
    self._function = lambda rng: function(rng, num_particles)
    self._rng = np.random.RandomState(43)
    self._count = 0
    self._states = []
    self._lock = threading.Lock()

  def draw(self, index):
    with self._lock:
      while self._count <= index:
        if self._count % self._STRIDE == 0:
          self._states.append(self._rng.get_state())
        self._function(self._rng)
        self._count += 1
      rng = np.random.RandomState()
      rng.set_state(self._states[index // self._STRIDE])
    for _ in range(index % self._STRIDE):
      self._function(rng)
    return self._function(rng)


@functools.cache
def _stream(function, num_particles):
  return _Stream(function, num_particles)


def _open(position, velocity, **constants):
  state = State(position[None], velocity[None])
  particles = Particles(np.ones((1, len(position))), **constants)
  return state, particles, open_space(position.shape[-1])
