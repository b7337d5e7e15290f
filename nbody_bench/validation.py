"""Says what is wrong with a prepared data set.

What is on disk is looked at, not how it was made, so that data from anywhere
are held to the same rules: names and shapes, equal time steps, energies that
belong to the states, bounds that are kept, velocities of the same time as the
positions, motion that follows the stated law, splits that share nothing.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from nbody_bench import pair_sums, simulation, statistics
from nbody_bench.simulation import GroundTruth
from nbody_bench.states import OF_SYSTEM, Domain, Particles, State, Trajectory
from nbody_bench.systems import System

Severity = Literal["error", "warning"]
Examples = Mapping[str, Any]  # arrays

_BOUNDS = (
  "max_energy_drift",
  "max_momentum_drift",
  "max_angular_momentum_drift",
  "max_label_error",
)
_NEEDED = (
  *("system", "time_step", "first_time", "num_dims", "num_particles"),
  *("splits", "statistics", "noise", "withheld", "num_context_frames"),
  *_BOUNDS,
)
_SPLITS = ("train", "validation", "test")
_STATISTICS = (
  "velocity_std",
  "position_increment_std",
  "velocity_increment_std",
)
# Shapes by their letters: T frames, N particles, D dimensions.
_LAYOUT = {
  "trajectory_id": "",
  "time": "T",
  "position": "TND",
  "velocity": "TND",
  "box": "D",
  "energy": "T",
  "momentum": "TD",
  "label_error": "T",
  "mass": "N",
}
_BUILD_ON = "build on nbody_bench.dataset_builder.NBodyDatasetBuilder"
# Stored and computed energies, and times, agree within these.
_SAME = 1e-9
_SAME_STEP = 1e-6
# A median over fewer samples than this says nothing.
_MIN_SAMPLES = 8
# Typical differences larger than this part are not the frames' doing.
_UNLIKE = 0.1
# An explanation is believed if it leaves this part of the difference.
_EXPLAINED = 0.1


@dataclasses.dataclass(frozen=True)
class Finding:
  """One thing that is wrong.

  Attributes:
    severity: "error" for what gives wrong results, "warning" for what a user
      should know.
    where: the part of the data set, such as "train trajectory 3".
    message: a sentence: the value, what is allowed, the mend.
  """

  severity: Severity
  where: str
  message: str

  def __str__(self) -> str:
    return f"{self.severity}: {self.where}: {self.message}"


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
  facts = _Facts.of(builder.info.metadata)
  with np.errstate(all="ignore"):
    return [*findings, *_Examination(builder, facts).findings()]


def structure(builder: tfds.core.DatasetBuilder) -> list[Finding]:
  """Returns what is wrong before an example is looked at; see `validate`."""
  require_prepared(builder)
  return [*_metadata(builder), *_features(builder), *_splits(builder)]


def require_prepared(builder: tfds.core.DatasetBuilder) -> None:
  """Raises ValueError, with the command to run, if data are not there."""
  if not builder.is_prepared():
    config = builder.builder_config.name if builder.builder_config else ""
    raise ValueError(
      f"{builder.name}/{config} is not prepared in {builder.data_dir}; run "
      f"python -m nbody_bench.prepare --dataset={builder.name}/{config} "
      f"--data_dir={builder.data_dir_root}"
    )


def read(
  builder: tfds.core.DatasetBuilder,
  split: str,
  count: int = -1,
  max_bytes: int = 2**26,
  skip: int = 0,
) -> Iterator[dict[str, np.ndarray]]:
  """Returns the examples of a split in order, batches stacked `[B, ...]`.

  Args:
    builder: of a prepared data set.
    split: its name.
    count: examples to read; -1 for all.
    max_bytes: of a batch, except that it holds one example. Examples of other
      shapes begin a new batch.
    skip: examples to leave out before.
  """
  dataset = builder.as_dataset(split=split).skip(skip).take(count)
  return batches(tfds.as_numpy(dataset), max_bytes)


def batches(
  examples: Iterable[Examples], max_bytes: int
) -> Iterator[dict[str, np.ndarray]]:
  """Yields examples stacked; see `read`."""
  batch: list[dict[str, np.ndarray]] = []
  size = 0
  for example in examples:
    arrays = {k: np.asarray(x) for k, x in example.items()}
    if batch and (size >= max_bytes or _shapes(arrays) != _shapes(batch[0])):
      yield _stacked(batch)
      batch, size = [], 0
    batch.append(arrays)
    size += sum(x.nbytes for x in arrays.values())
  if batch:
    yield _stacked(batch)


def _shapes(example):
  return {k: x.shape for k, x in example.items()}


def _stacked(batch):
  return {k: np.stack([e[k] for e in batch]) for k in batch[0]}


def truth(examples: Examples) -> GroundTruth:
  """Returns the stored trajectories, energies, momenta and label errors."""
  known = [f for f in Particles._fields if f in examples]
  trajectory = Trajectory(
    examples["time"][0],
    State(examples["position"], examples["velocity"]),
    Particles(**{f: examples[f] for f in known}),
    Domain(examples["box"]),
  )
  return GroundTruth(
    trajectory,
    examples["label_error"],
    examples["energy"],
    examples["momentum"],
  )


def unwrapped(trajectory: Trajectory) -> np.ndarray:
  """Returns positions `[B, T, N, D]` without jumps at periodic borders."""
  position = trajectory.state.position
  steps = trajectory.domain.displacement(position[:, :-1], position[:, 1:])
  path = np.concatenate([position[:, :1], steps], 1)
  return np.cumsum(path, 1)


# --- What can be said without looking at an example.


def _metadata(builder):
  metadata = builder.info.metadata or {}
  for key in _NEEDED:
    if key not in metadata:
      yield Finding(
        "error",
        "metadata",
        f"{key!r} is missing; pass it in tfds.core.MetadataDict, or "
        f"{_BUILD_ON}, which does",
      )
  for key in ("solver", "check"):
    if key not in metadata:
      yield Finding(
        "warning",
        "metadata",
        f"{key!r} is missing: nobody knows how the labels were made and "
        f"checked; say it in tfds.core.MetadataDict",
      )
  try:
    System(**metadata.get("system", {"law": "plummer", "coupling": 0.0}))
  except (TypeError, ValueError) as error:
    allowed = ", ".join(f.name for f in dataclasses.fields(System))
    yield Finding(
      "error",
      "metadata",
      f"'system' is not a nbody_bench.System ({error}); store "
      f"System(...).to_dict(), whose fields are {allowed}",
    )
  for key in ("time_step", "num_dims", "num_particles", "num_context_frames"):
    value = metadata.get(key, 1)
    if not (isinstance(value, int | float) and value > 0):
      yield Finding(
        "error", "metadata", f"{key} is {value!r}; it must be a positive number"
      )
  for key in _STATISTICS:
    value = metadata.get("statistics", {}).get(key)
    if "statistics" in metadata and not (value and 0 < value < np.inf):
      yield Finding(
        "error",
        "metadata",
        f"statistics[{key!r}] is {value}; models divide by it, so it must be "
        "a positive number: nbody_bench.statistics.compute gives it",
      )


def _layout(metadata) -> dict[str, str]:
  """Returns the features that there must be, and their shapes in letters."""
  try:
    source = System(**metadata["system"]).source
  except (KeyError, TypeError, ValueError):
    source = "mass"  # the metadata have their own finding
  names = (source, *metadata.get("withheld", ()))
  return _LAYOUT | {k: "" if k in OF_SYSTEM else "N" for k in names}


def _features(builder):
  metadata, features = builder.info.metadata or {}, builder.info.features
  sizes = {"T": None, "N": None, "D": metadata.get("num_dims")}
  for name, letters in _layout(metadata).items():
    shape = tuple(sizes[x] for x in letters)
    dtype = "int64" if name == "trajectory_id" else "float64"
    wanted = f"must be {dtype} of shape {_in_words(shape)}"
    if name not in features:
      yield Finding(
        "error", "features", f"{name!r} is missing; it {wanted}; {_BUILD_ON}"
      )
      continue
    found = features[name]
    if np.dtype(found.np_dtype) != dtype or not _fits(found.shape, shape):
      yield Finding(
        "error",
        "features",
        f"{name!r} is {np.dtype(found.np_dtype)} of shape "
        f"{_in_words(found.shape)}; it {wanted}; use tfds.features.Tensor("
        f"shape={shape}, dtype=np.{dtype}, encoding='bytes')",
      )


def _fits(found, wanted):
  return len(found) == len(wanted) and all(
    None in (f, w) or f == w for f, w in zip(found, wanted, strict=True)
  )


def _in_words(shape):
  return f"[{', '.join('any' if n is None else str(n) for n in shape)}]"


def _splits(builder):
  stated = (builder.info.metadata or {}).get("splits", {})
  stored = {k: v.num_examples for k, v in builder.info.splits.items()}
  for split in _SPLITS:
    if split not in stored:
      yield Finding(
        "error",
        "splits",
        f"there is no {split!r}, only {', '.join(stored)}; the suite reads "
        f"{', '.join(_SPLITS)}",
      )
  for split, count in stored.items():
    missing = {"num_trajectories", "num_frames", "num_particles"} - set(
      stated.get(split, ())
    )
    if stated and missing:
      yield Finding(
        "error",
        split,
        f"metadata['splits'][{split!r}] lacks {', '.join(sorted(missing))}",
      )
    elif stated and stated[split]["num_trajectories"] != count:
      yield Finding(
        "error",
        split,
        f"holds {count} trajectories, but the metadata state "
        f"{stated[split]['num_trajectories']}; generate it again, or correct "
        "the metadata",
      )
    elif stated and stated[split]["num_frames"] < 2:
      yield Finding(
        "error", split, "has trajectories of one frame; there must be two"
      )


# --- What the examples say. A check yields the faults of a batch.


class _Facts(NamedTuple):
  """What the metadata say."""

  system: System
  time_step: float
  first_time: float
  num_dims: int
  noise: float
  layout: Mapping[str, str]  # see `_layout`
  splits: Mapping[str, Mapping[str, int]]
  statistics: Mapping[str, float]
  bounds: Mapping[str, float | None]

  @classmethod
  def of(cls, metadata):
    derived = ("system", "layout", "bounds")
    return cls(
      system=System(**metadata["system"]),
      layout=_layout(metadata),
      bounds={k.removeprefix("max_"): metadata[k] for k in _BOUNDS},
      **{f: metadata[f] for f in cls._fields if f not in derived},
    )


class _Batch(NamedTuple):
  """Examples of one split, all of one shape."""

  split: str
  first: int  # place of the first one in the split
  examples: Examples
  is_noisy: bool

  @property
  def truth(self) -> GroundTruth:
    return truth(self.examples)

  def select(self, rows: np.ndarray) -> "_Batch":
    return self._replace(
      examples={k: x[rows] for k, x in self.examples.items()}
    )


class _Fault(NamedTuple):
  """Something wrong with one trajectory, or (None) with a whole split."""

  row: int | None
  amount: float  # the worst is shown
  message: str
  severity: Severity = "error"


_Check = Callable[[_Facts, _Batch], Iterator[_Fault]]


def _firsts(wrong):
  """Yields each row where something is wrong, how much is, and where first."""
  for row in np.flatnonzero(wrong.reshape(len(wrong), -1).any(1)):
    place = tuple(int(i) for i in np.argwhere(wrong[row])[0])
    yield int(row), int(wrong[row].sum()), place


def _worsts(amount, limit):
  """Yields each row that exceeds its limit, by what, and where most."""
  excess = np.where(np.isnan(amount), np.inf, amount - limit)
  for row in np.flatnonzero(excess.reshape(len(excess), -1).max(1) > 0):
    place = np.unravel_index(np.argmax(excess[row]), excess[row].shape)
    yield int(row), float(excess[row].max()), tuple(int(i) for i in place)


def _shape_of_examples(facts, batch):
  stated = facts.splits[batch.split]
  sizes = {
    "T": stated["num_frames"],
    "N": stated["num_particles"],
    "D": facts.num_dims,
  }
  for name, letters in facts.layout.items():
    found = batch.examples[name].shape[1:]
    wanted = tuple(sizes[x] for x in letters)
    if found != wanted:
      for row in range(len(batch.examples[name])):
        yield _Fault(
          row,
          0,
          f"{name} has shape {_in_words(found)}; for {sizes['T']} frames of "
          f"{sizes['N']} particles, as the metadata state for this split, it "
          f"must have {_in_words(wanted)}; make all trajectories of a split "
          "alike, or correct the metadata",
        )
      return


def _ids(facts, batch):
  del facts
  found = batch.examples["trajectory_id"]
  wanted = batch.first + np.arange(len(found))
  for row, _, _ in _firsts(found != wanted):
    yield _Fault(
      row,
      len(found) - row,  # the first one is shown
      f"trajectory_id is {found[row]} in place {wanted[row]}; ids must count "
      "0, 1, 2, ... in the order of storage: set disable_shuffling=True and "
      "yield the examples in order",
    )


def _finite(facts, batch):
  del facts
  for name, values in batch.examples.items():
    if values.dtype.kind != "f" or name == "box":
      continue
    for row, count, place in _firsts(~np.isfinite(values)):
      at = f"[{', '.join(map(str, place))}]" if place else ""
      yield _Fault(
        row,
        count,
        f"{name}{at} is {values[row][place]}; every number must be finite: "
        "use a finer solver, a softening, or other initial states",
      )


def _times(facts, batch):
  time, step = batch.examples["time"], facts.time_step
  for row in range(len(time)):
    if abs(time[row, 0] - facts.first_time) > _SAME_STEP * step:
      message = (
        f"time begins at {time[row, 0]:g}, but metadata['first_time'] is "
        f"{facts.first_time:g}"
      )
    else:
      steps = np.diff(time[row])
      wrong = np.flatnonzero(~(np.abs(steps - step) <= _SAME_STEP * step))
      if not len(wrong):
        continue
      t = int(wrong[0])
      how = "" if steps[t] > 0 else ", which is not later"
      message = (
        f"time goes from {time[row, t]:g} at frame {t} to "
        f"{time[row, t + 1]:g}{how}"
      )
    yield _Fault(
      row,
      0,
      f"{message}; times must be first_time + k * time_step, equal steps of "
      f"{step:g}",
    )


def _positive(facts, batch):
  del facts
  for name in ("mass", "box"):
    values = batch.examples[name]
    for row, _, place in _firsts(~(values > 0)):
      allowed = "" if name == "mass" else "; infinite where space is open"
      yield _Fault(
        row,
        -values[row][place],
        f"{name}[{place[0]}] is {values[row][place]:g}; it must be "
        f"positive{allowed}",
      )


def _precision(facts, batch):
  del facts
  for name in ("position", "velocity"):
    # The initial state may have been typed in, with few digits.
    values = batch.examples[name][:, 1:]
    short = (values == values.astype(np.float32)).reshape(len(values), -1)
    moving = (values != values[:, :1]).reshape(len(values), -1).any(1)
    for row in np.flatnonzero(short.all(1) & moving):
      yield _Fault(
        int(row),
        0,
        f"{name} holds float32 numbers: they were rounded before or while "
        "they were stored; keep them in float64 and give the feature "
        "encoding='bytes' (a TFRecord's own floats have 32 bits)",
      )


def _inside(facts, batch):
  del facts
  position, box = batch.examples["position"], batch.examples["box"]
  half = box[:, None, None, :] / 2
  outside = np.abs(position) - half * (1 + _SAME)
  for row, excess, place in _worsts(outside, 0.0):
    side = box[row, place[-1]]
    mend = "wrap them with Domain(box).wrap(position)"
    if position[row].min() >= 0 and (position[row] <= box[row]).all():
      mend = "they seem to lie in [0, L): subtract L / 2"
    yield _Fault(
      row,
      excess,
      f"position[{', '.join(map(str, place))}] is "
      f"{position[row][place]:g}, outside the periodic box "
      f"[{-side / 2:g}, {side / 2:g}); {mend}",
    )


def _energies(facts, batch):
  if batch.is_noisy:
    return  # energies are those of the states before noise
  system, stored = facts.system, batch.truth
  kinetic = stored.trajectory.at_each_frame(system.kinetic_energy)
  potential = stored.trajectory.at_each_frame(system.potential_energy)
  scale = kinetic + np.abs(potential)
  difference = np.abs(stored.energy - kinetic - potential)
  for row, excess, (t,) in _worsts(difference, _SAME * scale):
    hint = _combination(stored.energy[row], kinetic[row], potential[row])
    yield _Fault(
      row,
      excess,
      f"energy[{t}] is {stored.energy[row, t]:.12g}, but the stored state has "
      f"T + U = {kinetic[row, t] + potential[row, t]:.12g} under "
      f"metadata['system']{hint}; store "
      "system.hamiltonian of the same float64 states, or correct the constants",
    )


def _combination(stored, kinetic, potential):
  """Says which sum of T and U was stored, such as U with each pair twice."""
  terms = np.stack([kinetic, potential], -1)
  if not np.isfinite(terms).all():
    return ""
  fit, *_ = np.linalg.lstsq(terms, stored, rcond=None)
  if np.abs(terms @ fit - stored).max() > _SAME * np.abs(terms).max():
    return ""
  return f" (what is stored is {fit[0]:.4g} T + {fit[1]:.4g} U)"


def _momenta(facts, batch):
  if batch.is_noisy:
    return
  stored = batch.truth
  _, velocity = stored.trajectory.state
  mass = stored.trajectory.particles.mass[:, None, :, None]
  momentum = stored.trajectory.at_each_frame(facts.system.momentum)
  scale = np.sum(mass * np.abs(velocity), (2, 3))[..., None]
  difference = np.abs(stored.momentum - momentum)
  for row, excess, place in _worsts(difference, _SAME * scale):
    yield _Fault(
      row,
      excess,
      f"momentum[{place[0]}, {place[1]}] is "
      f"{stored.momentum[row][place]:.12g}, but the stored masses and "
      f"velocities give {momentum[row][place]:.12g}; store system.momentum of "
      "the same float64 states",
    )


def _bounds(facts, batch):
  for name, drift in _drifts(facts, batch).items():
    bound = facts.bounds[name]
    if bound is None:
      continue
    for row in np.flatnonzero(~(drift <= bound)):
      yield _Fault(
        int(row),
        drift[row] / bound,
        f"{name} is {drift[row]:.3g}, over the bound max_{name} = {bound:.3g} "
        "that the metadata state; use a finer solver or state a wider bound",
      )


def _drifts(facts, batch):
  drifts = simulation.drifts(facts.system, batch.truth)
  if batch.is_noisy:
    drifts.pop("angular_momentum_drift", None)
  if batch.split == "test_long":
    del drifts["label_error"]  # chaos leaves no bound there
  return drifts


def _label_errors(facts, batch):
  del facts
  error = batch.examples["label_error"]
  for row, count, (t,) in _firsts(error < 0):
    yield _Fault(
      row,
      count,
      f"label_error[{t}] is {error[row, t]:g}; a distance is not negative",
    )
  for row in np.flatnonzero(~error.any(1)):
    yield _Fault(
      int(row),
      0,
      "label_error is 0 at every frame: there was no second run, or it took "
      "the same steps; store the distance to a run that is finer",
      "warning",
    )


def _velocities(facts, batch):
  """Velocities against differences of positions, for lags and units."""
  if batch.is_noisy or batch.examples["position"].shape[1] < 5:
    return
  step = facts.time_step
  q = np.moveaxis(unwrapped(batch.truth.trajectory), 1, 0)
  v = np.moveaxis(batch.examples["velocity"], 1, 0)[2:-2]
  mass = np.broadcast_to(batch.examples["mass"], v.shape[:-1])
  central = (q[3:-1] - q[1:-3]) / (2 * step)
  # Fourth order, the second derivative likewise.
  rate = (4 * central - (q[4:] - q[:-4]) / (4 * step)) / 3
  around = 16 * (q[3:-1] + q[1:-3]) - q[4:] - q[:-4] - 30 * q[2:-2]
  pull = around / (12 * step**2)
  moving = _norm(rate) > 0
  resolved = moving & (_norm(rate - central) < 0.1 * _norm(rate))
  if resolved.sum() < max(_MIN_SAMPLES, 0.5 * moving.sum()):
    if moving.any():
      yield _unresolved("velocities were not compared with positions")
    return
  sample = _Sample(v[resolved], rate[resolved])
  if sample.relative < _SAME_STEP:
    return
  jumps = np.diff(q, axis=0) / step
  sides = (jumps[1:-2][resolved], jumps[2:-1][resolved])
  lag = _lag(sample, sides, pull[resolved], step)
  if lag:
    share = abs(lag) / step
    yield _Fault(
      None,
      share,
      f"velocities {'lag behind' if lag > 0 else 'are ahead of'} positions by "
      f"{abs(lag):.3g}, that is {share:.3g} of a time step; store both at the "
      "same time (a leapfrog scheme: complete the kick first)",
      "error" if share > 0.1 else "warning",
    )
  elif sample.relative > _UNLIKE:
    how = sample.in_words(mass[resolved], "mass times", "change its unit")
    yield _Fault(
      None,
      sample.relative,
      f"velocity differs by {100 * sample.relative:.0f} % (median) from the "
      f"rate at which the position changes; {how}",
    )


def _accelerations(facts, batch):
  """Changes of velocity against what the law says, for units and signs."""
  trajectory, step = batch.truth.trajectory, facts.time_step
  _, num_frames, num_particles, _ = trajectory.state.position.shape
  if batch.is_noisy or num_frames < 3:
    return
  count = min(max(16, 2**20 // num_particles**2), num_frames - 2)
  middle = np.linspace(1, num_frames - 2, count).round().astype(int)
  frames = np.concatenate([middle - 1, middle, middle + 1])
  some = trajectory._replace(
    time=trajectory.time[frames],
    state=State(*(x[:, frames] for x in trajectory.state)),
  )
  before, at, after = np.split(
    some.at_each_frame(facts.system.acceleration), 3, 1
  )
  first, _, last = np.split(some.state.velocity, 3, 1)
  expected = step / 3 * (before + 4 * at + after)
  coarse = step / 2 * (before + 2 * at + after)
  pulled = _norm(expected) > 0
  resolved = pulled & (_norm(expected - coarse) < 0.1 * _norm(expected))
  if resolved.sum() < max(_MIN_SAMPLES, 0.5 * pulled.sum()):
    if pulled.any():
      yield _unresolved("changes of velocity were not compared with the law")
    return
  sample = _Sample((last - first)[resolved], expected[resolved])
  if sample.relative > _UNLIKE:
    mass = trajectory.particles.mass[:, None]
    how = sample.in_words(
      np.broadcast_to(mass, resolved.shape)[resolved],
      "mass times",
      "check the sign and size of the coupling, the source strengths and the "
      "units of time and length",
    )
    yield _Fault(
      None,
      sample.relative,
      f"velocities change by {100 * sample.relative:.0f} % (median) other than "
      f"metadata['system'] says; {how}",
    )


def _norm(x):
  return np.sqrt(np.sum(x**2, -1))


def _unresolved(what):
  return _Fault(
    None,
    0,
    f"{what}: more than half of the motion is too fast for frames this far "
    "apart; store more frames if you can",
    "warning",
  )


class _Sample(NamedTuple):
  """Vectors `[S, D]` that are stored, and what they should be."""

  found: np.ndarray
  wanted: np.ndarray

  @property
  def relative(self) -> float:
    difference = _norm(self.found - self.wanted) / _norm(self.wanted)
    return float(np.median(difference))

  def times(self, factor) -> "_Sample":
    return self._replace(wanted=np.reshape(factor, (-1, 1)) * self.wanted)

  def in_words(self, weight: np.ndarray, weighted: str, mend: str) -> str:
    """Returns which factor there is between what is and what should be."""
    limit = _EXPLAINED * self.relative
    if self.times(weight).relative < limit:
      return f"it is {weighted} that; divide by the mass"
    if self.times(1 / weight).relative < limit:
      return "it is that divided by the mass once more than it should be"
    along = np.sum(self.found * self.wanted, -1)
    factor = float(np.median(along / np.sum(self.wanted**2, -1)))
    if self.times(factor).relative < limit:
      return f"it is {factor:.4g} times that; {mend}"
    return f"no constant factor explains it; {mend}"


def _lag(sample, sides, pull, step):
  """Returns the time by which velocities are late, 0 if they are not.

  Half a frame is found by one-sided differences, which then fit better; a small
  lag by regression of what is left on the acceleration.
  """

  def typical(x):
    return np.median(_norm(x))

  left = sample.found - sample.wanted
  limit = _EXPLAINED * typical(left)
  for sign, side in zip((1, -1), sides, strict=True):
    if typical(sample.found - side) < limit:
      return sign * 0.5 * step
  strong = _norm(pull) >= max(typical(pull), np.finfo(float).tiny)
  if not strong.any():
    return 0.0
  late = -np.sum(left * pull, -1)[strong] / np.sum(pull**2, -1)[strong]
  lag = float(np.median(late))
  scatter = np.median(np.abs(late - lag))
  return lag if abs(lag) > max(1e-3 * step, 4 * scatter) else 0.0


# What later checks take for granted, then these.
_FIRST: tuple[_Check, ...] = (
  _shape_of_examples,
  _ids,
  _finite,
  _times,
  _positive,
)
_THEN: tuple[_Check, ...] = (
  _precision,
  _inside,
  _energies,
  _momenta,
  _label_errors,
  _bounds,
  _velocities,
  _accelerations,
)


class _Examination:
  """Goes through all examples once."""

  def __init__(self, builder, facts: _Facts):
    self._builder = builder
    self._facts = facts
    self._faults: dict[tuple, list[tuple[int, _Fault]]] = {}
    self._seen: dict[bytes, tuple[str, int, int]] = {}
    self._shared: dict[tuple, list[tuple]] = {}
    self._measured: dict[str, list[tuple[int, dict[str, float]]]] = {
      "first": [],
      "all": [],
    }
    self._cut: set[str] = set()  # splits with trajectories left out
    self._unbounded: dict[str, tuple[float, str, int]] = {}

  def findings(self) -> Iterator[Finding]:
    for split in self._builder.info.splits:
      first = 0
      is_noisy = split == "train" and self._facts.noise > 0
      for examples in read(self._builder, split):
        self._examine(_Batch(split, first, examples, is_noisy))
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
    for check in _FIRST:
      for fault in check(self._facts, batch):
        self._add(check, batch.split, ids, fault)
        if check is not _ids:
          sound[fault.row] = False
    if not sound.all():
      self._cut.add(batch.split)
    if not sound.any():
      return
    batch = batch.select(np.flatnonzero(sound))
    ids = batch.examples["trajectory_id"]
    for check in _THEN:
      for fault in check(self._facts, batch):
        self._add(check, batch.split, ids, fault)
    self._note_bounds(batch, ids)
    self._note_states(batch, ids)
    if batch.split == "train":
      self._note_statistics(batch)

  def _add(self, check, split, ids, fault):
    where = None if fault.row is None else int(ids[fault.row])
    key = (fault.severity, split, check.__name__)
    self._faults.setdefault(key, []).append((where, fault))

  def _note_bounds(self, batch, ids):
    for name, drift in _drifts(self._facts, batch).items():
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
      yield Finding(
        "warning" if overlap else "error",
        f"{other} trajectory {here[1]}",
        f"has at frame {here[2]} the state of {one} trajectory {there[1]} at "
        f"frame {there[2]}{others}; draw each trajectory anew, and cut one "
        "long trajectory into splits so that they do not overlap",
      )

  def _note_statistics(self, batch):
    # The base class takes the first block; all of the split is as good.
    for name, stop in (
      ("first", pair_sums.NUM_LANES - batch.first),
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
    for key in _STATISTICS:
      stored = self._facts.statistics[key]
      measured = {
        name: np.sqrt(
          np.average(
            [x[key] ** 2 for _, x in parts], weights=[n for n, _ in parts]
          )
        )
        for name, parts in self._measured.items()
        if parts
      }
      near = (("first", _SAME_STEP), ("all", 0.01))
      if measured and not any(
        abs(stored - measured[name]) <= tolerance * measured[name]
        for name, tolerance in near
      ):
        yield Finding(
          "error",
          "metadata",
          f"statistics[{key!r}] is {stored:.6g}, but the training split gives "
          f"{measured['all']:.6g}; recompute it with "
          "nbody_bench.statistics.compute",
        )
