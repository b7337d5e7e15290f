"""What feeding a model costs: training with it against one cached batch.

  python benchmarks/input_pipeline.py [--data_dir=DIR]

Both loops make the same optimiser steps of DeltaGN on `nbody_gravity/n20`; one
draws a new batch at each step, as training does, the other has its batch ready.
They take turns; the ratio of each turn is what counts. Target: at most 1.05.
"""

import sys

import numpy as np
import sonnet as snt
import tensorflow as tf
from absl import flags
from interleave import interleave

from nbody_bench import command_line, pipelines, plugins, preparation

_DATASET = "nbody_gravity/n20"


def define(values, argv):
  """Defines the flags."""
  del argv
  flags.DEFINE_string("data_dir", None, "of TFDS", flag_values=values)


def benchmark(values, rest):
  """Prints milliseconds a step and the ratio for several batch sizes."""
  del rest
  preparation.prepare(_DATASET, values.data_dir)
  problem = pipelines.problem(_DATASET, values.data_dir)
  data = pipelines.load(_DATASET, "train", values.data_dir).trajectory
  module = plugins.load("baselines", "delta_gn")
  for batch_size in (1, 16, 100):
    sides = _loops(module, problem, data, batch_size)
    steps = max(5, 400 // batch_size)
    cached, fed = interleave(sides, calls=steps, turns=15)
    ratios = fed / cached
    print(
      f"batch {batch_size}: cached {np.median(cached) * 1e3:.2f} ms a step, "
      f"fed {np.median(fed) * 1e3:.2f} ms, ratio {np.median(ratios):.3f} "
      f"({np.percentile(ratios, 25):.3f} to {np.percentile(ratios, 75):.3f})",
      flush=True,
    )


def _loops(module, problem, data, batch_size):
  """Returns the two steps; each returns a tensor to wait for."""
  model = module.Simulator(module.Config(), problem)
  sample = pipelines.WindowSampler(data, 2, batch_size, seed=0)
  window = sample(tf.constant(0, tf.int64))
  model.loss(window)
  variables = model.trainable_variables
  optimizer = snt.optimizers.Adam(1e-9)

  def update(window):
    with tf.GradientTape() as tape:
      loss = model.loss(window)
    optimizer.apply(tape.gradient(loss, variables), variables)
    return loss

  cached = tf.function(
    lambda step: update(window) + 0 * tf.cast(step, tf.float32)
  )
  fed = tf.function(lambda step: update(sample(step)))
  return [
    lambda i: cached(tf.constant(i, tf.int64)),
    lambda i: fed(tf.constant(i, tf.int64)),
  ]


if __name__ == "__main__":
  sys.exit(command_line.run(benchmark, define, usage=__doc__))
