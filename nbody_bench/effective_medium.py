"""The effective-medium potential: energies of metals with adsorbates.

Jacobsen, Stoltze and Norskov (1996), "A semi-empirical effective medium theory
for metals and alloys", in the form and with the numbers of `ase.calculators
.emt.EMT` (Larsen et al. 2017), which it equals to rounding, in all pairs at
once. Of H, C, N and O the parameters are ASE's own, "not for any serious use":
a well-defined potential, not chemistry.

For neighbours j of i at distance r, w(r) = 1 / (1 + exp(a (r - r_c))),

  sigma_i = sum_j n_j / n_i exp(-eta_j (r - b s_j)) w,
  d_i = -log(sigma_i / (12 gamma1_i)) / (b eta_i),
  U = sum_i [E_i ((1 + lambda_i d_i) exp(-lambda_i d_i) - 1)
      + 6 V_i exp(-kappa_i d_i)
      - sum_j V_i / (2 gamma2_i) n_j / n_i exp(-kappa_j (r / b - s_j)) w].

Lengths in Angstrom, energies in eV.
"""

import dataclasses

import numpy as np

from nbody_bench import periodic_pairs
from nbody_bench.elements import NUMBERS, SYMBOLS
from nbody_bench.states import Domain, Particles, State

# E (eV), s (bohr), V (eV), eta, kappa, lambda (1 / bohr), n (1 / bohr^3).
_PARAMETERS = {
  "H": (-3.21, 1.31, 0.132, 2.652, 2.790, 3.892, 0.00547),
  "C": (-3.50, 1.81, 0.332, 1.652, 2.790, 1.892, 0.01322),
  "N": (-5.10, 1.88, 0.132, 1.652, 2.790, 1.892, 0.01222),
  "O": (-4.60, 1.95, 0.332, 1.652, 2.790, 1.892, 0.00850),
  "Al": (-3.28, 3.00, 1.493, 1.240, 2.000, 1.169, 0.00700),
  "Ni": (-4.44, 2.60, 3.673, 1.669, 2.757, 1.948, 0.01030),
  "Cu": (-3.51, 2.67, 2.476, 1.652, 2.740, 1.906, 0.00910),
  "Pd": (-3.90, 2.87, 2.773, 1.818, 3.107, 2.155, 0.00688),
  "Ag": (-2.96, 3.01, 2.132, 1.652, 2.790, 1.892, 0.00547),
  "Pt": (-5.85, 2.90, 4.067, 1.812, 3.145, 2.192, 0.00802),
  "Au": (-3.80, 3.00, 2.321, 1.674, 2.873, 2.182, 0.00703),
}
_BOHR = 0.5291772105638411  # Angstrom, as in ASE (CODATA 2014)
_UNITS = np.array([1, _BOHR, 1, *[1 / _BOHR] * 3, _BOHR**-3])
# By atomic number, in Angstrom; NaN for other elements.
_TABLE = np.full((len(SYMBOLS), 7), np.nan)
for _symbol, _values in _PARAMETERS.items():
  _TABLE[NUMBERS[_symbol]] = _values * _UNITS
_BETA = 1.809  # (16 pi / 3)^(1/3) / sqrt(2), rounded as published

# Neighbours on a face-centred lattice of the largest atom: the cutoff is midway
# between the third and the fourth, where w is 1e-4.
_FIRST = _BETA * _BOHR * max(p[1] for p in _PARAMETERS.values())
_MIDDLE = _FIRST * (np.sqrt(3) + 2) / 2
_SLOPE = np.log(1e4 - 1) / (2 * _FIRST - _MIDDLE)
CUTOFF = _MIDDLE + 0.5


def lattice_constants(numbers: np.ndarray) -> np.ndarray:
  """Returns those of the face-centred crystals of each element, `[N]`."""
  return np.sqrt(2) * _BETA * _Atoms.of(numbers).s


@dataclasses.dataclass(frozen=True)
class _Atoms:
  """The parameters of each atom, `[N]`."""

  e: np.ndarray
  s: np.ndarray
  v: np.ndarray
  eta: np.ndarray
  kappa: np.ndarray
  decay: np.ndarray  # lambda
  n: np.ndarray

  @classmethod
  def of(cls, numbers):
    return cls(*_TABLE[numbers].T)

  def gammas(self):
    """Returns gamma1 and gamma2: sigmas of the atom's own perfect lattice."""
    count = np.array([12, 6, 24])
    r = _BETA * self.s[:, None] * np.sqrt([1, 2, 3])
    weight = count / 12 * _weight(r)
    beyond = r - _BETA * self.s[:, None]
    return (
      np.sum(weight * np.exp(-self.eta[:, None] * beyond), 1),
      np.sum(weight * np.exp(-self.kappa[:, None] / _BETA * beyond), 1),
    )


