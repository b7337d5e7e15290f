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

# Trajectories of a split that are measured, and the memory they may take.
_MAX_TRAJECTORIES = 256
_MAX_BYTES = 2**28
# What a panel of the figure can show.
_MAX_PATHS = 200
_MAX_PAIRS = 400_000
_BOXED_PARTICLES = 1000

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
  from nbody_bench import croissant, files, validation

  if len(rest) != 1:
    raise ValueError(
      f"one data set is inspected at a time, such as nbody_gravity/n20; got "
      f"{' '.join(rest) or 'none'}"
    )
  builder = _builder(rest[0], values.data_dir)
  _check_structure(validation.structure(builder))
  _check_choice(builder, values.split, values.trajectory)
  for lines in (_card(builder), _on_disk(builder), _measured(builder)):
    print(*lines, sep="\n", end="\n\n")
  folder = pathlib.Path(values.output_dir)
  folder.mkdir(parents=True, exist_ok=True)
  picture = folder / f"{rest[0].replace('/', '_')}.png"
  try:
    draw(builder, values.split, values.trajectory, picture)
    print(f"figure: {picture}")
  except ModuleNotFoundError as error:
    print(
      f'no figure: {error}; pip install "nbody_bench[figures]"',
      file=sys.stderr,
    )
  files.replace_json(folder / "croissant.json", croissant.describe(builder))
  print(f"metadata: {folder / 'croissant.json'}")


