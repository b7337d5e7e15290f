"""One spelling for the few array functions that both NumPy and TensorFlow have.

The physics (displacements, pair laws, conserved quantities) is written once
with arithmetic operators and these functions, so that the scorer's float64
NumPy arrays and a compiled roll-out's tensors go through the same lines.
"""

import types
from typing import Any

import numpy as np

Array = Any  # `np.ndarray` or `tf.Tensor`, of one kind within a call

_NUMPY = types.SimpleNamespace(
  ceil=np.ceil,
  eye=np.eye,
  floor=np.floor,
  inv=np.linalg.inv,
  isinf=np.isinf,
  like=lambda value, array: np.asarray(value, array.dtype),
  ones_like=np.ones_like,
  reshape=np.reshape,
  stack=np.stack,
  sum=np.sum,
  where=np.where,
  zeros_like=np.zeros_like,
)


def namespace(array: Array) -> types.SimpleNamespace:
  """Returns the array functions for the kind of `array`.

  TensorFlow is imported only when a tensor is met: data sets are made and
  trajectories scored without it.
  """
  if isinstance(array, np.ndarray | np.generic):
    return _NUMPY
  import tensorflow as tf

  return types.SimpleNamespace(
    ceil=tf.math.ceil,
    eye=tf.eye,
    floor=tf.math.floor,
    inv=tf.linalg.inv,
    isinf=tf.math.is_inf,
    like=lambda value, array: tf.constant(value, array.dtype),
    ones_like=tf.ones_like,
    reshape=tf.reshape,
    stack=tf.stack,
    sum=tf.reduce_sum,
    where=tf.where,
    zeros_like=tf.zeros_like,
  )
