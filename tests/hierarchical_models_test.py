"""The models of the hierarchical paper, against their reference and graphs."""

import itertools
import json

import numpy as np
import pytest
import tensorflow as tf
from graph_nets import blocks

import golden
from nbody_bench import (
  hierarchy,
  levels,
  networks,
  plugins,
  rollouts,
  testing,
  weights,
)
from nbody_bench.hierarchical_passing import edge_displacement
from nbody_bench.networks import Gathered
from nbody_bench.states import Domain, Particles, State, Trajectory

PASSING = (
  "particle_to_cell",
  "cell_to_parent",
  "cell_to_cell",
  "parent_to_cell",
  "cell_update",
  "cell_to_particle",
)
DELTA = plugins.load("baselines", "hierarchical_delta_gn")
HOGN = plugins.load("baselines", "hogn")
HIERARCHICAL_HOGN = plugins.load("baselines", "hierarchical_hogn")
TIME_STEP = tf.constant(0.01)


def built(model, **kwargs):
  system = testing.random_system(**kwargs)
  model.step(*testing.to_tensors(system), TIME_STEP)
  return model


@pytest.mark.parametrize(
  ("module", "charged", "count"),
  [
    (DELTA, False, 285_604),
    (DELTA, True, 287_404),
    (HOGN, False, 94_901),
    (HOGN, True, 95_301),
    (HIERARCHICAL_HOGN, False, 319_501),
    (HIERARCHICAL_HOGN, True, 321_301),
  ],
)
def test_published_parameter_counts(module, charged, count):
  config = module.Config() if module is HOGN else module.Config(num_levels=3)
  system = testing.COULOMB if charged else testing.GRAVITY
  model = module.Simulator(config, testing.problem(system))
  built(model, charged=charged)
  assert sum(np.prod(v.shape) for v in model.variables) == count


def reference_system(reference):
  state = reference["state"]
  system = (
    State(state[..., 1:3], state[..., 3:5]),
    Particles(mass=state[..., 0]),
    Domain(np.full((len(state), 2), reference["box_size"])),
  )
  return system, tf.constant(reference["dt"], tf.float32)


def reference_model(name, module, **settings):
  """Returns a model with the reference's weights, in reduced widths."""
  reference = golden.load(name)
  config = module.Config(
    edge_widths=(24, 24), node_widths=(16, 16, 16), **settings
  )
  model = module.Simulator(config, testing.problem())
  system, time_step = reference_system(reference)
  model.step(*testing.to_tensors(system), time_step)
  return model, reference, system, time_step


def assign_hierarchy(model, reference):
  has_parents = int(reference["levels"]) > 2
  for part in PASSING:
    if has_parents or part not in ("cell_to_parent", "parent_to_cell"):
      golden.assign_mlp(getattr(model._passing, part), reference, part)
  golden.assign_mlp(model._edge, reference, "edge")
  golden.assign_mlp(model._node, reference, "node")


def golden_delta_gn(num_particles, **settings):
  model, *rest = reference_model(
    f"hierarchical_delta_gn_gravity_{num_particles}", DELTA, **settings
  )
  assign_hierarchy(model, rest[0])
  golden.assign_mlp(model._decoder, rest[0], "decoder")
  return model, *rest


def golden_hogn():
  model, *rest = reference_model(
    "hogn_gravity_10", HOGN, global_widths=(16, 16)
  )
  # graph_nets takes edges (displacement), receiver, sender; sum, features.
  edge_rows = [6, 7, 3, 4, 5, 0, 1, 2]
  golden.assign_mlp(model._network._edges, rest[0], "edge", edge_rows)
  node_rows = [*range(3, 27), 0, 1, 2]
  golden.assign_mlp(model._network._nodes, rest[0], "node", node_rows)
  golden.assign_mlp(model._network._global, rest[0], "global")
  golden.assign_mlp(model._energy, rest[0], "decoder")
  return model, *rest


def golden_hierarchical_hogn():
  model, *rest = reference_model(
    "hierarchical_hogn_gravity_100", HIERARCHICAL_HOGN, global_widths=(16, 16)
  )
  assign_hierarchy(model, rest[0])
  golden.assign_mlp(model._global, rest[0], "global")
  golden.assign_mlp(model._energy, rest[0], "decoder")
  return model, *rest


CASES = {
  "hierarchical_delta_gn_20": lambda: golden_delta_gn(20),
  "hierarchical_delta_gn_100": lambda: golden_delta_gn(100),
  "hogn": golden_hogn,
  "hierarchical_hogn": golden_hierarchical_hogn,
}


