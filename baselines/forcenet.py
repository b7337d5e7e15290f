"""ForceNet: forces straight from a graph network, not from an energy.

Hu et al., "ForceNet: A Graph Neural Network for Large-Scale Quantum Chemistry
Simulation" (2021). Messages are W(e, h_s, h_r) * F(h_s), with a filter W that
sees the edge e, direction included, and both of its ends, times an envelope
cos(pi d / 2 c); nodes add a network of their sum. Nothing but training on
turned structures makes forces turn with them. 11,363,111 parameters.

The public code's output of an energy, which nothing trains, is left out. The
radii that distances are lessened by are covalent ones (`elements`), where the
paper has Slater's atomic radii of 1964; they differ by up to a quarter (H).
Linear layers that follow each other are multiplied out; see `glorot_layers`.
"""

import dataclasses
import math

import sonnet as snt
import tensorflow as tf

from nbody_bench import edge_bases, forces
from nbody_bench.arrays import Array
from nbody_bench.cards import ModelCard
from nbody_bench.edge_bases import BASES
from nbody_bench.forces import Inputs
from nbody_bench.glorot_layers import (
  JoinedLinear,
  Linear,
  Mapped,
  NormedLinear,
  NormedMLP,
)
from nbody_bench.masked_batch_norm import MaskedBatchNorm
from nbody_bench.networks import Gathered
from nbody_bench.problems import Problem
from nbody_bench.recipes import Recipe

