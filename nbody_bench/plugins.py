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

import contextlib
import dataclasses
import difflib
import functools
import importlib
import importlib.machinery
import os
import pathlib
import pkgutil
import types
from typing import Any

from nbody_bench import plugin_files
from nbody_bench.cards import ModelCard
from nbody_bench.recipes import Recipe

KINDS = ("baselines", "datasets", "metrics")
# What a file must define; of a model that depends on what is asked for.
_DEFINES = {"datasets": "Builder", "metrics": "METRIC"}
# Data sets that cannot be loaded. A second try would only hide the reason, for
# what a file registered before it failed cannot be registered again.
_broken: dict[str, ValueError] = {}


def extend_paths() -> None:
  """Adds the folders of `NBODY_BENCH_PLUGINS` to the plug-in packages.

  Raises:
    ValueError: if a folder does not exist or holds no plug-ins.
  """
  for folder in _folders(os.environ.get("NBODY_BENCH_PLUGINS", "")):
    path = str(folder)
    package = importlib.import_module(f"nbody_bench.{folder.name}")
    if path not in package.__path__:
      package.__path__.append(path)


@functools.cache  # relative paths are of where the program started
def _folders(variable):
  found = []
  for folder in filter(None, variable.split(os.pathsep)):
    kinds = [k for k in KINDS if (pathlib.Path(folder) / k).is_dir()]
    if not kinds:
      raise ValueError(
        f"NBODY_BENCH_PLUGINS names {folder!r}, which holds none of the "
        f"folders {', '.join(KINDS)}; create one or unset the variable"
      )
    found += [pathlib.Path(folder).resolve() / kind for kind in kinds]
  return found


def register_datasets() -> None:
  """Imports all data sets, which registers them with TensorFlow Datasets.

  What cannot be imported, or found, is no error until it is asked for: the rest
  goes on without it.
  """
  with contextlib.suppress(ValueError):
    for name in names("datasets"):
      try:
        load("datasets", name)
      except ValueError as error:
        _broken[name] = error


def names(kind: str) -> list[str]:
  """Returns the plug-ins of one of `KINDS`, sorted.

  Raises:
    ValueError: as `extend_paths`.
  """
  extend_paths()
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
      a name of two files; for a file that cannot be imported, naming the line,
      or does not define what it must.
  """
  if name.endswith(".py"):
    path = pathlib.Path(name)
    if not path.is_file():
      raise ValueError(f"no file {name!r}; give the path of a model's .py")
    facts = path.stat()
    return plugin_files.load(path.resolve(), (facts.st_mtime_ns, facts.st_size))
  known = names(kind)
  if name not in known:
    raise ValueError(unknown(kind, name, known))
  if kind == "datasets" and name in _broken:
    raise _broken[name]
  path = _file(kind, name)
  full_name = f"nbody_bench.{kind}.{name}"
  if kind == "datasets":
    full_name += f".{path.stem}"
  with plugin_files.loading(path):
    module = importlib.import_module(full_name)
  if kind in _DEFINES and not hasattr(module, _DEFINES[kind]):
    raise ValueError(
      f"{path} defines no {_DEFINES[kind]}; see CONTRIBUTING.md for what a "
      f"file of {kind} needs"
    )
  return module


def _file(kind, name):
  """Returns the file of a plug-in that there is.

  Raises:
    ValueError: if two have its name, or it is a data set's and is not there.
  """
  package = importlib.import_module(f"nbody_bench.{kind}")
  find = importlib.machinery.PathFinder.find_spec
  specs = [find(name, [folder]) for folder in package.__path__]
  files = [pathlib.Path(s.origin) for s in specs if s and s.origin]
  if kind == "datasets":
    files = [f.parent / f"{name}_dataset_builder.py" for f in files]
  if len(files) > 1:
    raise ValueError(
      f"{name!r} of {kind} is two files: {files[0]} and {files[1]}; rename one"
    )
  (file,) = files
  if kind == "datasets" and not file.is_file():
    others = sorted(f.name for f in file.parent.glob("*_dataset_builder.py"))
    raise ValueError(
      f"no file {file}; "
      + (f"rename {others[0]} to that" if others else "create it")
      + ", or remove its folder"
    )
  return file


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
    card=_card(module, key),
    simulator=kind,
  )


def _card(module, key):
  card = getattr(module, "CARD", ModelCard(name=key))
  if card.authors or not plugin_files.is_ours(module.__file__):
    return card
  return dataclasses.replace(card, authors=("nbody_bench",))


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