@pytest.mark.parametrize("name", CASES)
def test_matches_reference_weights_and_outputs(name):
  model, reference, system, time_step = CASES[name]()
  following = model.step(*testing.to_tensors(system), time_step)
  expected = reference["next_state"]
  result = np.concatenate(following, -1)
  np.testing.assert_allclose(result, expected, atol=1e-5)
  # The reference moves by far more than the tolerance.
  assert np.max(np.abs(expected - reference["state"][..., 1:])) > 1e-2


def test_padding_changes_nothing_in_the_reference_system():
  """So much of it that there would be a level more by default."""
  assert hierarchy.default_num_levels(100, 2) == 3
  assert hierarchy.default_num_levels(140, 2) == 4
  model, reference, (state, particles, domain), time_step = golden_delta_gn(
    100, num_levels=3
  )
  state, particles = testing.pad(state, particles, 40)
  following = model.step(
    *testing.to_tensors((state, particles, domain)), time_step
  )
  result = np.concatenate(following, -1)[:, :100]
  np.testing.assert_allclose(result, reference["next_state"], atol=1e-5)


@pytest.mark.slow
def test_compiled_as_eagerly_where_there_is_spare_room():
  model, reference, (state, particles, domain), dt = golden_delta_gn(100)
  result = rollouts.rollout(
    rollouts.compiled(model), state, particles, domain, dt.numpy()[None]
  )
  result = np.concatenate([x[:, 0] for x in result.state], -1)
  np.testing.assert_allclose(result, reference["next_state"], atol=1e-5)


@pytest.mark.parametrize("num_dims", [2, 3])
def test_stock_graph_nets_blocks_give_the_same(num_dims):
  """`GraphsTuple` and graph_nets on each level, against gathered products."""
  rng = np.random.default_rng(0)
  state, particles, domain = testing.random_system(3, 40, num_dims)
  graph = hierarchy.build(
    *testing.to_tensors((state.position, particles, domain)), 3
  )
  widths, count = (12, 10), 20
  for level in (graph.particles, *graph.cells):
    n = len(level.real)
    features = tf.constant(rng.normal(size=(n, count)), tf.float32)
    at = tf.constant(rng.uniform(-4, 4, (n, num_dims)), tf.float32)
    vectors = edge_displacement(level, at)
    ours = networks.JoinedMLP(widths, activate_final=True)
    edges = ours(
      vectors,
      Gathered(features, level.receivers),
      Gathered(features, level.senders),
    )
    stock = blocks.EdgeBlock(
      lambda: networks.mlp(widths, activate_final=True), use_globals=False
    )
    nodes = blocks.NodeBlock(
      lambda: networks.mlp((5,)), use_globals=False, use_nodes=False
    )
    tuples = level.graph(features, vectors)
    stock(tuples)
    for one, other in zip(
      stock.trainable_variables, ours.trainable_variables, strict=True
    ):
      one.assign(other)
    result = stock(tuples)
    used = int(level.num_edges)
    np.testing.assert_allclose(result.edges[:used], edges[:used], atol=1e-5)
    summed = nodes(result)
    expected = nodes._node_model(level.sum_received(edges))
    real = level.real.numpy() > 0
    np.testing.assert_allclose(
      summed.nodes[real], expected[real], rtol=1e-5, atol=1e-4
    )
    assert int(tf.reduce_sum(tuples.n_node)) == n
    assert int(tf.reduce_sum(tuples.n_edge)) == len(level.senders)


@pytest.mark.parametrize("few", [3, 40])
def test_a_split_first_layer_is_the_layer_of_the_concatenation(few):
  rng = np.random.default_rng(0)

  def random(*shape):
    return tf.constant(rng.normal(size=shape), tf.float32)

  nodes, rest, shared = random(6, few), random(9, 2), random(3)
  rows = tf.constant(rng.integers(0, 6, 9))
  joined = networks.JoinedMLP((8, 4))
  result = joined(Gathered(nodes, rows), shared, rest)
  plain = networks.mlp((8, 4))
  repeated = tf.broadcast_to(shared, [9, 3])
  inputs = tf.concat([tf.gather(nodes, rows), repeated, rest], -1)
  plain(inputs)
  for one, other in zip(
    plain.trainable_variables, joined.trainable_variables, strict=True
  ):
    one.assign(other)
  np.testing.assert_allclose(result, plain(inputs), atol=1e-5)


