"""Says what is wrong with a prepared data set.

What is on disk is looked at, not how it was made, so that data from anywhere
are held to the same rules: names and shapes, equal time steps, energies that
belong to the states, bounds that are kept, velocities of the same time as the
positions, motion that follows the stated law, splits that share nothing.
"""

import hashlib
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

from nbody_bench import (
  pair_kernels,
  statistics,
  stored,
  structures,
  validation_changes,
  validation_checks,
  validation_conservation,
)
from nbody_bench.findings import Fault, Finding
from nbody_bench.validation_batches import SAME_STEP, Batch, Facts
from nbody_bench.validation_structure import STATISTICS, structure


def validate(builder: tfds.core.DatasetBuilder) -> list[Finding]:
  """Returns what is wrong with a data set, nothing if it is sound.

  Faults of one kind in one split are one finding, which shows the worst.

  Args:
    builder: of a data set that is prepared.

  Raises:
    ValueError: if it is not prepared.
  """
  findings = structure(builder)
  if any(f.severity == "error" for f in findings):
    text = "were not looked at; mend the errors above first"
    return [*findings, Finding("warning", "the examples", text)]
  edited = validation_changes.edited(builder)
  if edited:
    findings.append(Finding("error", "metadata", edited))
  facts = Facts.of(builder.info.metadata)
  with np.errstate(all="ignore"):
    return [*findings, *_Examination(builder, facts).findings()]


