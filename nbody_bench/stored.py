"""Reads the examples of a prepared data set."""

import contextlib
import json
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from google.protobuf import json_format

from nbody_bench.files import read_json
from nbody_bench.simulation import GroundTruth
from nbody_bench.states import Domain, Particles, State, Trajectory

Examples = Mapping[str, Any]  # arrays

# What `first` reads at most: examples, and the memory they may take.
MAX_FIRST = 256
_MAX_FIRST_BYTES = 2**28
_ANEW = "remove its folder and run python -m nbody_bench.prepare again"


def builder(
  dataset: str, data_dir: str | None = None
) -> tfds.core.DatasetBuilder:
  """Returns the TFDS builder of a data set, prepared or not.

  Raises:
    ValueError: if what is on disk is damaged, or files of it are missing.
  """
  try:
    found = tfds.builder(dataset, data_dir=data_dir)
    stated = found.info.metadata  # TFDS reads the file now
  except (json_format.ParseError, json.JSONDecodeError) as error:
    folder = pathlib.Path(data_dir or tfds.core.constants.DATA_DIR) / dataset
    for path in folder.glob("*/*.json"):
      read_json(path)  # raises, naming the one
    raise ValueError(
      f"what describes {dataset} in {data_dir or 'the data folder'} is damaged "
      f"({error}); {_ANEW}"
    ) from None
  needed = ["dataset_info.json", "features.json"]
  needed += ["metadata.json"] if stated else []
  # TFDS takes what it does not find for what was never there.
  for name in needed if found.data_path.exists() else []:
    if not (found.data_path / name).exists():
      raise ValueError(f"{found.data_path / name} is missing; {_ANEW}")
  return found


@contextlib.contextmanager
def reading(builder: tfds.core.DatasetBuilder) -> Iterator[None]:
  """Inside, damaged records raise ValueError naming their folder.

  Missing ones likewise, naming the file.
  """
  import tensorflow as tf

  try:
    yield
  except tf.errors.DataLossError as error:
    raise ValueError(
      f"{builder.data_dir} is damaged ({error.message}); {_ANEW}"
    ) from None
  except tf.errors.NotFoundError:
    files = [p for s in builder.info.splits.values() for p in s.filepaths]
    gone = [str(p) for p in files if not p.exists()]
    raise ValueError(
      f"{', '.join(gone) or builder.data_dir} is missing; {_ANEW}"
    ) from None


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
  """Yields the examples of a split in order, batches stacked `[B, ...]`.

  Args:
    builder: of a prepared data set.
    split: its name.
    count: examples to read; -1 for all.
    max_bytes: of a batch, except that it holds one example. Examples of other
      shapes begin a new batch.
    skip: examples to leave out before.
  """
  dataset = builder.as_dataset(split=split).skip(skip).take(count)
  with reading(builder):
    yield from batches(tfds.as_numpy(dataset), max_bytes)


def first(
  builder: tfds.core.DatasetBuilder, split: str
) -> dict[str, np.ndarray]:
  """Returns the first examples of a split, as many as are shown together."""
  return next(read(builder, split, MAX_FIRST, _MAX_FIRST_BYTES))


def batches(
  examples: Iterable[Examples], max_bytes: int
) -> Iterator[dict[str, np.ndarray]]:
  """Yields examples stacked `[B, ...]`; see `read`."""
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
    Domain(examples["box"], examples.get("cell")),
    force=examples.get("force"),
    potential_energy=examples.get("potential_energy"),
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
