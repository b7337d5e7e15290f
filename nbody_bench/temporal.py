"""Layers along time: Fourier convolutions, embeddings of a frame's place."""

import math

import numpy as np
import sonnet as snt
import tensorflow as tf

from nbody_bench.arrays import Array


class TemporalConvolution(snt.Module):
  """A linear map of the lowest Fourier modes of a sequence.

  The layer of the Fourier neural operator (Li et al. 2021) in the form of Xu et
  al. (2024): y = irfft(W_k rfft(x)_k), k below the number of modes, the others
  dropped. A sequence of P frames has P // 2 + 1 modes; where they are fewer
  than those that are learned, the highest are not used.
  """

  def __init__(
    self, num_modes: int, scale: float | None = None, name: str = ""
  ):
    """Makes the layer.

    Args:
      num_modes: that are learned.
      scale: of the weights, uniform from 0 to it; default 1 / F^2.
      name: of the module.
    """
    super().__init__(name=name or "temporal_convolution")
    self._num_modes = num_modes
    self._scale = scale

  @snt.once
  def _initialize(self, width, dtype):
    shape = [width, width, self._num_modes, 2]
    scale = self._scale or 1 / width**2
    self.weights = tf.Variable(
      tf.random.uniform(shape, 0, scale, dtype), name="weights"
    )

  def __call__(self, inputs: Array) -> Array:
    """Maps `[B, P, M, F]` to the same, P static."""
    count, width = inputs.shape[1], inputs.shape[3]
    self._initialize(width, inputs.dtype)
    modes = min(self._num_modes, count // 2 + 1)
    forward, back = (
      tf.constant(x, inputs.dtype) for x in _fourier(count, modes)
    )
    weights = self.weights[:, :, :modes]
    found = tf.einsum("kcp,bpmf->bkcmf", forward, inputs)
    real, imaginary = found[:, :, 0], found[:, :, 1]
    by_real, by_imaginary = weights[..., 0], weights[..., 1]

    def product(x, w):
      return tf.einsum("bkmf,fgk->bkmg", x, w)

    found = tf.stack(
      [
        product(real, by_real) - product(imaginary, by_imaginary),
        product(real, by_imaginary) + product(imaginary, by_real),
      ],
      2,
    )
    return tf.einsum("kcp,bkcmg->bpmg", back, found)


def _fourier(count, modes):
  """Returns the matrices of rfft and irfft, `[modes, 2, count]` each.

  Frames are few, so that a product with them is as fast as a fast transform,
  and needs no library call in the compiled program.
  """
  angle = 2 * np.pi * np.outer(np.arange(modes), np.arange(count)) / count
  forward = np.stack([np.cos(angle), -np.sin(angle)], 1)
  # Modes but the first and that of half the frames stand for two.
  twice = np.full(modes, 2.0)
  twice[0] = 1
  if count % 2 == 0 and modes == count // 2 + 1:
    twice[-1] = 1
  return forward, twice[:, None, None] * forward / count


def embedding(place: Array, width: int) -> Array:
  """Returns sines and cosines of places in a sequence, `[P, width]`.

  Frequencies from 1 to 1/10,000 in equal ratios (Vaswani et al. 2017).
  """
  half = width // 2
  frequency = np.exp(-math.log(1e4) * np.arange(half) / (half - 1))
  angle = place[:, None] * tf.constant(frequency, place.dtype)
  return tf.concat([tf.sin(angle), tf.cos(angle)], 1)
