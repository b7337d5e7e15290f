"""What is used of ASE, the Atomic Simulation Environment, to make slabs.

It is optional: nbody_bench[ase].
"""

import importlib
import importlib.metadata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from nbody_bench import effective_medium

# Names in ASE's collection of small molecules (G2), where others than formulas.
_NAMES = {"CH2": "CH2_s3B1d"}  # the triplet, its ground state


class Slab(NamedTuple):
  """A face-centred crystal cut along a plane, two atoms thick or more.

  Attributes:
    position: `[N, 3]`, open along the third axis, the top at 0.
    cell: `[3, 3]`, sides as rows.
    layer: `[N]`, counted from 1 at the top.
    sites: `[S, 2]`, of high symmetry, in one of the surface's unit cells.
    unit: `[2, 2]`, the sides of that.
  """

  position: np.ndarray
  cell: np.ndarray
  layer: np.ndarray
  sites: np.ndarray
  unit: np.ndarray


class Frames(NamedTuple):
  """A relaxation of F frames, the first as it was given.

  Attributes:
    position: `[F, N, 3]`.
    force: `[F, N, 3]`, on atoms that are held too.
    energy: `[F]`.
    converged: whether the last frame is at rest.
  """

  position: np.ndarray
  force: np.ndarray
  energy: np.ndarray
  converged: bool


def version() -> str:
  """Returns the version of ASE.

  Raises:
    ValueError: if it is not installed.
  """
  _module("ase")
  return importlib.metadata.version("ase")


def slab(facet: str, size: Sequence[int], constant: float) -> Slab:
  """Returns a slab.

  Args:
    facet: "fcc111", "fcc100" or "fcc110".
    size: unit cells along both sides, and layers.
    constant: of the lattice, Angstrom.
  """
  make = getattr(_module("ase.build"), facet)
  atoms = make("Cu", size, a=constant)
  facts = atoms.info["adsorbate_info"]
  position = atoms.get_positions()
  cell = np.array(atoms.cell.complete())
  cell[2] = 0, 0, 1
  return Slab(
    position - [0, 0, position[:, 2].max()],
    cell,
    atoms.get_tags(),
    np.array(sorted(facts["sites"].values())) @ facts["cell"],
    np.array(facts["cell"]),
  )


def molecule(name: str) -> tuple[np.ndarray, np.ndarray]:
  """Returns atomic numbers `[N]` and positions `[N, 3]` about their mean."""
  atoms = _module("ase.build").molecule(_NAMES.get(name, name))
  position = atoms.get_positions()
  return atoms.get_atomic_numbers().astype(np.int64), position - position.mean(
    0
  )


class _Potential:
  """What ASE asks of a calculator.

  One of ASE's own kind compares all there is to know of the atoms several times
  a step, which takes longer than the potential.
  """

  def __init__(self):
    self.force = self.energy = self._position = None

  def get_forces(self, atoms):
    """Returns forces `[N, 3]`, eV / Angstrom, on atoms that are held too."""
    position = atoms.get_positions()
    if self._position is None or not np.array_equal(position, self._position):
      self._position = position
      self.energy, self.force = effective_medium.evaluate(
        position,
        atoms.get_atomic_numbers(),
        np.array(atoms.cell),
        atoms.get_pbc(),
      )
    return self.force.copy()

  def get_potential_energy(self, atoms, force_consistent=False):
    """Returns the energy, eV, whose gradient the forces are."""
    del force_consistent
    self.get_forces(atoms)
    return self.energy


def relax(
  position: np.ndarray,
  numbers: np.ndarray,
  cell: np.ndarray,
  is_free: np.ndarray,
  *,
  tolerance: float,
  num_steps: int,
  max_step: float,
) -> Frames:
  """Relaxes a slab by ASE's L-BFGS under the effective-medium potential.

  Args:
    position: `[N, 3]`.
    numbers: `[N]` atomic numbers.
    cell: `[3, 3]`; the first two sides are periodic.
    is_free: `[N]`, which atoms may move.
    tolerance: at rest is what feels less, eV / Angstrom, on every free atom.
    num_steps: at most.
    max_step: that any atom moves at once, Angstrom.
  """
  atoms = _module("ase").Atoms(
    numbers, position, cell=cell, pbc=(True, True, False)
  )
  hold = _module("ase.constraints").FixAtoms
  atoms.set_constraint(hold(np.flatnonzero(~is_free)))
  atoms.calc = potential = _Potential()
  frames = []

  def note():
    frames.append((atoms.get_positions(), potential.force, potential.energy))

  optimizer = _module("ase.optimize").LBFGS(
    atoms, logfile=None, maxstep=max_step
  )
  optimizer.attach(note)
  converged = optimizer.run(fmax=tolerance, steps=num_steps)
  position, force, energy = map(np.array, zip(*frames, strict=True))
  return Frames(position, force, energy, bool(converged))


def _module(name):
  """Returns a module of ASE.

  Raises:
    ValueError: saying how to get what is missing.
  """
  try:
    return importlib.import_module(name)
  except ImportError as error:
    raise ValueError(
      f'slabs are made by ASE ({error}); pip install "nbody_bench[ase]"'
    ) from error