SMALL = {"edge_widths": (6, 6), "node_widths": (6, 6)}


def small(module, **settings):
  config = module.Config(num_levels=3, **SMALL, **settings)
  return module.Simulator(config, testing.problem())


def perturbed(model, scale=0.3):
  rng = np.random.default_rng(5)
  for variable in model.trainable_variables:
    variable.assign(scale * rng.normal(size=variable.shape))
  return model


def test_hamiltonian_motion_is_the_gradient_of_the_energy():
  """By finite differences, cell centres and momenta included."""
  module = HIERARCHICAL_HOGN
  state, particles, domain = testing.to_tensors(
    testing.random_system(1, 12, seed=4)
  )
  model = perturbed(built(small(module, global_widths=(6, 6))), 0.5)
  structure = model.structure(state, particles, domain)

  def energy(position, velocity):
    phase = State(tf.constant(position), tf.constant(velocity))
    return model.hamiltonian(structure, phase, particles, domain).numpy()[0]

  q, p = (x.numpy() for x in state)  # masses of 1 below
  particles = particles._replace(mass=tf.ones_like(particles.mass))
  step = model.step(state, particles, domain, tf.constant(1e-2))
  for i, d in itertools.product((0, 5), (0, 1)):
    shift = np.zeros_like(q)
    shift[0, i, d] = 2e-2
    by_p = (energy(q, p + shift) - energy(q, p - shift)) / 4e-2
    by_q = (energy(q + shift, p) - energy(q - shift, p)) / 4e-2
    moved = domain.displacement(state.position, step.position)[0, i, d] / 1e-2
    pushed = (step.velocity - state.velocity)[0, i, d] / 1e-2
    assert min(abs(by_p), abs(by_q)) > 0.1
    np.testing.assert_allclose([moved, pushed], [by_p, -by_q], rtol=1e-2)


@pytest.mark.parametrize("module", [DELTA, HIERARCHICAL_HOGN])
def test_a_cell_has_the_sum_of_its_charges(module):
  """Opposite charges in one far cell look neutral, twice as many double."""
  model = module.Simulator(
    module.Config(num_levels=3, **SMALL), testing.problem(testing.COULOMB)
  )
  perturbed(built(model, charged=True))
  position = np.array([[[-3.5, -3.5], [0.4, 0.4], [0.6, 0.6]]])

  def push(charges):
    state = State(position, np.zeros_like(position))
    particles = Particles(np.ones((1, 3)), charge=np.array([charges]))
    system = testing.to_tensors(
      (state, particles, Domain(np.full((1, 2), 8.0)))
    )
    return model.step(*system, TIME_STEP).velocity.numpy()[0, 0]

  assert np.any(push([1, 1, 1]) != push([1, -1, 1]))
  # A sum, and no mean, which tells a cell of two from a cell of one.
  state = State(tf.constant(position, tf.float32), tf.zeros([1, 3, 2]))
  constants = tf.constant([[[1.0, 1], [1, 1], [1, 1]]])
  graph = hierarchy.build(
    state.position,
    Particles(constants[..., 0]),
    Domain(tf.fill([1, 2], 8.0)),
    3,
  )
  rows = graph.rows(constants)
  at = graph.rows(state.position)
  for level in levels.cell_states(graph, rows, at, 0 * at):
    np.testing.assert_array_equal(
      sorted(level.constants.numpy().tolist()), [[0, 0], [1, 1], [2, 2]]
    )


def test_charges_must_be_there_where_the_law_acts_on_them():
  for module in (DELTA, HIERARCHICAL_HOGN, HOGN):
    model = module.Simulator(module.Config(), testing.problem(testing.COULOMB))
    system = testing.to_tensors(testing.random_system(1, 6))
    with pytest.raises(ValueError, match="no charge"):
      model.step(*system, TIME_STEP)


@pytest.mark.parametrize(
  ("box_side", "num_dims"),
  [
    (8.0, 3),
    pytest.param(8.0, 2, marks=pytest.mark.slow),
    pytest.param(np.inf, 2, marks=pytest.mark.slow),
    pytest.param(np.inf, 3, marks=pytest.mark.slow),
  ],
)
def test_space_and_open_borders(box_side, num_dims):
  model = DELTA.Simulator(
    DELTA.Config(num_levels=3, **SMALL), testing.problem(num_dims=num_dims)
  )
  system = testing.random_system(2, 30, num_dims, box_side)
  states = rollouts.rollout(
    rollouts.compiled(model), *system, np.array([0.1, 0.2])
  ).state
  assert states.position.shape == (2, 2, 30, num_dims)
  assert all(np.all(np.isfinite(x)) for x in states)


