"""Radius graphs against their definition, written down plainly."""

import itertools
import warnings

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from nbody_bench import capacity, radius_graphs, rollouts, simulators, testing
from nbody_bench.states import Domain, Particles, State

ALL = 100_000  # more neighbours than any test has


def build(position, cutoff, box=np.inf, cell=None, mask=None, most=ALL):
  """Returns the graph of `[B, N, D]` NumPy arrays."""
  position = np.asarray(position, np.float32)
  batch, n, num_dims = position.shape
  box = np.broadcast_to(box, (batch, num_dims))
  inputs = testing.to_tensors(
    (position, Particles(np.ones((batch, n)), mask=mask), Domain(box, cell))
  )
  return radius_graphs.build(*inputs, cutoff, most)


def lattice_of(box, cell):
  if cell is not None:
    return cell
  return np.stack([np.diag(x) for x in np.where(np.isinf(box), 1, box)])


def edges_of(graph, position, box, cell=None):
  """Returns the edges as a dict (sender, receiver, sides) -> vector."""
  batch, n, _ = position.shape
  senders, receivers, image, edge = (np.asarray(x) for x in graph)
  vector = radius_graphs.vectors(tf.constant(position, tf.float32), graph)
  count = int(edge.sum())
  assert np.all(edge[:count] == 1)
  assert np.all(edge[count:] == 0)
  assert np.all(np.diff(receivers) >= 0)
  for x in (senders, receivers):
    assert np.all(x[count:] == batch * n)
  assert not np.any(vector[count:])
  lattice = lattice_of(box, cell)
  edges = {}
  for s, r, x, v in zip(
    senders[:count], receivers, image, vector.numpy(), strict=False
  ):
    assert s // n == r // n
    sides = x @ np.linalg.inv(lattice[r // n])
    np.testing.assert_allclose(sides, np.round(sides), atol=1e-3)
    key = (int(s), int(r), *(int(i) for i in np.round(sides)))
    assert key not in edges, "an edge stands there twice"
    edges[key] = v
  return edges


def definition(position, mask, box, cell, cutoff):
  """Returns all that is nearer than the cutoff, as `edges_of`."""
  n = position.shape[1]
  edges = {}
  for b, lattice in enumerate(lattice_of(box, cell)):
    inverse = np.linalg.inv(lattice)
    periodic = ~np.isinf(box[b])
    x = position[b]
    spread = np.ptp(x @ inverse, axis=0)
    reach = cutoff * np.linalg.norm(inverse, axis=0) + spread + 1
    reach = np.where(periodic, reach.astype(int), 0)
    for sides in itertools.product(*(range(-r, r + 1) for r in reach)):
      vectors = x[None] + np.array(sides) @ lattice - x[:, None]
      near = np.linalg.norm(vectors, axis=-1) < cutoff
      near &= (mask[b][None] > 0) & (mask[b][:, None] > 0)
      if not any(sides):
        near &= ~np.eye(n, dtype=bool)
      for r, s in np.argwhere(near):
        edges[b * n + s, b * n + r, *sides] = vectors[r, s]
  return edges


@st.composite
def systems(draw):
  """Random states: sizes, boundaries, cells, padding, wide cutoffs."""
  num_dims = draw(st.sampled_from([2, 3]))
  batch, n = draw(st.integers(1, 3)), draw(st.integers(1, 7))
  rng = np.random.default_rng(draw(st.integers(0, 2**16)))
  periodic = draw(st.lists(st.booleans(), min_size=num_dims, max_size=num_dims))
  cell = np.eye(num_dims) * rng.uniform(1.5, 6, (batch, num_dims, 1))
  oblique = draw(st.booleans())
  if oblique:
    cell += rng.uniform(-1, 1, cell.shape) * (1 - np.eye(num_dims))
  box = np.where(periodic, np.linalg.norm(cell, axis=-1), np.inf)
  outside = draw(st.sampled_from([0.3, 1.5]))
  position = outside * rng.normal(size=(batch, n, num_dims)) * 2
  if draw(st.booleans()):
    position = np.round(position)
  mask = (rng.random((batch, n)) < 0.8).astype(float)
  cutoff = draw(st.sampled_from([0.7, 2.3, 4.6]))
  most = draw(st.sampled_from([1, 5, ALL]))
  position = position.astype(np.float32).astype(float)
  return position, mask, box, cell if oblique else None, cutoff, most


@hypothesis.settings(deadline=None, max_examples=60)
@hypothesis.given(systems())
def test_edges_are_those_of_the_definition(system):
  position, mask, box, cell, cutoff, most = system
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    graph = build(position, cutoff, box, cell, mask, most)
  found = edges_of(graph, position, box, cell)
  expected = definition(position, mask, box, cell, cutoff + 1e-3)
  certain = definition(position, mask, box, cell, cutoff - 1e-3)
  for key, vector in found.items():
    np.testing.assert_allclose(vector, expected[key], atol=1e-4)
  for row in range(mask.size):
    kept = [key for key in found if key[1] == row]
    near = {k: v for k, v in certain.items() if k[1] == row}
    assert len(kept) <= most
    if len(kept) < most:
      assert set(near) <= set(kept)
      continue
    furthest = max(np.linalg.norm(expected[key]) for key in kept)
    dropped = [v for k, v in near.items() if k not in kept]
    nearest = min(map(np.linalg.norm, dropped), default=np.inf)
    assert furthest <= nearest * (1 + 1e-4)


def square(side=1.0, count=4):
  """Returns the points of a square lattice that fills a periodic box."""
  x = side * (np.arange(count) - (count - 1) / 2)
  return np.stack(np.meshgrid(x, x), -1).reshape(1, -1, 2)


@pytest.mark.filterwarnings("ignore:.*max_neighbours")
def test_of_equal_neighbours_all_receivers_keep_the_same():
  """Neither their order nor rounding decides."""
  x = square()
  box = np.full((1, 2), 4.0)
  order = np.random.default_rng(0).permutation(16)
  for shift in (0.0, 0.1234):
    for rows in (np.arange(16), order):
      moved = x[:, rows] + shift
      edges = edges_of(build(moved, 1.5, box, most=6), moved, box)
      kept = {r: set() for r in range(16)}
      for (_, receiver, *_), vector in edges.items():
        kept[receiver].add(tuple(np.round(vector, 3) + 0.0))
      assert all(len(v) == 6 for v in kept.values())
      assert len(set(map(frozenset, kept.values()))) == 1


def test_a_warning_says_what_is_dropped_and_what_to_set():
  with pytest.warns(UserWarning, match=r"more than 6 .*Raise max_neighbours"):
    build(square(), 1.5, 4.0, most=6)
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    build(square(), 1.5, 4.0, most=8)


def test_an_atom_alone_is_a_neighbour_of_its_images():
  x = np.zeros((1, 1, 3))
  box = np.array([[1.0, 1.0, np.inf]])
  edges = edges_of(build(x, 1.2, box), x, box)
  assert sorted(edges) == [
    (0, 0, -1, 0, 0),
    (0, 0, 0, -1, 0),
    (0, 0, 0, 1, 0),
    (0, 0, 1, 0, 0),
  ]
  # Half a box is reached both ways.
  x, box = np.array([[[-0.5, 0], [0.5, 0]]]), np.array([[2.0, 9.0]])
  assert len(edges_of(build(x, 1.1, box), x, box)) == 4


def test_the_cutoff_itself_is_not_within():
  x = np.array([[[0.0, 0.0], [1.5, 0.0], [0.0, 1.25]]])
  edges = edges_of(build(x, 1.5), x, np.full((1, 2), np.inf))
  assert sorted(edges) == [(0, 2, 0, 0), (2, 0, 0, 0)]


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1e20])
def test_what_is_not_finite_has_no_edges_and_disturbs_no_other(wrong):
  x = np.random.default_rng(0).uniform(-2, 2, (3, 6, 3))
  box = np.full((3, 3), 4.0)
  expected = edges_of(build(x, 2.0, box), x, box)
  broken = x.copy()
  broken[1, 2, 0] = wrong
  graph = build(broken, 2.0, box)
  vector = radius_graphs.vectors(tf.constant(broken, tf.float32), graph)
  assert np.all(np.isfinite(vector))
  kept = {k: v for k, v in expected.items() if k[0] // 6 != 1}
  assert 0 < len(kept) < len(expected)
  found = edges_of(graph, broken, box)
  assert found.keys() == kept.keys()
  # Padding that is not finite is padding.
  mask = np.ones((3, 6))
  mask[1, 2] = 0
  assert np.any(
    np.asarray(build(broken, 2.0, box, mask=mask).senders) // 6 == 1
  )


def test_far_apart_is_not_near():
  """Beyond the cells that can be numbered."""
  x = np.array([[[0.0, 0], [0.5, 0], [1e7, 0], [1e30, 0]]])
  edges = edges_of(build(x, 1.0), x, np.full((1, 2), np.inf))
  assert sorted(k[:2] for k in edges) == [(0, 1), (1, 0)]


def test_gradients_are_those_of_the_vectors():
  rng = np.random.default_rng(0)
  x = tf.constant(rng.uniform(-3, 3, (2, 5, 2)), tf.float32)
  box = np.full((2, 2), 2.0)
  graph = build(x.numpy(), 2.5, box)
  weight = rng.normal(size=graph.image.shape)
  with tf.GradientTape() as tape:
    tape.watch(x)
    total = tf.reduce_sum(radius_graphs.vectors(x, graph) * weight)
  expected = np.zeros((11, 2))
  np.add.at(expected, graph.senders.numpy(), weight)
  np.add.at(expected, graph.receivers.numpy(), -weight)
  np.testing.assert_allclose(
    tape.gradient(total, x), expected[:10].reshape(2, 5, 2), atol=1e-5
  )


def test_work_grows_as_the_number_of_particles():
  def needs(n):
    x = np.random.default_rng(0).uniform(-0.5, 0.5, (1, n, 3))
    side = n ** (1 / 3)
    return capacity.measure(lambda: build(side * x, 2.0, side))

  small, large = needs(1000), needs(8000)
  assert large["radius_candidates"] < 10 * small["radius_candidates"]
  assert large["radius_edges"] < 10 * small["radius_edges"]


def program(sizes, **options):
  """Returns a function of an oblique system compiled for some sizes."""
  rng = np.random.default_rng(0)
  cell = np.array([[3.0, 0.5, 0], [-1, 4, 0.2], [0, 0.3, 9]])
  box = np.array([[3.0, 4, np.inf]] * 2)
  x = rng.uniform(-4, 4, (2, 6, 3))

  @tf.function(autograph=False, **options)
  def run():
    with capacity.within(capacity.Room(sizes)) as room:
      graph = build(x, 2.5, box, cell[None].repeat(2, 0))
    return graph, room.overflow

  return run, x, box, cell[None].repeat(2, 0)


@pytest.mark.parametrize(
  "jit", [False, pytest.param(True, marks=pytest.mark.slow)]
)
def test_the_graph_of_a_program_is_the_same(jit):
  run, x, box, cell = program({})
  needs = capacity.measure(lambda: build(x, 2.5, box, cell))
  expected = edges_of(build(x, 2.5, box, cell), x, box, cell)
  graph, overflow = program(needs, jit_compile=jit)[0]()
  assert not overflow
  assert edges_of(graph, x, box, cell).keys() == expected.keys()
  roomy = {k: v + 37 for k, v in needs.items()}
  graph, overflow = program(roomy, jit_compile=jit)[0]()
  assert not overflow
  assert len(graph.edge) == roomy["radius_edges"]
  assert edges_of(graph, x, box, cell).keys() == expected.keys()
  # A `tf.function` of one's own, that no sizes are told to.
  graph, _ = run()
  assert edges_of(graph, x, box, cell).keys() == expected.keys()


@pytest.mark.parametrize(
  "name", [f"radius_{x}" for x in ("images", "candidates", "pairs", "edges")]
)
def test_what_does_not_fit_is_told(name):
  _, x, box, cell = program({})
  needs = capacity.measure(lambda: build(x, 2.5, box, cell))
  _, overflow = program({**needs, name: needs[name] - 1})[0]()
  assert overflow


def test_without_sizes_what_does_not_fit_is_not_a_number():
  def images(side):
    graph = build(np.zeros((1, 1, 2)), 2.0, side)
    return graph.image

  blind = tf.function(images, autograph=False)
  assert np.all(np.isfinite(blind(1.1)))
  assert np.all(np.isnan(blind(0.5)))


@pytest.mark.slow
def test_a_rollout_grows_with_its_graph():
  def step(state, particles, domain, time_step):
    graph = radius_graphs.build(state.position, particles, domain, 1.5, ALL)
    vector = radius_graphs.vectors(state.position, graph)
    rows = state.velocity.shape[0] * state.velocity.shape[1]
    total = tf.math.unsorted_segment_sum(vector, graph.receivers, rows + 1)
    total = tf.reshape(total[:-1], state.velocity.shape)
    return State((1 - 0.5 * time_step) * state.position, total)

  system = testing.random_system(2, 30, box_side=6.0)
  times = 0.4 * np.arange(1, 6)
  predict = rollouts.compiled(simulators.StepSimulator(step))
  result = rollouts.rollout(predict, *system, times).state
  assert predict.experimental_get_tracing_count() >= 2
  state, particles, domain = testing.to_tensors(system)
  for frame in range(len(times)):
    state = step(state, particles, domain, tf.constant(0.4))
    np.testing.assert_allclose(
      result.velocity[:, frame], state.velocity, atol=1e-3
    )


@pytest.mark.parametrize(("cutoff", "most"), [(0, 5), (np.inf, 5), (1, 0)])
def test_what_cannot_be_a_graph_is_refused(cutoff, most):
  with pytest.raises(ValueError, match=f"cutoff is {cutoff}.*{most}; both"):
    build(np.zeros((1, 2, 2)), cutoff, most=most)


def test_too_many_images_are_an_error_that_says_the_way_out():
  with pytest.raises(capacity.CapacityError, match=r"images.*larger box"):
    build(np.zeros((1, 2, 3)), 6.0, 1e-3)
