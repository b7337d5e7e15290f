"""Generates data sets: `python -m nbody_bench.prepare --dataset=NAME/CONFIG`.

What is there already is left as it is.
"""

import sys

from absl import flags

import nbody_bench as nbody_bench  # registers the data sets
from nbody_bench import command_line


def define(values, argv):
  """Defines the flags."""
  del argv
  flags.DEFINE_list(
    "dataset",
    None,
    "what to make, such as nbody_gravity/n20; several separated by commas",
    required=True,
    flag_values=values,
  )
  flags.DEFINE_string(
    "data_dir", None, "where TFDS keeps its data", flag_values=values
  )


def prepare(values, rest):
  """Runs the command."""
  from nbody_bench import preparation

  if rest:
    raise ValueError(f"arguments not understood: {' '.join(rest)}")
  for dataset in values.dataset:
    builder = preparation.prepare(dataset, values.data_dir)
    print(f"{builder.info.full_name} is in {builder.data_dir}")


def main(argv=None):
  """Entry point; returns the exit code."""
  return command_line.run(prepare, define, argv, __doc__)


if __name__ == "__main__":
  sys.exit(main())
