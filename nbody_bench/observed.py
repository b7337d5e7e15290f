"""The base class of data sets that were observed, or computed elsewhere.

People that run, molecules: what moves them is no pair law of `systems`. So
there is no solver, no bound to keep and no second run: the law is "unknown",
label errors and, as a rule, energies are NaN, "not known". Examples are windows
of longer recordings, and have the features of every other data set.
"""

import abc
import dataclasses
import pathlib
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from nbody_bench import external, generation, statistics
from nbody_bench.dataset_configs import Size
from nbody_bench.states import Domain, Particles, State, Trajectory
from nbody_bench.systems import System

UNKNOWN = System(law="unknown", coupling=0.0)
# What NumPy raises for archives that are damaged, or none.
_DAMAGED = (
  *(ValueError, TypeError, AttributeError, KeyError, EOFError, OSError),
  *(zipfile.BadZipFile, zlib.error),
)
# A part of a ballistic step that is smaller than this is rounding.
_ROUNDING = 1e-6
# Of a window; one for all its frames, and not every data set has them.
_CONSTANT = ("bonds", "species", "charge")


class Windows(NamedTuple):
  """Windows of one split, T frames each, in the units of the data set.

  Attributes:
    position: `[B, T, N, D]`.
    velocity: `[B, T, N, D]`.
    mass: `[N]`.
    bonds: `[E, 2]` pairs of particles, or None.
    species: `[N]` atomic numbers, or None.
    charge: `[N]`, or None.
    energy: `[B, T]` total energy, or None where nobody knows it.
    potential_energy: `[B, T]`, or None, as is `force`.
    force: `[B, T, N, D]`.
  """

  position: np.ndarray
  velocity: np.ndarray
  mass: np.ndarray
  bonds: np.ndarray | None = None
  species: np.ndarray | None = None
  charge: np.ndarray | None = None
  energy: np.ndarray | None = None
  potential_energy: np.ndarray | None = None
  force: np.ndarray | None = None


@dataclasses.dataclass(eq=False, kw_only=True)
class ObservedConfig(tfds.core.BuilderConfig):
  """One configuration of an observed data set.

  Attributes:
    origin: where the motion comes from: `{"name": ..., other facts}`.
    num_particles: N.
    splits: trajectories and frames of each.
    num_dims: D.
    time_step: time between frames.
    jump: as in `dataset_configs.NBodyConfig`.
    has_bonds: whether examples carry `bonds`.
    has_species: whether they carry `species`.
    has_charge: whether they carry `charge`.
    has_forces: whether they carry `potential_energy` and `force`.
    force_unit: of that force, in units of mass times length over time squared.
    contact_radius: see `Problem`; for data without bonds.
    overlap: which windows may share frames, by design: "none" of them, those
      "within splits", or even "across splits", as some published ones do.
    seed: of what is drawn.
  """

  origin: Mapping[str, Any]
  num_particles: int
  splits: Mapping[str, Size]
  num_dims: int = 3
  time_step: float = 1.0
  jump: tuple[int, int] | None = None
  has_bonds: bool = True
  has_species: bool = False
  has_charge: bool = False
  has_forces: bool = False
  force_unit: float | None = None
  contact_radius: float | None = None
  overlap: Literal["none", "within splits", "across splits"] = "within splits"
  seed: int = 0

  def metadata(self) -> dict[str, Any]:
    """Returns what a user of the data may want to know, as plain data."""
    bounds = ("energy_drift", "momentum_drift", "angular_momentum_drift")
    return {
      "system": UNKNOWN.to_dict(),
      "solver": dict(self.origin),
      "check": {"name": "none"},
      "num_dims": self.num_dims,
      "num_particles": self.num_particles,
      "time_step": self.time_step,
      "first_time": 0.0,
      "noise": 0.0,
      "num_context_frames": 1,
      "withheld": [],
      "force_unit": self.force_unit,
      "contact_radius": self.contact_radius,
      "seed": self.seed,
      "overlap": self.overlap,
      "jump": list(self.jump or (0, self.splits["test"].num_frames - 1)),
      "splits": {
        k: {**v._asdict(), "num_particles": self.num_particles}
        for k, v in self.splits.items()
      },
      **{f"max_{k}": None for k in (*bounds, "label_error")},
    }


