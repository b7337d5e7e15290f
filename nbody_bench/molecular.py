"""Molecules: published dynamics from files, and dynamics of our own.

Lengths in Angstrom, times in fs, energies in eV, masses in atomic mass units.
Our own dynamics follow the tight-binding method GFN2-xTB (Bannwarth, Ehlert and
Grimme 2019) as `tblite` computes it, by the integrators of ASE (the Atomic
Simulation Environment); both are optional: nbody_bench[molecules].
"""

import contextlib
import dataclasses
import hashlib
import importlib
import importlib.metadata
import io
import json
import os
import pathlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tqdm

from nbody_bench import files, generation, observed

# Standard atomic weights (IUPAC 2021, abridged) by atomic number.
MASSES = {1: 1.008, 6: 12.011, 7: 14.007, 8: 15.999}
# Atoms nearer than this are tied, in the published data and here.
BOND_LENGTH = 1.6
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


def masses(numbers: np.ndarray) -> np.ndarray:
  """Returns the masses `[N]` of atoms with these atomic numbers.

  Raises:
    ValueError: for an element that no molecule here has.
  """
  unknown = sorted(set(numbers.tolist()) - set(MASSES))
  if unknown:
    raise ValueError(
      f"atomic numbers {unknown} are not among {sorted(MASSES)}, of which "
      "these molecules are made"
    )
  return np.array([MASSES[z] for z in numbers.tolist()])


def bonds(position: np.ndarray, cutoff: float = BOND_LENGTH) -> np.ndarray:
  """Returns the pairs of particles `[N, D]` nearer than `cutoff`, `[E, 2]`."""
  apart = np.linalg.norm(position[:, None] - position, axis=-1)
  return np.argwhere(np.triu(apart < cutoff, 1))


@dataclasses.dataclass(frozen=True)
class Published:
  """What of a published trajectory makes which split.

  Start frames are drawn at random within a range, of all splits from the same:
  windows of one split share frames with those of others.

  Attributes:
    margin: frames left out at both ends of the range.
    shares: of the range that the splits' start frames are.
    offsets: frames of a window, counted from its first.
    num_train: start frames that the published training split has; None to
      accept any trajectory.
    seed: of the draw.
  """

  margin: int = 10_000
  shares: tuple[float, ...] = (0.1, 0.05, 0.05)
  offsets: tuple[int, ...] = tuple(range(0, 3001, 375))
  num_train: int | None = None
  seed: int = 100

  def starts(self, num_frames: int) -> dict[str, np.ndarray]:
    """Returns the start frames of train, validation and test.

    With a legacy NumPy generator, for its draws are the published ones: those
    of Huang et al. (2022), taken over by Xu et al. (2024).

    Args:
      num_frames: of the whole trajectory.

    Raises:
      ValueError: if that is not the published one.
    """
    # The last frame has no velocity.
    total = num_frames - 1 - 2 * self.margin
    sizes = [int(share * max(total, 0)) for share in self.shares]
    if self.num_train is not None and sizes[0] != self.num_train:
      raise ValueError(
        f"its {num_frames} frames make {sizes[0]} training starts, and the "
        f"published trajectory makes {self.num_train}"
      )
    if min(sizes) < 1 or self.margin < max(self.offsets) + 1:
      raise ValueError(f"its {num_frames} frames are too few")
    rng = np.random.RandomState(self.seed)
    left, starts = np.arange(total), {}
    for split, size in zip(("train", "validation", "test"), sizes, strict=True):
      chosen = rng.choice(left, size, replace=False)
      left = np.setdiff1d(left, chosen, assume_unique=True)
      starts[split] = chosen + self.margin
    return starts


