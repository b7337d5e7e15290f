"""Trained weights as one small file, which needs nothing but NumPy to read.

A run leaves `seed_<k>/weights.npz` beside `config.json`; another begins with
them, or only rolls them out, by `--start_from`.
"""

import io
import json
import pathlib
import zipfile
from typing import Any

import numpy as np

from nbody_bench.files import replace_bytes

FILE = "weights.npz"
# Settings of how a learned law is followed; the weights are the law's.
_FREE = ("integrator", "num_substeps")


def save(path: pathlib.Path, model: Any, steps: int) -> None:
  """Writes the variables of a model in their order, each by its name.

  Args:
    path: of the file.
    model: whose `variables` are made.
    steps: of the training that made them.
  """
  arrays = _numbered((v.name, v.numpy()) for v in model.variables)
  stream = io.BytesIO()
  np.savez_compressed(stream, steps=steps, **arrays)
  replace_bytes(path, stream.getvalue())


def load(folder: pathlib.Path, model: Any) -> str:
  """Gives a model the weights that lie in a seed folder.

  Args:
    folder: with `config.json` and `weights.npz`.
    model: called once, so that its variables are made. What lies in
      `unused_scopes` of its modules is left out: networks that it does without
      for the number of bodies that it was called with.

  Returns:
    Where they come from, in words.

  Raises:
    ValueError: naming what is missing, damaged or of another model.
  """
  path = folder / FILE
  described = describe(folder)
  try:
    with np.load(path, allow_pickle=False) as content:
      arrays = dict(content)
    steps = int(arrays.pop("steps"))
  except FileNotFoundError:
    raise _missing(path) from None
  except (
    OSError,
    ValueError,
    KeyError,
    EOFError,  # of an empty file
    zipfile.BadZipFile,
  ) as error:
    raise ValueError(f"{path} is damaged ({error})") from None
  unused = tuple(
    scope
    for module in getattr(model, "submodules", ())
    for scope in getattr(module, "unused_scopes", ())
  )
  named = ((k.partition(" ")[2], x) for k, x in sorted(arrays.items()))
  arrays = _numbered((k, x) for k, x in named if not k.startswith(unused))
  found = {k: x.shape for k, x in arrays.items()}
  wanted = _numbered((v.name, tuple(v.shape)) for v in model.variables)
  wrong = sorted(set(found.items()) ^ set(wanted.items()))
  if wrong:
    raise ValueError(
      f"{path} does not fit the model: {wrong[0][0]} of shape {wrong[0][1]} is "
      f"in {'the file' if wrong[0][0] in found else 'the model'} alone; models "
      "that know a number of particles take no other"
    )
  for name, variable in zip(wanted, model.variables, strict=True):
    variable.assign(arrays[name])
  return f"{described['dataset']}, {steps} steps"


def check(
  folder: pathlib.Path, model: str, config: dict[str, Any] | None
) -> None:
  """Raises ValueError unless a seed folder holds weights of such a model.

  Args:
    folder: with `config.json` and `weights.npz`.
    model: as `--model` takes it.
    config: its settings, of which integrator and sub-steps may be others; None
      where training goes on with others, such as a longer horizon, and shapes
      alone must fit.
  """
  described = describe(folder)
  if not (folder / FILE).is_file():
    raise _missing(folder / FILE)
  compared: list[tuple[str, Any, Any]] = [("model", described["model"], model)]
  if config is not None:
    then, now = (
      {k: v for k, v in x.items() if k not in _FREE}
      for x in (described["config"], json.loads(json.dumps(config)))
    )
    compared.append(("config", then, now))
  for name, then, now in compared:
    if then != now:
      raise ValueError(
        f"{folder} holds weights of {name} {then}, not {now}; give the same "
        "--model and --config"
      )


def describe(folder: pathlib.Path) -> dict[str, Any]:
  """Returns `config.json` of a seed folder: model, data set, statistics.

  Raises:
    ValueError: if it is missing, damaged or lacks one of them.
  """
  path = folder / "config.json"
  try:
    described = json.loads(path.read_text())
    missing = {"model", "config", "dataset", "statistics"} - set(described)
  except FileNotFoundError:
    raise _missing(path) from None
  except (OSError, ValueError, TypeError) as error:
    raise ValueError(f"{path} is damaged ({error})") from None
  if missing:
    raise ValueError(f"{path} lacks {', '.join(sorted(missing))}")
  return described


def _numbered(named):
  """Returns a dictionary of values, for names of variables may repeat."""
  return {f"{i:03d} {name}": value for i, (name, value) in enumerate(named)}


def _missing(path):
  return ValueError(
    f"{path} is missing; --start_from is the output folder of a run that has "
    "finished, with seed folders of the same numbers"
  )
