"""Finds plug-ins by name: the name typed is the name of a file.

| kind       | file                                       | it defines   |
|------------|--------------------------------------------|--------------|
| baselines  | `baselines/<name>.py`                      | `Simulator`  |
| datasets   | `datasets/<name>/<name>_dataset_builder.py`| `Builder`    |
| metrics    | `nbody_bench/metrics/<name>.py`            | `METRIC`     |

The environment variable `NBODY_BENCH_PLUGINS` may name further folders
(separated as in PATH) that hold `baselines/`, `datasets/` or `metrics/` of
their own. A model may also be named by a path, `path/to/file.py` or
`path/to/file.py:ClassName`.
"""

import difflib
import importlib
import importlib.util
import os
import pathlib
import pkgutil
import types

KINDS = ("baselines", "datasets", "metrics")


def extend_paths() -> None:
  """Adds the folders of `NBODY_BENCH_PLUGINS` to the plug-in packages.

  Raises:
    ValueError: if a folder does not exist or holds no plug-ins.
  """
  for folder in os.environ.get("NBODY_BENCH_PLUGINS", "").split(os.pathsep):
    if not folder:
      continue
    found = [k for k in KINDS if (pathlib.Path(folder) / k).is_dir()]
    if not found:
      raise ValueError(
        f"NBODY_BENCH_PLUGINS names {folder!r}, which holds none of the "
        f"folders {', '.join(KINDS)}; create one or unset the variable"
      )
    for kind in found:
      path = str(pathlib.Path(folder).resolve() / kind)
      package = importlib.import_module(f"nbody_bench.{kind}")
      if path not in package.__path__:
        package.__path__.append(path)


def names(kind: str) -> list[str]:
  """Returns the plug-ins of one of `KINDS`, sorted."""
  package = importlib.import_module(f"nbody_bench.{kind}")
  found = (m.name for m in pkgutil.iter_modules(package.__path__))
  return sorted(n for n in found if not n.startswith("_"))


def load(kind: str, name: str) -> types.ModuleType:
  """Returns the module of a plug-in.

  Args:
    kind: one of `KINDS`.
    name: its name, or for a model a path `file.py` (without class).

  Raises:
    ValueError: for an unknown name, listing what there is and the closest.
  """
  if name.endswith(".py"):
    return _load_file(pathlib.Path(name))
  known = names(kind)
  if name not in known:
    raise ValueError(unknown(kind, name, known))
  module = f"nbody_bench.{kind}.{name}"
  if kind == "datasets":
    module += f".{name}_dataset_builder"
  return importlib.import_module(module)


def unknown(what: str, name: str, known: list[str]) -> str:
  """Returns the sentence that answers an unknown name."""
  close = difflib.get_close_matches(name, known, 1, 0.5)
  guess = f" Did you mean {close[0]!r}?" if close else ""
  return f"{name!r} is not in {what}.{guess} There are: {', '.join(known)}."


def _load_file(path):
  if not path.is_file():
    raise ValueError(f"no file {str(path)!r}; give the path of a model's .py")
  spec = importlib.util.spec_from_file_location(path.stem, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module
