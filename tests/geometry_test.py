"""Edges of geometric networks, of which some are padding."""

import numpy as np
import tensorflow as tf

from nbody_bench import capacity, geometry, testing
from nbody_bench.egnn_layers import EquivariantLayer, Nodes
from nbody_bench.geometry import Edges
from nbody_bench.graphs import Neighbours
from nbody_bench.states import Domain, Particles

# A star: the first has all others for neighbours, these it and one another by
# two bonds in a row. Of the second system's bonds two are padding.
_BONDS = [
  [[0, 1], [0, 2], [0, 3], [3, 4]],
  [[0, 1], [1, 2], [0, 0], [0, 0]],
]


def _edges():
  position = tf.constant(np.random.default_rng(0).normal(size=[2, 6, 3]))
  particles = Particles(
    mass=tf.ones([2, 6], tf.float64), bonds=tf.constant(_BONDS)
  )
  problem = testing.problem(testing.COULOMB, 3)
  return position, geometry.edges(problem, position, particles)


def test_rows_are_the_edges_that_there_are():
  _, edges = _edges()
  rows = geometry.rows(edges)
  # Ties: 4 bonds and (1, 2), (1, 3), (2, 3), (0, 4); 2 bonds and (0, 2).
  assert rows.senders.shape == [2 * 8 + 2 * 3]
  values = tf.random.normal([*edges.mask.shape[:3], 2], dtype=tf.float64)
  there = (values * edges.mask).numpy()
  np.testing.assert_array_equal(rows.spread(rows.of_edges(values)), there)
  nodes = tf.random.normal([2, 6, 4], dtype=tf.float64)
  for gathered, dense in zip(
    rows.of_nodes(nodes), geometry.ends(nodes, edges), strict=True
  ):
    found = tf.gather(gathered.values, gathered.rows)
    np.testing.assert_array_equal(found, rows.of_edges(dense))


def test_room_to_spare_changes_nothing():
  _, edges = _edges()
  values = tf.random.normal([*edges.mask.shape[:3], 2], dtype=tf.float64)
  with capacity.within(capacity.Room({"real_edges": 30})) as room:
    rows = geometry.rows(edges)
  assert rows.senders.shape == [30]
  assert capacity.needed(room.names, room.needs) == {"real_edges": 22}
  found = rows.spread(rows.of_edges(values))
  np.testing.assert_array_equal(found, (values * edges.mask).numpy())


def test_too_little_room_is_told():
  _, edges = _edges()
  with capacity.within(capacity.Room({"real_edges": 16})) as room:
    geometry.rows(edges)
  assert room.overflow


def test_a_layer_does_not_see_padding():
  position, edges = _edges()
  layer = EquivariantLayer(8, residual=True, last=False, name="layer")
  nodes = Nodes(
    position,
    tf.random.normal([2, 6, 3], dtype=tf.float64),
    tf.random.normal([2, 6, 8], dtype=tf.float64),
  )
  domain = Domain(tf.fill([2, 3], tf.constant(np.inf, tf.float64)))
  wider = [[0, 0], [0, 0], [0, 3]]
  more = Edges(
    Neighbours(
      tf.pad(edges.neighbours.senders, wider),
      tf.pad(edges.neighbours.mask, wider),
    ),
    tf.pad(edges.features, [*wider, [0, 0]]),
    tf.pad(edges.mask, [*wider, [0, 0]]),
  )
  results = [layer(nodes, e, e.features, domain)[:2] for e in (edges, more)]
  # All pairs, of which those that are no edges are masked: no rows left out.
  dense = edges._replace(neighbours=edges.neighbours._replace(mask=None))
  results.append(layer(nodes, dense, edges.features, domain)[:2])
  for found in results[1:]:
    for one, other in zip(results[0], found, strict=True):
      np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)
