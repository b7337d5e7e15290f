"""Molecular dynamics of our own.

Lengths in Angstrom, times in fs, energies in eV, masses in atomic mass units.
By the tight-binding method GFN2-xTB (Bannwarth, Ehlert and Grimme 2019) as
`tblite` computes it and the integrators of ASE, both optional; see
`molecules_ase`.
"""

import dataclasses
import hashlib
import importlib.metadata
import io
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tqdm

from nbody_bench import files, generation, molecules, molecules_ase, observed


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
  molecules_ase.load()
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
  ase = molecules_ase.load()
  atoms = molecules_ase.molecule(ase, dynamics.molecule)
  numbers = atoms.get_atomic_numbers().astype(np.int64)
  mass = molecules.masses(numbers)
  tied = molecules.bonds(atoms.get_positions())
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
      position=recorded.position[at],
      velocity=recorded.velocity[at],
      mass=recorded.mass,
      bonds=recorded.bonds,
      species=recorded.numbers,
      energy=recorded.kinetic_energy[at] + potential,
      potential_energy=potential,
      force=recorded.force[at],
    )
  return result
