"""What an EGNN training step costs beside its own matrix products.

  taskset -c 0 python benchmarks/egnn.py

Batch 100 of five charges, as published, with and without XLA, on one core,
against the products of its linear layers alone, forward and both of the
backward pass, on inputs of their sizes.
"""

import numpy as np
import sonnet as snt
import tensorflow as tf
from absl import flags
from interleave import interleave

from nbody_bench import (
  command_line,
  pipelines,
  plugins,
  simulators,
  testing,
  training,
  updates,
)
from nbody_bench.recipes import Recipe
from nbody_bench.states import map_arrays

_BATCH, _BODIES = 100, 5


def define(values, argv):
  """Defines the flags."""
  del argv
  flags.DEFINE_integer("turns", 15, "measurements", flag_values=values)


def benchmark(values, rest):
  """Prints milliseconds a step, and ratios."""
  del rest
  model, data = _trained()
  steps = updates.STEPS_A_CALL
  sides = [_train(model, data, jit) for jit in (False, True)]
  sides.append(_products(model, steps))
  with tf.device("CPU"):
    seconds = np.median(interleave(sides, calls=1, turns=values.turns), 1)
  *ours, products = 1e3 * seconds / steps
  for name, ms in zip(("without XLA", "with XLA"), ours, strict=True):
    print(f"{name}: {ms:.2f} ms a step, {ms / products:.2f} x its products")
  print(f"products: {products:.2f} ms")


def _trained():
  plugin = plugins.load_model("egnn")
  model = plugin.build(plugin.config(), testing.problem(testing.COULOMB, 3))
  data = testing.trajectory(
    2, 1.0, batch=_BATCH, num_particles=_BODIES, num_dims=3, charged=True
  )
  one = map_arrays(
    lambda x: tf.constant(x[:1], tf.float32),
    (data.frame(0), data.particles, data.domain),
  )
  simulators.as_simulator(model).predict(*one, tf.constant([1.0]))
  return model, data


def _train(model, data, jit):
  update = updates.Updates(
    training.loss_function(model),
    training.trainable_variables(model),
    snt.optimizers.Adam(tf.Variable(0.0, trainable=False)),
    Recipe(batch_size=_BATCH, learning_rate=1e-9),
    pipelines.WindowSampler(data, 2, _BATCH, seed=0),
    jit=jit,
  )
  update.measure()
  return lambda i: update(0, updates.STEPS_A_CALL)[0][0]


def _products(model, steps):
  """Returns a function of all products of `steps` training steps."""
  nodes = _BATCH * _BODIES
  edges = nodes * (_BODIES - 1)
  inputs, weights = [], []
  for layer in model._layers:
    for part, rows in (
      (layer.edge, edges),
      (layer.coordinate, edges),
      (layer.velocity, nodes),
      (layer.node, nodes),
    ):
      for w in part.trainable_variables if part else ():
        if len(w.shape) == 2:
          weights.append(w)
          inputs.append(tf.random.normal([rows, w.shape[0]]))

  @tf.function(jit_compile=True)
  def run(scale):
    total = tf.constant(0.0)
    for _ in range(steps):
      for x, w in zip(inputs, weights, strict=True):
        y = tf.matmul(scale * x, w)
        back = tf.matmul(y, w, transpose_b=True)
        slope = tf.matmul(x, y, transpose_a=True)
        total += y[0, 0] + back[0, 0] + slope[0, 0]
      # Each step's products depend on the last one's: none may be left out.
      scale = 1.0 + 1e-30 * total
    return total

  return lambda i: run(tf.constant(1.0))


if __name__ == "__main__":
  raise SystemExit(command_line.run(benchmark, define, None, __doc__))
