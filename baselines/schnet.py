"""SchNet: an energy from continuous filters of distance.

Schuett et al., "SchNet: A continuous-filter convolutional neural network for
modeling quantum interactions" (2017), as trained on OC20: messages are
W(d) * (h_s w), with a filter W that sees Gaussians of the distance, times
(cos(pi d / c) + 1) / 2; nodes add a network of their sum. The energy is a sum
over atoms, forces are its gradient. 9,088,513 parameters.
"""

import dataclasses
import math

import sonnet as snt
import tensorflow as tf

from nbody_bench import forces, radial_bases
from nbody_bench.arrays import Array
from nbody_bench.cards import ModelCard
from nbody_bench.energy_layers import NodeEmbedding, linear
from nbody_bench.forces import Inputs
from nbody_bench.problems import Problem
from nbody_bench.recipes import Recipe

CARD = ModelCard(
  name="SchNet",
  paper="https://arxiv.org/abs/1706.08566",
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
# Published: 15 passes over 134 million structures; the rate rises from a fifth.
RECIPE = Recipe(
  train_steps=1_570_000,
  batch_size=1280,
  learning_rate=1e-4,
  schedule="steps",
  boundaries=(314_000, 523_000, 732_000),
  warmup_steps=209_000,
)
_ELEMENTS = 100


@dataclasses.dataclass(frozen=True)
class Config(forces.Settings):
  """Settings; the defaults are the published ones for OC20.

  Attributes:
    width: of the features of atoms.
    filter_width: of filters and messages.
    num_layers: of message passing.
    num_gaussians: of the distance.
  """

  width: int = 1024
  filter_width: int = 256
  num_layers: int = 5
  num_gaussians: int = 200

  def __post_init__(self):
    super().__post_init__()
    for name, least in (
      *(("width", 2), ("filter_width", 1)),
      *(("num_layers", 1), ("num_gaussians", 2)),
    ):
      if getattr(self, name) < least:
        raise ValueError(
          f"{name} is {getattr(self, name)}; it must be >= {least}"
        )


_SMALL = Config(
  cutoff=3.0,
  max_neighbours=20,
  width=12,
  filter_width=8,
  num_layers=2,
  num_gaussians=6,
)
TESTING = (
  _SMALL,
  dataclasses.replace(_SMALL, cutoff=2.0, num_layers=1, integrator="rk4"),
)


class Simulator(forces.LearnedEnergy):
  """SchNet."""

  def __init__(self, config: Config, problem: Problem):
    super().__init__(config, problem, name="schnet")
    self._config = config
    self._embedding = NodeEmbedding(
      config.width, _ELEMENTS, snt.initializers.RandomNormal(0.0, 1.0)
    )
    self._layers = [
      Interaction(config, name=f"interaction_{i}")
      for i in range(config.num_layers)
    ]
    self._readout = (
      linear(config.width // 2, "readout_0"),
      linear(1, "readout_1", with_bias=False),
    )

  @snt.once
  def _initialize(self, dtype):
    # No force depends on it.
    trained = self._config.energy_weight > 0
    self.constant = tf.Variable(
      tf.zeros([], dtype), trainable=trained, name="constant"
    )

  def energies(self, inputs):
    """See base class."""
    self._initialize(inputs.distance.dtype)
    t = inputs.distance / self._config.cutoff
    basis = radial_bases.gaussians(t, self._config.num_gaussians)
    envelope = radial_bases.cosine(t)[:, None]
    nodes = self._embedding(inputs)
    for layer in self._layers:
      nodes += layer(nodes, basis, envelope, inputs)
    first, last = self._readout
    return last(shifted_softplus(first(nodes)))[:, 0] + self.constant


class Interaction(snt.Module):
  """One round of messages.

  Attributes:
    filter: the layers of W.
    sent: the layer of what is sent.
    update: the layers of what is added to nodes.
  """

  def __init__(self, config: Config, name: str):
    """Makes the layer.

    Args:
      config: of the model.
      name: of the module.
    """
    super().__init__(name=name)
    self.filter = [linear(config.filter_width, f"filter_{i}") for i in (0, 1)]
    self.sent = linear(config.filter_width, "sent", with_bias=False)
    self.update = [linear(config.width, f"update_{i}") for i in (0, 1)]

  def __call__(
    self, nodes: Array, basis: Array, envelope: Array, inputs: Inputs
  ) -> Array:
    """Returns what is added to the nodes, `[rows, F]`.

    Args:
      nodes: `[rows, F]`.
      basis: `[E, G]`, the distances of edges.
      envelope: `[E, 1]`.
      inputs: the graph.
    """
    first, last = self.filter
    weights = envelope * last(shifted_softplus(first(basis)))
    messages = weights * tf.gather(self.sent(nodes), inputs.senders)
    first, last = self.update
    return last(shifted_softplus(first(inputs.sum_received(messages))))


def shifted_softplus(x: Array) -> Array:
  """Returns ln(1 + e^x) - ln 2, which is 0 at 0."""
  return tf.nn.softplus(x) - math.log(2)
