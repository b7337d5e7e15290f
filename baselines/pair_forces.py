"""Pair forces: a sum over neighbours, linear in all that is learned.

The force on a particle is the sum over neighbours j of f(i, j, d) n, with n the
direction of the neighbour and

  f(i, j, d) = sum_abk w_abk p_a(i) p_b(j) g_k(d),

p the properties of a particle and 1, g Gaussians of the distance times
(cos(pi d / c) + 1) / 2, and w the weights. There is nothing but these, so that
the loss is convex: what a network adds to this is what it has learned beyond
pairs. Gravity, and Coulomb's law for bodies of one mass, are of this form up to
the width of the Gaussians; forces in metals are not, whose strength depends on
how crowded an atom is. Forces need not be equal and opposite. 5,000 parameters
where the particles are atoms.
"""

import dataclasses

import sonnet as snt
import tensorflow as tf

from nbody_bench import forces, radial_bases
from nbody_bench.cards import ModelCard
from nbody_bench.problems import Problem
from nbody_bench.recipes import Recipe

CARD = ModelCard(
  name="Pair forces",
  physics_given=(
    "elements",
    "masses",
    "charges",
    "boundaries",
    "accelerations",
  ),
  symmetries=("permutation", "reflection", "rotation", "translation"),
  notes="Linear in its weights. Of n-body data it learns true accelerations.",
)
RECIPE = Recipe(
  train_steps=10_000,
  batch_size=16,
  learning_rate=0.1,
  schedule="cosine",
  warmup_steps=50,
  clip_norm=1.0,
)


@dataclasses.dataclass(frozen=True)
class Config(forces.Settings):
  """Settings.

  Attributes:
    num_gaussians: of the distance.
  """

  num_gaussians: int = 50

  def __post_init__(self):
    super().__post_init__()
    if self.num_gaussians < 2:
      raise ValueError(
        f"num_gaussians is {self.num_gaussians}; it must be >= 2"
      )


TESTING = (
  Config(cutoff=3.0, max_neighbours=20, num_gaussians=6),
  Config(cutoff=2.0, max_neighbours=20, num_gaussians=9, integrator="rk4"),
)


class Simulator(forces.LearnedForce):
  """A sum of forces of pairs."""

  def __init__(self, config: Config, problem: Problem):
    super().__init__(config, problem, name="pair_forces")
    self._config = config

  @snt.once
  def _initialize(self, num_products, dtype):
    shape = [num_products, self._config.num_gaussians]
    self.weights = tf.Variable(tf.zeros(shape, dtype), name="weights")

  def forces(self, inputs):
    """See base class."""
    told = tf.pad(inputs.features, [[0, 0], [1, 0]], constant_values=1.0)
    count = told.shape[-1]
    self._initialize(count**2, told.dtype)
    products = tf.reshape(
      tf.gather(told, inputs.receivers)[:, :, None]
      * tf.gather(told, inputs.senders)[:, None],
      [-1, count**2],
    )
    t = inputs.distance / self._config.cutoff
    basis = radial_bases.gaussians(t, self._config.num_gaussians)
    strength = tf.reduce_sum(products @ self.weights * basis, -1)
    strength *= radial_bases.cosine(t) / inputs.distance
    return inputs.sum_received(strength[:, None] * inputs.vector), None
