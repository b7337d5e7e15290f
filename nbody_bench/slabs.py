"""Adsorbates on metal slabs, drawn at random.

After OC20 (Chanussot et al. 2021), with the effective-medium potential in place
of density functional theory. Lengths in Angstrom, times in fs, energies in eV.
"""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from nbody_bench import effective_medium, periodic_pairs, slabs_ase
from nbody_bench.elements import NUMBERS, RADII
from nbody_bench.states import ADSORBATE, FIXED, SURFACE

# A catalyst of the second kind has at least one of the metals of that kind.
METALS = (("Cu", "Ag", "Au", "Pd", "Pt"), ("Ni", "Al"))
ADSORBATES = (
  (
    *("H", "C", "N", "O", "H2", "N2", "O2", "OH", "CO", "CN", "NH", "CH"),
    *("NH3", "CH3", "CH4", "HCO", "H2CO"),
  ),
  ("NO", "H2O", "NH2", "CH2", "CO2", "HCN"),
)
_SIZES = {
  "fcc111": ((3, 3, 3), (3, 3, 4), (4, 3, 4), (4, 4, 3), (4, 4, 4)),
  "fcc100": ((3, 3, 3), (3, 3, 4), (4, 3, 4), (4, 4, 3), (4, 4, 4)),
  "fcc110": ((3, 2, 5), (3, 3, 4), (3, 3, 5), (4, 3, 4), (4, 3, 5)),
}
_FREE_LAYERS = 2
_PERIODIC = np.array([True, True, False])
# An atom without another one this near has flown away.
_FLOWN = 3.5


@dataclasses.dataclass(frozen=True)
class Settings:
  """How slabs are drawn and what becomes of them.

  Attributes:
    sizes: of each facet, unit cells along both sides, and layers.
    strain: largest relative change of the lattice constant.
    share: of a second metal's atoms in an alloy, from and to.
    num_dopants: atoms of a second metal near the surface, from and to.
    clearance: distance of the adsorbate from the slab, in sums of covalent
      radii, from and to.
    tolerance: at rest is what feels less, eV / Angstrom.
    tight_tolerance: likewise, for label errors.
    num_steps: of a relaxation, at most.
    max_step: of an atom in it.
    max_label_error: of relaxed structures that are kept.
    num_frames: structures taken from a relaxation.
    num_perturbed: structures with displaced atoms.
    num_dynamics: structures from molecular dynamics.
    displacement: standard deviation of a coordinate, from and to.
    temperature: of velocities at the start of the dynamics, K, from and to.
    time_step: of the dynamics, fs.
    dynamics_steps: of them, from and to.
    max_force: component of a force on a free atom, at most, as in OC20.
    seed: of all that is drawn.
  """

  sizes: Mapping[str, tuple[tuple[int, int, int], ...]] = dataclasses.field(
    default_factory=lambda: _SIZES
  )
  strain: float = 0.03
  share: tuple[float, float] = (0.1, 0.5)
  num_dopants: tuple[int, int] = (1, 4)
  clearance: tuple[float, float] = (0.9, 1.2)
  tolerance: float = 0.01
  tight_tolerance: float = 0.001
  num_steps: int = 200
  max_step: float = 0.04
  max_label_error: float = 0.05
  num_frames: int = 4
  num_perturbed: int = 3
  num_dynamics: int = 1
  displacement: tuple[float, float] = (0.05, 0.2)
  temperature: tuple[float, float] = (300.0, 1000.0)
  time_step: float = 1.0
  dynamics_steps: tuple[int, int] = (10, 60)
  max_force: float = 50.0
  seed: int = 0

  @property
  def per_relaxation(self) -> int:
    """Structures that come from one relaxation."""
    return self.num_frames + self.num_perturbed + self.num_dynamics


class Atoms(NamedTuple):
  """A slab with its adsorbate.

  Attributes:
    position: `[N, 3]`.
    numbers: `[N]` atomic numbers.
    tag: `[N]`, see `structures`.
    cell: `[3, 3]`, sides as rows; the first two are periodic.
  """

  position: np.ndarray
  numbers: np.ndarray
  tag: np.ndarray
  cell: np.ndarray

  @property
  def is_free(self) -> np.ndarray:
    """Which atoms may move, `[N]`."""
    return self.tag != FIXED

  def at(self, position: np.ndarray) -> tuple[float, np.ndarray]:
    """Returns energy and forces `[N, 3]` with the atoms elsewhere."""
    return effective_medium.evaluate(
      position, self.numbers, self.cell, _PERIODIC
    )

  def has_flown(self, position: np.ndarray) -> bool:
    """Returns whether part of the adsorbate is alone."""
    pairs = periodic_pairs.within(position, self.cell, _PERIODIC, _FLOWN)
    alone = np.bincount(pairs.first, minlength=len(position)) == 0
    return bool(np.any(alone & (self.tag == ADSORBATE)))


