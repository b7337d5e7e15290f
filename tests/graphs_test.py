import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from nbody_bench import graphs, testing
from nbody_bench.states import Domain, Particles, State


def tensors(**kwargs):
  return testing.to_tensors(testing.random_system(**kwargs))


def test_fully_connected_has_every_ordered_pair_once():
  state, particles, _ = tensors(num_particles=6)
  senders = graphs.fully_connected(state.position, particles).senders.numpy()
  for receiver in range(6):
    expected = sorted(set(range(6)) - {receiver})
    assert sorted(senders[0, receiver]) == expected


@pytest.mark.parametrize("box_side", [8.0, np.inf])
def test_nearest_equals_brute_force(box_side):
  state, particles, domain = tensors(num_particles=9, box_side=box_side)
  found = graphs.nearest(state, particles, domain, 3).senders.numpy()
  x, box = state.position.numpy(), domain.box.numpy()
  for b in range(2):
    for i in range(9):
      d = x[b] - x[b, i]
      if np.isfinite(box_side):
        d -= box[b] * np.round(d / box[b])
      order = np.argsort((d**2).sum(-1))
      assert order[0] == i
      assert set(found[b, i]) == set(order[1:4])


@hypothesis.settings(deadline=None, max_examples=25)
@hypothesis.given(
  num_dims=st.sampled_from([1, 2, 2, 3]),
  n=st.integers(60, 400),
  count=st.integers(1, 8),
  open_sides=st.lists(st.booleans(), min_size=3, max_size=3),
  power=st.sampled_from([1, 3, 9]),
  num_padding=st.integers(0, 40),
  seed=st.integers(0, 1000),
)
def test_nearest_by_cells_equals_a_search_among_all(
  num_dims, n, count, open_sides, power, num_padding, seed
):
  """Evenly spread, and clustered as powers of uniform coordinates are."""
  rng = np.random.default_rng(seed)
  box = rng.uniform(2, 9, (2, num_dims))
  x = rng.uniform(-1, 1, (2, n, num_dims)) ** power * box[:, None] / 2
  box[:, np.array(open_sides[:num_dims])] = np.inf
  mask = np.ones((2, n))
  mask[0, : num_padding // 2] = mask[1, n - num_padding :] = 0
  state, particles, domain = testing.to_tensors(
    (State(x, x), Particles(mask, mask=mask), Domain(box))
  )
  found = graphs.nearest(state, particles, domain, count)
  d = domain.displacement(
    state.position[:, :, None], state.position[:, None]
  ).numpy()
  squared = np.sum(d**2, -1)
  squared[:, np.arange(n), np.arange(n)] = np.inf
  squared = np.where(mask[:, None, :] > 0, squared, np.inf)
  expected = np.sort(squared, -1)[..., :count]
  chosen = np.take_along_axis(squared, found.senders.numpy(), -1)
  real = mask > 0
  np.testing.assert_allclose(
    np.sort(chosen, -1)[real], expected[real], atol=1e-30
  )
  for row in found.senders.numpy()[real]:
    assert len(set(row)) == count


def test_padding_is_nobodys_neighbour():
  arrays = testing.random_system(num_particles=5)
  state, particles = testing.pad(*arrays[:2], 3)
  state, particles, domain = testing.to_tensors((state, particles, arrays[2]))
  few = graphs.nearest(state, particles, domain, 3)
  assert few.senders.numpy()[:, :5].max() < 5
  many = graphs.nearest(state, particles, domain, 6)
  np.testing.assert_array_equal(many.mask.numpy().sum(-1)[:, :5], 4)
  np.testing.assert_array_equal(many.mask.numpy()[:, 5:], 0)


def test_sums_over_incoming_edges_equal_scattered_ones():
  state, particles, domain = tensors(num_particles=7)
  neighbours = graphs.nearest(state, particles, domain, 3)
  edges = graphs.edge_displacement(state.position, neighbours, domain)
  graph = graphs.interaction_graph(state.velocity, edges, neighbours)
  np.testing.assert_allclose(
    graphs.sum_received(graph.edges, graph.receivers, 14),
    tf.math.unsorted_segment_sum(graph.edges, graph.receivers, 14),
    atol=1e-6,
  )
  sent = tf.gather(tf.reshape(state.position, [-1, 2]), graph.senders)
  received = tf.gather(tf.reshape(state.position, [-1, 2]), graph.receivers)
  gap = graph.edges - (sent - received)
  np.testing.assert_allclose(
    gap / 8.0, np.round(gap / 8.0), atol=1e-6, err_msg="not whole boxes"
  )
  np.testing.assert_array_equal(graph.n_edge, [21, 21])