def md17_windows(
  path: pathlib.Path, published: Published
) -> dict[str, observed.Windows]:
  """Returns the windows of an MD17 file, heavy atoms alone.

  Positions at the frames that `published` says, velocities x(t + 1) - x(t) in
  Angstrom a frame; bonds are between atoms less than 1.6 Angstrom apart in the
  first frame of the trajectory.

  Args:
    path: of an archive with `R` [T, n, 3], Angstrom, and `z` [n].
    published: which frames.

  Raises:
    ValueError: if the file is damaged, or not the published trajectory.
  """
  arrays = observed.read_npz(path, {"R": (None, None, 3), "z": (None,)})
  numbers = arrays["z"].astype(np.int64)
  try:
    if len(numbers) != arrays["R"].shape[1]:
      raise ValueError(
        f"'R' has {arrays['R'].shape[1]} atoms and 'z' {len(numbers)}"
      )
    heavy = numbers > 1
    mass = masses(numbers[heavy])
    starts = published.starts(len(arrays["R"]))
  except ValueError as error:
    raise ValueError(
      f"{path} is not the file it should be: {error}; get it anew"
    ) from None
  result = {}
  for split, frames in starts.items():
    position, velocity = observed.frames_at(
      arrays["R"], frames, published.offsets
    )
    result[split] = observed.Windows(
      position[:, :, heavy],
      velocity[:, :, heavy],
      mass,
      bonds(arrays["R"][0, heavy]),
      numbers[heavy],
    )
  return result


@dataclasses.dataclass(frozen=True)
class Dynamics:
  """Langevin dynamics of one molecule, all its atoms, at constant temperature.

  Attributes:
    molecule: "aspirin", "benzene" or "ethanol".
    num_steps: after the warm-up.
    warm_up_steps: before, not recorded.
    time_step: fs.
    temperature: K.
    friction: 1 / fs, the coupling to the thermostat.
    warm_up_friction: likewise; strong, to get to the temperature soon.
    record_every: steps between recorded frames.
    save_every: steps between restart points, a multiple of `record_every`.
    seed: of initial velocities and thermostat.
  """

  molecule: str
  num_steps: int = 50_000
  warm_up_steps: int = 2000
  time_step: float = 0.5
  temperature: float = 500.0
  friction: float = 5e-4
  warm_up_friction: float = 1e-2
  record_every: int = 10
  save_every: int = 1000
  seed: int = 0

  def __post_init__(self):
    if self.save_every % self.record_every:
      raise ValueError(
        f"save_every {self.save_every} is no multiple of record_every "
        f"{self.record_every}"
      )

  @property
  def num_frames(self) -> int:
    """Frames that are recorded."""
    return len(range(0, self.num_steps, self.record_every))


class Run(NamedTuple):
  """A recorded trajectory of F frames and N atoms.

  Attributes:
    position: `[F, N, 3]`, Angstrom, the centre of mass at rest.
    velocity: `[F, N, 3]`, Angstrom / fs, at the same times.
    force: `[F, N, 3]`, eV / Angstrom, of the potential energy alone.
    potential_energy: `[F]`, eV.
    kinetic_energy: `[F]`, eV.
    numbers: `[N]` atomic numbers.
    mass: `[N]`, atomic mass units.
    bonds: `[E, 2]`, of the geometry that the warm-up begins with.
  """

  position: np.ndarray
  velocity: np.ndarray
  force: np.ndarray
  potential_energy: np.ndarray
  kinetic_energy: np.ndarray
  numbers: np.ndarray
  mass: np.ndarray
  bonds: np.ndarray


class _Point(NamedTuple):
  """A restart point: what the next step depends on."""

  position: np.ndarray
  momentum: np.ndarray
  random: str  # state of the generator, as JSON


_RECORDED = Run._fields[:5]


def versions() -> dict[str, str]:
  """Returns the versions of the programs that compute the dynamics.

  Raises:
    ValueError: if one of them is not installed.
  """
  _ase()
  return {name: importlib.metadata.version(name) for name in ("ase", "tblite")}


def folder_name(dynamics: Dynamics) -> str:
  """Returns a name that dynamics made otherwise do not have."""
  digest = hashlib.sha256(json.dumps(dataclasses.asdict(dynamics)).encode())
  digest.update(json.dumps(versions()).encode())
  digest.update(pathlib.Path(__file__).read_bytes())
  return f".dynamics-{digest.hexdigest()[:16]}"


