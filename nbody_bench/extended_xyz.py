"""Structures in the extended XYZ format, as the archives of OC20 have them.

Of each: the number of atoms; a line of `key=value` with `Lattice`,
`Properties`, `energy` and, where not all sides are periodic, `pbc`; a line for
each atom.
"""

import re
from collections.abc import Iterator
from typing import IO, NamedTuple

import numpy as np

from nbody_bench.elements import NUMBERS

# More is no structure of atoms on a surface, and would fill the memory.
_MOST_ATOMS = 10_000
_MOST_CHARACTERS = 10_000
_PAIR = re.compile(r'(\w+)=(?:"([^"]*)"|(\S+))')
# Columns that are read, by their names in `Properties`: numbers of each.
_COLUMNS = {"species": 1, "pos": 3, "forces": 3, "tags": 1}


class Entry(NamedTuple):
  """One structure of N atoms.

  Attributes:
    position: `[N, 3]`.
    force: `[N, 3]`.
    species: `[N]` atomic numbers.
    tag: `[N]`.
    cell: `[3, 3]`, sides as rows.
    is_periodic: `[3]`.
    energy: a number.
  """

  position: np.ndarray
  force: np.ndarray
  species: np.ndarray
  tag: np.ndarray
  cell: np.ndarray
  is_periodic: np.ndarray
  energy: float


def read(file: IO[str]) -> Iterator[Entry]:
  """Yields the structures of an open file.

  Raises:
    ValueError: naming the structure, counted from 0, that is not as it should
      be.
  """
  index = 0
  while line := _line(file):
    if not line.strip():
      continue
    try:
      yield _entry(line, file)
    except KeyError as error:
      raise ValueError(f"structure {index}: {error} is missing") from None
    except ValueError as error:
      raise ValueError(f"structure {index}: {error}") from None
    index += 1


def _line(file):
  line = file.readline(_MOST_CHARACTERS)
  if len(line) >= _MOST_CHARACTERS:
    raise ValueError(f"a line has {_MOST_CHARACTERS} characters or more")
  return line


def _entry(line, file):
  count = int(line)
  if not 0 < count <= _MOST_ATOMS:
    raise ValueError(f"{count} atoms, and 1 to {_MOST_ATOMS} are expected")
  header = {k: a or b for k, a, b in _PAIR.findall(_line(file))}
  places, width = _places(header["Properties"])
  rows = [_line(file).split() for _ in range(count)]
  for k, row in enumerate(rows):
    if len(row) != width:
      raise ValueError(f"atom {k} has {len(row)} columns, not {width}")
  table = np.array(rows)
  values = {k: table[:, place] for k, place in places.items()}
  symbols = values["species"][:, 0].tolist()
  if strange := sorted(set(symbols) - set(NUMBERS)):
    raise ValueError(f"{strange[0]!r} is no element that is known here")
  tag = values["tags"][:, 0].astype(np.int64)
  if not np.isin(tag, (0, 1, 2)).all():
    raise ValueError(f"tags {np.unique(tag).tolist()} are not all 0, 1 or 2")
  cell = np.array(header["Lattice"].split(), np.float64).reshape(3, 3)
  pbc = header.get("pbc", "T T T").split()
  entry = Entry(
    values["pos"].astype(np.float64),
    values["forces"].astype(np.float64),
    np.array([NUMBERS[s] for s in symbols]),
    tag,
    cell,
    np.array([x == "T" for x in pbc]),
    float(header["energy"]),
  )
  for name in ("position", "force", "cell", "energy"):
    if not np.isfinite(getattr(entry, name)).all():
      raise ValueError(f"{name} holds something else than finite numbers")
  if len(pbc) != 3 or set(pbc) - {"T", "F"}:
    raise ValueError(f"pbc is {header['pbc']!r}, not three of T and F")
  if abs(np.linalg.det(cell)) < 1e-3:
    raise ValueError(f"the cell {cell.tolist()} is flat")
  return entry


def _places(properties):
  """Returns the columns of what is read, and how many there are in all."""
  fields = properties.split(":")
  places, start = {}, 0
  for name, count in zip(fields[::3], fields[2::3], strict=True):
    places[name] = slice(start, start + int(count))
    start += int(count)
  for name, count in _COLUMNS.items():
    if places[name].stop - places[name].start != count:
      raise ValueError(f"{name} has not {count} columns in {properties}")
  return places, start
