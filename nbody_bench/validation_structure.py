"""What a data set states in its metadata, and which features and splits it has.

No example is read for it.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from nbody_bench.findings import Finding
from nbody_bench.states import OF_SYSTEM
from nbody_bench.stored import require_prepared
from nbody_bench.systems import System

# Of conservation and label errors, each a number or None.
BOUNDS = (
  "max_energy_drift",
  "max_momentum_drift",
  "max_angular_momentum_drift",
  "max_label_error",
)
_NEEDED = (
  *("system", "time_step", "first_time", "num_dims", "num_particles"),
  *("splits", "statistics", "noise", "withheld", "num_context_frames"),
  *BOUNDS,
)
_SPLITS = ("train", "validation", "test")
# As `statistics.compute` returns them.
STATISTICS = (
  "velocity_std",
  "position_increment_std",
  "velocity_increment_std",
)
# See `layout`.
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
# Of structures besides; see `structures.StructuresConfig`.
_STATIC_LAYOUT = {"force": "TND", "potential_energy": "T", "cell": "DD"}
_BUILD_ON = "build on nbody_bench.dataset_builder.NBodyDatasetBuilder"


def structure(builder: tfds.core.DatasetBuilder) -> list[Finding]:
  """Returns what is wrong before an example is looked at.

  Args:
    builder: of a data set that is prepared.

  Raises:
    ValueError: if it is not prepared.
  """
  require_prepared(builder)
  return [*_metadata(builder), *_features(builder), *_splits(builder)]


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
  for key in STATISTICS:
    value = metadata.get("statistics", {}).get(key)
    if "statistics" in metadata and not (value and 0 < value < np.inf):
      yield Finding(
        "error",
        "metadata",
        f"statistics[{key!r}] is {value}; models divide by it, so it must be "
        "a positive number: nbody_bench.statistics.compute gives it",
      )


def layout(metadata: Mapping[str, Any]) -> dict[str, str]:
  """Returns the features that there must be, and their shapes in letters.

  T is for frames, N for particles, D for dimensions: `TND` for positions.
  """
  try:
    source = System(**metadata["system"]).source
  except (KeyError, TypeError, ValueError):
    source = "mass"  # the metadata have their own finding
  names = (source, *metadata.get("withheld", ()))
  usual = _LAYOUT | (_STATIC_LAYOUT if metadata.get("static") else {})
  return usual | {k: "" if k in OF_SYSTEM else "N" for k in names}


def _features(builder):
  metadata, features = builder.info.metadata or {}, builder.info.features
  sizes = {"T": None, "N": None, "D": metadata.get("num_dims")}
  for name, letters in layout(metadata).items():
    shape = tuple(sizes[x] for x in letters)
    dtype = "int64" if name == "trajectory_id" else "float64"
    wanted = f"must be {dtype} of shape {in_words(shape)}"
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
        f"{in_words(found.shape)}; it {wanted}; use tfds.features.Tensor("
        f"shape={shape}, dtype=np.{dtype}, encoding='bytes')",
      )


def _fits(found, wanted):
  return len(found) == len(wanted) and all(
    None in (f, w) or f == w for f, w in zip(found, wanted, strict=True)
  )


def in_words(shape: Iterable[int | None]) -> str:
  """Returns a shape as it is told, such as [any, 2]."""
  return f"[{', '.join('any' if n is None else str(n) for n in shape)}]"


def _splits(builder):
  metadata = builder.info.metadata or {}
  stated = metadata.get("splits", {})
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
    elif (
      stated and stated[split]["num_frames"] < 2 and not metadata.get("static")
    ):
      yield Finding(
        "error", split, "has trajectories of one frame; there must be two"
      )
