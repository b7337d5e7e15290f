"""What comes from relaxations of slabs: frames of them, disturbed frames, ends.

Lengths in Angstrom, times in fs, energies in eV, masses in atomic mass units.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from nbody_bench import slabs_ase
from nbody_bench.elements import FORCE_UNIT, MASSES
from nbody_bench.slabs import Settings, draw
from nbody_bench.structures import (
  DYNAMICS,
  PERTURBED,
  RELAXATION,
  Structure,
)


class Kind(NamedTuple):
  """What a split is made of.

  Attributes:
    unseen_catalyst: whether a metal that training lacks is in its slabs.
    unseen_adsorbate: whether its adsorbates are those that training lacks.
    ends_alone: whether it has the first and the last frame of relaxations, and
      not structures from all over them.
  """

  unseen_catalyst: bool = False
  unseen_adsorbate: bool = False
  ends_alone: bool = False


# The place of a name is part of the seed of its relaxations: append only.
SPLITS: Mapping[str, Kind] = {
  "train": Kind(),
  "validation": Kind(),
  "test": Kind(),
  "test_unseen_adsorbate": Kind(unseen_adsorbate=True),
  "test_unseen_catalyst": Kind(unseen_catalyst=True),
  "test_unseen_both": Kind(unseen_catalyst=True, unseen_adsorbate=True),
  "relaxation": Kind(ends_alone=True),
  "relaxation_unseen_adsorbate": Kind(False, True, True),
  "relaxation_unseen_catalyst": Kind(True, False, True),
  "relaxation_unseen_both": Kind(True, True, True),
}
_MAX_ATTEMPTS = 1000
_BOLTZMANN = 8.617333e-5  # eV / K


class Made(NamedTuple):
  """S structures, or the two ends, that come from one relaxation.

  Attributes:
    position: `[S, N, 3]`.
    force: `[S, N, 3]`.
    energy: `[S]`.
    label_error: `[S]`.
    origin: `[S]`, see `structures`.
    fid: `[S]`, frame of the relaxation.
    numbers: `[N]`.
    tag: `[N]`.
    cell: `[3, 3]`.
  """

  position: np.ndarray
  force: np.ndarray
  energy: np.ndarray
  label_error: np.ndarray
  origin: np.ndarray
  fid: np.ndarray
  numbers: np.ndarray
  tag: np.ndarray
  cell: np.ndarray


def make(settings: Settings, split: str, index: int) -> Made:
  """Returns what comes from one relaxation, which depends on its number alone.

  Drawn anew is what flies away or comes too near and, where the ends are asked
  for, what is not at rest in time or too vague about where.

  Args:
    settings: of all.
    split: a key of `SPLITS`.
    index: of the relaxation in the split.

  Raises:
    ValueError: if nothing that is drawn can be kept.
  """
  kind = SPLITS[split]
  for attempt in range(_MAX_ATTEMPTS):
    key = (list(SPLITS).index(split), index, attempt)
    rng = np.random.default_rng(
      np.random.SeedSequence(settings.seed, spawn_key=key)
    )
    atoms = draw(rng, settings, kind.unseen_catalyst, kind.unseen_adsorbate)
    made = (_ends if kind.ends_alone else _all_over)(rng, settings, atoms)
    if made is not None:
      return made
  raise ValueError(
    f"{_MAX_ATTEMPTS} draws gave no relaxation for {split!r} that could be "
    f"kept; make the settings less strict: {settings}"
  )


def _relaxed(settings, atoms, position, tolerance, num_steps):
  return slabs_ase.relax(
    position,
    atoms.numbers,
    atoms.cell,
    atoms.is_free,
    tolerance=tolerance,
    num_steps=num_steps,
    max_step=settings.max_step,
  )


def _relaxation(settings, atoms):
  """Returns the frames of a relaxation, or None if it is not to be kept."""
  _, force = atoms.at(atoms.position)
  if np.abs(force[atoms.is_free]).max() > settings.max_force:
    return None
  frames = _relaxed(
    settings, atoms, atoms.position, settings.tolerance, settings.num_steps
  )
  largest = np.abs(frames.force[:, atoms.is_free]).max()
  if largest > settings.max_force or atoms.has_flown(frames.position[-1]):
    return None
  return frames


def _ends(rng, settings, atoms):
  """Returns first and last frame, with the label error of the latter."""
  del rng
  frames = _relaxation(settings, atoms)
  if frames is None or not frames.converged:
    return None
  end = _relaxed(
    settings,
    atoms,
    frames.position[-1],
    settings.tight_tolerance,
    5 * settings.num_steps,
  )
  moved = (end.position[-1] - frames.position[-1])[atoms.is_free]
  error = np.sqrt(np.mean(np.sum(moved**2, -1)))
  if not end.converged or error > settings.max_label_error:
    return None
  last = len(frames.position) - 1
  return Made(
    *(x[[0, last]] for x in frames[:3]),
    label_error=np.array([0.0, error]),
    origin=np.full(2, RELAXATION),
    fid=np.array([0, last]),
    numbers=atoms.numbers,
    tag=atoms.tag,
    cell=atoms.cell,
  )


def _all_over(rng, settings, atoms):
  """Returns frames and disturbed frames, in random order."""
  frames = _relaxation(settings, atoms)
  if frames is None:
    return None
  total = len(frames.position)
  count = min(total, settings.num_frames)
  fid = rng.choice(total, count, replace=False)
  parts = [
    (frames.position[k], frames.force[k], frames.energy[k], RELAXATION, k)
    for k in fid
  ]
  for _ in range(_MAX_ATTEMPTS):
    missing = settings.per_relaxation - len(parts)
    if not missing:
      break
    k = rng.integers(total)
    if missing > settings.num_dynamics:
      origin, disturbed = PERTURBED, _displaced
    else:
      origin, disturbed = DYNAMICS, _after_dynamics
    position = disturbed(rng, settings, atoms, frames.position[k])
    energy, force = atoms.at(position)
    # OC20 leaves such structures out too.
    if np.abs(force[atoms.is_free]).max() <= settings.max_force:
      parts.append((position, force, energy, origin, k))
  else:
    return None
  order = rng.permutation(len(parts))
  position, force, energy, origin, fid = (
    np.array(x)[order] for x in zip(*parts, strict=True)
  )
  return Made(
    position,
    force,
    energy,
    np.zeros(len(parts)),
    origin,
    fid,
    atoms.numbers,
    atoms.tag,
    atoms.cell,
  )


def _displaced(rng, settings, atoms, position):
  spread = rng.uniform(*settings.displacement) * atoms.is_free[:, None]
  return position + spread * rng.normal(size=position.shape)


def _after_dynamics(rng, settings, atoms, position):
  """Returns where free atoms are after a while at a high temperature."""
  energy = _BOLTZMANN * rng.uniform(*settings.temperature)
  mass = MASSES[atoms.numbers][:, None]
  velocity = np.sqrt(energy * FORCE_UNIT / mass) * atoms.is_free[:, None]
  velocity = velocity * rng.normal(size=position.shape)
  push = 0.5 * settings.time_step * FORCE_UNIT / mass
  push = push * atoms.is_free[:, None]
  _, force = atoms.at(position)
  for _ in range(rng.integers(*settings.dynamics_steps, endpoint=True)):
    velocity = velocity + push * force
    position = position + settings.time_step * velocity
    _, force = atoms.at(position)
    velocity = velocity + push * force
  return position


def structures(made: Sequence[Made], split: str) -> Iterator[Structure]:
  """Yields the structures of a split, the first of each relaxation first.

  Args:
    made: its relaxations, in order.
    split: its name.
  """
  first = 10**6 * list(SPLITS).index(split)
  step = 2 if SPLITS[split].ends_alone else 1
  for start in range(0, len(made[0].energy), step):
    frames = slice(start, start + step)
    for index, one in enumerate(made):
      yield Structure(
        one.position[frames],
        one.force[frames],
        one.energy[frames],
        one.label_error[frames],
        one.numbers,
        one.tag,
        np.array([*np.linalg.norm(one.cell[:2], axis=-1), np.inf]),
        one.cell,
        first + index,
        int(one.fid[frames][-1]),
        int(one.origin[start]),
      )
