"""Generates data sets: `python -m nbody_bench.prepare --dataset=NAME/CONFIG`.

What is there already is left as it is; a generation that was broken off goes on
where it stopped.
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
  flags.DEFINE_integer(
    "num_workers",
    None,
    "blocks of trajectories made at a time; default one for each processor",
    lower_bound=1,
    flag_values=values,
  )
  flags.DEFINE_multi_string(
    "beam_options",
    [],
    "make the examples on Apache Beam with this option, such as "
    "runner=FlinkRunner; repeat for more",
    flag_values=values,
  )
  flags.DEFINE_string(
    "manual_dir",
    None,
    "folder of files that the data set is made from and that you have to get "
    "yourself; default downloads/manual in data_dir",
    flag_values=values,
  )
  flags.DEFINE_bool(
    "validate",
    False,
    "read what is on disk and say what is wrong with it",
    flag_values=values,
  )


def prepare(values, rest):
  """Runs the command."""
  from nbody_bench import preparation, validation

  if rest:
    raise ValueError(f"arguments not understood: {' '.join(rest)}")
  if "" in values.dataset:
    raise ValueError("--dataset= names none; give NAME/CONFIG")
  faults = 0
  for dataset in values.dataset:
    builder = preparation.prepare(
      dataset,
      values.data_dir,
      values.num_workers,
      values.beam_options,
      values.manual_dir,
    )
    print(f"{builder.info.full_name} is in {builder.data_dir}")
    if values.validate:
      findings = validation.validate(builder)
      for finding in findings:
        print(finding)
      faults += sum(f.severity == "error" for f in findings)
      print(f"{builder.info.full_name}: {len(findings) or 'no'} findings")
  if faults:
    raise ValueError(f"{faults} errors in the data, listed above")


def main(argv=None):
  """Entry point; returns the exit code."""
  return command_line.run(prepare, define, argv, __doc__)


if __name__ == "__main__":
  sys.exit(main())