class _Examination:
  """Goes through all examples once."""

  def __init__(self, builder, facts: Facts):
    self._builder = builder
    self._facts = facts
    self._faults: dict[tuple, list[tuple[int, Fault]]] = {}
    self._seen: dict[bytes, tuple[str, int, int]] = {}
    self._shared: dict[tuple, list[tuple]] = {}
    self._measured: dict[str, list[tuple[int, dict[str, float]]]] = {
      "first": [],
      "all": [],
    }
    self._labels = structures.Labels()
    self._cut: set[str] = set()  # splits with trajectories left out
    self._unbounded: dict[str, tuple[float, str, int]] = {}

  def findings(self) -> Iterator[Finding]:
    for split in self._builder.info.splits:
      first = 0
      is_noisy = split == "train" and self._facts.noise > 0
      for examples in stored.read(self._builder, split):
        self._examine(Batch(split, first, examples, is_noisy))
        first += len(examples["trajectory_id"])
    for (severity, split, _), faults in self._faults.items():
      index, worst = max(faults, key=lambda f: f[1].amount)
      others = len({i for i, _ in faults}) - 1
      also = f" (so it is with {others} more of the split)" if others else ""
      where = split if index is None else f"{split} trajectory {index}"
      yield Finding(severity, where, worst.message + also)
    yield from self._duplicates()
    yield from self._statistics()
    yield from self._without_bound()

  def _examine(self, batch):
    ids = batch.examples["trajectory_id"]
    sound = np.ones(len(ids), bool)
    for check in validation_checks.FIRST:
      for fault in check(self._facts, batch):
        self._add(check, batch.split, ids, fault)
        if check is not validation_checks.ids:
          sound[fault.row] = False
    if not sound.all():
      self._cut.add(batch.split)
    if not sound.any():
      return
    batch = batch.select(np.flatnonzero(sound))
    ids = batch.examples["trajectory_id"]
    for check in validation_checks.THEN:
      for fault in check(self._facts, batch):
        self._add(check, batch.split, ids, fault)
    if self._facts.system.is_known and not self._facts.static:
      self._note_bounds(batch, ids)
    self._note_states(batch, ids)
    if batch.split == "train":
      self._note_statistics(batch)

  def _add(self, check, split, ids, fault):
    where = None if fault.row is None else int(ids[fault.row])
    key = (fault.severity, split, check.__name__)
    self._faults.setdefault(key, []).append((where, fault))

  def _note_bounds(self, batch, ids):
    drifts = validation_conservation.drifts(self._facts, batch)
    for name, drift in drifts.items():
      if self._facts.bounds[name] is None:
        row = int(np.argmax(drift))
        here = (float(drift[row]), batch.split, int(ids[row]))
        self._unbounded[name] = max(here, self._unbounded.get(name, here))

  def _without_bound(self):
    for name, (value, split, index) in self._unbounded.items():
      yield Finding(
        "warning",
        "metadata",
        f"max_{name} is None: nothing is promised; the largest is {value:.3g}, "
        f"of {split} trajectory {index}; state a bound",
      )

  def _note_states(self, batch, ids):
    if batch.split == "test_symmetry":
      return  # twins by design
    trajectory = batch.truth.trajectory
    states = np.concatenate(trajectory.state, -1)
    for row, index in enumerate(ids):
      constants = b"".join(
        x[row].tobytes() for x in trajectory.particles if x is not None
      )
      for t, state in enumerate(states[row]):
        digest = hashlib.blake2b(constants, digest_size=16)
        digest.update(state.tobytes())
        here = (batch.split, int(index), t)
        there = self._seen.setdefault(digest.digest(), here)
        if there[:2] != here[:2]:
          self._shared.setdefault((there[0], here[0]), []).append((there, here))
          break

  def _duplicates(self):
    for (one, other), pairs in self._shared.items():
      # The same start is worse than an overlap later on.
      there, here = min(pairs, key=lambda p: (p[0][2], p[1][2]) != (0, 0))
      others = f" (so have {len(pairs) - 1} more)" if len(pairs) > 1 else ""
      # Windows of one long trajectory may overlap, but only within a split.
      overlap = one == other and (there[2], here[2]) != (0, 0)
      if overlap and self._facts.overlap != "none":
        continue  # by design
      overlap |= self._facts.overlap == "across splits"  # as published
      yield Finding(
        "warning" if overlap else "error",
        f"{other} trajectory {here[1]}",
        f"has at frame {here[2]} the state of {one} trajectory {there[1]} at "
        f"frame {there[2]}{others}; draw each trajectory anew, and cut one "
        "long trajectory into splits so that they do not overlap",
      )

  def _note_statistics(self, batch):
    if self._facts.static:
      truth = batch.truth.trajectory
      labels = (truth.force, truth.potential_energy, truth.particles.tag)
      for row in zip(*labels, strict=True):
        self._labels.add(*row)
      return
    # The base class takes the first block; all of the split is as good.
    for name, stop in (
      ("first", pair_kernels.NUM_LANES - batch.first),
      ("all", None),
    ):
      if stop is None or stop > 0:
        some = batch.truth.trajectory.select(slice(0, stop))
        self._measured[name].append(
          (len(some.state.position), statistics.compute([some]))
        )

  def _statistics(self):
    if "train" in self._cut:
      return
    if self._facts.static:
      yield from self._statistics_of_labels()
      return
    for key in STATISTICS:
      stated = self._facts.statistics[key]
      measured = {
        name: np.sqrt(
          np.average(
            [x[key] ** 2 for _, x in parts], weights=[n for n, _ in parts]
          )
        )
        for name, parts in self._measured.items()
        if parts
      }
      near = (("first", SAME_STEP), ("all", 0.01))
      if not self._facts.system.is_known and key == "position_increment_std":
        continue  # zero, of differences; see `observed`
      if measured and not any(
        abs(stated - measured[name]) <= tolerance * measured[name]
        for name, tolerance in near
      ):
        yield Finding(
          "error",
          "metadata",
          f"statistics[{key!r}] is {stated:.6g}, but the training split gives "
          f"{measured['all']:.6g}; recompute it with "
          "nbody_bench.statistics.compute",
        )

  def _statistics_of_labels(self):
    for key, measured in self._labels.statistics().items():
      stated = self._facts.statistics.get(key, np.nan)
      if not abs(stated - measured) <= SAME_STEP * abs(measured):
        yield Finding(
          "error",
          "metadata",
          f"statistics[{key!r}] is {stated:.6g}, but the training split gives "
          f"{measured:.6g}; recompute it with nbody_bench.structures.Labels",
        )
