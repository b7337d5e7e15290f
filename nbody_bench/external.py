"""The base class of data sets that no solver of this suite makes.

Their examples are read from files, or come from other programs.
"""

import inspect
import pathlib
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from nbody_bench import record_files


class ExternalDatasetBuilder(
  tfds.core.GeneratorBasedBuilder,
  skip_registration=True,  # type: ignore[call-arg]
):
  """Finds the files that examples are made from, and writes these.

  Attributes:
    num_workers: processes, where a data set is computed; what
      `preparation.prepare` sets.
  """

  num_workers: int | None = None
  # Of this call of `download_and_prepare`.
  _manual_dir: pathlib.Path | None = None

  def __init_subclass__(cls, **kwargs):
    super().__init_subclass__(**kwargs)
    # See `dataset_builder.NBodyDatasetBuilder`.
    cls.pkg_dir_path = epath.Path(inspect.getfile(cls)).parent

  @property
  def full_config(self) -> str:
    """Such as `md17/aspirin`."""
    return f"{self.name}/{self.builder_config.name}"

  def manual_folder(
    self, dl_manager: tfds.download.DownloadManager
  ) -> pathlib.Path | None:
    """Returns TFDS's manual_dir, or None if it is not there, or empty."""
    try:
      return pathlib.Path(dl_manager.manual_dir)
    except AssertionError:
      return None

  def find(
    self, dl_manager: tfds.download.DownloadManager, *names: str
  ) -> pathlib.Path:
    """Returns the path of the first of these files that TFDS's manual_dir has.

    There or in a folder below.

    Raises:
      ValueError: if there is none, saying which, where it was looked for, where
        it comes from and how to go on.
    """
    folder = self.manual_folder(dl_manager)
    found = []
    if folder is not None:
      found = [p for name in names for p in sorted(folder.rglob(name))]
    if not found:
      raise self.missing(folder, " or ".join(names))
    return found[0]

  def missing(self, folder: pathlib.Path | None, what: str) -> ValueError:
    """Returns the error that says that a data set's files are not there."""
    where = " ".join(self.MANUAL_DOWNLOAD_INSTRUCTIONS.split())
    return ValueError(
      f"{self.full_config} is made from {what}, which is not in "
      f"{folder or self._manual_dir}: {where} Then run python -m "
      f"nbody_bench.prepare --dataset={self.full_config} --manual_dir=FOLDER"
    )

  def info_of(
    self, features: dict[str, Any], metadata: dict[str, Any]
  ) -> tfds.core.DatasetInfo:
    """Returns what `_info` should."""
    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict(features),
      # Trajectory k of a split stays in place k: tasks name "the first n".
      disable_shuffling=True,
      metadata=tfds.core.MetadataDict(metadata),
    )

  def _download_and_prepare(self, dl_manager, download_config):
    self._manual_dir = pathlib.Path(
      download_config.manual_dir or dl_manager.download_dir / "manual"
    )
    super()._download_and_prepare(dl_manager, download_config)

  def _example_writer(self):
    return record_files.CanonicalWriter(self.info.file_format)


def motion_features(num_dims: int) -> dict[str, Any]:
  """Returns the features that every data set of motion has."""
  return {
    "trajectory_id": np.int64,
    "time": floats(None),
    "position": floats(None, None, num_dims),
    "velocity": floats(None, None, num_dims),
    "box": floats(num_dims),
    "energy": floats(None),
    "momentum": floats(None, num_dims),
    "label_error": floats(None),
    "mass": floats(None),
  }


def integers(*shape: int | None) -> tfds.features.Tensor:
  """Returns a feature of int64 numbers."""
  return tfds.features.Tensor(shape=shape, dtype=np.int64)


def floats(*shape: int | None) -> tfds.features.Tensor:
  """Returns a feature of float64 numbers.

  As bytes: a float feature of a TFRecord would be rounded to float32.
  """
  return tfds.features.Tensor(
    shape=shape, dtype=np.float64, encoding=tfds.features.Encoding.BYTES
  )
