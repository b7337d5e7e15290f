"""Files that are there whole or not at all, and their hashes."""

import hashlib
import json
import os
import pathlib
from typing import Any


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
  replace_bytes(path, text.encode())


def sha256(path: pathlib.Path) -> str:
  """Returns the hexadecimal SHA-256 of a file."""
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()
