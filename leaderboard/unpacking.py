"""Unpacks a submission that comes as one `.zip` file."""

import contextlib
import pathlib
import stat
import tempfile
import zipfile
from collections.abc import Iterator

from nbody_bench.files import replace_bytes
from nbody_bench.submission_files import MAX_FILE_BYTES
from nbody_bench.submissions import SubmissionError

# Of all files together; twenty seeds of the largest task.
_MAX_BYTES = 20 * MAX_FILE_BYTES
_MAX_FILES = 2000


@contextlib.contextmanager
def folder_of(path: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields the folder of a submission, for as long as it is needed.

  Args:
    path: a folder, which is yielded as it is, or a `.zip` file of one, with or
      without a single folder around its files.

  Raises:
    SubmissionError: if it cannot be read, holds links or names that lead
      elsewhere, or unpacks to too much.
  """
  if path.suffix != ".zip" or path.is_dir():
    yield path
    return
  with tempfile.TemporaryDirectory(prefix="nbody_bench-") as temporary:
    target = pathlib.Path(temporary)
    try:
      with zipfile.ZipFile(path) as archive:
        _unpack(archive, target)
    except SubmissionError:
      raise
    except Exception as error:
      # Whatever a broken or hostile archive provokes inside the reader.
      raise SubmissionError(f"{path}: cannot be unpacked: {error}") from None
    inner = list(target.iterdir())
    yield inner[0] if len(inner) == 1 and inner[0].is_dir() else target


def _unpack(archive, target):
  files = [entry for entry in archive.infolist() if not entry.is_dir()]
  if len(files) > _MAX_FILES:
    raise SubmissionError(
      f"{archive.filename}: has {len(files)} files; at most {_MAX_FILES}"
    )
  # Before anything is unpacked: a small file may claim to be huge.
  size = sum(entry.file_size for entry in files)
  if size > _MAX_BYTES or any(e.file_size > MAX_FILE_BYTES for e in files):
    raise SubmissionError(
      f"{archive.filename}: unpacks to {size} bytes; at most {_MAX_BYTES} in "
      f"all, {MAX_FILE_BYTES} a file"
    )
  seen = set()
  for entry in files:
    name = pathlib.PurePosixPath(entry.filename)
    is_link = stat.S_ISLNK(entry.external_attr >> 16)
    leads_out = name.is_absolute() or ".." in name.parts
    if is_link or leads_out or "\\" in entry.filename or name in seen:
      raise SubmissionError(
        f"{archive.filename}: {entry.filename!r} is a link, leads elsewhere, "
        "or is there twice; pack the files of the submission alone"
      )
    seen.add(name)
    with archive.open(entry) as file:
      # What it claimed, whatever it holds.
      content = file.read(entry.file_size + 1)
    if len(content) != entry.file_size:
      raise SubmissionError(
        f"{archive.filename}: {entry.filename!r} is not of the size that it "
        "claims"
      )
    replace_bytes(target / name, content)
