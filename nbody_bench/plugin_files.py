"""How the file of a plug-in is executed, and whose an error is."""

import contextlib
import functools
import importlib.util
import pathlib
import sys
import traceback
import types
from collections.abc import Iterator

_PACKAGE = pathlib.Path(__file__).resolve().parent
# In a checkout the plug-ins lie beside the package.
_OURS = (
  _PACKAGE,
  *(_PACKAGE.parent / x for x in ("baselines", "datasets", "metrics")),
)
# Folders of the files that were loaded and are not ours.
_of_users: set[pathlib.Path] = set()


class ImportFailure(ValueError, ImportError):
  """The file of a plug-in that cannot be imported, and where."""


# A file is executed once a command, however often it is asked for: a second
# execution would make other classes of the same names.
@functools.lru_cache
def load(path: pathlib.Path, modified: tuple[int, int]) -> types.ModuleType:
  """Executes a file that is named by its path.

  Args:
    path: absolute.
    modified: time and size; an edited file is loaded anew.

  Raises:
    ImportFailure: if it cannot be imported.
  """
  del modified
  # Known to `sys.modules`, where dataclasses look up types; not by the name of
  # the file alone, which may be that of a library.
  name = f"model_file.{path.stem}"
  spec = importlib.util.spec_from_file_location(name, path)
  assert spec is not None  # it is a file of Python
  assert spec.loader is not None
  module = sys.modules[name] = importlib.util.module_from_spec(spec)
  try:
    with loading(path):
      spec.loader.exec_module(module)
  except ImportFailure:
    del sys.modules[name]
    raise
  return module


@contextlib.contextmanager
def loading(path: pathlib.Path) -> Iterator[None]:
  """Lets a file import those beside it; an error says where it failed.

  Raises:
    ImportFailure: for any exception.
  """
  folder = str(path.parent)
  is_new = folder not in sys.path
  if is_new:  # last: a file beside it may have the name of a library
    sys.path.append(folder)
  if not is_ours(path):
    _of_users.add(path.parent)
  try:
    yield
  except Exception as error:
    raise ImportFailure(_import_failure(path, error)) from error
  finally:
    if is_new and folder in sys.path:
      sys.path.remove(folder)


def place(error: Exception) -> str:
  """Returns `file, line N` of an error in a user's file, "" of any other.

  Where our own code refuses what such a file passed, its sentence is enough.
  """
  frames = traceback.extract_tb(error.__traceback__)
  if isinstance(error, ValueError) and frames and is_ours(frames[-1].filename):
    return ""
  return _innermost(error, _of_users)


def is_ours(file: str | pathlib.Path) -> bool:
  """Returns whether a file is of this project, plug-ins in its tree too."""
  path = pathlib.Path(file).resolve()
  return any(path.is_relative_to(folder) for folder in _OURS)


def _import_failure(path, error):
  """Returns one line that says where in a file the import failed."""
  where = _innermost(error, {path.parent}) or f"{path}, line 1"
  message = str(error).partition("\n")[0]
  if isinstance(error, SyntaxError) and error.lineno:
    # It may be in a file that this one imports.
    where, message = f"{error.filename}, line {error.lineno}", error.msg
  return f"{where}: {type(error).__name__}: {message}"


def _innermost(error, folders):
  """Returns `file, line N` of the last call in a folder's file, or ""."""
  for frame in reversed(traceback.extract_tb(error.__traceback__)):
    if pathlib.Path(frame.filename).parent in folders:
      return f"{frame.filename}, line {frame.lineno}"
  return ""
