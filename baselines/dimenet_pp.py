"""DimeNet++: an energy from messages that know the angles between edges.

Gasteiger et al., "Fast and Uncertainty-Aware Directional Message Passing for
Non-Equilibrium Molecules" (2020), as trained on OC20: a message of j -> i hears
those of all k -> j, each times a network of the distance of k and j and of the
angle at j. The energy is a sum over what atoms hear after each block, forces
are its gradient. 1,809,414 parameters.

Weights are drawn from Glorot's uniform distribution, where the public code
draws orthogonal ones of the same variance. What is linear in functions of
distance and angle is summed in another order: see `dimenet_layers`, `triplets`.
"""

import dataclasses
import math

import sonnet as snt
import tensorflow as tf

from nbody_bench import forces, radial_bases, triplets
from nbody_bench.cards import ModelCard
from nbody_bench.dimenet_layers import Interaction, Output
from nbody_bench.energy_layers import NodeEmbedding, linear
from nbody_bench.glorot_layers import JoinedLinear
from nbody_bench.networks import Gathered
from nbody_bench.problems import Problem
from nbody_bench.recipes import Recipe

CARD = ModelCard(
  name="DimeNet++",
  paper="https://arxiv.org/abs/2011.14115",
  physics_given=(
    "elements",
    "masses",
    "charges",
    "boundaries",
    "potential energy",
    "accelerations",
  ),
  symmetries=("permutation", "reflection", "rotation", "translation"),
  notes="Of n-body data it learns the true accelerations.",
)
# Published: 7 passes over 134 million structures; the rate rises from a fifth.
RECIPE = Recipe(
  train_steps=1_830_000,
  batch_size=512,
  learning_rate=1e-4,
  schedule="steps",
  boundaries=(523_000, 785_000, 1_046_000),
  warmup_steps=523_000,
)
_ELEMENTS = 95


@dataclasses.dataclass(frozen=True)
class Config(forces.Settings):
  """Settings; the defaults are the published ones for OC20.

  The large variant has width 512 and output width 384.

  Attributes:
    width: of messages.
    output_width: of the networks that atoms hear with.
    triplet_width: of messages where they are multiplied by angles.
    basis_width: of the hidden layer between a basis and what it multiplies.
    num_blocks: of message passing.
    num_radial: functions of distance.
    num_spherical: degrees of functions of angle.
    exponent: of the envelope.
    num_before_skip: residual layers before a block's input is added.
    num_after_skip: and after that.
    num_output_layers: of the networks that atoms hear with.
  """

  width: int = 192
  output_width: int = 192
  triplet_width: int = 64
  basis_width: int = 8
  num_blocks: int = 3
  num_radial: int = 6
  num_spherical: int = 7
  exponent: int = 5
  num_before_skip: int = 1
  num_after_skip: int = 2
  num_output_layers: int = 3

  def __post_init__(self):
    super().__post_init__()
    own = {f.name for f in dataclasses.fields(self)}
    own -= {f.name for f in dataclasses.fields(forces.Settings)}
    for name in sorted(own):
      least = 0 if name.endswith(("_skip", "_layers")) else 1
      if getattr(self, name) < least:
        raise ValueError(
          f"{name} is {getattr(self, name)}; it must be >= {least}"
        )


# So small that two bodies that meet do not part too fast for the other rules to
# be tested: functions of angle have 1 / t of distances.
TESTING = (
  Config(
    cutoff=3.0,
    max_neighbours=20,
    width=6,
    output_width=4,
    triplet_width=3,
    basis_width=2,
    num_blocks=1,
    num_radial=2,
    num_spherical=2,
  ),
)


class Simulator(forces.LearnedEnergy):
  """DimeNet++."""

  def __init__(self, config: Config, problem: Problem):
    super().__init__(config, problem, name="dimenet_pp")
    self._config = config
    draw = snt.initializers.RandomUniform(-math.sqrt(3), math.sqrt(3))
    self._embedding = NodeEmbedding(config.width, _ELEMENTS, draw)
    self._radial = linear(config.width, "radial")
    self._dense = JoinedLinear(config.width, "dense")
    self._interactions = [
      Interaction(
        config.width,
        config.triplet_width,
        config.basis_width,
        config.num_before_skip,
        config.num_after_skip,
        name=f"interaction_{i}",
      )
      for i in range(config.num_blocks)
    ]
    self._outputs = [
      Output(
        config.width,
        config.output_width,
        config.num_output_layers,
        name=f"output_{i}",
      )
      for i in range(config.num_blocks + 1)
    ]

  @snt.once
  def _initialize(self, dtype):
    number = tf.range(1, self._config.num_radial + 1, dtype=dtype)
    self.frequency = tf.Variable(math.pi * number, name="frequency")

  def energies(self, inputs):
    """See base class."""
    config = self._config
    self._initialize(inputs.distance.dtype)
    t = inputs.distance / config.cutoff
    envelope = radial_bases.envelope(t, config.exponent)[:, None]
    radial = envelope * tf.sin(t[:, None] * self.frequency)
    spherical = envelope[..., None] * radial_bases.spherical_bessel(
      t, config.num_radial, config.num_spherical
    )
    found = triplets.build(inputs, config.cutoff, config.max_neighbours)
    angular = radial_bases.legendre(found.cosine, config.num_spherical)
    angular *= found.used[..., None]

    nodes = self._embedding(inputs)
    messages = tf.nn.silu(
      self._dense(
        Gathered(nodes, inputs.receivers),
        Gathered(nodes, inputs.senders),
        tf.nn.silu(self._radial(radial)),
      )
    )
    first, *outputs = self._outputs
    energy = first(messages, radial, inputs)
    for layer, output in zip(self._interactions, outputs, strict=True):
      messages = layer(messages, radial, spherical, angular, found)
      energy += output(messages, radial, inputs)
    return energy[:, 0]
