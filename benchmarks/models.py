"""What every model costs: a training step and a step of a roll-out.

  python benchmarks/models.py [--num_particles=20] [--models=vign,hogn]

Each model of `baselines/` with its default settings, batch 16 of random systems
in a box, compiled by XLA: milliseconds (the median of interleaved turns) of a
training step, of a roll-out step for one system and for the batch, each also as
a multiple of leapfrog with the true law in the same process, and the first
call. Models for a fixed number of particles are among them.
"""

import numpy as np
import tensorflow as tf
from absl import flags
from interleave import interleave
from training_steps import training_steps

from nbody_bench import (
  command_line,
  plugins,
  rollouts,
  simulators,
  testing,
  training,
  updates,
)
from nbody_bench.states import map_arrays

_STEPS = 20
_BATCH = 16
# What a body has of the box in `nbody_gravity`.
_AREA = 12.0


def define(values, argv):
  """Defines the flags."""
  del argv
  options = {"flag_values": values}
  flags.DEFINE_list("models", plugins.names("baselines"), "to run", **options)
  flags.DEFINE_integer("num_particles", 20, "N", **options)
  flags.DEFINE_integer("turns", 7, "measurements", **options)


def benchmark(values, rest):
  """Prints a table."""
  del rest
  print("| model | parameters | train | roll-out x 1 | x 16 | of leapfrog |")
  print("|---|---|---|---|---|---|")
  for name in values.models:
    print(_row(name, values.num_particles, values.turns), flush=True)


def _row(name, n, turns):
  plugin = plugins.load_model(name)
  model = plugin.build(plugin.config(), testing.problem())
  simulator = simulators.as_simulator(model)
  side = (_AREA * n) ** 0.5
  frames = training.window_length(model)
  data = testing.trajectory(
    frames, 0.01, batch=_BATCH, num_particles=n, box_side=side
  )
  times = tf.constant(0.01 * np.arange(1, _STEPS + 1), tf.float32)
  leapfrog = plugins.load_model("leapfrog")
  leapfrog = leapfrog.build(leapfrog.config(), testing.problem())
  one = map_arrays(
    lambda x: tf.constant(x[:1], tf.float32),
    (data.frame(0), data.particles, data.domain),
  )
  simulator.predict(*one, times[:1])  # makes the variables
  sides = []
  for who in (simulator, leapfrog):
    for batch in (1, _BATCH):
      inputs = map_arrays(
        lambda x, batch=batch: tf.constant(x[:batch], tf.float32),
        (data.frame(0), data.particles, data.domain),
      )
      sides.append(_rollout(rollouts.compiled(who), inputs, times))
  variables = training.trainable_variables(model)
  if variables:
    sides.append(training_steps(model, data, _BATCH))
  seconds = np.median(interleave(sides, calls=1, turns=turns), 1)
  one, many, base_one, base_many = 1e3 * seconds[:4] / _STEPS
  train = f"{1e3 * seconds[4] / updates.STEPS_A_CALL:.3g}" if variables else "-"
  count = sum(int(np.prod(v.shape)) for v in variables)
  return (
    f"| {name} | {count:,} | {train} | {one:.3g} | {many:.3g} | "
    f"{one / base_one:.3g}, {many / base_many:.3g} |"
  )


def _rollout(predict, inputs, times):
  return lambda i: np.asarray(predict(*inputs, times).state.position)[
    0, 0, 0, 0
  ]


if __name__ == "__main__":
  raise SystemExit(command_line.run(benchmark, define, None, __doc__))