def _weight(r):
  return 1 / (1 + np.exp(_SLOPE * (r - _MIDDLE)))


def evaluate(
  position: np.ndarray,
  numbers: np.ndarray,
  cell: np.ndarray,
  is_periodic: np.ndarray,
) -> tuple[float, np.ndarray]:
  """Returns the energy of one structure, and the forces `[N, 3]`.

  NaN for places that are not finite.

  Args:
    position: `[N, 3]`, in float64.
    numbers: `[N]` atomic numbers.
    cell: `[3, 3]`, sides as rows.
    is_periodic: `[3]`, which sides are.

  Raises:
    ValueError: for an element without parameters.
  """
  unknown = sorted(set(numbers.tolist()) - {NUMBERS[s] for s in _PARAMETERS})
  if unknown:
    raise ValueError(
      f"the effective-medium potential has no parameters for atomic numbers "
      f"{unknown}; it knows {', '.join(_PARAMETERS)}"
    )
  if not np.isfinite(position).all():
    return np.nan, np.full_like(position, np.nan)
  i, j, vector, r = periodic_pairs.within(position, cell, is_periodic, CUTOFF)
  atoms, total = _Atoms.of(numbers), len(numbers)
  gamma1, gamma2 = atoms.gammas()
  weight = _weight(r)
  slope = _SLOPE * (weight - 1)  # dw/dr over w
  ratio = atoms.n[j] / atoms.n[i] * weight

  density = ratio * np.exp(-atoms.eta[j] * (r - _BETA * atoms.s[j]))
  sigma = np.bincount(i, density, total)
  lonely = sigma == 0  # no neighbour: the limit of d to infinity
  sigma = np.where(lonely, 1, sigma)
  d = -np.log(sigma / (12 * gamma1)) / (_BETA * atoms.eta)
  cohesive = atoms.e * np.exp(-atoms.decay * d)
  repulsive = 6 * atoms.v * np.exp(-atoms.kappa * d)
  embedded = (1 + atoms.decay * d) * cohesive + repulsive
  pull = atoms.decay**2 * d * cohesive + atoms.kappa * repulsive  # -dU/dd
  pull = np.where(lonely, 0, pull / (_BETA * atoms.eta * sigma))  # dU/dsigma

  pair = -atoms.v / (2 * gamma2)
  pair = pair[i] * ratio * np.exp(-atoms.kappa[j] * (r / _BETA - atoms.s[j]))
  energy = np.sum(np.where(lonely, 0, embedded) - atoms.e) + np.sum(pair)

  tension = pull[i] * density * (slope - atoms.eta[j])
  tension += pair * (slope - atoms.kappa[j] / _BETA)
  # Atoms in one place have no direction to be pushed in.
  along = (tension / np.maximum(r, 1e-9))[:, None] * vector
  force = np.stack(
    [
      np.bincount(i, x, total) - np.bincount(j, x, total)
      for x in np.ascontiguousarray(along.T)
    ],
    -1,
  )
  return float(energy), force


def batch(
  state: State, particles: Particles, domain: Domain
) -> tuple[np.ndarray, np.ndarray]:
  """Returns energies `[B]` and forces `[B, N, 3]` of NumPy arguments.

  Atomic numbers are `particles.species`; padding has no force and no part.

  Raises:
    ValueError: if there are none; if space has not three dimensions; for an
      element without parameters.
  """
  position = np.asarray(state.position, np.float64)
  if particles.species is None or position.shape[-1] != 3:
    raise ValueError(
      "the effective-medium potential is of atoms in three dimensions: it "
      "needs `particles.species`, atomic numbers, and D = 3; got "
      f"species {'None' if particles.species is None else 'given'} and D = "
      f"{position.shape[-1]}"
    )
  cell, is_periodic = np.asarray(domain.lattice()), np.isfinite(domain.box)
  energy = np.zeros(len(position))
  force = np.zeros_like(position)
  for k, numbers in enumerate(np.asarray(particles.species)):
    real = np.ones(len(numbers), bool)
    if particles.mask is not None:
      real = np.asarray(particles.mask[k]) > 0
    energy[k], force[k, real] = evaluate(
      position[k, real], numbers[real], cell[k], is_periodic[k]
    )
  return energy, force
