"""Makes data sets that are not there yet."""

import pathlib

import tensorflow_datasets as tfds

from nbody_bench import plugins
from nbody_bench.files import exclusive


def prepare(dataset: str, data_dir: str | None) -> tfds.core.DatasetBuilder:
  """Returns the builder of a data set, generating what is missing.

  Args:
    dataset: `name/config`.
    data_dir: where TFDS keeps its data; None for its default.

  Raises:
    ValueError: for an unknown name or configuration, listing what there is.
  """
  name, _, config = dataset.partition("/")
  known = plugins.names("datasets")
  if name not in known:
    raise ValueError(plugins.unknown("datasets", name, known))
  configs = list(plugins.load("datasets", name).Builder.builder_configs)
  if config not in configs:
    raise ValueError(
      plugins.unknown(f"{name}'s configurations", config, configs)
    )
  # TFDS draws a bar for each stage of writing; the builder draws the one that
  # knows how much is left.
  tfds.disable_progress_bar()
  builder = tfds.builder(dataset, data_dir=data_dir)
  if not builder.is_prepared():
    # Two runs that miss the same data: one makes them, the other waits.
    with exclusive(pathlib.Path(builder.data_dir).parent, wait=True):
      builder = tfds.builder(dataset, data_dir=data_dir)
      builder.download_and_prepare()
  return builder