def run(dynamics: Dynamics, folder: pathlib.Path) -> Run:
  """Returns the dynamics, computed or, as far as they go, read from `folder`.

  Every `save_every` steps what was recorded and a restart point are written
  there, whole or not at all. The calculation begins afresh at each of these
  points, so that one that was broken off comes to the same bytes; across
  machines it does not, for chaos makes the last digit matter.

  Args:
    dynamics: what to compute.
    folder: of these dynamics alone; see `folder_name`.

  Raises:
    ValueError: if ASE or tblite is not installed.
    KeyboardInterrupt: if a signal asks to stop.
  """
  ase = _ase()
  atoms = _molecule(ase, dynamics.molecule)
  numbers = atoms.get_atomic_numbers().astype(np.int64)
  mass = masses(numbers)
  tied = bonds(atoms.get_positions())
  atoms.set_masses(mass)
  atoms.set_constraint(ase.constraints.FixCom())
  point = _first_point(ase, dynamics, atoms)
  recorded: list[Mapping[str, np.ndarray]] = []
  todo = [
    (part, folder / f"part-{k:05d}.npz")
    for k, part in enumerate(_parts(dynamics))
  ]
  done = 0
  while todo:
    part, path = todo[0]
    found = _load(path, part, dynamics.record_every, len(numbers))
    if found is None:
      break
    frames, point = found
    recorded += [frames] * part.is_recorded
    done += part.num_steps
    todo.pop(0)
  with tqdm.tqdm(
    desc=f"{dynamics.molecule} dynamics",
    total=dynamics.warm_up_steps + dynamics.num_steps,
    initial=done,
    unit=" steps",
    mininterval=0.5,
  ) as bar:
    for part, path in todo:
      frames, point = _advance(ase, dynamics, atoms, point, part, bar.update)
      _save(path, frames, point)
      recorded += [frames] * part.is_recorded
  joined = {
    name: np.concatenate([frames[name] for frames in recorded])
    for name in _RECORDED
  }
  return Run(**joined, numbers=numbers, mass=mass, bonds=tied)


class _Part(NamedTuple):
  num_steps: int
  is_recorded: bool


def _parts(dynamics) -> Iterator[_Part]:
  for total, is_recorded in (
    (dynamics.warm_up_steps, False),
    (dynamics.num_steps, True),
  ):
    for first in range(0, total, dynamics.save_every):
      yield _Part(min(dynamics.save_every, total - first), is_recorded)


def _advance(ase, dynamics, atoms, point, part, on_step):
  """Returns what was recorded from a restart point on, and the next point."""
  rng = np.random.default_rng()
  rng.bit_generator.state = json.loads(point.random)
  # Anew, for it begins each calculation with the result of the one before.
  atoms.calc = ase.TBLite(method="GFN2-xTB", verbosity=0)
  atoms.set_positions(point.position, apply_constraint=False)
  atoms.set_momenta(point.momentum, apply_constraint=False)
  fs = ase.units.fs
  integrator = ase.Langevin(
    atoms,
    dynamics.time_step * fs,
    temperature_K=dynamics.temperature,
    friction=(
      dynamics.friction if part.is_recorded else dynamics.warm_up_friction
    )
    / fs,
    fixcm=False,  # its successor is the constraint above
    rng=rng,
  )
  frames: dict[str, list[np.ndarray]] = {name: [] for name in _RECORDED}
  for step in range(part.num_steps):
    generation.stop_if_requested()
    if part.is_recorded and step % dynamics.record_every == 0:
      now = (
        atoms.get_positions(),
        atoms.get_velocities() * fs,
        atoms.get_forces(apply_constraint=False),
        atoms.get_potential_energy(),
        atoms.get_kinetic_energy(),
      )
      for name, value in zip(_RECORDED, now, strict=True):
        frames[name].append(np.array(value))
    integrator.step()
    on_step(1)
  state = json.dumps(rng.bit_generator.state)
  after = _Point(atoms.get_positions(), atoms.get_momenta(), state)
  return {k: np.array(v) for k, v in frames.items()}, after


def _first_point(ase, dynamics, atoms):
  """Returns the molecule with velocities of its temperature."""
  rng = np.random.default_rng(dynamics.seed)
  spread = np.sqrt(
    ase.units.kB * dynamics.temperature * atoms.get_masses()[:, None]
  )
  atoms.set_momenta(spread * rng.standard_normal((len(atoms), 3)))
  return _Point(
    atoms.get_positions(),
    atoms.get_momenta(),
    json.dumps(rng.bit_generator.state),
  )


