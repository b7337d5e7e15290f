"""Systems: a pair law with its constants, and what it conserves.

For particles i, j at minimum-image distance r with source strengths s (masses
or charges), coupling k and softening eps,

  U = k sum_{i<j} s_i s_j phi(r^2)
  F_i = k sum_{j != i} s_i s_j f(r^2) (q_i - q_j),   f = -2 dphi/d(r^2),

so that k < 0 attracts. Force and energy read the same constants: a softening
that enters only one of them would make "energy drift" meaningless.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from nbody_bench import arrays
from nbody_bench.arrays import Array
from nbody_bench.states import Domain, Particles, State


@dataclasses.dataclass(frozen=True)
class PairLaw:
  """A central pair law, in operators that NumPy, TensorFlow and Numba share.

  Attributes:
    potential: `phi(squared_distance, softening)`.
    force: `f(squared_distance, softening)`, force over distance.
  """

  potential: Callable[[Array, float], Array]
  force: Callable[[Array, float], Array]


# Plummer softening: phi = 1 / sqrt(r^2 + eps^2). In two dimensions too the
# published systems use the three-dimensional 1/r^2 force.
LAWS: Mapping[str, PairLaw] = {
  "plummer": PairLaw(
    potential=lambda r2, eps: (r2 + eps * eps) ** -0.5,
    force=lambda r2, eps: (r2 + eps * eps) ** -1.5,
  ),
}


@dataclasses.dataclass(frozen=True)
class System:
  """A pair law with constants; a `ForceModel`.

  NumPy arrays are summed by compiled loops in float64, tensors by broadcasting
  in their own type (differentiable, XLA).

  Attributes:
    law: a row of `LAWS`.
    coupling: k above; negative attracts.
    softening: eps above, a length.
    source: the field of `Particles` that is the source strength.

  Two bodies at distance 1 under gravity with G = 2 and softening 0.2:

  >>> gravity = System(law="plummer", coupling=-2.0, softening=0.2)
  >>> state = State(np.array([[[0.0], [1.0]]]), np.zeros((1, 2, 1)))
  >>> bodies, line = Particles(np.ones((1, 2))), Domain(np.array([[np.inf]]))
  >>> gravity.force(state, bodies, line).round(3)[0, :, 0]
  array([ 1.886, -1.886])
  """

  law: str
  coupling: float
  softening: float
  source: str = "mass"

  def __post_init__(self):
    if self.law not in LAWS:
      raise ValueError(f"law {self.law!r} is not one of {sorted(LAWS)}")
    if self.source not in Particles._fields:
      raise ValueError(
        f"source {self.source!r} is not one of {Particles._fields}"
      )

  def to_dict(self) -> dict[str, Any]:
    """Returns the fields as plain data; `System(**d)` restores the system."""
    return dataclasses.asdict(self)

  def source_strength(self, particles: Particles) -> Array:
    """Returns s `[B, N]`, zero for padding.

    Raises:
      ValueError: if `particles` has no such field.
    """
    strength = getattr(particles, self.source)
    if strength is None:
      raise ValueError(
        f"the law needs `particles.{self.source}`, which is None; pass it, or "
        f"use a system whose source is given"
      )
    return strength if particles.mask is None else strength * particles.mask

  def force(self, state: State, particles: Particles, domain: Domain) -> Array:
    """Returns the force on each particle, `[B, N, D]`."""
    strength = self.source_strength(particles)
    if isinstance(state.position, np.ndarray):
      from nbody_bench import pair_sums

      return pair_sums.forces(self, state.position, strength, domain.box)
    displacement, weight, squared = self._pairs(state, strength, domain)
    factor = weight * LAWS[self.law].force(squared, self.softening)
    return arrays.namespace(displacement).sum(
      factor[..., None] * displacement, -2
    )

  def acceleration(
    self, state: State, particles: Particles, domain: Domain
  ) -> Array:
    """Returns force over mass, `[B, N, D]`."""
    return self.force(state, particles, domain) / safe_mass(particles)

  def potential_energy(
    self, state: State, particles: Particles, domain: Domain
  ) -> Array:
    """Returns U `[B]`, each pair once."""
    strength = self.source_strength(particles)
    if isinstance(state.position, np.ndarray):
      from nbody_bench import pair_sums

      return pair_sums.potentials(self, state.position, strength, domain.box)
    _, weight, squared = self._pairs(state, strength, domain)
    xp = arrays.namespace(state.position)
    potential = LAWS[self.law].potential(squared, self.softening)
    return 0.5 * xp.sum(weight * potential, (-1, -2))

  def _pairs(self, state, strength, domain):
    import tensorflow as tf

    x = state.position
    displacement = domain.displacement(x[:, None, :, :], x[:, :, None, :])
    squared = tf.reduce_sum(displacement * displacement, -1)
    weight = self.coupling * strength[:, :, None] * strength[:, None, :]
    # No particle acts on itself. Its zero distance is replaced first: an
    # unsoftened law is infinite there and inf * 0 is NaN.
    itself = tf.eye(x.shape[1] or tf.shape(x)[1], dtype=x.dtype)
    return displacement, weight * (1 - itself), squared + itself

  def kinetic_energy(
    self, state: State, particles: Particles, domain: Domain
  ) -> Array:
    """Returns T = sum m v^2 / 2, `[B]`."""
    del domain
    xp = arrays.namespace(state.velocity)
    speed_squared = xp.sum(state.velocity * state.velocity, -1)
    return 0.5 * xp.sum(_real_mass(particles) * speed_squared, -1)

  def hamiltonian(
    self, state: State, particles: Particles, domain: Domain
  ) -> Array:
    """Returns H = T + U, `[B]`."""
    return self.kinetic_energy(
      state, particles, domain
    ) + self.potential_energy(state, particles, domain)

  def momentum(
    self, state: State, particles: Particles, domain: Domain
  ) -> Array:
    """Returns sum m v, `[B, D]`."""
    del domain
    xp = arrays.namespace(state.velocity)
    return xp.sum(_real_mass(particles)[..., None] * state.velocity, -2)

  def angular_momentum(
    self, state: State, particles: Particles, domain: Domain
  ) -> Array:
    """Returns sum m (q x v) about the origin, `[B, D (D - 1) / 2]`.

    One number in the plane, (x, y, z) in space, none on a line. Positions are
    taken as they are given: crossing a periodic boundary makes it jump.
    """
    del domain
    xp = arrays.namespace(state.velocity)
    q, v = state
    axes = {1: [], 2: [(0, 1)], 3: [(1, 2), (2, 0), (0, 1)]}[q.shape[-1]]
    mass = _real_mass(particles)
    components = [
      xp.sum(mass * (q[..., a] * v[..., b] - q[..., b] * v[..., a]), -1)
      for a, b in axes
    ]
    return xp.stack(components, -1) if components else q[:, 0, :0]


def safe_mass(particles: Particles) -> Array:
  """Returns masses `[B, N, 1]` to divide by: padding counts as 1."""
  mass = particles.mass
  if particles.mask is not None:
    xp = arrays.namespace(mass)
    mass = xp.where(particles.mask > 0, mass, xp.ones_like(mass))
  return mass[..., None]


def _real_mass(particles):
  if particles.mask is None:
    return particles.mass
  return particles.mass * particles.mask
