"""Finds plug-ins by name: the name typed is the name of a file.

| kind       | file                                       | it defines   |
|------------|--------------------------------------------|--------------|
| baselines  | `baselines/<name>.py`                      | see `Model`  |
| datasets   | `datasets/<name>/<name>_dataset_builder.py`| `Builder`    |
| metrics    | `nbody_bench/metrics/<name>.py`            | `METRIC`     |

The environment variable `NBODY_BENCH_PLUGINS` may name further folders
(separated as in PATH) that hold `baselines/`, `datasets/` or `metrics/` of
their own. A model may also be named by a path, `path/to/file.py` or
`path/to/file.py:ClassName`.
"""

import dataclasses
import difflib
import functools
import importlib
import importlib.util
import os
import pathlib
import pkgutil
import sys
import traceback
import types
from typing import Any

from nbody_bench.cards import ModelCard
from nbody_bench.recipes import Recipe

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
    ValueError: for an unknown name, listing what there is and the closest; for
      a file that cannot be imported, naming the line.
  """
  if name.endswith(".py"):
    path = pathlib.Path(name)
    if not path.is_file():
      raise ValueError(f"no file {name!r}; give the path of a model's .py")
    facts = path.stat()
    return _load_file(path.resolve(), (facts.st_mtime_ns, facts.st_size))
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


def check_dataset(dataset: str) -> None:
  """Raises ValueError unless `name/config` is known, listing what there is."""
  name, _, config = dataset.partition("/")
  known = names("datasets")
  if name not in known:
    raise ValueError(unknown("datasets", name, known))
  configs = list(load("datasets", name).Builder.builder_configs)
  if config not in configs:
    raise ValueError(unknown(f"{name}'s configurations", config, configs))


@dataclasses.dataclass(frozen=True)
class NoConfig:
  """The settings of a model that defines no `Config`."""


@dataclasses.dataclass(frozen=True)
class Model:
  """What `--model` names: a class, and what its file says about it.

  Attributes:
    key: name on the board: that of the file, or of the class where one is
      given.
    config: the file's `Config`, a dataclass; `NoConfig` without one.
    recipe: the file's `RECIPE`, or the default.
    card: the file's `CARD`, or one that holds the key alone.
    simulator: the class. It is anything that `simulators.as_simulator` takes.
  """

  key: str
  config: type
  recipe: Recipe
  card: ModelCard
  simulator: type

  def build(self, config: Any, problem: Any) -> Any:
    """Returns an instance; classes without settings get no arguments.

    Args:
      config: an instance of `self.config`.
      problem: a `problems.Problem`.
    """
    if self.config is NoConfig:
      return self.simulator()
    return self.simulator(config, problem)


def load_model(name: str) -> Model:
  """Returns the model that `--model` names.

  Args:
    name: that of a file in `baselines/`, `path/to/file.py` (both mean its class
      `Simulator`) or `path/to/file.py:ClassName`.

  Raises:
    ValueError: as `load`; if there is no such class, listing those there are.
  """
  stem, has_class, class_name = name.partition(".py:")
  file = f"{stem}.py" if has_class else name
  module = load("baselines", file)
  class_name = class_name if has_class else "Simulator"
  kind: Any = getattr(module, class_name, None)
  if not _is_model(kind):
    raise ValueError(_no_model(file, class_name, module))
  key = class_name if has_class else pathlib.Path(file).stem
  return Model(
    key=key,
    config=getattr(module, "Config", NoConfig),
    recipe=getattr(module, "RECIPE", Recipe()),
    card=getattr(module, "CARD", ModelCard(name=key)),
    simulator=kind,
  )


def _is_model(kind):
  # Every class is callable, so the instances' `__call__` is looked for.
  return isinstance(kind, type) and (
    hasattr(kind, "predict") or any("__call__" in vars(k) for k in kind.__mro__)
  )


def _no_model(file, class_name, module):
  classes = [
    n
    for n, kind in vars(module).items()
    if _is_model(kind) and kind.__module__ == module.__name__
  ]
  if not classes:
    return (
      f"{file!r} defines no class {class_name} with a method `predict` or "
      "`__call__`, nor any other; see examples/ for what a model needs"
    )
  return unknown(f"the models of {file}", class_name, classes) + (
    " Name one as --model=path/to/file.py:ClassName"
  )


# A file is executed once a command, however often it is asked for: a second
# execution would make other classes of the same names.
@functools.lru_cache
def _load_file(path, modified):
  del modified  # an edited file is loaded anew
  # Known to `sys.modules`, where dataclasses look up types; not by the name of
  # the file alone, which may be that of a library.
  name = f"model_file.{path.stem}"
  spec = importlib.util.spec_from_file_location(name, path)
  module = sys.modules[name] = importlib.util.module_from_spec(spec)
  try:
    spec.loader.exec_module(module)
  except Exception as error:
    del sys.modules[name]
    raise ValueError(_import_failure(path, error)) from error
  return module


def _import_failure(path, error):
  """Returns one line that says where in a user's file the import failed."""
  file, line, message = path, 1, str(error).partition("\n")[0]
  for frame in traceback.extract_tb(error.__traceback__):
    if frame.filename == str(path):
      line = frame.lineno
  if isinstance(error, SyntaxError) and error.lineno:
    # It may be in a file that this one imports.
    file, line, message = error.filename, error.lineno, error.msg
  return f"{file}, line {line}: {type(error).__name__}: {message}"
