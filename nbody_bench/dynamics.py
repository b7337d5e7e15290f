"""Models that learn an equation of motion, and follow it by an integrator.

What is learned and how it is followed are two choices. A model defines one of

- `Derivative.rates`: the rates of position and momentum, as they are;
- `Hamiltonian.hamiltonian`: H(q, p), with q' = dH/dp and p' = -dH/dq;
- `Potential.potential`: V(q), with q' = v and m v' = -dV/dq;
- `Lagrangian.lagrangian`: L(q, v), with the Euler-Lagrange equation for v';

and names a row of `integrators.INTEGRATORS`. Splittings need a force that
depends on positions alone, which only a potential is known to give: "VIGN of
order 4" is a potential with `rk4`, its symplectic kin the same with `yoshida4`.
"""

import abc
import dataclasses
import functools
import math
from typing import Any, ClassVar

import tensorflow as tf

from nbody_bench import cards, objectives, simulators
from nbody_bench.arrays import Array
from nbody_bench.integrators import INTEGRATORS, Integrator
from nbody_bench.problems import Problem
from nbody_bench.states import Domain, Particles, State, map_arrays
from nbody_bench.systems import safe_mass


@dataclasses.dataclass(frozen=True)
class Settings:
  """What the `Config` of such a model begins with.

  Attributes:
    integrator: a row of `integrators.INTEGRATORS`.
    num_substeps: of it from frame to frame.
    objective: a row of `objectives.OBJECTIVES`, what is trained for.
    horizon: frames that are predicted in training, from the first of a window;
      40 is the long-range training of Desai and Roberts (2020).
    likelihood: whether errors are judged by a normal distribution of learned
      width, for noisy data, instead of their square.
  """

  integrator: str = "rk4"
  num_substeps: int = 1
  objective: str = "states"
  horizon: int = 1
  likelihood: bool = False

  def __post_init__(self):
    for name, rows in (
      ("integrator", INTEGRATORS),
      ("objective", objectives.OBJECTIVES),
    ):
      if getattr(self, name) not in rows:
        raise ValueError(
          f"{name} is {getattr(self, name)!r}; choose one of "
          f"{', '.join(sorted(rows))}"
        )
    for name in ("horizon", "num_substeps"):
      if getattr(self, name) < 1:
        raise ValueError(
          f"{name} is {getattr(self, name)}; it must be at least 1"
        )


class Dynamics(simulators.LearnedSimulator):
  """Base class of the four.

  Attributes:
    problem: what the model is told.
    separable: whether q' = v and v' depends on positions alone.
    conservative: whether the exact motion keeps an energy.
    window_length: frames that `loss` needs.
  """

  separable: ClassVar[bool] = False
  conservative: ClassVar[bool] = True

  def __init__(self, settings: Settings, problem: Problem, name: str):
    """Makes the model.

    Args:
      settings: of integrator and training.
      problem: what the model is told.
      name: of the module.

    Raises:
      ValueError: for a splitting where the force may depend on velocity, and
        for an objective that compares with a law that nobody knows.
    """
    super().__init__(name=name)
    self.problem = problem
    if settings.objective in cards.TELL_ACCELERATIONS:
      problem.known_law(
        f"the objective {settings.objective!r}",
        "set config.objective to 'states' or 'positions'",
      )
    self._integrator = _integrator(settings.integrator, self.separable)
    self._num_substeps = settings.num_substeps
    self._objective = objectives.OBJECTIVES[settings.objective]
    self.window_length = settings.horizon + 1
    self._width = None
    if settings.likelihood:
      self._width = tf.Variable(0.0, name="noise_width")

  @property
  def symplectic(self) -> bool:
    """Whether a step is a symplectic map: energy errors stay bounded."""
    return self.conservative and self.separable and self._integrator.symplectic

  def structure(
    self, state: State, particles: Particles, domain: Domain
  ) -> Any:
    """Returns what is built from the state, such as a graph.

    It is held through the stages of a Runge-Kutta step, and has no gradient.
    """
    return None

  @abc.abstractmethod
  def derivative(
    self, structure: Any, state: State, particles: Particles, domain: Domain
  ) -> State:
    """Returns the rates (q', v'), `[B, N, D]` each.

    Args:
      structure: what `structure` returned.
      state: position and velocity `[B, N, D]`.
      particles: `[B, N]`.
      domain: box `[B, D]`.
    """

  def step(self, state, particles, domain, time_step):
    """See base class."""
    for _ in range(self._num_substeps):
      structure = self.structure(state, particles, domain)
      # Stages may leave the box: what was built from the start, such as the
      # centre of a cell, must not jump within a step.
      state = State(domain.wrap(state.position), state.velocity)
      state = self._integrator.advance(
        functools.partial(
          self.derivative, structure, particles=particles, domain=domain
        ),
        domain,
        state,
        time_step / self._num_substeps,
      )
    return state

  def loss(self, window):
    """See base class; as the settings say."""
    errors = self._objective(self, window)
    return objectives.judge(errors, self._width, window.particles.mask)


class Derivative(Dynamics):
  """A model that learns the rates themselves."""

  conservative = False

  @abc.abstractmethod
  def rates(
    self, structure: Any, state: State, particles: Particles, domain: Domain
  ) -> State:
    """Returns (q', p') of a state of positions and momenta, `[B, N, D]`."""

  def derivative(self, structure, state, particles, domain):
    """See base class."""
    mass = safe_mass(particles)
    phase = State(state.position, mass * state.velocity)
    velocity, force = self.rates(structure, phase, particles, domain)
    return State(velocity, force / mass)


