"""OC20: structures to energies and forces, read from the published archives.

`N.extxyz` or `N.extxyz.xz` with the structures, `N.txt` or `N.txt.xz` beside it
with a line `system_id,frame_number,reference_energy` for each, such as
`random1234,frame56,-281.5`. Lengths in Angstrom, energies in eV.
"""

import itertools
import lzma
import pathlib
import re
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from nbody_bench import extended_xyz
from nbody_bench.structures import RELAXATION, Structure

_ENDINGS = (".extxyz", ".extxyz.xz")
_ROW = re.compile(r"random(\d{1,15}),frame(\d{1,9}),([^,\s]+)")
# What is raised for files that are damaged, or none.
_DAMAGED = (ValueError, EOFError, OSError, lzma.LZMAError)


class Part(NamedTuple):
  """Which structures of some archives make a split.

  Attributes:
    archives: names that their folder, or one above it, may begin with.
    most: structures, the first ones; None for all.
    share: of the systems, from and to, by a number that is drawn by their ids:
      two splits from one archive share no system.
  """

  archives: tuple[str, ...]
  most: int | None
  share: tuple[float, float] = (0.0, 1.0)


def find(folder: pathlib.Path, archives: Sequence[str]) -> list[pathlib.Path]:
  """Returns the structure files below a folder, in the order of their numbers.

  Args:
    folder: to look in.
    archives: see `Part`; capital letters do not matter.

  Raises:
    ValueError: if what there is of it are LMDB files.
  """
  begins = tuple(a.lower() for a in archives)

  def belongs(path):
    above = path.relative_to(folder).parts[:-1]
    return any(name.lower().startswith(begins) for name in above)

  every = (p for p in folder.rglob("*") if p.name.endswith(_ENDINGS))
  found = [p for p in every if belongs(p)]
  lmdb = sorted(folder.rglob("*.lmdb"))
  if lmdb and not found:
    raise ValueError(
      f"{lmdb[0]} is an LMDB file: it holds pickles of Python objects, "
      "which run code when they are read, so that this one is not; get the "
      f"archive {archives[0]}.tar, which has extxyz files, and unpack it in "
      f"{folder}"
    )

  def place(path):
    stem = path.name.partition(".")[0]
    return path.parent, int(stem) if stem.isdigit() else -1, path.name

  return sorted(found, key=place)


def structures(
  paths: Sequence[pathlib.Path], part: Part
) -> Iterator[Structure]:
  """Yields the structures of a split.

  Energies are less the reference energy: those of adsorption.

  Args:
    paths: of structure files, as `find` returns them.
    part: which of their structures.

  Raises:
    ValueError: naming the file, if one is damaged or none of OC20's.
  """
  every = itertools.chain.from_iterable(map(_read, paths))
  low, high = part.share
  chosen = (s for s in every if low <= _number(s.sid) < high)
  return itertools.islice(chosen, part.most)


def _number(sid):
  """Returns a number in [0, 1) that looks random and is always the same."""
  return zlib.crc32(str(sid).encode()) / 2**32


def _read(path):
  stem = path.name.partition(".extxyz")[0]
  beside = [path.with_name(f"{stem}.txt"), path.with_name(f"{stem}.txt.xz")]
  rows = next((p for p in beside if p.exists()), None)
  if rows is None:
    raise ValueError(
      f"{path} comes with {beside[0].name} or {beside[1].name}, which is not "
      "there; unpack the whole archive"
    )
  try:
    with _open(path) as file, _open(rows) as texts:
      for entry in extended_xyz.read(file):
        yield _structure(entry, texts.readline(1000))
      if texts.readline(1000).strip():
        raise ValueError(f"{rows.name} tells of more structures than there are")
  except _DAMAGED as error:
    raise ValueError(
      f"{path} is not the file it should be: {error}; get it anew"
    ) from None


def _open(path):
  if path.suffix == ".xz":
    return lzma.open(path, "rt", encoding="ascii")
  return path.open(encoding="ascii")


def _structure(entry, row):
  match = _ROW.fullmatch(row.strip())
  if match is None:
    raise ValueError(
      f"beside it is {row.strip()!r}, not system_id,frame_number,"
      "reference_energy"
    )
  reference = float(match[3])
  if not np.isfinite(reference):
    raise ValueError(f"a reference energy is {match[3]}")
  sides = np.linalg.norm(entry.cell, axis=-1)
  return Structure(
    entry.position[None],
    entry.force[None],
    np.array([entry.energy - reference]),
    np.array([np.nan]),
    entry.species,
    entry.tag,
    np.where(entry.is_periodic, sides, np.inf),
    entry.cell,
    int(match[1]),
    int(match[2]),
    RELAXATION,
  )