class ObservedDatasetBuilder(
  external.ExternalDatasetBuilder,
  skip_registration=True,  # type: ignore[call-arg]
):
  """Base class: a subclass lists its configurations and defines `windows`.

  Attributes:
    BUILDER_CONFIGS: a list of `ObservedConfig`; the first is the default.
  """

  BUILDER_CONFIGS: ClassVar[list[Any]]

  @abc.abstractmethod
  def windows(
    self, dl_manager: tfds.download.DownloadManager
  ) -> Mapping[str, Windows]:
    """Returns the windows of each split, as many as its size or more.

    Those of a split come in the order of the examples: "the first n" of a task
    or a training are the first ones here.

    Args:
      dl_manager: for `find`.
    """

  def _info(self) -> tfds.core.DatasetInfo:
    config = self.builder_config
    num_dims = config.num_dims
    features = external.motion_features(num_dims)
    if config.has_bonds:
      features["bonds"] = external.integers(None, 2)
    if config.has_species:
      features["species"] = external.integers(None)
    if config.has_charge:
      features["charge"] = external.floats(None)
    if config.has_forces:
      features["potential_energy"] = external.floats(None)
      features["force"] = external.floats(None, None, num_dims)
    return self.info_of(features, config.metadata())

  def _split_generators(self, dl_manager):
    config = self.builder_config
    found = self.windows(dl_manager)
    parts = {}
    for split, size in config.splits.items():
      parts[split] = _cut(found[split], size.num_trajectories)
      shape = (*size, config.num_particles, config.num_dims)
      if parts[split].position.shape != shape:
        raise ValueError(
          f"{self.full_config} {split} has positions of shape "
          f"{list(parts[split].position.shape)}, and the configuration states "
          f"{list(shape)}: there is less data than it takes"
        )
    self.info.metadata["statistics"] = _statistics(
      config.time_step, parts["train"]
    )
    return {k: self._generate_examples(v) for k, v in parts.items()}

  def _generate_examples(self, windows: Windows):
    num_trajectories, num_frames, _, num_dims = windows.position.shape
    unknown = np.full(num_frames, np.nan)
    momentum = np.einsum("n,btnd->btd", windows.mass, windows.velocity)
    for k in range(num_trajectories):
      generation.stop_if_requested()
      example = {
        "trajectory_id": k,
        "time": self.builder_config.time_step * np.arange(num_frames),
        "position": windows.position[k],
        "velocity": windows.velocity[k],
        "box": np.full(num_dims, np.inf),
        "energy": unknown if windows.energy is None else windows.energy[k],
        "momentum": momentum[k],
        "label_error": unknown,
        "mass": windows.mass,
      }
      for name in _CONSTANT:
        if getattr(windows, name) is not None:
          example[name] = getattr(windows, name)
      for name in ("potential_energy", "force"):
        if getattr(windows, name) is not None:
          example[name] = getattr(windows, name)[k]
      yield k, example


def _cut(windows, count):
  """Returns the first `count` windows."""
  return Windows(
    **{
      k: x if x is None or k in ("mass", *_CONSTANT) else x[:count]
      for k, x in windows._asdict().items()
    }
  )


def _statistics(time_step, windows):
  """Returns `statistics.compute` of the windows.

  Velocities that are differences of positions one frame apart explain such a
  step fully. Models divide by what is left over, so it is then that of a
  constant acceleration: half the change of velocity times the step.
  """
  batch, num_frames, _, num_dims = windows.position.shape
  found = statistics.compute(
    [
      Trajectory(
        time_step * np.arange(num_frames),
        State(windows.position, windows.velocity),
        Particles(np.repeat(windows.mass[None], batch, 0)),
        Domain(np.full((batch, num_dims), np.inf)),
      )
    ]
  )
  left = found["position_increment_std"]
  if left < _ROUNDING * time_step * found["velocity_std"]:
    left = 0.5 * time_step * found["velocity_increment_std"]
  return found | {"position_increment_std": left}


def frames_at(
  path: np.ndarray, starts: np.ndarray, offsets: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
  """Returns windows of a recording, velocities as differences of one frame.

  Args:
    path: `[T, N, D]` positions.
    starts: `[S]` first frames.
    offsets: P frames of each window, counted from its first.

  Returns:
    Positions x(t) and velocities x(t + 1) - x(t), `[S, P, N, D]` float64.

  Raises:
    ValueError: if the recording ends too early.
  """
  frames = np.add.outer(starts, np.asarray(offsets))
  if frames.min() < 0 or frames.max() + 1 >= len(path):
    raise ValueError(
      f"frames {frames.min()} to {frames.max() + 1} are needed, and the "
      f"recording has {len(path)}"
    )
  here, there = path[frames], path[frames + 1]
  return here.astype(np.float64), there.astype(np.float64) - here


def read_npz(
  path: pathlib.Path, shapes: Mapping[str, Sequence[int | None]]
) -> dict[str, np.ndarray]:
  """Returns arrays of a NumPy archive.

  Args:
    path: of the file.
    shapes: of the arrays that are read, by name; None for any length.

  Raises:
    ValueError: naming the file, if it is damaged or lacks one of them; if one
      has another shape or is no array of finite numbers.
  """
  arrays = {}
  try:
    with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
      for name, shape in shapes.items():
        if name not in file.files:
          raise ValueError(f"there is no array {name!r}")
        array = arrays[name] = file[name]
        if len(array.shape) != len(shape) or any(
          n not in (None, m) for n, m in zip(shape, array.shape, strict=True)
        ):
          wanted = ["any" if n is None else n for n in shape]
          raise ValueError(
            f"{name!r} has shape {list(array.shape)}, not "
            f"[{', '.join(map(str, wanted))}]"
          )
        if array.dtype.kind not in "iuf" or not np.isfinite(array).all():
          raise ValueError(f"{name!r} holds something else than numbers")
  except _DAMAGED as e:
    raise ValueError(
      f"{path} is not the file it should be: {e}; get it anew"
    ) from None
  return arrays
