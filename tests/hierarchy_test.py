"""The hierarchical graph against its definition, written down plainly."""

import math

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

import golden
from nbody_bench import capacity, hierarchy, testing
from nbody_bench.hierarchical_passing import HierarchicalPassing
from nbody_bench.levels import cell_states
from nbody_bench.states import Domain, Particles

GOLDEN = [
  "hierarchical_delta_gn_gravity_20",
  "hierarchical_delta_gn_gravity_100",
  "hierarchical_hogn_gravity_100",
]


def edges_by_sample(graph, level, name=lambda row: row):
  """Returns the set of named (sender, receiver) pairs of each sample."""
  count = int(level.num_edges)
  senders, receivers = level.senders.numpy(), level.receivers.numpy()
  padding = len(level.real) - 1
  assert np.all(senders[count:] == padding)
  assert np.all(receivers[count:] == padding)
  assert np.all(np.diff(receivers) >= 0)
  samples = level.sample.numpy()
  result = [set() for _ in range(graph.valid.shape[0])]
  for s, r in zip(senders[:count], receivers[:count], strict=True):
    assert samples[s] == samples[r]
    pair = (name(s), name(r))
    assert pair not in result[samples[r]], "an edge stands there twice"
    result[samples[r]].add(pair)
  return result


def particle_edges(graph, num_particles):
  order = graph.order.numpy()
  return edges_by_sample(
    graph, graph.particles, lambda row: int(order[row] % num_particles)
  )


def ancestors(graph, num_particles):
  """Returns for each level, sample and particle the row of its cell."""
  order = graph.order.numpy()
  real = graph.particles.real.numpy() > 0
  row = graph.particles.parent.numpy()
  levels = []
  for level in reversed(graph.cells):
    cells = {}
    for place in np.flatnonzero(real):
      sample, particle = divmod(int(order[place]), num_particles)
      cells[sample, particle] = int(row[place])
    levels.append(cells)
    if level.parent is not None:
      row = level.parent.numpy()[row]
  return levels[::-1]


@pytest.mark.parametrize("name", GOLDEN)
def test_same_edges_and_cells_as_the_reference(name):
  reference = golden.load(name)
  state = reference["state"]
  batch, n, _ = state.shape
  domain = Domain(tf.fill([batch, 2], float(reference["box_size"])))
  graph = hierarchy.build(
    tf.constant(state[..., 1:3]),
    Particles(tf.constant(state[..., 0])),
    domain,
    int(reference["levels"]),
  )
  edges = particle_edges(graph, n)
  mass = graph.rows(tf.constant(state[..., :1]))
  states = [graph.rows(tf.constant(state[..., i : i + 2])) for i in (1, 3)]
  cells = cell_states(graph, mass, states[0], mass * states[1])
  of_particle = ancestors(graph, n)
  for b in range(batch):
    prefix = f"graph_{b}"
    assert edges[b] == set(
      zip(
        reference[f"{prefix}/particle_senders"].tolist(),
        reference[f"{prefix}/particle_receivers"].tolist(),
        strict=True,
      )
    )
    # The reference numbers its cells otherwise; their particles name them.
    below = {i: {i} for i in range(n)}
    for number in range(int(reference["levels"]), 1, -1):
      key = f"{prefix}/cell_level_{number}"
      holds: dict = {}
      for parent, child in reference[f"{key}/parent_child"].tolist():
        holds.setdefault(parent, set()).update(below[child])
      below = holds
      level = graph.cells[number - 2]
      mine: dict = {}
      for (sample, particle), row in of_particle[number - 2].items():
        if sample == b:
          mine.setdefault(row, set()).add(particle)
      row_of = {frozenset(v): k for k, v in mine.items()}
      rows = [row_of[frozenset(holds[c])] for c in sorted(holds)]
      assert len(rows) == len(mine)
      values = [cells[number - 2].constants, cells[number - 2].position]
      values.append(cells[number - 2].velocity)
      features = np.concatenate(values, -1)[rows]
      np.testing.assert_allclose(
        features, reference[f"{key}/features"], atol=1e-5
      )
      pairs = edges_by_sample(graph, level)[b]
      expected = reference[f"{key}/senders_receivers"].tolist()
      assert pairs == {(rows[s], rows[r]) for s, r in expected}


