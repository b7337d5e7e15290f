"""Shows a prepared data set: `python -m nbody_bench.inspect NAME/CONFIG`.

Prints the head of its card and what is on disk, with conservation and label
errors measured from the stored trajectories; draws one trajectory into
NAME_CONFIG.png and writes Croissant metadata to croissant.json.
"""

import pathlib
import re
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from absl import flags

import nbody_bench as nbody_bench  # registers the data sets
from nbody_bench import command_line, plugins

_CONSERVED = ("energy_drift", "momentum_drift", "angular_momentum_drift")


def define(values, argv):
  """Defines the flags."""
  del argv
  options = {"flag_values": values}
  flags.DEFINE_string("data_dir", None, "where TFDS keeps its data", **options)
  flags.DEFINE_string("split", "test", "split that is drawn", **options)
  flags.DEFINE_integer(
    "trajectory", 0, "trajectory that is drawn", lower_bound=0, **options
  )
  flags.DEFINE_string(
    "output_dir", ".", "folder for the figure and croissant.json", **options
  )


def inspect(values, rest):
  """Runs the command."""
  from nbody_bench import croissant, figures, files, validation_structure

  if len(rest) != 1:
    raise ValueError(
      f"one data set is inspected at a time, such as nbody_gravity/n20; got "
      f"{' '.join(rest) or 'none'}"
    )
  builder = _builder(rest[0], values.data_dir)
  _check_structure(validation_structure.structure(builder))
  _check_choice(builder, values.split, values.trajectory)
  for lines in (_card(builder), _on_disk(builder), measured(builder)):
    print(*lines, sep="\n", end="\n\n")
  folder = pathlib.Path(values.output_dir)
  folder.mkdir(parents=True, exist_ok=True)
  picture = folder / f"{rest[0].replace('/', '_')}.png"
  try:
    figures.draw(builder, values.split, values.trajectory, picture)
    print(f"figure: {picture}")
  except ModuleNotFoundError as error:
    print(
      f'no figure: {error}; pip install "nbody_bench[figures]"',
      file=sys.stderr,
    )
  files.replace_json(folder / "croissant.json", croissant.describe(builder))
  print(f"metadata: {folder / 'croissant.json'}")


def _builder(dataset, data_dir):
  from nbody_bench import stored

  plugins.check_dataset(dataset)
  return stored.builder(dataset, data_dir)


def _check_structure(findings):
  faults = [f for f in findings if f.severity == "error"]
  if faults:
    raise ValueError(
      f"{faults[0].where}: {faults[0].message} ({len(faults)} errors; "
      "python -m nbody_bench.prepare --validate lists them)"
    )


def _check_choice(builder, split, trajectory):
  splits = list(builder.info.splits)
  if split not in splits:
    raise ValueError(plugins.unknown("the splits", split, splits))
  count = builder.info.splits[split].num_examples
  if trajectory >= count:
    raise ValueError(
      f"--trajectory={trajectory} is not in {split!r}, which holds {count}: "
      f"0 to {count - 1}"
    )


def _card(builder) -> Iterator[str]:
  text = builder.info.description or ""
  title = re.match(r"#\s*(.+)", text)
  yield f"{builder.info.full_name}  {builder.info.config_description or ''}"
  if title and title[1] != builder.name:
    yield title[1]
  equation = re.search(r"\*\*Equation.*?(?=\n\n\*\*|\n#|\Z)", text, re.DOTALL)
  if equation:
    yield f"\n{equation[0].strip()}\n"
  card = pathlib.Path(sys.modules[type(builder).__module__].__file__ or "")
  card = card.with_name("README.md")
  yield f"card: {card}" if card.exists() else f"no card: {card} is not there"


def _on_disk(builder) -> Iterator[str]:
  from nbody_bench import tables

  info, metadata = builder.info, builder.info.metadata
  yield f"version     {info.version}"
  yield f"on disk     {info.dataset_size / 1e6:.1f} MB in {builder.data_dir}"
  system = {k: v for k, v in metadata["system"].items() if v}
  yield f"law         {_named(system, 'law')}"
  for key, label in (("solver", "solver    "), ("check", "checked by")):
    if key in metadata:
      yield f"{label}  {_named(metadata[key], 'name')}"
  yield (
    f"time        steps of {metadata['time_step']:g} from "
    f"{metadata['first_time']:g}"
  )
  if metadata["noise"]:
    yield f"noise       {metadata['noise']:g} on the training split"
  if metadata["withheld"]:
    yield (
      f"withheld    {', '.join(metadata['withheld'])}, to be found from "
      f"{metadata['num_context_frames']} frames"
    )
  for key, value in metadata["statistics"].items():
    yield f"{key:<24}{value:.4g}"
  rows = [["\nsplit", "trajectories", "frames", "particles"]]
  for split, there in info.splits.items():
    size = metadata["splits"][split]
    rows.append(
      [
        split,
        str(there.num_examples),
        str(size["num_frames"]),
        str(size["num_particles"]),
      ]
    )
  yield tables.align(rows)


def _named(fields, key):
  others = {k: v for k, v in fields.items() if k != key}
  if not others:
    return fields[key]
  settings = ", ".join(f"{k}={v}" for k, v in others.items())
  return f"{fields[key]} ({settings})"


def measured(builder: Any) -> Iterator[str]:
  """Yields a table of drifts and label errors, and what it was measured on.

  Args:
    builder: TFDS builder of a prepared data set.
  """
  from nbody_bench import tables

  metadata = builder.info.metadata
  found = {k: _drifts(builder, k) for k in builder.info.splits}
  # Structures do not move.
  conserved = () if metadata.get("static") else _CONSERVED
  names = {k: k.replace("_", " ") for k in conserved}
  names["last_error"] = "label error, last frame"
  names["label_error"] = "label error, worst frame"
  rows = [["", "median", "95 %", "largest", "bound"]]
  for key, label in names.items():
    bound = metadata.get(f"max_{key.replace('last', 'label')}")
    stated = "none" if bound is None else f"{bound:g}"
    kept = {k: v[key] for k, v in found.items() if key in v}
    if not kept:
      rows.append([label, "not conserved", "", "", ""])
      continue
    rows.append([label, "", "", "", stated])
    for split, values in kept.items():
      # Chaos leaves no bound on a longer horizon.
      exempt = split == "test_long" and "error" in key
      numbers = np.quantile(values, [0.5, 0.95, 1])
      rows.append(
        [f"  {split}", *(f"{x:.1e}" for x in numbers), "none" * exempt]
      )
  yield tables.align(rows)
  for split, drifts in found.items():
    count = builder.info.splits[split].num_examples
    if (read := len(drifts["label_error"])) < count:
      yield f"{split}: measured on the first {read} of {count} trajectories"
  if metadata["noise"]:
    yield "train: energy and momentum are those before noise was added"


def _drifts(builder, split) -> dict[str, np.ndarray]:
  from nbody_bench import simulation, stored
  from nbody_bench.systems import System

  truth = stored.truth(stored.first(builder, split))
  metadata = builder.info.metadata
  with np.errstate(all="ignore"):
    drifts = simulation.drifts(System(**metadata["system"]), truth)
  if split == "train" and metadata["noise"]:
    drifts.pop("angular_momentum_drift", None)
  return drifts | {"last_error": truth.label_error[:, -1]}


def main(argv=None):
  """Entry point; returns the exit code."""
  return command_line.run(inspect, define, argv, __doc__)


if __name__ == "__main__":
  sys.exit(main())