def _molecule(ase, name):
  if name == "aspirin":
    return ase.Atoms(
      [_SYMBOLS[row[0]] for row in _ASPIRIN], [row[1:] for row in _ASPIRIN]
    )
  return ase.build.molecule(_IN_ASE[name])


def _save(path, frames, point):
  buffer = io.BytesIO()
  end = {f"end_{k}": np.array(v) for k, v in point._asdict().items()}
  np.savez(buffer, **frames, **end)
  files.replace_bytes(path, buffer.getvalue())


def _load(path, part, record_every, num_atoms):
  """Returns what `_save` wrote, or None if it is not there or not whole."""
  try:
    with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
      frames = {name: file[name] for name in _RECORDED}
      end = [file[f"end_{name}"] for name in _Point._fields]
    point = _Point(*end[:2], str(end[2]))
    json.loads(point.random)
  except Exception:  # whatever a damaged archive brings about
    return None
  count = len(range(0, part.num_steps, record_every)) * part.is_recorded
  whole = (count, num_atoms, 3) if count else (0,)
  return (frames, point) if frames["position"].shape == whole else None


class _Ase(NamedTuple):
  """What is used of ASE and tblite."""

  Atoms: Any
  Langevin: Any
  TBLite: Any
  build: Any
  constraints: Any
  units: Any


def _ase():
  """Imports what computes.

  Raises:
    ValueError: naming the package that is missing, and how to get it.
  """
  try:
    with _one_thread(), warnings.catch_warnings():
      warnings.simplefilter("ignore")
      langevin = importlib.import_module("ase.md.langevin").Langevin
      calculator = importlib.import_module("tblite.ase").TBLite
      modules = [
        importlib.import_module(f"ase.{name}")
        for name in ("build", "constraints", "units")
      ]
      return _Ase(
        importlib.import_module("ase").Atoms, langevin, calculator, *modules
      )
  except ImportError as error:
    raise ValueError(
      f"molecules are computed by ASE and tblite ({error}); "
      'pip install "nbody_bench[molecules]"'
    ) from error


@contextlib.contextmanager
def _one_thread():
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


def split_by_time(
  num_frames: int,
  horizon: int,
  counts: Mapping[str, int],
  seed: int,
  shares: Sequence[float] = (0.8, 0.1, 0.1),
) -> dict[str, np.ndarray]:
  """Returns start frames of windows: each split a stretch of the trajectory.

  Between two stretches a gap of one horizon. Start frames are drawn in each
  without repetition, so that the first n of them are from all over it.

  Args:
    num_frames: of the trajectory.
    horizon: frames that follow a start.
    counts: start frames of each split, in the order of time.
    seed: of the draw.
    shares: of the frames.

  Raises:
    ValueError: if a stretch is too short.
  """
  ends = np.round(np.cumsum((0, *shares)) * num_frames).astype(int)
  result = {}
  for k, (split, count) in enumerate(counts.items()):
    first = ends[k] + (horizon if k else 0)
    allowed = np.arange(first, ends[k + 1] - horizon)
    if len(allowed) < count:
      raise ValueError(
        f"split {split!r}: {len(allowed)} windows fit into its part of "
        f"{num_frames} frames, {count} are wanted"
      )
    rng = np.random.default_rng((seed, k))
    result[split] = rng.choice(allowed, count, replace=False)
  return result


def run_windows(
  recorded: Run, starts: Mapping[str, np.ndarray], horizon: int
) -> dict[str, observed.Windows]:
  """Returns windows of `horizon + 1` frames of our own dynamics."""
  result = {}
  for split, frames in starts.items():
    at = np.add.outer(frames, np.arange(horizon + 1))
    potential = recorded.potential_energy[at]
    result[split] = observed.Windows(
      recorded.position[at],
      recorded.velocity[at],
      recorded.mass,
      recorded.bonds,
      recorded.numbers,
      recorded.kinetic_energy[at] + potential,
      potential,
      recorded.force[at],
    )
  return result
