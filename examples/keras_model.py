"""A Keras model as a one-step simulator: a network on summed pair features.

For particle i, minimum-image displacements d_ij and masses m,

  h_i = sum_{j != i} phi(d_ij, |d_ij|, m_j),   (dq_i, dv_i) = psi(h_i, m_i)

with dq counted from the ballistic flight v dt and both in units of their
standard deviation in the training data.

  python -m nbody_bench.run --model=examples/keras_model.py:PairNetwork \
    --dataset=nbody_gravity/n3 --output_dir=out/pair_network

Under a minute on two cores; `--config.width=64` makes the network wider.
"""

import dataclasses

import keras
import tensorflow as tf

from nbody_bench.cards import ModelCard
from nbody_bench.recipes import Recipe
from nbody_bench.states import State

CARD = ModelCard(
  name="Pair network (Keras)",
  physics_given=("masses", "boundaries"),
  symmetries=("translation", "permutation"),
)
RECIPE = Recipe(
  train_steps=3000, batch_size=32, learning_rate=3e-3, schedule="cosine"
)


@dataclasses.dataclass(frozen=True)
class Config:
  """Settings.

  Attributes:
    width: of the hidden layers.
  """

  width: int = 32


class PairNetwork(keras.Model):
  """Called as a step; trained on the one-step error of being called."""

  def __init__(self, config, problem):
    super().__init__()
    scale = problem.statistics
    self.position_scale = scale["position_increment_std"]
    self.velocity_scale = scale["velocity_increment_std"]
    hidden = {"units": config.width, "activation": "silu"}
    self.phi = keras.Sequential(
      [keras.layers.Dense(**hidden), keras.layers.Dense(**hidden)]
    )
    self.psi = keras.Sequential(
      [keras.layers.Dense(**hidden), keras.layers.Dense(2 * problem.num_dims)]
    )

  def call(self, state, particles, domain, time_step):
    """Returns the state one `time_step` later, from `[B, N, D]` to the same."""
    q, v = state
    mass = particles.mass[..., None]
    d = domain.displacement(q[:, :, None], q[:, None])
    # The gradient of a norm is NaN at zero, where a particle meets itself.
    distance = tf.sqrt(tf.reduce_sum(d * d, -1, keepdims=True) + 1e-6)
    sent = tf.broadcast_to(mass[:, None], tf.shape(distance))
    others = 1 - tf.eye(tf.shape(q)[1], dtype=q.dtype)[None]
    if particles.mask is not None:
      others *= particles.mask[:, None]
    message = others[..., None] * self.phi(tf.concat([d, distance, sent], -1))
    received = tf.reduce_sum(message, 2)
    dq, dv = tf.split(self.psi(tf.concat([received, mass], -1)), 2, -1)
    moved = time_step * v + self.position_scale * dq
    return State(domain.wrap(q + moved), v + self.velocity_scale * dv)
