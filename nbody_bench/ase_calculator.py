"""Force models as calculators of ASE, the Atomic Simulation Environment.

ASE's optimisers, molecular dynamics and input formats then work with whatever
the suite has trained:

  atoms.calc = ase_calculator.Calculator("out/forcenet/seed_0")
  ase.optimize.LBFGS(atoms).run(fmax=0.05)

Lengths are in Angstrom and energies in eV, as they are in ASE. What is fixed is
said by ASE's constraints.
"""

import functools
import pathlib
from typing import Any

import numpy as np

from nbody_bench import forces, rollouts, trained
from nbody_bench.states import Domain, Particles, State


def Calculator(model: Any, data_dir: str | None = None) -> Any:
  """Returns an `ase.calculators.calculator.Calculator` of forces and energies.

  The model is compiled for each number of atoms that it meets, and again where
  its graph outgrows the room it was given. It is told of positions, masses,
  atomic numbers, the cell and which of its directions are periodic. The energy
  of a model that knows none is NaN.

  Args:
    model: maps (state, particles, domain) to the force, with an `evaluate` as
      in `forces.LearnedForce` or without; or the seed folder of a run that has
      trained one, such as "out/forcenet/seed_0".
    data_dir: of such a folder: where TFDS keeps its data; None for its default.

  Raises:
    ValueError: if ASE is missing; if a folder cannot be read, or what it holds
      is no model of forces in eV and Angstrom.
  """
  kind = _kind()
  if isinstance(model, str | pathlib.Path):
    model = restored(pathlib.Path(model), data_dir)
  return kind(model)


def restored(folder: pathlib.Path, data_dir: str | None = None) -> Any:
  """Returns the force model of a run's seed folder, with its best weights.

  Raises:
    ValueError: as `Calculator`.
  """
  run = trained.read(folder, data_dir)
  if not hasattr(run.model, "evaluate"):
    raise ValueError(
      f"{folder} holds {run.description['model']}, which predicts no forces; "
      "take the run of a model based on forces.LearnedForce"
    )
  if "force_std" not in run.problem.statistics:
    raise ValueError(
      f"{folder} was trained on {run.description['dataset']}, which tells no "
      "forces in eV and Angstrom; take a run on data that do"
    )
  # The first call makes the variables: of two atoms of hydrogen.
  position = np.array([[[0.0, 0, 0], [0, 0, 0.74]]])
  state = State(position, np.zeros_like(position))
  particles = Particles(np.ones((1, 2)), species=np.ones((1, 2), int))
  rollouts.rollout(
    forces.Evaluator(run.model).predict,
    *(state, particles, Domain(np.full((1, 3), np.inf))),
    np.ones(1),
  )
  trained.restore(run)
  return run.model


@functools.cache
def _kind():
  """Returns the class, whose base is known only where ASE is installed."""
  try:
    from ase.calculators import calculator
    from ase.geometry import complete_cell
  except ImportError as error:
    raise ValueError(
      f'a calculator of ASE needs ASE ({error}); pip install "nbody_bench[ase]"'
    ) from error

  class ForceModelCalculator(calculator.Calculator):
    """See `Calculator`."""

    implemented_properties = ("energy", "free_energy", "forces")
    # What else ASE keeps changes nothing, and asks for no new calculation.
    ignored_changes = frozenset(("initial_charges", "initial_magmoms"))

    def __init__(self, model):
      super().__init__()
      self._predict = rollouts.compiled(forces.Evaluator(model))

    def calculate(
      self,
      atoms=None,
      properties=("forces",),
      system_changes=tuple(calculator.all_changes),
    ):
      """See base class."""
      super().calculate(atoms, properties, system_changes)
      found = rollouts.rollout(
        self._predict, *_inputs(self.atoms, complete_cell), np.ones(1)
      ).state
      energy = float(found.potential_energy.item())
      self.results = {
        "energy": energy,
        "free_energy": energy,
        "forces": found.force[0, 0].astype(np.float64),
      }

  return ForceModelCalculator


def _inputs(atoms, complete_cell):
  """Returns state, particles and domain of ASE's atoms, a batch of one."""
  periodic = atoms.pbc
  # Along open directions, those that the others leave over.
  cell = complete_cell(np.where(periodic[:, None], atoms.cell[:], 0.0))
  sides = np.linalg.norm(atoms.cell[:], axis=-1)
  domain = Domain(np.where(periodic, sides, np.inf)[None], cell[None])
  position = domain.wrap(atoms.positions[None])
  particles = Particles(
    mass=atoms.get_masses()[None], species=atoms.numbers[None]
  )
  return State(position, np.zeros_like(position)), particles, domain
