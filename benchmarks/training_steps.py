"""A training step of a model, to be timed."""

import sonnet as snt
import tensorflow as tf

from nbody_bench import pipelines, training, updates
from nbody_bench.recipes import Recipe


def training_steps(model, data, batch_size):
  """Returns a function that does `updates.STEPS_A_CALL` steps.

  The learning rate is so small that nothing is learned.
  """
  recipe = Recipe(batch_size=batch_size, learning_rate=1e-9)
  update = updates.Updates(
    training.loss_function(model),
    training.trainable_variables(model),
    snt.optimizers.Adam(tf.Variable(0.0, trainable=False)),
    recipe,
    pipelines.WindowSampler(data, len(data.time), batch_size, seed=0),
    jit=True,
  )
  update.measure()
  return lambda i: update(0, updates.STEPS_A_CALL)[0][0]
