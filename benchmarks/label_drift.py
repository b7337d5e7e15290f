"""What of an energy error is the data's: how far labels leave their energy.

  python benchmarks/label_drift.py nbody_gravity/n20 nbody_gravity/published_n20

The first test trajectories of each configuration are simulated, nothing is
stored. |H(k) - H(0)| / |H(0)| of the labels after k steps, as the metric
`energy_error` measures it of a prediction: mean over trajectories, and the
largest. An error below it says nothing about a model.
"""

import tempfile

import numpy as np
from absl import flags

from nbody_bench import command_line, plugins


def define(values, argv):
  """Defines the flags."""
  del argv
  options = {"flag_values": values}
  flags.DEFINE_integer("trajectories", 8, "to simulate", **options)
  flags.DEFINE_list("steps", ["20", "200"], "after which", **options)


def benchmark(values, rest):
  """Prints a table."""
  import tensorflow_datasets as tfds

  steps = command_line.integers("--steps", values.steps)
  if not rest:
    raise ValueError("name at least one data set, such as nbody_gravity/n20")
  heads = " | ".join(f"mean @{k} | largest @{k}" for k in steps)
  print(f"| labels | trajectories | {heads} |")
  print("|---|" + "---|" * (1 + 2 * len(steps)))
  for dataset in rest:
    plugins.check_dataset(dataset)
    with tempfile.TemporaryDirectory() as folder:
      builder = tfds.builder(dataset, data_dir=folder)
      truth = builder.simulate("test", range(values.trajectories))
    start = truth.energy[:, :1]
    change = np.abs(truth.energy - start) / np.abs(start)
    cells = [
      f"{value:.2g}"
      for k in steps
      for value in (change[:, k].mean(), change[:, k].max())
    ]
    cells = [dataset, str(values.trajectories), *cells]
    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
  raise SystemExit(command_line.run(benchmark, define, None, __doc__))