class Hamiltonian(Dynamics):
  """A model that learns the Hamiltonian, with p = m v."""

  @abc.abstractmethod
  def hamiltonian(
    self, structure: Any, state: State, particles: Particles, domain: Domain
  ) -> Array:
    """Returns H `[B]`.

    Args:
      structure: what `structure` returned.
      state: positions, and momenta in the place of velocities, `[B, N, D]`.
      particles: `[B, N]`.
      domain: box `[B, D]`.
    """

  def derivative(self, structure, state, particles, domain):
    """See base class."""
    mass = safe_mass(particles)
    phase = State(state.position, mass * state.velocity)
    by_position, by_momentum = _gradient(
      lambda x: self.hamiltonian(structure, x, particles, domain), phase
    )
    return State(by_momentum, -by_position / mass)


class Potential(Dynamics):
  """A model that learns the potential energy; a `ForceModel` too."""

  separable = True

  @abc.abstractmethod
  def potential(
    self, structure: Any, position: Array, particles: Particles, domain: Domain
  ) -> Array:
    """Returns V `[B]` of positions `[B, N, D]`; arguments as `derivative`."""

  def force(self, state: State, particles: Particles, domain: Domain) -> Array:
    """Returns -dV/dq, `[B, N, D]`."""
    structure = self.structure(state, particles, domain)
    position = domain.wrap(state.position)
    return -_gradient(
      lambda q: self.potential(structure, q, particles, domain), position
    )

  def derivative(self, structure, state, particles, domain):
    """See base class."""
    by_position = _gradient(
      lambda q: self.potential(structure, q, particles, domain), state.position
    )
    return State(state.velocity, -by_position / safe_mass(particles))

  def step(self, state, particles, domain, time_step):
    """See base class."""
    times = tf.reshape(tf.cast(time_step, state.position.dtype), [1])
    return self.predict(state, particles, domain, times).frame(0)

  def predict(self, state, particles, domain, times):
    """See base class; the force at the end of a step begins the next."""
    simulator = simulators.ForceSimulator(
      self.force, self._integrator, self._num_substeps
    )
    return simulator.predict(state, particles, domain, times)


class Lagrangian(Dynamics):
  """A model that learns the Lagrangian.

  The Euler-Lagrange equation is solved for the acceleration a,

    (d2L / dv2) a = dL/dq - (d2L / dv dq) v

  (Cranmer et al. 2020, eq. 6), at a cost that grows with (N D)^3.
  """

  @abc.abstractmethod
  def lagrangian(
    self, structure: Any, state: State, particles: Particles, domain: Domain
  ) -> Array:
    """Returns L `[B]`; arguments as `derivative`."""

  def derivative(self, structure, state, particles, domain):
    """See base class."""
    mass_matrix, push = self.euler_lagrange(state, particles, domain)
    acceleration = tf.linalg.solve(mass_matrix, push[..., None])
    shape = tf.shape(state.velocity)
    return State(state.velocity, tf.reshape(acceleration, shape))

  def euler_lagrange(
    self, state: State, particles: Particles, domain: Domain
  ) -> tuple[Array, Array]:
    """Returns d2L/dv2 `[B, N D, N D]` and the right-hand side `[B, N D]`."""
    batch, n, num_dims = state.position.shape
    size = n * num_dims
    # As many copies of a system as it has coordinates, each to differentiate
    # one component of dL/dv: a batch, where a Jacobian would be a loop.
    state, copies, space = map_arrays(
      lambda x: tf.repeat(x, size, axis=0), (state, particles, domain)
    )
    component = tf.tile(tf.eye(size, dtype=state.position.dtype), [batch, 1])
    with tf.GradientTape(watch_accessed_variables=False) as outer:
      outer.watch(state)
      with tf.GradientTape(watch_accessed_variables=False) as inner:
        inner.watch(state)
        structure = self.structure(state, copies, space)
        value = self.lagrangian(structure, state, copies, space)
      by_position, by_velocity = inner.gradient(
        value, state, unconnected_gradients="zero"
      )
      by_velocity = tf.reshape(by_velocity, [-1, size])
      chosen = tf.reduce_sum(by_velocity * component, 1)
    mixed, second = outer.gradient(chosen, state, unconnected_gradients="zero")
    mass_matrix = tf.reshape(second, [batch, size, size])
    moved = tf.reduce_sum(mixed * state.velocity, [1, 2])
    push = tf.reshape(by_position, [batch, size, size])[:, 0]
    if particles.mask is not None:
      # Padding moves nothing, and must not make the matrix singular.
      padding = tf.repeat(1 - particles.mask, num_dims, axis=1)
      mass_matrix += tf.linalg.diag(padding)
    return mass_matrix, push - tf.reshape(moved, [batch, size])


def kinetic_energy(velocity: Array, particles: Particles) -> Array:
  """Returns the sum of m v^2 / 2 over real particles, `[B]`."""
  mass = particles.mass
  if particles.mask is not None:
    mass *= particles.mask
  return 0.5 * tf.reduce_sum(mass[..., None] * velocity**2, [1, 2])


def _gradient(energy, at):
  with tf.GradientTape(watch_accessed_variables=False) as tape:
    tape.watch(at)
    value = energy(at)
  slopes = tape.gradient(value, at, unconnected_gradients="zero")
  # A system that has diverged has no finite part.
  sign = tf.where(tf.math.is_finite(value), 1.0, math.nan)[:, None, None]
  return tf.nest.map_structure(lambda x: sign * x, slopes)


def _integrator(name: str, separable: bool) -> Integrator:
  integrator = INTEGRATORS[name]
  if integrator.symplectic and not separable:
    rows = sorted(k for k, v in INTEGRATORS.items() if not v.symplectic)
    raise ValueError(
      f"integrator {name!r} needs a force that depends on positions alone, and "
      "what this model learns may mix positions and velocities; take one of "
      f"{', '.join(rows)}"
    )
  return integrator
