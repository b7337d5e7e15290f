"""Messages up and down the hierarchy: what adapts a graph network to it.

Martinkus, Lucchi and Perraudin (AAAI 2021), section 3.2. Any graph network on
particles becomes hierarchical by two changes: its edges are those of
`hierarchy.build(...).particles`, and what this module returns, one message to
each particle from its finest cell, joins the particle's incoming edges. See
`baselines/hierarchical_delta_gn.py` and `baselines/hierarchical_hogn.py`.
"""

from collections.abc import Callable, Sequence

import sonnet as snt
import tensorflow as tf

from nbody_bench.arrays import Array
from nbody_bench.levels import Hierarchy, Level
from nbody_bench.networks import Gathered, JoinedMLP


class HierarchicalPassing(snt.Module):
  """Upward, sideways and downward messages; weights shared by the levels.

  With features n (constants and velocities, or momenta), embeddings h and
  minimum-image differences d,

    h_c = sum over particles of phi_pc(n_p, n_c, d, dt)     finest cells
    h_c = sum over children of phi_cp([n, h]_child, n_c, d, dt)
    e_c = sum over the interaction list of phi_cc([n, h]_s, [n, h]_c, d, dt)
          + phi_pa([n, h']_parent, [n, h]_c, d, dt)
    h'_c = phi_c([n, h]_c, e_c, dt)                     from the top downwards
    message to particle p = phi_cp'([n, h']_cell, n_p, d, dt).
  """

  def __init__(
    self,
    edge_widths: Sequence[int] = (150, 150),
    node_widths: Sequence[int] = (100, 100, 100),
    activation: Callable[[Array], Array] = tf.nn.relu,
    name: str = "hierarchical_passing",
  ):
    """Makes the networks.

    Args:
      edge_widths: layers of phi_cc, phi_pa and phi_cp'.
      node_widths: layers of phi_c; phi_pc and phi_cp have those but the first.
      activation: after every layer.
      name: of the module.
    """
    super().__init__(name=name)

    def network(widths, name):
      return JoinedMLP(widths, activation, activate_final=True, name=name)

    up = node_widths[1:] or node_widths
    self.particle_to_cell = network(up, "particle_to_cell")
    self.cell_to_parent = network(up, "cell_to_parent")
    self.cell_to_cell = network(edge_widths, "cell_to_cell")
    self.parent_to_cell = network(edge_widths, "parent_to_cell")
    self.cell_update = network(node_widths, "cell_update")
    self.cell_to_particle = network(edge_widths, "cell_to_particle")
    self._has_parents: bool | None = None

  def __call__(
    self,
    graph: Hierarchy,
    features: Array,
    position: Array,
    cells: Sequence[tuple[Array, Array]],
    *shared: Array,
  ) -> Array:
    """Returns the message to each particle, `[n, edge width]`.

    Args:
      graph: who interacts with whom.
      features: of particles, rows `[n, F]`.
      position: rows `[n, D]`.
      cells: features `[cells, F]` and positions `[cells, D]` of each level,
        from the coarsest.
      *shared: numbers `[G]` that every network is told, such as the time step.

    Raises:
      ValueError: if cells have parents, and had none at the first call.
    """
    self._check_levels(len(graph.cells))
    embedded = self._up(graph, features, position, cells, shared)
    parent = above = None
    for level, own, (_, at) in zip(graph.cells, embedded, cells, strict=True):
      sent = self.cell_to_cell(
        Gathered(own, level.senders),
        Gathered(own, level.receivers),
        edge_displacement(level, at),
        *shared,
      )
      received = level.sum_received(sent)
      if parent is not None:
        received += self.parent_to_cell(
          Gathered(parent, level.parent), own, _to(level, above, at), *shared
        )
      updated = self.cell_update(own, received, *shared)
      parent = tf.concat([own[:, : features.shape[-1]], updated], 1)
      above = at
    lowest = graph.particles
    return self.cell_to_particle(
      Gathered(parent, lowest.parent),
      features,
      _to(lowest, above, position),
      *shared,
    )

  @property
  def unused_scopes(self) -> tuple[str, ...]:
    """What variables' names begin with that two levels have no use for.

    So that a model of more levels may go on with two.
    """
    if self._has_parents is not False:
      return ()
    between = self.cell_to_parent, self.parent_to_cell
    return tuple(network.name_scope.name for network in between)

  def _check_levels(self, num_cell_levels):
    if self._has_parents is None:
      self._has_parents = num_cell_levels > 1
    if num_cell_levels > 1 and not self._has_parents:
      raise ValueError(
        f"the model was made with 2 levels, where cells have no parents, and "
        f"is asked for {num_cell_levels + 1}: the networks between levels of "
        "cells were never trained; set num_levels=2 for all sizes, or train "
        "with num_levels=3 or more"
      )

  def _up(self, graph, features, position, cells, shared):
    """Returns features and embeddings of each level, from the coarsest."""
    child, own, at = graph.particles, features, position
    network, result = self.particle_to_cell, []
    for level, (cell_features, cell_at) in zip(
      reversed(graph.cells), reversed(cells), strict=True
    ):
      message = network(
        own,
        Gathered(cell_features, child.parent),
        -_to(child, cell_at, at),
        *shared,
      )
      embedding = level.sum_to(message, child.parent)
      own = tf.concat([cell_features, embedding], 1)
      child, at, network = level, cell_at, self.cell_to_parent
      result.append(own)
    return result[::-1]


def edge_displacement(level: Level, position: Array) -> Array:
  """Returns q_sender - q_receiver by minimum image, `[E, D]`."""
  return level.displacement(
    tf.gather(position, level.receivers),
    tf.gather(position, level.senders),
    level.receivers,
  )


def _to(level, parent_position, position):
  """Returns q_parent - q_child of each node of a level, `[n, D]`."""
  return level.displacement(position, tf.gather(parent_position, level.parent))