def draw(
  rng: np.random.Generator,
  settings: Settings,
  unseen_catalyst: bool,
  unseen_adsorbate: bool,
) -> Atoms:
  """Returns an adsorbate at a random place on a random slab.

  Args:
    rng: of this draw alone.
    settings: what is random, and how much.
    unseen_catalyst: whether a metal of the second kind is in the slab.
    unseen_adsorbate: whether the adsorbate is of the second kind.
  """
  facet = rng.choice(sorted(settings.sizes))
  size = tuple(int(n) for n in rng.choice(settings.sizes[facet]))
  metals = _two_metals(rng, unseen_catalyst)
  slab = slabs_ase.slab(facet, size, 1.0)  # its shape; the scale comes below
  numbers = _mixed(rng, settings, metals, slab.layer)
  constant = np.mean(effective_medium.lattice_constants(numbers))
  constant *= 1 + settings.strain * rng.uniform(-1, 1)
  slab = slabs_ase.slab(facet, size, constant)
  name = rng.choice(ADSORBATES[unseen_adsorbate])
  added, shape = slabs_ase.molecule(name)
  shape = shape @ _rotation(rng)
  place = _site(rng, slab, size)
  radii = RADII[added][:, None] + RADII[numbers]
  reach = rng.uniform(*settings.clearance) * radii
  shape[:, :2] += place
  shape[:, 2] += _height(slab, shape, reach)
  tag = np.where(slab.layer <= _FREE_LAYERS, SURFACE, FIXED)
  return Atoms(
    np.concatenate([slab.position, shape]),
    np.concatenate([numbers, added]),
    np.concatenate([tag, np.full(len(added), ADSORBATE)]),
    slab.cell,
  )


def _two_metals(rng, unseen):
  """Returns atomic numbers, the first of a metal of the asked kind."""
  first = rng.choice(METALS[unseen])
  others = [*METALS[0], *(METALS[1] if unseen else ())]
  second = rng.choice([m for m in others if m != first])
  return np.array([NUMBERS[first], NUMBERS[second]])


def _mixed(rng, settings, metals, layer):
  """Returns atomic numbers of a pure metal, an alloy or a doped surface."""
  kind = rng.choice(["pure", "alloy", "doped"])
  if kind == "pure":
    return np.full(len(layer), metals[0])
  host, guest = rng.permutation(metals)
  numbers = np.full(len(layer), host)
  if kind == "alloy":
    places = np.arange(len(layer))
    count = max(1, round(rng.uniform(*settings.share) * len(layer)))
  else:
    places = np.flatnonzero(layer <= _FREE_LAYERS)
    count = rng.integers(*settings.num_dopants, endpoint=True)
  numbers[rng.choice(places, count, replace=False)] = guest
  return numbers


def _rotation(rng):
  """Returns a random rotation, of a random quaternion."""
  w, x, y, z = q = rng.normal(size=4)
  cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
  return np.eye(3) + 2 / (q @ q) * (w * cross + cross @ cross)


def _site(rng, slab, size):
  """Returns a place over the surface: of high symmetry, or any."""
  if rng.random() < 0.5:
    return rng.random(2) @ slab.cell[:2, :2]
  shift = [rng.integers(n) for n in size[:2]]
  return rng.choice(slab.sites) + shift @ slab.unit


def _height(slab, shape, reach):
  """Returns the least height at which all atoms are `reach` `[n, N]` apart."""
  steps = [[i, j, 0] for i in (-1, 0, 1) for j in (-1, 0, 1)]
  images = slab.position + (np.array(steps) @ slab.cell)[:, None]
  apart = images[:, None] - shape[:, None]
  rise = reach**2 - np.sum(apart[..., :2] ** 2, -1)
  up = apart[..., 2] + np.sqrt(np.maximum(rise, 0))
  return np.max(np.where(rise > 0, up, -np.inf))
