"""The graph network of Desai and Roberts (2020), that OGN, HOGN, VIGN share."""

from collections.abc import Sequence

import sonnet as snt
import tensorflow as tf
from graph_nets import blocks

from nbody_bench import graphs, networks
from nbody_bench.arrays import Array
from nbody_bench.states import Domain, Particles

# Nodes may be told positions counted from the mean of the system, which takes
# no part in derivatives (published; one body alone sees nothing), or from the
# origin, where an outer field acts; or edges displacements, so that nothing
# depends on the place and momentum is conserved.
POSITIONS = ("centred", "absolute", "relative")


class PhaseSpaceNetwork(snt.Module):
  """One full graph-network block on the complete graph, softplus throughout.

  Globals begin as zeros of width 1, and so do edges unless they are told
  displacements. See `POSITIONS` for what a network is told of the place.
  """

  def __init__(
    self,
    widths: Sequence[int] = (64, 64),
    positions: str = "centred",
    has_global: bool = True,
  ):
    """Makes the block.

    Args:
      widths: layers of all three networks.
      positions: one of `POSITIONS`.
      has_global: whether there is a network of the global, to be read.

    Raises:
      ValueError: for widths below 1, or other positions.
    """
    super().__init__(name="phase_space_network")
    if not widths or min(widths) < 1:
      raise ValueError(f"all widths must be >= 1, got {tuple(widths)}")
    if positions not in POSITIONS:
      raise ValueError(
        f"positions is {positions!r}; choose one of {', '.join(POSITIONS)}"
      )
    self._positions = positions

    def network():
      return networks.mlp(widths, tf.nn.softplus, activate_final=True)

    self._edges = blocks.EdgeBlock(network)
    self._nodes = blocks.NodeBlock(
      network, received_edges_reducer=graphs.sum_received
    )
    self._global = network() if has_global else None

  def __call__(
    self,
    features: Array,
    position: Array,
    particles: Particles,
    domain: Domain,
  ) -> tuple[Array, Array | None]:
    """Returns nodes `[B, N, W]` and the global `[B, W]`, None without one.

    Args:
      features: `[B, N, F]`, what nodes hold beside positions.
      position: `[B, N, D]`.
      particles: `[B, N]`.
      domain: box `[B, D]`.
    """
    batch, n, _ = position.shape
    neighbours = graphs.fully_connected(position, particles)
    k = neighbours.senders.shape[2]
    if self._positions == "relative":
      edges = graphs.edge_displacement(position, neighbours, domain)
    else:
      edges = tf.zeros([batch, n, k, 1], position.dtype)
      place = domain.wrap(position)
      if self._positions == "centred":
        place -= tf.stop_gradient(_mean(place, particles))
      features = tf.concat([place, features], 2)
    zeros = tf.zeros([batch, 1], position.dtype)
    graph = graphs.interaction_graph(features, edges, neighbours)
    graph = self._edges(graph.replace(globals=zeros))
    if neighbours.mask is not None:
      # An edge of padding is not zero by itself: the network has biases.
      mask = tf.reshape(neighbours.mask, [-1, 1])
      graph = graph.replace(edges=graph.edges * mask)
    graph = self._nodes(graph)
    nodes = tf.reshape(graph.nodes, [batch, n, graph.nodes.shape[-1]])
    if particles.mask is not None:
      nodes *= particles.mask[..., None]
    if self._global is None:
      return nodes, None
    edges = tf.reshape(graph.edges, [batch, n * k, graph.edges.shape[-1]])
    sums = [tf.reduce_sum(edges, 1), tf.reduce_sum(nodes, 1), zeros]
    return nodes, self._global(tf.concat(sums, 1))


def _mean(position, particles):
  """Returns the mean over real particles, `[B, 1, D]`."""
  weight = tf.ones_like(particles.mass)
  if particles.mask is not None:
    weight = particles.mask
  total = tf.reduce_sum(weight[..., None] * position, 1, keepdims=True)
  return total / tf.reduce_sum(weight, 1)[:, None, None]
