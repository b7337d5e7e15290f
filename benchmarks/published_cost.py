"""What the published settings cost: hours a seed, from measured steps.

  python benchmarks/published_cost.py gravity_scaling gravity_wall_clock

Every run of the named experiments that states a published setting: milliseconds
of a training step (all cores of this machine, random systems in a box, compiled
by XLA, the median of turns) at the batch of the reduced budget, which fits in
memory, times the ratio of the batches. The hours are those of the published
steps, for one seed. Where the paper says how many steps a Tesla P100 made in 24
hours (N = 1000), these give the milliseconds of a GPU; for other batches of the
same model they are scaled by the batch, for other N by what these cost here.
"""

import math
import pathlib

import numpy as np
import tensorflow as tf
from absl import flags
from interleave import interleave
from training_steps import training_steps

from nbody_bench import (
  command_line,
  experiments,
  plugins,
  simulators,
  testing,
  training,
  updates,
)
from nbody_bench.states import map_arrays

# What a body has of the box in `nbody_gravity`.
_AREA = 12.0
_DAY_MS = 24 * 3600e3

# Martinkus et al., Table 4: steps in 24 hours on a Tesla P100 at N = 1000, by
# model, graph and batch.
P100_STEPS = {
  ("delta_gn", "full"): {4: 239e3},
  ("delta_gn", "nearest"): {4: 5.7e6, 320: 151e3},
  ("hierarchical_delta_gn", ""): {4: 1.24e6, 150: 93e3},
  ("hierarchical_hogn", ""): {4: 118e3, 20: 50e3},
}


def define(values, argv):
  """Defines the flags."""
  del argv
  options = {"flag_values": values}
  flags.DEFINE_string(
    "experiments_dir", "experiments", "their folder", **options
  )
  flags.DEFINE_integer("turns", 5, "measurements", **options)


def benchmark(values, rest):
  """Prints a table."""
  folder = pathlib.Path(values.experiments_dir)
  found = {
    name: experiments.read(folder, name) for name in experiments.names(folder)
  }
  names = rest or [
    name
    for name, plan in found.items()
    if any(r.as_published for r in plan.runs)
  ]
  known: dict = {}
  print(
    "| experiment | run | steps | batch | ms here | hours here | ms P100 | "
    "hours P100 |"
  )
  print("|---|---|---|---|---|---|---|---|")
  for name in names:
    if name not in found:
      raise ValueError(plugins.unknown("experiments", name, list(found)))
    reduced = {run.name: run for run in found[name].runs}
    for run in experiments.published(found[name]).runs:
      batch = _batch(run)
      here = _per_row(reduced[run.name], values.turns, known) * batch
      gpu = _p100(run, batch, here, values.turns, known)
      cells = [name, run.label, f"{run.train_steps:,}", str(batch)]
      for ms in (here, gpu):
        cells += _cells(ms, run.train_steps)
      print(f"| {' | '.join(cells)} |", flush=True)


def _cells(ms, steps):
  """Returns milliseconds of a step and hours of all, to two digits."""
  if ms is None:
    return ["-", "-"]
  return [f"{float(f'{x:.2g}'):,g}" for x in (ms, ms * steps / 3.6e6)]


def _batch(run):
  default = plugins.load_model(run.model).recipe.batch_size
  return run.recipe.get("batch_size", default)


def _key(run):
  full = "full" if run.model == "delta_gn" else ""
  return run.model, run.config.get("graph", full)


def _num_particles(run):
  return int(run.dataset.rpartition("/n")[2])


def _p100(run, batch, here, turns, known):
  """Returns milliseconds on a P100, None where nothing tells them."""
  steps = P100_STEPS.get(_key(run))
  if not steps:
    return None
  nearest = min(steps, key=lambda b: abs(math.log(b / batch)))
  a_row = _DAY_MS / steps[nearest] / nearest
  if _num_particles(run) == 1000:
    return a_row * batch
  config = {k: v for k, v in run.config.items() if k != "num_levels"}
  large = experiments.Run(
    name=run.name,
    label=run.label,
    model=run.model,
    dataset="nbody_gravity/n1000",
    rollout_steps=(1,),
    config=config,
    recipe={"batch_size": 1},
  )
  return a_row * here / _per_row(large, turns, known)


def _per_row(run, turns, known):
  """Returns milliseconds of a training step, divided by the batch."""
  n, batch = _num_particles(run), _batch(run)
  config = tuple(sorted(run.config.items()))
  key = (run.model, config, n, batch)
  if key not in known:
    plugin = plugins.load_model(run.model)
    charged = run.dataset.startswith("nbody_coulomb")
    problem = testing.problem(testing.COULOMB if charged else testing.GRAVITY)
    model = plugin.build(plugin.config(**run.config), problem)
    data = testing.trajectory(
      training.window_length(model),
      0.01,
      batch=max(batch, 2),
      num_particles=n,
      box_side=(_AREA * n) ** 0.5,
      charged=charged,
    )
    one = map_arrays(
      lambda x: tf.constant(x[:1], tf.float32),
      (data.frame(0), data.particles, data.domain),
    )
    first = tf.constant([0.01], tf.float32)
    simulators.as_simulator(model).predict(*one, first)  # makes the variables
    side = training_steps(model, data, batch)
    seconds = np.median(interleave([side], calls=1, turns=turns))
    known[key] = 1e3 * seconds / updates.STEPS_A_CALL / batch
  return known[key]


if __name__ == "__main__":
  raise SystemExit(command_line.run(benchmark, define, None, __doc__))