@pytest.mark.parametrize("module", [DELTA, HIERARCHICAL_HOGN])
@pytest.mark.slow
def test_gradients_under_xla_are_those_without(module):
  """HOGN's are second ones."""
  model = perturbed(built(small(module)))
  window = testing.to_tensors(testing.trajectory(2, num_particles=12))

  def gradients():
    with tf.GradientTape() as tape:
      loss = model.loss(window)
    return tape.gradient(loss, model.trainable_variables)

  compiled = tf.function(gradients, jit_compile=True, autograph=False)()
  for one, other in zip(gradients(), compiled, strict=True):
    scale = np.max(np.abs(one)) + 1e-6
    np.testing.assert_allclose(one / scale, other / scale, atol=1e-4)


def test_a_state_that_is_not_finite_stays_alone():
  for module in (DELTA, HIERARCHICAL_HOGN):
    model = perturbed(built(small(module)))
    state, particles, domain = testing.random_system(2, 12)
    state.position[1, 3, 0] = np.nan
    following = model.step(
      *testing.to_tensors((state, particles, domain)), TIME_STEP
    )
    assert np.all(np.isfinite(following.position[0]))
    assert np.all(np.isnan(following.position[1]))


def test_loss_of_a_window():
  model = perturbed(built(small(DELTA)))
  window = testing.to_tensors(testing.trajectory(2, num_particles=12))
  following = model.step(
    window.frame(0), window.particles, window.domain, TIME_STEP
  )
  gap = window.domain.displacement(following.position, window.frame(1).position)
  expected = np.mean(
    np.concatenate([gap, following.velocity - window.frame(1).velocity], -1)
    ** 2
  )
  np.testing.assert_allclose(model.loss(window), expected, rtol=1e-5)
  assert isinstance(window, Trajectory)


@pytest.mark.slow
def test_a_long_roll_out_is_one_program():
  """200 steps of 1000 bodies: one trace, and what 200 calls give."""
  config = DELTA.Config(5, edge_widths=(16, 16), node_widths=(16, 16))
  model = built(DELTA.Simulator(config, testing.problem()))
  # Untrained, it would move them much faster than any system moves.
  for variable in model._decoder.trainable_variables:
    variable.assign(0.02 * variable)
  system = testing.random_system(1, 1000, box_side=110.0)
  predict = rollouts.compiled(model)
  times = 0.01 * np.arange(1, 201)
  whole = rollouts.rollout(predict, *system, times).state
  assert predict.experimental_get_tracing_count() == 1
  state, (step, *_) = system[0], times
  one = rollouts.compiled(model)
  for frame in range(200):
    result = rollouts.rollout(one, state, *system[1:], np.array([step])).state
    state = State(*(x[:, 0] for x in result))
    if frame % 20 == 19:
      for got, expected in zip(whole, state, strict=True):
        np.testing.assert_allclose(got[:, frame], expected, atol=1e-4)
  moved = np.abs(state.velocity - system[0].velocity)
  assert np.max(moved) > 1e-2


@pytest.mark.parametrize("module", [DELTA, HIERARCHICAL_HOGN])
def test_fewer_bodies_have_fewer_levels_and_the_same_networks(module, tmp_path):
  config = module.Config(edge_widths=(6, 6), node_widths=(6, 6))

  def model_of(num_particles):
    model = module.Simulator(config, testing.problem())
    return built(model, num_particles=num_particles)

  def saved(model, name):
    folder = tmp_path / name
    folder.mkdir()
    told = dict.fromkeys(["model", "config", "dataset", "statistics"], "")
    (folder / "config.json").write_text(json.dumps(told))
    weights.save(folder / weights.FILE, model, 7)
    return folder

  many, few = model_of(100), model_of(20)
  assert len(few.variables) < len(many.variables)
  upwards = saved(few, "few")
  weights.load(saved(many, "many"), few)
  system = testing.to_tensors(testing.random_system(num_particles=20))
  for one, other in zip(
    few.step(*system, TIME_STEP), many.step(*system, TIME_STEP), strict=True
  ):
    np.testing.assert_array_equal(one, other)
  with pytest.raises(ValueError, match="does not fit the model"):
    weights.load(upwards, many)