@st.composite
def systems(draw):
  """Random states: sizes, boundaries, padding, clusters, borders, levels."""
  num_dims = draw(st.sampled_from([2, 2, 3]))
  num_levels = draw(st.integers(2, 4 if num_dims == 2 else 3))
  batch = draw(st.integers(1, 3))
  n = draw(st.integers(1, 24))
  seed = draw(st.integers(0, 2**16))
  spread = draw(st.sampled_from([1.0, 1.0, 0.05]))
  on_borders = draw(st.booleans())
  is_open = draw(st.lists(st.booleans(), min_size=num_dims, max_size=num_dims))
  rng = np.random.default_rng(seed)
  box = rng.uniform(2, 9, (batch, num_dims))
  position = spread * rng.uniform(-0.5, 0.5, (batch, n, num_dims))
  if on_borders:
    position = np.round(position * 16) / 16
  position = position * box[:, None]
  box[:, is_open] = np.inf
  mask = np.ones((batch, n))
  mask[0, n // 2 + 1 :] = 0
  return position.astype(np.float32), mask, box.astype(np.float32), num_levels


def cell_coordinates(position, mask, box, num_levels):
  """Returns each particle's cell on every level by plain bisection."""
  result = []
  for b in range(len(position)):
    real = position[b][mask[b] > 0]
    lower, side = -box[b] / 2, box[b].copy()
    for d in np.flatnonzero(np.isinf(box[b])):
      lower[d], side[d] = real[:, d].min(), np.ptp(real[:, d]) or 1
    cells = np.zeros((num_levels + 1, *real.shape), int)
    for i, x in enumerate(real):
      for d in range(len(x)):
        low, width = lower[d], side[d]
        for level in range(1, num_levels + 1):
          width = np.float32(width / 2)
          upper = x[d] >= np.float32(low + width)
          low = np.float32(low + width) if upper else low
          cells[level, i, d] = 2 * cells[level - 1, i, d] + upper
    result.append(cells)
  return result


def adjacent(one, other, side, ring):
  distance = np.abs(one - other)
  distance = np.where(ring, np.minimum(distance, side - distance), distance)
  return bool(np.max(distance) <= 1)


@hypothesis.settings(deadline=None, max_examples=25)
@hypothesis.given(systems())
def test_edges_are_those_of_the_definition_and_cover_every_pair_once(system):
  position, mask, box, num_levels = system
  _, n, _ = position.shape
  graph = hierarchy.build(
    tf.constant(position),
    Particles(tf.ones(mask.shape), mask=tf.constant(mask, tf.float32)),
    Domain(tf.constant(box)),
    num_levels,
  )
  edges = particle_edges(graph, n)
  of_particle = ancestors(graph, n)
  cells = [edges_by_sample(graph, level) for level in graph.cells]
  # At its upper border a periodic box begins anew.
  wrapped = Domain(box).wrap(position)
  expected = cell_coordinates(wrapped, mask, box, num_levels)
  for b, coordinates in enumerate(expected):
    ring = ~np.isinf(box[b])
    number = coordinates.shape[1]
    for i in range(number):
      for j in range(number):
        near = [
          adjacent(c[i], c[j], 2**level, ring)
          for level, c in enumerate(coordinates)
        ]
        # Directly, or by the one level where they first come apart.
        assert ((i, j) in edges[b]) == (near[num_levels] and i != j)
        covered = 0
        for level in range(2, num_levels + 1):
          rows = of_particle[level - 2]
          pair = (rows[b, i], rows[b, j])
          far = near[level - 1] and not near[level]
          assert (pair in cells[level - 2][b]) == far
          covered += far
        assert covered + near[num_levels] == 1
    for level in range(2, num_levels + 1):
      occupied = len({tuple(x) for x in coordinates[level]})
      real = graph.cells[level - 2].real.numpy() > 0
      here = graph.cells[level - 2].sample.numpy() == b
      assert np.sum(real & here) == occupied


@pytest.mark.parametrize("num_dims", [2, 3])
@pytest.mark.parametrize("n", [20, 100, 1000, 5000])
def test_nodes_are_fewer_than_three_times_the_particles(n, num_dims):
  """The paper's theorem, for uniform states."""
  for seed in range(3):
    state, particles, domain = testing.random_system(1, n, num_dims, seed=seed)
    graph = hierarchy.build(
      *testing.to_tensors((state.position, particles, domain))
    )
    nodes = n + sum(float(tf.reduce_sum(c.real)) for c in graph.cells)
    assert nodes < 3 * n


def test_default_levels_are_the_published_ones():
  table = {10: 2, 20: 2, 50: 3, 100: 3, 1000: 5, 5000: 6, 10_000: 7}
  for n, levels in table.items():
    assert hierarchy.default_num_levels(n, 2) == levels
  assert hierarchy.default_num_levels(1, 2) == 2
  assert hierarchy.default_num_levels(4096, 3) == 4


def built(position, box=8.0, num_levels=None, **kwargs):
  position = tf.cast(position, tf.float32)
  batch, n, num_dims = position.shape
  return hierarchy.build(
    position,
    Particles(tf.ones([batch, n]), **kwargs),
    Domain(tf.fill([batch, num_dims], box)),
    num_levels,
  )


@pytest.mark.parametrize("box", [8.0, math.inf])
def test_all_particles_in_one_place(box):
  graph = built(np.full((1, 30, 2), 1.25), box, 4)
  assert len(particle_edges(graph, 30)[0]) == 30 * 29
  for level in graph.cells:
    assert float(tf.reduce_sum(level.real)) == 1
    assert int(level.num_edges) == 0


def test_one_particle_has_no_edges():
  graph = built(np.zeros((2, 1, 2)))
  assert particle_edges(graph, 1) == [set(), set()]


def test_outside_the_box_counts_as_its_image():
  rng = np.random.default_rng(0)
  inside = rng.uniform(-4, 4, (1, 40, 2))
  moved = inside + 8.0 * rng.integers(-2, 3, inside.shape)
  one, other = built(inside), built(moved)
  assert particle_edges(one, 40) == particle_edges(other, 40)


def test_a_sample_that_is_not_finite_is_nan_and_alone():
  rng = np.random.default_rng(0)
  position = rng.uniform(-4, 4, (2, 12, 2))
  whole = built(position)
  position[1, 5, 0] = np.nan
  graph = built(position)
  edges = particle_edges(graph, 12)
  assert edges == [particle_edges(whole, 12)[0], set()]
  back = graph.unrows(graph.rows(tf.ones([2, 12, 3]))).numpy()
  assert np.all(back[0] == 1)
  assert np.all(np.isnan(back[1]))
  total = graph.sum(graph.rows(tf.ones([2, 12, 3]))).numpy()
  assert np.all(total[0] == 12)
  assert np.all(np.isnan(total[1]))


@pytest.mark.parametrize("box", [0.0, -1.0, math.nan])
def test_a_box_without_size_is_an_error(box):
  with pytest.raises(ValueError, match=r"sides.*must be positive"):
    built(np.zeros((1, 4, 2)), box)


@pytest.mark.parametrize("num_levels", [-1, 0, 1])
def test_too_few_levels_are_an_error(num_levels):
  with pytest.raises(ValueError, match=f"num_levels is {num_levels}.*least 2"):
    built(np.zeros((1, 4, 2)), num_levels=num_levels)


def test_many_levels_work_until_they_cannot_be_indexed():
  rng = np.random.default_rng(0)
  graph = built(rng.uniform(-4, 4, (1, 6, 2)), num_levels=12)
  pairs = sum(int(c.num_edges) for c in graph.cells)
  assert pairs + int(graph.particles.num_edges) <= 30
  assert len(graph.cells) == 11
  with pytest.raises(ValueError, match="fewer levels"):
    built(np.zeros((1, 4, 3)), num_levels=12)


def test_rows_and_back():
  rng = np.random.default_rng(0)
  values = rng.normal(size=(3, 7, 2)).astype(np.float32)
  graph = built(rng.uniform(-4, 4, (3, 7, 2)))
  np.testing.assert_array_equal(graph.unrows(graph.rows(values)), values)


@pytest.mark.parametrize(
  "spare", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 50))]
)
def test_a_program_with_room_enough_does_what_happens_eagerly(spare):
  """Sizes just enough pass; the graphs are the same but for padding."""
  rng = np.random.default_rng(0)
  position = tf.constant(rng.uniform(-4, 4, (2, 30, 2)), tf.float32)
  needs = capacity.measure(lambda: built(position, num_levels=3))
  sizes = {k: v + spare for k, v in needs.items()}

  @tf.function(jit_compile=True, autograph=False)
  def program(position):
    with capacity.within(capacity.Room(sizes)) as room:
      return built(position, num_levels=3), room.overflow

  graph, overflow = program(position)
  assert not overflow
  eager = built(position, num_levels=3)
  assert particle_edges(graph, 30) == particle_edges(eager, 30)
  for one, other in zip(graph.cells, eager.cells, strict=True):
    shift = len(other.real) - 1
    assert len(one.real) <= shift + 1 + spare
    pairs = edges_by_sample(graph, one), edges_by_sample(eager, other)
    assert pairs[0] == pairs[1]