CARD = ModelCard(
  name="ForceNet",
  paper="https://arxiv.org/abs/2103.01436",
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

ACTIVATIONS = {"relu": tf.nn.relu, "swish": tf.nn.silu}


@dataclasses.dataclass(frozen=True)
class Config(forces.Settings):
  """Settings; the defaults are the published ones.

  Its large variant has width 768 and 7 layers. The seven ablations have the
  names that the public code gives them; any of them go together.

  Attributes:
    rotate: see base class.
    width: of all layers, D.
    num_layers: of message passing.
    basis: a row of `edge_bases.BASES`.
    num_functions: of the basis, of each number.
    activation: a row of `ACTIVATIONS`.
    decoder_width: of the decoder; 0 for `width`.
    onlydist: edges are told distances alone: forces do not see directions, so
      that they do not turn with the structure at all.
    nodistlist: of distances, that between centres alone, no radii.
    nocond: filters are told of the edge alone.
    nofilter: messages are the filters themselves, and there is no message from
      a node to itself, but a vector that is the same for all of them.
    edgelinear: filters are linear, and normalised.
    nodelinear: updates of nodes are linear, and normalised.
    noself: there is no message from a node to itself.
  """

  rotate: bool = True
  width: int = 512
  num_layers: int = 5
  basis: str = "spherical"
  num_functions: int = 50
  activation: str = "swish"
  decoder_width: int = 0
  onlydist: bool = False
  nodistlist: bool = False
  nocond: bool = False
  nofilter: bool = False
  edgelinear: bool = False
  nodelinear: bool = False
  noself: bool = False

  def __post_init__(self):
    super().__post_init__()
    for name, least in (
      *(("width", 1), ("num_layers", 1)),
      *(("num_functions", 2), ("decoder_width", 0)),
    ):
      if getattr(self, name) < least:
        raise ValueError(
          f"{name} is {getattr(self, name)}; it must be >= {least}"
        )
    for name, rows in (("basis", BASES), ("activation", ACTIVATIONS)):
      if getattr(self, name) not in rows:
        raise ValueError(
          f"{name} is {getattr(self, name)!r}; choose one of {', '.join(rows)}"
        )


_SMALL = Config(
  cutoff=3.0, max_neighbours=20, rotate=False, width=12, num_functions=6
)
TESTING = (
  dataclasses.replace(_SMALL, num_layers=2),
  dataclasses.replace(
    _SMALL, num_layers=1, basis="none", activation="relu", edgelinear=True
  ),
)


class Simulator(forces.LearnedForce):
  """ForceNet."""

  def __init__(self, config: Config, problem: Problem):
    super().__init__(config, problem, name="forcenet")
    self._config = config
    self._activation = ACTIVATIONS[config.activation]
    basis = BASES[config.basis]
    self._atoms = edge_bases.Expansion(
      basis, config.num_functions, self._activation
    )
    self._edges = edge_bases.EdgeExpansion(
      basis,
      config.num_functions,
      1 if config.nodistlist else 4,
      self._activation,
    )
    self._embedding = Linear(config.width, name="embedding")
    self._layers = [
      Interaction(config, name=f"interaction_{i}")
      for i in range(config.num_layers)
    ]
    width = config.decoder_width or config.width
    self._output = Linear(width, name="output")
    self._decoder = NormedMLP(width, 3, self._activation, name="decoder")

  def forces(self, inputs):
    """See base class."""
    config = self._config
    direction, distances = edge_bases.raw(inputs, config.cutoff)
    if config.nodistlist:
      distances = distances[:, :1]
    edges = self._edges(None if config.onlydist else direction, distances)
    envelope = tf.cos(math.pi / (2 * config.cutoff) * inputs.distance)
    nodes = self._embedding(self._atoms(inputs.features))
    for layer in self._layers:
      nodes += layer(nodes, edges, envelope[:, None], inputs)
    output = self._activation(self._output(nodes))
    return self._decoder(output, inputs.real), None


class Interaction(snt.Module):
  """One round of messages.

  Attributes:
    filter: W, of edges.
    transform: of senders; None where messages are filters.
    node: maps sums of messages to what is added to nodes.
  """

  def __init__(self, config: Config, name: str):
    """Makes the layer.

    Args:
      config: of the model.
      name: of the module.
    """
    super().__init__(name=name)
    width, activation = config.width, ACTIVATIONS[config.activation]
    self.filter = Filter(config, name="filter")
    self.transform = None if config.nofilter else Linear(width, "transform")
    self._has_self = not config.noself
    if config.nodelinear:
      self.node = NormedLinear(width, name="node")
    else:
      self.node = NormedMLP(width, width, activation, name="node")

  @snt.once
  def _initialize(self, width, dtype):
    draw = snt.initializers.VarianceScaling(1.0, "fan_avg", "uniform")
    self.self_weights = tf.Variable(draw([1, width], dtype), name="self")

  def __call__(
    self, nodes: Array, edges: Array, envelope: Array, inputs: Inputs
  ) -> Array:
    """Returns what is added to the nodes, `[rows, D]`.

    Args:
      nodes: `[rows, D]`.
      edges: `[E, F]`, in their basis.
      envelope: `[E, 1]`.
      inputs: the graph.
    """
    messages = envelope * self.filter(nodes, edges, inputs)
    to_self = 1.0
    if self.transform is not None:
      nodes = to_self = self.transform(nodes)
      messages *= tf.gather(nodes, inputs.senders)
    total = inputs.sum_received(messages)
    if self._has_self:
      # Without a transform the same for all nodes, which the normalisation
      # after it takes away: it then changes nothing.
      self._initialize(nodes.shape[-1], nodes.dtype)
      total += self.self_weights * to_self
    return self.node(total, inputs.real)


class Filter(snt.Module):
  """The network W(e, h_s, h_r)."""

  def __init__(self, config: Config, name: str):
    """Makes the network.

    Args:
      config: of the model.
      name: of the module.
    """
    super().__init__(name=name)
    self._activation = ACTIVATIONS[config.activation]
    self._conditional = not config.nocond
    width = config.width
    self.basis = Linear(width, "basis") if BASES[config.basis].mixed else None
    self.first = JoinedLinear(width, "linear_0")
    self.norm = MaskedBatchNorm() if config.edgelinear else None
    numbers = () if config.edgelinear else (1, 2)
    self.rest = [Linear(width, f"linear_{i}") for i in numbers]

  def __call__(self, nodes: Array, edges: Array, inputs: Inputs) -> Array:
    """Returns `[E, D]` of nodes `[rows, D]` and edges `[E, F]`."""
    told: list = [edges if self.basis is None else Mapped(edges, self.basis)]
    if self._conditional:
      told.append(Gathered(nodes, inputs.senders))
      told.append(Gathered(nodes, inputs.receivers))
    hidden = self.first(*told)
    if self.norm is not None:
      return self.norm(hidden, inputs.edge)
    for layer in self.rest:
      hidden = layer(self._activation(hidden))
    return hidden
