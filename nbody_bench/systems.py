"""Systems: a law with its constants, outer fields, what is conserved.

For particles i, j at minimum-image distance r with source strengths s (masses,
charges or stiffnesses) and coupling k,

  U = k sum_{i<j} s_i s_j phi(r^2) + sum_i (K |q_i|^2 / 2 - E . q_i)
  F_i = k sum_{j != i} s_i s_j f(r^2) (q_i - q_j) - K q_i + E + s_i v_i x B,

with f = -2 dphi/d(r^2), so that k < 0 attracts where phi = 1/r. Force and
energy read the same constants: a softening that enters only one of them would
make "energy drift" meaningless. A many-body law has an energy of its own, k
times which stands for the sum over pairs.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from nbody_bench import arrays, effective_medium
from nbody_bench.arrays import Array
from nbody_bench.bodies import Bodies
from nbody_bench.states import Domain, Particles, State


@dataclasses.dataclass(frozen=True)
class PairLaw:
  """A central pair law, in operators that NumPy, TensorFlow and Numba share.

  Attributes:
    potential: `phi(squared_distance, length)`.
    force: `f(squared_distance, length)`, force over distance.
    length: the field of `System` that is the second argument.
  """

  potential: Callable[[Array, Array], Array]
  force: Callable[[Array, Array], Array]
  length: str


LAWS: dict[str, PairLaw] = {
  # phi = 1 / sqrt(r^2 + eps^2). In two dimensions too the published systems
  # use the three-dimensional 1/r^2 force.
  "plummer": PairLaw(
    potential=lambda r2, eps: (r2 + eps * eps) ** -0.5,
    force=lambda r2, eps: (r2 + eps * eps) ** -1.5,
    length="softening",
  ),
  # phi = r^2 / 2: springs without rest length, smooth where bodies meet. The
  # zero-sized terms give the result the shape of the distances.
  "harmonic": PairLaw(
    potential=lambda r2, rest: 0.5 * r2 + 0.0 * rest,
    force=lambda r2, rest: 0.0 * (r2 + rest) - 1.0,
    length="rest_length",
  ),
  # phi = (r - l)^2 / 2 and (r - l)^4 / 2.
  "spring": PairLaw(
    potential=lambda r2, rest: 0.5 * (r2**0.5 - rest) ** 2,
    force=lambda r2, rest: rest * r2**-0.5 - 1.0,
    length="rest_length",
  ),
  "quartic_spring": PairLaw(
    potential=lambda r2, rest: 0.5 * (r2**0.5 - rest) ** 4,
    force=lambda r2, rest: 2.0 * (r2**0.5 - rest) ** 3 * -(r2**-0.5),
    length="rest_length",
  ),
  # Of data that were observed, or computed by another theory.
  "unknown": PairLaw(
    potential=lambda r2, eps: 0.0 * (r2 + eps),
    force=lambda r2, eps: 0.0 * (r2 + eps),
    length="softening",
  ),
}


@dataclasses.dataclass(frozen=True)
class ManyBodyLaw:
  """A law that is no sum over pairs, in NumPy alone.

  Attributes:
    evaluate: `(state, particles, domain) -> (U [B], F [B, N, D])`, padding left
      out.
  """

  evaluate: Callable[[State, Particles, Domain], tuple[Array, Array]]


MANY_BODY_LAWS: dict[str, ManyBodyLaw] = {
  "emt": ManyBodyLaw(effective_medium.batch),
}

SYMMETRIES = ("translation", "boost", "rotation", "reflection")


@dataclasses.dataclass(frozen=True)
class System:
  """A law with constants; a `ForceModel`.

  NumPy arrays are summed by compiled loops in float64, tensors by broadcasting
  in their own type (differentiable, XLA). Where `Particles` carry a `coupling`
  or `softening` of their own, those hold instead of the fields here. A
  many-body law takes NumPy arrays alone, and no solver.

  Attributes:
    law: a row of `LAWS` or `MANY_BODY_LAWS`; "unknown" where none of them
      holds, and then there is neither force nor energy nor symmetry to tell of.
    coupling: k above.
    softening: eps of the law, a length.
    source: the field of `Particles` that is the source strength s.
    rest_length: l of a spring.
    field: E above, `D` numbers, the same force on every particle; or empty.
    magnetic_field: B above, 3 numbers, for D = 3; or empty.
    trap: K above, a spring from each particle to the origin.

  Two bodies at distance 1 under gravity with G = 2 and softening 0.2:

  >>> gravity = System(law="plummer", coupling=-2.0, softening=0.2)
  >>> state = State(np.array([[[0.0], [1.0]]]), np.zeros((1, 2, 1)))
  >>> bodies, line = Particles(np.ones((1, 2))), Domain(np.array([[np.inf]]))
  >>> gravity.force(state, bodies, line).round(3)[0, :, 0]
  array([ 1.886, -1.886])
  """

  law: str
  coupling: float
  softening: float = 0.0
  source: str = "mass"
  rest_length: float = 0.0
  field: tuple[float, ...] = ()
  magnetic_field: tuple[float, ...] = ()
  trap: float = 0.0

  def __post_init__(self):
    if self.law not in LAWS and self.law not in MANY_BODY_LAWS:
      known = sorted({*LAWS, *MANY_BODY_LAWS})
      raise ValueError(f"law {self.law!r} is not one of {known}")
    if self.source not in Particles._fields:
      raise ValueError(
        f"source {self.source!r} is not one of {Particles._fields}"
      )
    length = "no length" if self.is_many_body else LAWS[self.law].length
    for name in {"softening", "rest_length"} - {length}:
      if getattr(self, name):
        raise ValueError(
          f"{name} is {getattr(self, name)}, but the law {self.law!r} reads "
          f"{length} instead"
        )
    for name in ("coupling", "softening", "rest_length", "trap"):
      object.__setattr__(self, name, float(getattr(self, name)))
    for name in ("field", "magnetic_field"):
      # JSON knows only lists.
      object.__setattr__(self, name, tuple(getattr(self, name)))
    if len(self.magnetic_field) not in (0, 3):
      raise ValueError(
        f"magnetic_field {self.magnetic_field} must have 3 components"
      )

  def to_dict(self) -> dict[str, Any]:
    """Returns the fields as plain data; `System(**d)` restores the system."""
    return {
      k: list(v) if isinstance(v, tuple) else v
      for k, v in dataclasses.asdict(self).items()
    }

  @property
  def is_many_body(self) -> bool:
    """Whether the law is a row of `MANY_BODY_LAWS`."""
    return self.law in MANY_BODY_LAWS

  @property
  def is_known(self) -> bool:
    """Whether there is a law at all; see `law`."""
    return self.law != "unknown"

  @property
  def symmetries(self) -> tuple[str, ...]:
    """What maps solutions to solutions in open space, beside shifts in time.

    Of `SYMMETRIES`. A periodic box leaves of the rotations those by a quarter
    turn. Empty where the law is not known.
    """
    if not self.is_known:
      return ()
    broken = set()
    if self.trap:
      broken |= {"translation", "boost"}
    if any(self.field):
      broken |= {"rotation", "reflection"}
    if any(self.magnetic_field):
      broken |= {"boost", "rotation", "reflection"}
    return tuple(s for s in SYMMETRIES if s not in broken)

  @property
  def conserves_momentum(self) -> bool:
    """Whether sum m v stays as it is: pair forces alone."""
    return self.symmetries == SYMMETRIES

  def bodies(
    self, state: State, particles: Particles, domain: Domain
  ) -> Bodies:
    """Returns NumPy arguments as the compiled loops want them.

    Raises:
      ValueError: of a many-body law, which they do not know.
    """
    if self.is_many_body:
      raise ValueError(
        f"the law {self.law!r} is no pair law, and solvers know only those: "
        f"{', '.join(LAWS)}"
      )
    batch, _, num_dims = state.position.shape
    strength = self.source_strength(particles)
    inverse_mass = 1 / safe_mass(particles)[..., 0]
    if particles.mask is not None:
      inverse_mass = inverse_mass * particles.mask

    def constant(value, shape):
      return np.ascontiguousarray(
        np.broadcast_to(np.asarray(value, np.float64), shape)
      )

    return Bodies(
      np.array(state.position, np.float64),
      np.array(state.velocity, np.float64),
      constant(inverse_mass, strength.shape),
      constant(strength, strength.shape),
      constant(domain.box, (batch, num_dims)),
      constant(self._coupling(particles), (batch,)),
      constant(self._length(particles), (batch,)),
      constant(self.field or 0.0, (num_dims,)),
      constant(self.magnetic_field or 0.0, (3,)),
      float(self.trap),
    )

  def _coupling(self, particles):
    given = particles.coupling
    return self.coupling if given is None else given

  def _length(self, particles):
    name = LAWS[self.law].length
    given = particles.softening if name == "softening" else None
    return getattr(self, name) if given is None else given

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
    xp = arrays.namespace(state.position)
    if self.is_many_body:
      _, force = self._many_body(state, particles, domain)
    elif isinstance(state.position, np.ndarray):
      from nbody_bench import pair_sums

      force = pair_sums.forces(self.law, self.bodies(state, particles, domain))
    else:
      displacement, weight, squared, length = self._pairs(
        state, particles, domain
      )
      factor = weight * LAWS[self.law].force(squared, length)
      force = xp.sum(factor[..., None] * displacement, -2)
    real = 1 if particles.mask is None else particles.mask[..., None]
    if self.trap:
      force = force - self.trap * state.position * real
    if self.field:
      force = force + real * xp.like(self.field, force)
    if self.magnetic_field:
      v, b = state.velocity, self.magnetic_field
      turned = xp.stack(
        [
          v[..., 1] * b[2] - v[..., 2] * b[1],
          v[..., 2] * b[0] - v[..., 0] * b[2],
          v[..., 0] * b[1] - v[..., 1] * b[0],
        ],
        -1,
      )
      force = force + self.source_strength(particles)[..., None] * turned
    return force

  def acceleration(
    self, state: State, particles: Particles, domain: Domain
  ) -> Array:
    """Returns force over mass, `[B, N, D]`."""
    return self.force(state, particles, domain) / safe_mass(particles)

  def potential_energy(
    self, state: State, particles: Particles, domain: Domain
  ) -> Array:
    """Returns U `[B]`, each pair once."""
    xp = arrays.namespace(state.position)
    if self.is_many_body:
      energy, _ = self._many_body(state, particles, domain)
    elif isinstance(state.position, np.ndarray):
      from nbody_bench import pair_sums

      energy = pair_sums.potentials(
        self.law, self.bodies(state, particles, domain)
      )
    else:
      _, weight, squared, length = self._pairs(state, particles, domain)
      potential = LAWS[self.law].potential(squared, length)
      energy = 0.5 * xp.sum(weight * potential, (-1, -2))
    real = 1 if particles.mask is None else particles.mask
    q = state.position
    if self.trap:
      energy = energy + 0.5 * self.trap * xp.sum(real * xp.sum(q * q, -1), -1)
    if self.field:
      along = xp.sum(q * xp.like(self.field, q), -1)
      energy = energy - xp.sum(real * along, -1)
    return energy

  def _many_body(self, state, particles, domain):
    """Returns U `[B]` and F `[B, N, D]`."""
    if not isinstance(state.position, np.ndarray):
      raise ValueError(
        f"the law {self.law!r} takes NumPy arrays, not tensors: call it from "
        "outside of TensorFlow's programs, as metrics do"
      )
    law = MANY_BODY_LAWS[self.law]
    energy, force = law.evaluate(state, particles, domain)
    coupling = np.broadcast_to(self._coupling(particles), energy.shape)
    return coupling * energy, coupling[:, None, None] * force

  def _pairs(self, state, particles, domain):
    import tensorflow as tf

    def each(value):  # of a system, against [B, N, N]
      return value if isinstance(value, float) else value[:, None, None]

    x = state.position
    strength = self.source_strength(particles)
    displacement = domain.displacement(x[:, None, :, :], x[:, :, None, :])
    squared = tf.reduce_sum(displacement * displacement, -1)
    weight = strength[:, :, None] * strength[:, None, :]
    weight *= each(self._coupling(particles))
    # No particle acts on itself. Its zero distance is replaced first: an
    # unsoftened law is infinite there and inf * 0 is NaN.
    itself = tf.eye(x.shape[1] or tf.shape(x)[1], dtype=x.dtype)
    length = each(self._length(particles))
    return displacement, weight * (1 - itself), squared + itself, length

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
