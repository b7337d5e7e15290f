"""GNS as it was trained on forces: a plain graph network.

Sanchez-Gonzalez et al., "Learning to Simulate Complex Physics with Graph
Networks" (2020), as rebuilt for atoms in appendix E of Hu et al., "ForceNet"
(2021): messages are a network of both nodes and the edge, with layer
normalisation; a linear layer and batch normalisation of their sum are added to
the node. 12,450,819 parameters.

Radii are those of `forcenet`. The sum over messages is taken before their last
layer, which is linear.
"""

import dataclasses

import sonnet as snt
import tensorflow as tf

from nbody_bench import edge_bases, forces
from nbody_bench.arrays import Array
from nbody_bench.cards import ModelCard
from nbody_bench.forces import Inputs
from nbody_bench.glorot_layers import JoinedLinear, Linear, NormedLinear
from nbody_bench.networks import Gathered
from nbody_bench.problems import Problem
from nbody_bench.recipes import Recipe

CARD = ModelCard(
  name="GNS",
  paper="https://arxiv.org/abs/2002.09405",
  physics_given=(
    "elements",
    "masses",
    "charges",
    "boundaries",
    "accelerations",
  ),
  symmetries=("permutation", "translation"),
  notes="Of n-body data it learns the true accelerations.",
)
RECIPE = Recipe(
  train_steps=500_000,
  batch_size=256,
  learning_rate=5e-4,
  schedule="steps",
  boundaries=(250_000, 300_000, 350_000, 400_000, 450_000),
  decay=0.5,
)


@dataclasses.dataclass(frozen=True)
class Config(forces.Settings):
  """Settings; the defaults are the published ones.

  Attributes:
    rotate: see base class.
    width: of all layers, D.
    num_layers: of message passing.
  """

  rotate: bool = True
  width: int = 768
  num_layers: int = 5

  def __post_init__(self):
    super().__post_init__()
    for name in ("width", "num_layers"):
      if getattr(self, name) < 1:
        raise ValueError(f"{name} is {getattr(self, name)}; it must be >= 1")


TESTING = (
  Config(cutoff=3.0, max_neighbours=20, rotate=False, width=12, num_layers=2),
)


class Simulator(forces.LearnedForce):
  """GNS."""

  def __init__(self, config: Config, problem: Problem):
    super().__init__(config, problem, name="gns")
    self._embedding = Linear(config.width, name="embedding")
    self._layers = [
      Interaction(config.width, name=f"interaction_{i}")
      for i in range(config.num_layers)
    ]
    self._decoder = Linear(config.width), Linear(3)

  def forces(self, inputs):
    """See base class."""
    edges = tf.concat(edge_bases.raw(inputs, self.settings.cutoff), -1)
    nodes = self._embedding(inputs.features)
    for layer in self._layers:
      nodes += layer(nodes, edges, inputs)
    first, last = self._decoder
    return last(tf.nn.relu(first(nodes))), None


class Interaction(snt.Module):
  """One round of messages.

  Attributes:
    message: the layers of the network of messages.
    norm: layer normalisation between them.
    node: maps sums of messages to what is added to nodes.
  """

  def __init__(self, width: int, name: str):
    """Makes the layer.

    Args:
      width: D.
      name: of the module.
    """
    super().__init__(name=name)
    self.message = JoinedLinear(width), Linear(width)
    self.norm = snt.LayerNorm(-1, create_scale=True, create_offset=True)
    self.node = NormedLinear(width)

  def __call__(self, nodes: Array, edges: Array, inputs: Inputs) -> Array:
    """Returns what is added to the nodes, `[rows, D]`.

    Args:
      nodes: `[rows, D]`.
      edges: `[E, F]`.
      inputs: the graph.
    """
    first, last = self.message
    hidden = first(
      Gathered(nodes, inputs.receivers),
      edges,
      Gathered(nodes, inputs.senders),
    )
    total = inputs.sum_received(tf.nn.relu(self.norm(hidden)))
    # The last layer's bias comes once with each edge.
    count = inputs.sum_received(tf.ones_like(inputs.edge)[:, None])
    width = nodes.shape[-1]
    weights, bias = last.weights(width, nodes.dtype)
    return self.node(total @ weights + count * bias, inputs.real)
