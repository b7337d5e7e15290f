"""What is used of ASE, the Atomic Simulation Environment, and of tblite.

Both are optional: nbody_bench[molecules].
"""

import contextlib
import importlib
import os
import warnings
from typing import Any, NamedTuple

_SYMBOLS = {1: "H", 6: "C", 7: "N", 8: "O"}

# A conformer of aspirin (PubChem CID 2244): atomic numbers and places.
_ASPIRIN = (
  (8, 1.2333, 0.5540, 0.7792),
  (8, -0.6952, -2.7148, -0.7502),
  (8, 0.7958, -2.1843, 0.8685),
  (8, 1.7813, 0.8105, -1.4821),
  (6, -0.0857, 0.6088, 0.4403),
  (6, -0.7927, -0.5515, 0.1244),
  (6, -0.7288, 1.8464, 0.4133),
  (6, -2.1426, -0.4741, -0.2184),
  (6, -2.0787, 1.9238, 0.0706),
  (6, -2.7855, 0.7636, -0.2453),
  (6, -0.1409, -1.8536, 0.1477),
  (6, 2.1094, 0.6715, -0.3113),
  (6, 3.5305, 0.5996, 0.1635),
  (1, -0.1851, 2.7545, 0.6593),
  (1, -2.7247, -1.3605, -0.4564),
  (1, -2.5797, 2.8872, 0.0506),
  (1, -3.8374, 0.8238, -0.5090),
  (1, 3.7290, 1.4184, 0.8593),
  (1, 4.2045, 0.6969, -0.6924),
  (1, 3.7105, -0.3659, 0.6426),
  (1, -0.2555, -3.5916, -0.7337),
)
# The others are in ASE's collection of small molecules.
_IN_ASE = {"benzene": "C6H6", "ethanol": "CH3CH2OH"}


class Ase(NamedTuple):
  """What is used of ASE and tblite."""

  Atoms: Any
  Langevin: Any
  TBLite: Any
  build: Any
  constraints: Any
  units: Any


def load():
  """Returns what computes.

  Raises:
    ValueError: naming the package that is missing, and how to get it.
  """
  try:
    with one_thread(), warnings.catch_warnings():
      warnings.simplefilter("ignore")
      langevin = importlib.import_module("ase.md.langevin").Langevin
      calculator = importlib.import_module("tblite.ase").TBLite
      modules = [
        importlib.import_module(f"ase.{name}")
        for name in ("build", "constraints", "units")
      ]
      return Ase(
        importlib.import_module("ase").Atoms, langevin, calculator, *modules
      )
  except ImportError as error:
    raise ValueError(
      f"molecules are computed by ASE and tblite ({error}); "
      'pip install "nbody_bench[molecules]"'
    ) from error


@contextlib.contextmanager
def one_thread():
  """Inside, libraries that are loaded take one thread.

  Sums of several threads come in any order, and these molecules are too small
  to gain by them.
  """
  names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
  before = {name: os.environ.get(name) for name in names}
  os.environ.update(dict.fromkeys(names, "1"))
  try:
    yield
  finally:
    for name, value in before.items():
      if value is None:
        del os.environ[name]
      else:
        os.environ[name] = value


def molecule(ase: Ase, name: str) -> Any:
  """Returns the ASE atoms of a molecule."""
  if name == "aspirin":
    return ase.Atoms(
      [_SYMBOLS[row[0]] for row in _ASPIRIN], [row[1:] for row in _ASPIRIN]
    )
  return ase.build.molecule(_IN_ASE[name])
