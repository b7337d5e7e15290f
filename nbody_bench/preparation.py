"""Makes data sets that are not there yet."""

import pathlib
import shutil
from collections.abc import Sequence

import tensorflow_datasets as tfds

from nbody_bench import plugins, stored, validation_changes
from nbody_bench.files import exclusive


def prepare(
  dataset: str,
  data_dir: str | None,
  num_workers: int | None = None,
  beam_options: Sequence[str] = (),
  manual_dir: str | None = None,
) -> tfds.core.DatasetBuilder:
  """Returns the builder of a data set, generating what is missing.

  Args:
    dataset: `name/config`.
    data_dir: where TFDS keeps its data; None for its default.
    num_workers: blocks of trajectories made at a time; None for one for each
      processor.
    beam_options: options of an Apache Beam pipeline such as
      `runner=FlinkRunner`, which then makes the examples; empty to make them
      here.
    manual_dir: folder of files that a data set is made from and that cannot be
      fetched for you; None for `downloads/manual` in `data_dir`.

  Raises:
    ValueError: for an unknown name or configuration, listing what there is; if
      Apache Beam is needed and missing; if such a file is; if the data that are
      there were made with another law or other sizes.
  """
  plugins.check_dataset(dataset)
  if manual_dir is not None:
    manual_dir = str(pathlib.Path(manual_dir).expanduser())
  # TFDS draws a bar for each stage of writing; the builder draws the one that
  # knows how much is left.
  tfds.disable_progress_bar()
  builder = stored.builder(dataset, data_dir)
  if not builder.is_prepared():
    folder = pathlib.Path(builder.data_dir).parent
    # Two runs that miss the same data: one makes them, the other waits.
    with exclusive(folder, awaited=dataset):
      for broken in folder.glob("*.incomplete*"):
        shutil.rmtree(broken)
      builder = stored.builder(dataset, data_dir)
      builder.num_workers = num_workers
      builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(
          beam_options=_pipeline_options(beam_options), manual_dir=manual_dir
        )
      )
  edited = validation_changes.edited(builder)
  if edited:
    raise ValueError(f"{builder.info.full_name} was {edited}")
  return builder


def _pipeline_options(flags):
  if not flags:
    return None
  try:
    from apache_beam.options import pipeline_options
  except ImportError as error:
    raise ValueError(
      f"--beam_options need Apache Beam ({error}); "
      'pip install "nbody_bench[beam]"'
    ) from error
  return pipeline_options.PipelineOptions(flags=[f"--{f}" for f in flags])
