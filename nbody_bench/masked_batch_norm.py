"""Batch normalisation of rows of which some are padding.

Ioffe and Szegedy (2015). In a training step rows are normalised by the mean and
variance of the real ones among them, elsewhere by moving averages of these, so
that a prediction depends neither on padding nor on the rest of its batch.
"""

import sonnet as snt
import tensorflow as tf

from nbody_bench import capacity, training_mode
from nbody_bench.arrays import Array


class MaskedBatchNorm(snt.Module):
  """Normalises columns, then scales and shifts them.

  Attributes:
    scale: `[F]`, 1 at first.
    offset: `[F]`, 0 at first.
    mean: `[F]`, moving average of the means.
    variance: `[F]`, of the unbiased variances.
  """

  def __init__(
    self, decay: float = 0.9, epsilon: float = 1e-5, name: str = "batch_norm"
  ):
    """Makes the layer; the defaults are those of PyTorch.

    Args:
      decay: of the moving averages, a step.
      epsilon: added to variances.
      name: of the module.
    """
    super().__init__(name=name)
    self._decay, self._epsilon = decay, epsilon

  @snt.once
  def _initialize(self, width, dtype):
    ones, zeros = tf.ones([width], dtype), tf.zeros([width], dtype)
    self.scale = tf.Variable(ones, name="scale")
    self.offset = tf.Variable(zeros, name="offset")
    self.mean = tf.Variable(zeros, name="mean", trainable=False)
    self.variance = tf.Variable(ones, name="variance", trainable=False)

  def __call__(self, inputs: Array, mask: Array) -> Array:
    """Returns `[n, F]`.

    Args:
      inputs: `[n, F]`.
      mask: `[n]`, 1 for a row and 0 for padding.
    """
    self._initialize(inputs.shape[-1], inputs.dtype)
    mean, variance = self.mean, self.variance
    if training_mode.is_training():
      mean, variance = self._of_batch(inputs, mask[:, None])
    factor = self.scale * tf.math.rsqrt(variance + self._epsilon)
    return (inputs - mean) * factor + self.offset

  def _of_batch(self, inputs, mask):
    """Returns mean and variance, and updates the moving averages.

    Not by a batch that had too little room: it is done again; see `capacity`.
    """
    count = tf.maximum(tf.reduce_sum(mask), 1)
    mean = tf.reduce_sum(mask * inputs, 0) / count
    squares = tf.reduce_sum(mask * (inputs - mean) ** 2, 0)
    fits = ~capacity.current().overflow
    for moving, found in (
      (self.mean, mean),
      (self.variance, squares / tf.maximum(count - 1, 1)),
    ):
      updated = self._decay * moving + (1 - self._decay) * found
      moving.assign(tf.where(fits, updated, moving))
    return mean, squares / count
