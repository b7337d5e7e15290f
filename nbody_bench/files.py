"""Files that are there whole or not at all, locks, and hashes."""

import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import re
from collections.abc import Iterator
from typing import Any

# A list of numbers as `json` indents it; no string of JSON has a line break.
_NUMBERS = re.compile(r'\[\n([^\[\]{}"]+)\n *\]')


class InUseError(OSError):
  """Another process works in a folder."""


@contextlib.contextmanager
def exclusive(folder: pathlib.Path, awaited: str = "") -> Iterator[None]:
  """Holds a folder for this process; the lock goes with the process.

  Args:
    folder: created if missing.
    awaited: what another process may be making there, to wait for it; empty not
      to wait.

  Raises:
    InUseError: if another process holds it, and is not waited for.
  """
  folder.mkdir(parents=True, exist_ok=True)
  with (folder / ".lock").open("a+") as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      file.seek(0)
      owner = file.read().strip() or "unknown"
      if not awaited:
        raise InUseError(
          f"{folder} is in use by process {owner}; wait for it or choose "
          "another folder"
        ) from None
      print(f"waiting for process {owner}, which makes {awaited}", flush=True)
      fcntl.flock(file, fcntl.LOCK_EX)
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    yield


def replace_bytes(path: pathlib.Path, content: bytes) -> None:
  """Writes a file under a temporary name, then renames it."""
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
  try:
    temporary.write_bytes(content)
    os.replace(temporary, path)
  finally:
    temporary.unlink(missing_ok=True)


def replace_json(path: pathlib.Path, content: Any) -> None:
  """Writes plain data as JSON; NaN and infinities are refused."""
  text = json.dumps(content, indent=1, allow_nan=False) + "\n"
  # Numbers of a list on one line: curves are long.
  text = _NUMBERS.sub(lambda x: f"[{' '.join(x[1].split())}]", text)
  replace_bytes(path, text.encode())


def read_json(path: pathlib.Path) -> Any:
  """Returns the content of a JSON file.

  Raises:
    ValueError: naming the file, if it is damaged.
    OSError: if it cannot be read.
  """
  try:
    return json.loads(path.read_text())
  except ValueError as error:
    raise ValueError(
      f"{path} is damaged ({error}); remove its folder and run again"
    ) from None


def sha256(path: pathlib.Path) -> str:
  """Returns the hexadecimal SHA-256 of a file."""
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()


def folder_sha256(folder: pathlib.Path) -> str:
  """Returns the SHA-256 of the names and hashes of all files, but for links."""
  lines = [
    f"{sha256(path)}  {path.relative_to(folder).as_posix()}\n"
    for path in sorted(folder.rglob("*"))
    if path.is_file() and not path.is_symlink()
  ]
  return hashlib.sha256("".join(lines).encode()).hexdigest()
