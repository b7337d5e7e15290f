"""Draws a prepared data set: one trajectory, and the split that it is of."""

import pathlib
from typing import Any

import numpy as np

from nbody_bench import stored
from nbody_bench.states import Domain, Trajectory
from nbody_bench.systems import System

# What a panel of the figure can show.
MAX_PATHS = 200
_MAX_PAIRS = 400_000
_BOXED_PARTICLES = 1000


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

  system = System(**builder.info.metadata["system"])
  examples = stored.first(builder, split)
  one = {k: x[trajectory : trajectory + 1] for k, x in examples.items()}
  if not len(one["time"]):
    one = next(stored.read(builder, split, 1, skip=trajectory))
  truth = stored.truth(one)
  figure = Figure(figsize=(14, 7.5), layout="constrained")
  figure.suptitle(f"{builder.info.full_name}, {split}, trajectory {trajectory}")
  axes = figure.subplot_mosaic(
    [["space", "energy", "momentum"], ["space", "distance", "error"]],
    width_ratios=(1.5, 1, 1),
  )
  draw_space(axes["space"], truth.trajectory)
  _draw_energy(axes["energy"], system, truth)
  _draw_momentum(axes["momentum"], truth)
  _draw_distances(axes["distance"], stored.truth(examples).trajectory)
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


def draw_space(axes: Any, trajectory: Trajectory) -> None:
  """Draws the paths of a batch of one into matplotlib axes.

  In the plane; of space the projection on x and y, of a line against time.
  """
  path = stored.unwrapped(trajectory)[0]
  num_particles, num_dims = path.shape[1:]
  shown = _some(num_particles, MAX_PATHS)
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
    "first frame": distances(some.frame(0).position[:, chosen], some.domain),
    "last frame": distances(some.frame(-1).position[:, chosen], some.domain),
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


def distances(position: np.ndarray, domain: Domain) -> np.ndarray:
  """Returns the distances of all pairs of `[B, N, D]` in one row.

  By minimum image; those from the origin where there is one particle.
  """
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
