"""SEGNN: steerable E(3)-equivariant graph network.

Brandstetter et al. (2022): message passing whose networks are tensor products
with attributes, the harmonics of an edge for messages, of all edges of a
particle and of its velocity for updates. Four layers, features and attributes
of degrees 0 and 1; 64 hidden features, weight-balanced: as many of each degree
(32) as give a product the weights of a linear layer of 64. What it predicts is
the position one frame on. Positions are told from the mean over particles (the
public code subtracts that over coordinates).
"""

import dataclasses
import math

import sonnet as snt
import tensorflow as tf

from nbody_bench import geometry, jumps, spherical, steerable
from nbody_bench.cards import ModelCard
from nbody_bench.geometry import Edges
from nbody_bench.problems import Problem
from nbody_bench.recipes import Recipe
from nbody_bench.steerable import Coupled, Features, GatedProduct, Product

CARD = ModelCard(
  name="SEGNN",
  paper="https://arxiv.org/abs/2110.02905",
  division="learned-closed",
  physics_given=("masses", "charges", "stiffnesses", "boundaries"),
  symmetries=("permutation", "reflection", "rotation", "translation"),
)
RECIPE = Recipe(
  train_steps=30_000, batch_size=100, learning_rate=5e-4, schedule="constant"
)


@dataclasses.dataclass(frozen=True)
class Config:
  """Settings; the defaults are the published ones.

  Attributes:
    num_layers: of message passing.
    hidden_features: of the linear layer that products have the size of.
    max_degree: of the hidden features.
    attribute_degree: the highest of the attributes.
  """

  num_layers: int = 4
  hidden_features: int = 64
  max_degree: int = 1
  attribute_degree: int = 1

  def __post_init__(self):
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      if value < 1:
        raise ValueError(f"{field.name} is {value}; it must be >= 1")

  @property
  def width(self) -> int:
    """Channels of each degree."""
    paths = steerable.paths(self.max_degree, self.attribute_degree)
    return math.ceil(self.hidden_features / len(paths) ** 0.5)

  @property
  def widths(self) -> dict[int, int]:
    """The same, by degree."""
    return dict.fromkeys(range(self.max_degree + 1), self.width)


TESTING = (
  Config(num_layers=2, hidden_features=8),
  Config(num_layers=1, hidden_features=16, max_degree=2, attribute_degree=2),
)


class Simulator(jumps.JumpSimulator):
  """SEGNN."""

  def __init__(self, config: Config, problem: Problem):
    super().__init__(name="segnn")
    self._config = config
    self._problem = problem
    self._embedding = Product(config.widths, name="embedding")
    self._layers = [
      Layer(config, name=f"layer_{i}") for i in range(config.num_layers)
    ]
    self._decoder = [
      GatedProduct(config.width, config.max_degree, name="decoder_0"),
      Product({1: 1}, name="decoder_1"),
    ]

  def jump(self, state, particles, domain):
    """See base class."""
    edges = geometry.edges(self._problem, state.position, particles)
    of_edges, of_nodes, told = self._attributes(state, edges, domain)
    features = self._told(state, particles, domain)
    features = self._embedding(features, of_nodes)
    for layer in self._layers:
      features = layer(features, edges, told, of_edges, of_nodes)
    for part in self._decoder:
      features = part(features, of_nodes)
    shift = features[1][:, :, : state.position.shape[-1], 0]
    return state.position + shift

  def _attributes(self, state, edges, domain):
    """Returns the attributes of edges and nodes, and scalars of edges."""
    highest = self._config.attribute_degree
    apart = geometry.displacement(state.position, edges, domain)
    around = spherical.harmonics(geometry.in_space(-apart), highest, "integral")
    moving = spherical.harmonics(
      geometry.in_space(state.velocity), highest, "integral"
    )
    node = [
      x + geometry.mean(y, edges) for x, y in zip(moving, around, strict=True)
    ]
    node[0] = tf.ones_like(node[0])
    told = tf.concat([geometry.length(apart), edges.features], -1)
    degree = self._config.max_degree
    return (
      steerable.coupled(around, degree),
      steerable.coupled(node, degree),
      {0: told[..., None, :]},
    )

  def _told(self, state, particles, domain) -> Features:
    """Returns the features of particles that the network is given."""
    centred = geometry.centred(state.position, particles, domain)
    vectors = [geometry.in_space(x) for x in (centred, state.velocity)]
    scalars = geometry.scalars(self._problem, state, particles)
    return {0: scalars[:, :, None], 1: tf.stack(vectors, -1)}


class Layer(snt.Module):
  """One round of messages: m = message [h_i, h_j, a_ij], h_i += update [h, m].

  Both are steerable networks of two products; messages are summed.
  """

  def __init__(self, config: Config, name: str):
    """Makes the layer.

    Args:
      config: of the model.
      name: of the module.
    """
    super().__init__(name=name)
    sizes = config.width, config.max_degree
    self.message = [GatedProduct(*sizes, name=f"message_{i}") for i in (0, 1)]
    self.update = (
      GatedProduct(*sizes, name="update_0"),
      Product(config.widths, name="update_1"),
    )

  def __call__(
    self,
    features: Features,
    edges: Edges,
    told: Features,
    of_edges: Coupled,
    of_nodes: Coupled,
  ) -> Features:
    """Returns the next features, `[B, N, 2l + 1, C]`.

    Args:
      features: the present ones.
      edges: who acts on whom.
      told: invariants of edges, `[B, N, K, 1, F]`.
      of_edges: attributes of edges.
      of_nodes: attributes of particles.
    """
    message = steerable.joined(*steerable.ends(features, edges), told)
    for gated in self.message:
      message = gated(message, of_edges)
    heard = steerable.gathered(geometry.total, message, edges)
    update = steerable.joined(features, heard)
    for part in self.update:
      update = part(update, of_nodes)
    return {degree: x + update[degree] for degree, x in features.items()}
