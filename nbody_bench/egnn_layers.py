"""The layer of EGNN, in the two forms that are published."""

from typing import NamedTuple

import sonnet as snt
import tensorflow as tf

from nbody_bench import geometry, networks
from nbody_bench.arrays import Array
from nbody_bench.geometry import Edges
from nbody_bench.states import Domain

# Of what one layer moves a particle. Published as a bound on each coordinate,
# which would not be equivariant; in training it is never met.
LARGEST_SHIFT = 100.0


class Nodes(NamedTuple):
  """What a layer maps to the next.

  Attributes:
    position: `[B, N, D]`, which may leave the box.
    velocity: `[B, N, D]`.
    scalars: `[B, N, H]`; None after a last layer, which has no use for them.
  """

  position: Array
  velocity: Array
  scalars: Array | None


class EquivariantLayer(snt.Module):
  """One message-passing layer of scalars, positions and velocities.

      m_ij = edge [h_i, h_j, |x_ij|^2, a_ij]
      x_i += mean_j x_ij coordinate(m_ij) + velocity(h_i) v_i
      h_i  = node [h_i, sum_j m_ij], h_i added if residual

  The form of Satorras, Hoogeboom and Welling (2021), eq. 3-7, is residual and
  its `coordinate` ends without bias, near zero; that of Xu et al. (2024) is
  neither.
  """

  def __init__(self, width: int, *, residual: bool, last: bool, name: str):
    """Makes the layer.

    Args:
      width: H, and of all hidden layers.
      residual: which of the two forms.
      last: whether nothing reads the scalars afterwards.
      name: of the module.
    """
    super().__init__(name=name)
    self._residual = residual
    silu = tf.nn.silu

    def network(last_width, activate_final=False, part="mlp"):
      return networks.mlp([width, last_width], silu, activate_final, part)

    # The products of scalars are taken once for a node, not for each edge.
    self.edge = networks.JoinedMLP([width, width], silu, True, "edge")
    self.coordinate = network(1, part="coordinate")
    if residual:
      last_layer = networks.SmallLinear(1, name="linear_1")
      first_layer = networks.Linear(width, name="linear_0")
      self.coordinate = snt.Sequential(
        [first_layer, silu, last_layer], name="coordinate"
      )
    self.velocity = network(1, part="velocity")
    self.node = None if last else network(width, part="node")

  def __call__(self, nodes: Nodes, edges: Edges, told: Array, domain: Domain):
    """Returns the next `Nodes`.

    Args:
      nodes: the present ones.
      edges: who acts on whom.
      told: features of edges beside the geometry, `[B, N, K, F]`.
      domain: box `[B, D]`.
    """
    position, velocity, scalars = nodes
    apart = geometry.displacement(position, edges, domain)
    squared = tf.reduce_sum(apart**2, -1, keepdims=True)
    rows = geometry.rows(edges)
    told = rows.of_edges(tf.concat([squared, told], -1))
    message = self.edge(*rows.of_nodes(scalars), told)
    push = apart * rows.spread(self.coordinate(message))
    if self._residual:
      shift = geometry.mean(_bounded(push), edges)
    else:
      shift = _bounded(geometry.mean(push, edges))
    position += shift + self.velocity(scalars) * velocity
    if self.node is None:
      return Nodes(position, velocity, None)
    heard = geometry.total(rows.spread(message), edges)
    update = self.node(tf.concat([scalars, heard], -1))
    if self._residual:
      update += scalars
    return Nodes(position, velocity, update)


def _bounded(shift):
  return shift * tf.minimum(1.0, LARGEST_SHIFT / geometry.length(shift))
