"""EGHNO: the hierarchy of EGHN on the temporal convolutions of EGNO.

Xu et al., "Equivariant Graph Neural Operator for Modeling 3D Dynamics" (2024),
name it and report numbers; neither code nor further description is public. So
this is our reading: the initial state, repeated for each of P output frames and
told its place by an embedding, goes through the blocks of EGNO, a convolution
in time before each layer of messages between bodies, in the place of EGHN's
message network. All that follows, pooling, clusters, decoder, is EGHN's, of
each frame by itself, with weights that all frames share; velocities that are
pooled are those that the blocks have come to. 399,509 parameters: EGHN's, 2,048
for the embedding, 49,200 for the convolutions.
"""

import dataclasses
from typing import Literal

import tensorflow as tf

from nbody_bench import eghn_layers, geometry, jumps, networks
from nbody_bench.baselines import eghn, egno
from nbody_bench.cards import ModelCard
from nbody_bench.egnn_layers import Nodes
from nbody_bench.problems import Problem
from nbody_bench.states import map_arrays
from nbody_bench.temporal import embedding

CARD = ModelCard(
  name="EGHNO",
  paper="https://arxiv.org/abs/2401.11037",
  division="learned-closed",
  physics_given=("masses", "charges", "stiffnesses", "boundaries"),
  symmetries=("permutation", "reflection", "rotation", "translation"),
  notes="Its code is not public; see the file for what was chosen.",
)
RECIPE = eghn.RECIPE


@dataclasses.dataclass(frozen=True)
class Config(eghn.Config):
  """Settings; the defaults are those published for EGHN and for EGNO.

  Attributes:
    num_clusters: C; one would leave nothing to assign.
    num_message_layers: between bodies, each after a convolution, and again
      between clusters.
    num_pooling_layers: of what assigns bodies to clusters.
    num_decoder_layers: of what brings clusters' moves back to bodies.
    width: of all hidden layers.
    cut_weight: of the cut loss in training.
    num_frames: P of the training; any other can be predicted.
    num_modes: of the lowest, with which the convolution is learned.
    convolution: on which of h (scalars), x (positions), v (velocities), such as
      "hxv"; empty for none.
    embedding: whether a frame is told its "index" or its "time", in units of
      the data set's.
    embedding_width: of it.
  """

  num_frames: int = 5
  num_modes: int = 2
  convolution: str = "hxv"
  embedding: Literal["index", "time"] = "index"
  embedding_width: int = 32

  def __post_init__(self):
    super().__post_init__()
    self.temporal()

  def temporal(self) -> egno.Config:
    """Returns the settings of the blocks.

    Raises:
      ValueError: as EGNO's own do.
    """
    return egno.Config(
      num_frames=self.num_frames,
      num_modes=self.num_modes,
      convolution=self.convolution,
      num_layers=self.num_message_layers,
      width=self.width,
      embedding=self.embedding,
      embedding_width=self.embedding_width,
    )


_SMALL = Config(
  num_clusters=2,
  num_message_layers=2,
  num_pooling_layers=2,
  num_decoder_layers=2,
  width=8,
  num_frames=2,
  embedding_width=4,
)
TESTING = (
  _SMALL,
  dataclasses.replace(_SMALL, convolution="x", embedding="time"),
)


class Simulator(jumps.SequenceSimulator):
  """EGHNO."""

  def __init__(self, config: Config, problem: Problem):
    super().__init__(config.num_frames, name="eghno")
    self._config = config
    self._problem = problem
    self._input = networks.Linear(config.width, name="input")
    self._embedding = networks.Linear(config.width, name="embedding")
    self._blocks = [
      egno.Block(config.temporal(), last=False, name=f"block_{i}")
      for i in range(config.num_message_layers)
    ]
    self._hierarchy = eghn.Hierarchy(config)

  def sequence(self, state, particles, domain, times):
    """See base class."""
    return self.outcome(state, particles, domain, times).position

  def loss(self, window):
    """See base class; the cut loss is added, its mean over frames."""
    found = self.outcome(
      window.frame(0),
      window.particles,
      window.domain,
      window.time[1:] - window.time[0],
    )
    error = eghn.position_error(found.position, window)
    return error + self._config.cut_weight * found.cut_loss

  def outcome(
    self, state, particles, domain, times, local=None
  ) -> eghn.Outcome:
    """Returns all that is predicted, `[B, P, N, ...]`.

    Args:
      state: `[B, N, D]`.
      particles: `[B, N]`.
      domain: box `[B, D]`.
      times: `[P]`.
      local: as in `eghn_layers.graph`.
    """
    batch, n, _ = state.position.shape
    count = times.shape[0]
    place = tf.range(count, dtype=times.dtype)
    if self._config.embedding == "time":
      place = times / self._problem.time_step
    told = embedding(place, self._config.embedding_width)
    told = tf.tile(tf.repeat(told[:, None], n, axis=1), [batch, 1, 1])

    def repeat(x):
      return tf.repeat(x, count, axis=0)

    graph = eghn_layers.graph(
      self._problem, state.position, particles, domain, local
    )
    origin = state.position - geometry.centred(
      state.position, particles, domain
    )
    scalars = geometry.scalars(self._problem, state, particles)
    state, particles, domain, graph, origin, scalars = map_arrays(
      repeat, (state, particles, domain, graph, origin, scalars)
    )
    scalars = self._input(tf.concat([scalars, told], -1))
    scalars = self._embedding(scalars)
    nodes = Nodes(state.position, state.velocity, scalars)
    for block in self._blocks:
      nodes = block(nodes, origin, count, graph.edges, graph.attributes, domain)
    found = self._hierarchy(state.position, nodes, graph, particles, domain)
    position, assignment = (
      tf.reshape(x, [batch, count, n, x.shape[-1]]) for x in found[:2]
    )
    return eghn.Outcome(position, assignment, found.cut_loss)