def _builder(dataset, data_dir):
  import tensorflow_datasets as tfds

  name, _, config = dataset.partition("/")
  known = plugins.names("datasets")
  if name not in known:
    raise ValueError(plugins.unknown("datasets", name, known))
  configs = list(plugins.load("datasets", name).Builder.builder_configs)
  if config not in configs:
    raise ValueError(
      plugins.unknown(f"{name}'s configurations", config, configs)
    )
  return tfds.builder(dataset, data_dir=data_dir)


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
  for split, stored in info.splits.items():
    size = metadata["splits"][split]
    rows.append(
      [
        split,
        str(stored.num_examples),
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


def _measured(builder) -> Iterator[str]:
  """Yields a table of drifts and label errors, and what it was measured on."""
  from nbody_bench import tables

  metadata = builder.info.metadata
  measured = {k: _drifts(builder, k) for k in builder.info.splits}
  names = {k: k.replace("_", " ") for k in _CONSERVED}
  names["last_error"] = "label error, last frame"
  names["label_error"] = "label error, worst frame"
  rows = [["", "median", "95 %", "largest", "bound"]]
  for key, label in names.items():
    bound = metadata.get(f"max_{key.replace('last', 'label')}")
    stated = "none" if bound is None else f"{bound:g}"
    kept = {k: v[key] for k, v in measured.items() if key in v}
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
  for split, drifts in measured.items():
    count = builder.info.splits[split].num_examples
    if (read := len(drifts["label_error"])) < count:
      yield f"{split}: measured on the first {read} of {count} trajectories"
  if metadata["noise"]:
    yield "train: energy and momentum are those before noise was added"


def _drifts(builder, split) -> dict[str, np.ndarray]:
  from nbody_bench import simulation, validation
  from nbody_bench.systems import System

  truth = validation.truth(_read(builder, split))
  metadata = builder.info.metadata
  with np.errstate(all="ignore"):
    drifts = simulation.drifts(System(**metadata["system"]), truth)
  if split == "train" and metadata["noise"]:
    drifts.pop("angular_momentum_drift", None)
  return drifts | {"last_error": truth.label_error[:, -1]}


def _read(builder, split):
  from nbody_bench import validation

  return next(validation.read(builder, split, _MAX_TRAJECTORIES, _MAX_BYTES))


def draw(builder: Any, split: str, trajectory: int, path: pathlib.Path) -> None:
  """Draws a trajectory, and the split that it is of.

  Args:
    builder: TFDS builder of a prepared data set.
    split: its name.
    trajectory: place in the split.
    path: of the image.

  Raises:
    ModuleNotFoundError: without matplotlib.
  """
  # Without pyplot, which would choose a window system for the whole process.
  from matplotlib.figure import Figure

  from nbody_bench import validation
  from nbody_bench.systems import System

  system = System(**builder.info.metadata["system"])
  examples = _read(builder, split)
  one = {k: x[trajectory : trajectory + 1] for k, x in examples.items()}
  if not len(one["time"]):
    one = next(validation.read(builder, split, 1, skip=trajectory))
  truth = validation.truth(one)
  figure = Figure(figsize=(14, 7.5), layout="constrained")
  figure.suptitle(f"{builder.info.full_name}, {split}, trajectory {trajectory}")
  axes = figure.subplot_mosaic(
    [["space", "energy", "momentum"], ["space", "distance", "error"]],
    width_ratios=(1.5, 1, 1),
  )
  _draw_space(axes["space"], truth.trajectory)
  _draw_energy(axes["energy"], system, truth)
  _draw_momentum(axes["momentum"], truth)
  _draw_distances(axes["distance"], validation.truth(examples).trajectory)
  _draw_error(
    axes["error"],
    truth.trajectory.time,
    examples["label_error"],
    one["label_error"][0],
    None
    if split == "test_long"
    else builder.info.metadata.get("max_label_error"),
  )
  figure.savefig(path, dpi=120)


def _draw_space(axes, trajectory):
  from nbody_bench import validation

  path = validation.unwrapped(trajectory)[0]
  num_particles, num_dims = path.shape[1:]
  shown = _some(num_particles, _MAX_PATHS)
  path = path[:, shown]
  title = "paths" if num_particles > 1 else "path"
  if len(shown) < num_particles:
    title = f"paths of {len(shown)} of {num_particles} particles"
  colours = _colours(trajectory.particles, shown)
  box = trajectory.domain.box[0]
  if num_dims == 1:
    for i, colour in enumerate(colours):
      axes.plot(trajectory.time, path[:, i, 0], color=colour, linewidth=1.2)
    axes.set(xlabel="time", ylabel="position")
  else:
    for i, colour in enumerate(colours):
      axes.plot(*path[:, i, :2].T, color=colour, linewidth=0.9, alpha=0.7)
    ends = path[-1, :, :2].T
    size = 24 if len(shown) <= 50 else 8
    axes.scatter(*ends, c=colours, s=size, zorder=3)
    axes.set(xlabel="x", ylabel="y", aspect="equal", adjustable="datalim")
    title += ", dots: last frame"
    if num_dims == 3:
      title = f"{title}; projection on x and y"
  if np.isfinite(box[:2]).all():
    title += "; dashed: periodic box"
    _draw_box(axes, box, trajectory.time)
  if _has_both_signs(trajectory.particles):
    title += "\nred: positive charge, blue: negative"
  axes.set_title(title, fontsize=10)


def _draw_box(axes, box, time):
  half = box / 2
  if len(box) == 1:
    x, y = (time[0], time[-1]), (-half[0], half[0])
    for border in y:
      axes.plot(x, (border, border), "k--", linewidth=0.8)
    return
  a, b = half[:2]
  axes.plot([-a, a, a, -a, -a], [-b, -b, b, b, -b], "k--", linewidth=0.8)


def _has_both_signs(particles):
  return (
    particles.charge is not None and len(np.unique(particles.charge > 0)) > 1
  )


def _colours(particles, shown):
  if _has_both_signs(particles):
    charge = particles.charge[0, shown]
    return np.where(charge > 0, "#c0392b", "#2464a8")
  import matplotlib

  if len(shown) <= 10:
    return [f"C{i}" for i in range(len(shown))]
  return matplotlib.colormaps["viridis"](np.linspace(0, 0.9, len(shown)))


def _draw_energy(axes, system, truth):
  trajectory = truth.trajectory
  for name, values in (
    ("kinetic T", trajectory.at_each_frame(system.kinetic_energy)[0]),
    ("potential U", trajectory.at_each_frame(system.potential_energy)[0]),
    ("total H", truth.energy[0]),
  ):
    axes.plot(trajectory.time, values, label=name, linewidth=1.4)
  axes.set(xlabel="time", ylabel="energy")
  _legend(axes)


def _draw_momentum(axes, truth):
  for name, values in zip("xyz", truth.momentum[0].T, strict=False):
    axes.plot(truth.trajectory.time, values, label=f"P{name}", linewidth=1.4)
  span = np.ptp(truth.momentum)
  size = np.abs(truth.momentum).max()
  if span < 1e-6 * size or size < 1e-9:
    # Rounding errors would fill the panel.
    around = max(size, 1e-9)
    axes.set_ylim(-1.5 * around, 1.5 * around)
  axes.set(xlabel="time", ylabel="total momentum")
  _legend(axes)


def _draw_distances(axes, trajectory):
  batch, _, num_particles, _ = trajectory.state.position.shape
  what = "distance of pairs" if num_particles > 1 else "distance from origin"
  chosen = _some(num_particles, _BOXED_PARTICLES)
  num_pairs = len(chosen) * (len(chosen) - 1) // 2
  count = min(batch, max(1, _MAX_PAIRS // max(1, num_pairs)))
  some = trajectory.select(slice(0, count))
  found = {
    "first frame": _distances(some.frame(0).position[:, chosen], some.domain),
    "last frame": _distances(some.frame(-1).position[:, chosen], some.domain),
  }
  # A few bodies that were thrown out would flatten the rest.
  top = max(np.quantile(x, 0.995) for x in found.values())
  num_bins = 40 if len(found["first frame"]) > 2000 else 20
  for name, values in found.items():
    axes.hist(
      values,
      bins=np.linspace(0, top, num_bins + 1),
      density=True,
      histtype="step",
      linewidth=1.4,
      label=name,
    )
  axes.set(xlabel=what, ylabel=f"density, {count} trajectories")
  _legend(axes)


def _distances(position, domain):
  if position.shape[1] == 1:
    return np.linalg.norm(position, axis=-1).ravel()
  first, second = np.triu_indices(position.shape[1], 1)
  apart = domain.displacement(position[:, first], position[:, second])
  return np.linalg.norm(apart, axis=-1).ravel()


def _draw_error(axes, time, errors, one, bound):
  measured = errors.max(0) > 0  # not the initial state, which is exact
  time, errors = time[measured], errors[:, measured]
  if len(time):
    floor = errors[errors > 0].min()
    errors = np.maximum(errors, floor)
    low, high = errors.min(0), errors.max(0)
    axes.fill_between(time, low, high, alpha=0.2, label="range")
    axes.plot(time, np.median(errors, 0), label="median", linewidth=1.4)
    axes.plot(time, np.maximum(one[measured], floor), "k:", label="this one")
    axes.set_yscale("log")
  if bound is not None:
    axes.axhline(bound, color="0.4", linestyle="--", label="bound")
  axes.set(xlabel="time", ylabel=f"label error, {len(errors)} trajectories")
  _legend(axes)


def _legend(axes):
  # Above, where it hides nothing.
  axes.legend(
    loc="lower center",
    bbox_to_anchor=(0.5, 1.0),
    ncols=4,
    fontsize=8,
    frameon=False,
  )


def _some(total, most):
  """Returns at most `most` indices, evenly spread."""
  return np.unique(np.linspace(0, total - 1, min(total, most)).astype(int))


def main(argv=None):
  """Entry point; returns the exit code."""
  return command_line.run(inspect, define, argv, __doc__)


if __name__ == "__main__":
  sys.exit(main())