def test_one_less_than_needed_is_noticed():
  rng = np.random.default_rng(0)
  position = tf.constant(rng.uniform(-4, 4, (2, 30, 2)), tf.float32)
  needs = capacity.measure(lambda: built(position, num_levels=3))
  assert len(needs) == 5
  for name in needs:
    sizes = {**needs, name: needs[name] - 1}
    with capacity.within(capacity.Room(sizes)) as room:
      built(position, num_levels=3)
    assert room.overflow, name


def test_in_a_function_of_ones_own_there_is_always_room():
  position = tf.fill([1, 12, 2], 0.5)
  graph = tf.function(lambda x: built(x), autograph=False)(position)
  assert len(particle_edges(graph, 12)[0]) == 12 * 11


def test_messages_without_parents_refuse_more_levels():
  passing = HierarchicalPassing((4,), (4, 4))

  def messages(num_levels):
    position = tf.constant(
      np.random.default_rng(0).uniform(-4, 4, (1, 9, 2)), tf.float32
    )
    graph = built(position, num_levels=num_levels)
    at = graph.rows(position)
    cells = cell_states(graph, tf.ones_like(at[:, :1]), at, at)
    features = tf.concat([at, at], 1)
    cells = [(tf.concat([c.momentum] * 2, 1), c.position) for c in cells]
    return passing(graph, features, at, cells)

  assert messages(2).shape == (10, 4)
  with pytest.raises(ValueError, match="num_levels=2 for all sizes"):
    messages(3)
