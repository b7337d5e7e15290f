"""The checks of a batch, as a table, and those that look at single arrays."""

from collections.abc import Iterator

import numpy as np

from nbody_bench import validation_conservation, validation_motion
from nbody_bench.findings import Fault, firsts, worsts
from nbody_bench.validation_batches import (
  SAME,
  SAME_STEP,
  Batch,
  Check,
  Facts,
)
from nbody_bench.validation_structure import in_words


def _shape_of_examples(facts, batch):
  stated = facts.splits[batch.split]
  sizes = {
    "T": stated["num_frames"],
    "N": stated["num_particles"],
    "D": facts.num_dims,
  }
  if facts.static:  # what is stated is the most
    sizes["N"] = min(sizes["N"], batch.examples["mass"].shape[1])
  for name, letters in facts.layout.items():
    found = batch.examples[name].shape[1:]
    wanted = tuple(sizes[x] for x in letters)
    if found != wanted:
      for row in range(len(batch.examples[name])):
        yield Fault(
          row,
          0,
          f"{name} has shape {in_words(found)}; for {sizes['T']} frames of "
          f"{sizes['N']} particles, as the metadata state for this split, it "
          f"must have {in_words(wanted)}; make all trajectories of a split "
          "alike, or correct the metadata",
        )
      return


def ids(facts: Facts, batch: Batch) -> Iterator[Fault]:
  """Ids count the examples in the order of storage."""
  del facts
  found = batch.examples["trajectory_id"]
  wanted = batch.first + np.arange(len(found))
  for row, _, _ in firsts(found != wanted):
    yield Fault(
      row,
      len(found) - row,  # the first one is shown
      f"trajectory_id is {found[row]} in place {wanted[row]}; ids must count "
      "0, 1, 2, ... in the order of storage: set disable_shuffling=True and "
      "yield the examples in order",
    )


def _finite(facts, batch):
  exempt = {"box"}
  if not facts.system.is_known:
    exempt |= {"energy", "label_error"}  # NaN: nobody knows them
  for name, values in batch.examples.items():
    if values.dtype.kind != "f" or name in exempt:
      continue
    for row, count, place in firsts(~np.isfinite(values)):
      at = f"[{', '.join(map(str, place))}]" if place else ""
      yield Fault(
        row,
        count,
        f"{name}{at} is {values[row][place]}; every number must be finite: "
        "use a finer solver, a softening, or other initial states",
      )


def _times(facts, batch):
  time, step = batch.examples["time"], facts.time_step
  for row in range(len(time)):
    if abs(time[row, 0] - facts.first_time) > SAME_STEP * step:
      message = (
        f"time begins at {time[row, 0]:g}, but metadata['first_time'] is "
        f"{facts.first_time:g}"
      )
    else:
      steps = np.diff(time[row])
      wrong = np.flatnonzero(~(np.abs(steps - step) <= SAME_STEP * step))
      if not len(wrong):
        continue
      t = int(wrong[0])
      how = "" if steps[t] > 0 else ", which is not later"
      message = (
        f"time goes from {time[row, t]:g} at frame {t} to "
        f"{time[row, t + 1]:g}{how}"
      )
    yield Fault(
      row,
      0,
      f"{message}; times must be first_time + k * time_step, equal steps of "
      f"{step:g}",
    )


def _positive(facts, batch):
  del facts
  for name in ("mass", "box"):
    values = batch.examples[name]
    for row, _, place in firsts(~(values > 0)):
      allowed = "" if name == "mass" else "; infinite where space is open"
      yield Fault(
        row,
        -values[row][place],
        f"{name}[{place[0]}] is {values[row][place]:g}; it must be "
        f"positive{allowed}",
      )


def _precision(facts, batch):
  if not facts.system.is_known:
    return  # as precise as they were measured
  for name in ("position", "velocity"):
    # The initial state may have been typed in, with few digits.
    values = batch.examples[name][:, 1:]
    short = (values == values.astype(np.float32)).reshape(len(values), -1)
    moving = (values != values[:, :1]).reshape(len(values), -1).any(1)
    for row in np.flatnonzero(short.all(1) & moving):
      yield Fault(
        int(row),
        0,
        f"{name} holds float32 numbers: they were rounded before or while "
        "they were stored; keep them in float64 and give the feature "
        "encoding='bytes' (a TFRecord's own floats have 32 bits)",
      )


def _inside(facts, batch):
  if "cell" in facts.layout:
    yield from _inside_cell(batch)
    return
  position, box = batch.examples["position"], batch.examples["box"]
  half = box[:, None, None, :] / 2
  outside = np.abs(position) - half * (1 + SAME)
  for row, excess, place in worsts(outside, 0.0):
    side = box[row, place[-1]]
    mend = "wrap them with Domain(box).wrap(position)"
    if position[row].min() >= 0 and (position[row] <= box[row]).all():
      mend = "they seem to lie in [0, L): subtract L / 2"
    yield Fault(
      row,
      excess,
      f"position[{', '.join(map(str, place))}] is "
      f"{position[row][place]:g}, outside the periodic box "
      f"[{-side / 2:g}, {side / 2:g}); {mend}",
    )


def _inside_cell(batch):
  cell, box = batch.examples["cell"], batch.examples["box"]
  position = batch.examples["position"]
  share = np.abs(position @ np.linalg.inv(cell)[:, None])
  share = np.where(np.isfinite(box)[:, None, None], share, 0.0)
  for row, excess, (t, i, _) in worsts(share, 0.5 + SAME):
    yield Fault(
      row,
      excess,
      f"position[{t}, {i}] is {position[row][t, i].round(4).tolist()}, outside "
      "the cell about the origin; wrap them with Domain(box, "
      "cell).wrap(position)",
    )


def _label_errors(facts, batch):
  error = batch.examples["label_error"]
  for row, count, (t,) in firsts(error < 0):
    yield Fault(
      row,
      count,
      f"label_error[{t}] is {error[row, t]:g}; a distance is not negative",
    )
  if facts.static and error.shape[1] == 1:
    return  # forces and energies by the law itself
  for row in np.flatnonzero(~error.any(1)):
    yield Fault(
      int(row),
      0,
      "label_error is 0 at every frame: there was no second run, or it took "
      "the same steps; store the distance to a run that is finer",
      "warning",
    )


# What later checks take for granted, then these.
FIRST: tuple[Check, ...] = (
  _shape_of_examples,
  ids,
  _finite,
  _times,
  _positive,
)
THEN: tuple[Check, ...] = (
  _precision,
  _inside,
  validation_conservation.energies,
  validation_conservation.momenta,
  _label_errors,
  validation_conservation.bounds,
  validation_motion.velocities,
  validation_motion.accelerations,
  validation_motion.forces,
)
