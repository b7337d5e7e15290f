"""A simulator that predicts all frames at once, without a base class.

Each particle keeps the acceleration that it has at the start,

  q(t) = q + v t + a t^2 / 2,   v(t) = v + a t,
  a_i = k sum_j m_j d_ij / (|d_ij|^2 + eps^2)^(3/2),

with k and eps learned on windows of several frames; they come out close to the
true 2 and 0.2. `tf.Module` only gathers the variables, for the trainer and its
checkpoints.

  python -m nbody_bench.run --model=examples/multi_frame_simulator.py:Taylor \
    --dataset=nbody_gravity/smoke --output_dir=out/taylor

A file without `Config` has nothing to set: the class is called without
arguments.
"""

import tensorflow as tf

from nbody_bench.cards import ModelCard
from nbody_bench.recipes import Recipe
from nbody_bench.states import State, Trajectory

CARD = ModelCard(
  name="Taylor expansion",
  division="learned-open",
  physics_given=("masses", "form of the force law", "boundaries"),
  symmetries=("translation", "permutation", "rotation", "reflection"),
)
RECIPE = Recipe(
  train_steps=1000, batch_size=32, learning_rate=1e-2, schedule="cosine"
)


class Taylor(tf.Module):
  """Constant acceleration with a learned pair law."""

  window_length = 6  # trained on the error of five frames from the first

  def __init__(self):
    super().__init__()
    self.coupling = tf.Variable(0.0, name="coupling")
    self.softening = tf.Variable(0.5, name="softening")

  def predict(self, state, particles, domain, times):
    """See `nbody_bench.simulators.Simulator`."""
    q, v = (x[:, None] for x in state)
    a = self._acceleration(state.position, particles, domain)[:, None]
    t = times[:, None, None]
    states = State(domain.wrap(q + v * t + a * t**2 / 2), v + a * t)
    return Trajectory(times, states, particles, domain)

  def _acceleration(self, position, particles, domain):
    mass = particles.mass
    if particles.mask is not None:
      mass *= particles.mask
    d = domain.displacement(position[:, :, None], position[:, None])
    squared = tf.reduce_sum(d * d, -1) + self.softening**2
    weight = mass[:, None] * squared**-1.5
    return self.coupling * tf.reduce_sum(weight[..., None] * d, 2)
