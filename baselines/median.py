"""The median force: what can be said of a force without looking.

The floor of Hu et al., "ForceNet" (2021), table 2: the same force on every
atom, the median of the training forces. A median is what has the least mean
absolute error, so it is found by the ordinary training, as one number a
component; atoms that are fixed have no weight. 3 parameters.
"""

import dataclasses

import tensorflow as tf

from nbody_bench import forces
from nbody_bench.cards import ModelCard
from nbody_bench.problems import Problem
from nbody_bench.recipes import Recipe

CARD = ModelCard(
  name="Median",
  paper="https://arxiv.org/abs/2103.01436",
  physics_given=("boundaries", "masses", "accelerations"),
  symmetries=("permutation", "translation"),
  notes="The floor of models of forces: one force for all atoms.",
)
RECIPE = Recipe(
  train_steps=2_000, batch_size=64, learning_rate=1e-2, schedule="cosine"
)


@dataclasses.dataclass(frozen=True)
class Config(forces.Settings):
  """Settings: no atom looks at another, and one that is fixed does not count.

  Attributes:
    cutoff: see base class, as for the others.
    max_neighbours: see base class.
    fixed_weight: see base class.
  """

  cutoff: float = 1e-3
  max_neighbours: int = 1
  fixed_weight: float = 0.0


class Simulator(forces.LearnedForce):
  """One force for all.

  Attributes:
    median: `[D]`, in units of `force_scale`.
  """

  def __init__(self, config: Config, problem: Problem):
    super().__init__(config, problem, name="median")
    self.median = tf.Variable(tf.zeros([problem.num_dims]), name="median")

  def forces(self, inputs):
    """See base class."""
    more = 3 - self.median.shape[0]
    force = tf.pad(self.median, [[0, more]])
    return tf.tile(force[None], [inputs.real.shape[0], 1]), None
