"""Models that learn a Hamiltonian and follow its equations of motion."""

import abc
import math
from typing import Any

import tensorflow as tf

from nbody_bench import simulators
from nbody_bench.arrays import Array
from nbody_bench.integrators import INTEGRATORS, RungeKutta
from nbody_bench.states import Domain, Particles, State
from nbody_bench.systems import safe_mass


def runge_kutta(name: str) -> RungeKutta:
  """Returns a row of `INTEGRATORS` for any equation of motion.

  Raises:
    ValueError: for a splitting, which a learned H(q, p) does not allow.
  """
  rows = {k: v for k, v in INTEGRATORS.items() if isinstance(v, RungeKutta)}
  if name not in rows:
    raise ValueError(
      f"integrator {name!r} does not suit a Hamiltonian that mixes positions "
      f"and momenta; take one of {', '.join(sorted(rows))}"
    )
  return rows[name]


class HamiltonianSimulator(simulators.LearnedSimulator):
  """Base class: q' = dH/dp, p' = -dH/dq, with p = m v.

  Subclasses define `hamiltonian`, and `structure` if there is something to be
  held through the stages of a step, such as a graph.
  """

  def __init__(self, integrator: str, name: str):
    super().__init__(name=name)
    self._integrator = runge_kutta(integrator)

  def structure(
    self, state: State, particles: Particles, domain: Domain
  ) -> Any:
    """Returns what is built once a step, from the state at its start."""
    return None

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

  def step(self, state, particles, domain, time_step):
    """See base class."""
    structure = self.structure(state, particles, domain)
    mass = safe_mass(particles)
    # Stages may leave the box: what was built from the start, such as the
    # centre of a cell, must not jump within a step.
    state = State(domain.wrap(state.position), state.velocity)

    def derivative(phase):
      with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(phase)
        energy = self.hamiltonian(structure, phase, particles, domain)
      by_position, by_momentum = tape.gradient(
        energy, phase, unconnected_gradients="zero"
      )
      # A system that has diverged has no finite part.
      sign = tf.where(tf.math.is_finite(energy), 1.0, math.nan)[:, None, None]
      return State(sign * by_momentum, -sign * by_position)

    phase = State(state.position, mass * state.velocity)
    end = self._integrator.advance(derivative, domain, phase, time_step)
    return State(end.position, end.velocity / mass)
