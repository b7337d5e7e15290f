"""EGHN and EGHNO: agreement with the reference, what is local, losses."""

import types

import numpy as np
import pytest
import tensorflow as tf

import golden
from nbody_bench import eghn_layers, geometry, jumps, plugins, testing
from nbody_bench.states import Domain, Particles, State
from nbody_bench.systems import System

CHARGES = System(law="plummer", coupling=1.0, source="charge")
PROBLEM = testing.problem(CHARGES, 3)


def make(name, **config):
  plugin = plugins.load_model(name)
  return plugin.build(plugin.config(**config), PROBLEM)


def charged(reference):
  """Returns the inputs of the golden file as a batch of tensors."""
  charge = reference["charge"][..., 0]
  state = State(reference["position"], reference["velocity"])
  domain = Domain(np.full((len(charge), 3), np.inf))
  particles = Particles(np.ones(charge.shape), charge=charge)
  return testing.to_tensors((state, particles, domain))


def in_groups(group, state, particles):
  """Returns what is local `[B, N, K, 1]`: edges inside groups."""
  edges = geometry.edges(PROBLEM, state.position, particles)
  group = np.broadcast_to(group, particles.mass.shape)[..., None]
  received, sent = geometry.ends(tf.constant(group, tf.float32), edges)
  return tf.cast(received == sent, tf.float32)


def count(model):
  return sum(np.prod(v.shape) for v in model.trainable_variables)


def assign_linear(module, reference, name):
  for variable in module.variables:
    variable.assign(reference[f"{name}/{variable.name[-3]}"])


def assign_messages(network, reference, name):
  assign_linear(network.embedding, reference, f"{name}/embedding")
  for i, layer in enumerate(network.layers):
    for part in ("edge", "coordinate", "velocity", "node"):
      # The reference has the squared distance between bodies first.
      rows = None
      if part == "edge":
        size = len(reference[f"{name}/layer_{i}/edge/linear_0/w"])
        rows = [*range(1, 21), 0, *range(21, size)]
      golden.assign_mlp(
        getattr(layer, part), reference, f"{name}/layer_{i}/{part}", rows
      )


def assign_layers(layers, reference, name, parts):
  for i, layer in enumerate(layers):
    for part in parts:
      if getattr(layer, part):
        golden.assign_mlp(
          getattr(layer, part), reference, f"{name}/layer_{i}/{part}"
        )


def assign_hierarchy(hierarchy, reference):
  assign_messages(hierarchy.high, reference, "high")
  parts = ("edge", "vector", "node")
  assign_layers(hierarchy.pooling, reference, "pooling", parts)
  golden.assign_mlp(hierarchy.assignment, reference, "pooling/output")
  parts = ("scalar", "vector", "output")
  assign_layers(hierarchy.decoder, reference, "decoder", parts)


def sizes(reference):
  """Returns the settings of the reference."""
  return {
    "width": 10,
    "num_clusters": int(reference["clusters"]),
    "num_message_layers": int(reference["layers_message"]),
    "num_pooling_layers": int(reference["layers_pooling"]),
    "num_decoder_layers": int(reference["layers_decoder"]),
  }


def referred(reference):
  """Returns EGHN with the weights of the reference, and its inputs."""
  model = make("eghn", **sizes(reference))
  state, particles, domain = charged(reference)
  local = in_groups(reference["group"], state, particles)
  inputs = state, particles, domain, local
  model.outcome(*inputs)
  assign_linear(model._input, reference, "input")
  assign_messages(model._low, reference, "low")
  assign_hierarchy(model._hierarchy, reference)
  return model, inputs


def assert_same(found, reference):
  for name, value in found._asdict().items():
    name = "target_position" if name == "position" else name
    np.testing.assert_allclose(value, reference[name], rtol=0, atol=1e-5)


def test_eghn_matches_the_reference():
  reference = golden.load("eghn")
  model, inputs = referred(reference)
  assert_same(model.outcome(*inputs), reference)


def test_eghno_is_eghn_but_for_the_frames():
  """Not told frames and without convolutions, all are the reference's."""
  reference = golden.load("eghn")
  settings = sizes(reference)
  model = make("eghno", convolution="", embedding_width=4, **settings)
  *inputs, local = referred(reference)[1]
  times = tf.range(1, 4, dtype=tf.float32)
  model.outcome(*inputs, times, local)
  untold = np.pad(reference["input/w"], [[0, 4], [0, 0]])
  assign_linear(model._input, reference | {"input/w": untold}, "input")
  low = types.SimpleNamespace(
    embedding=model._embedding, layers=[b.layer for b in model._blocks]
  )
  assign_messages(low, reference, "low")
  assign_hierarchy(model._hierarchy, reference)
  found = model.outcome(*inputs, times, local)
  for p in range(3):
    frame = found._replace(
      position=found.position[:, p], assignment=found.assignment[:, p]
    )
    assert_same(frame, reference)


def test_frames_of_eghno_differ():
  inputs = charged(golden.load("eghn"))
  times = tf.range(1, 4, dtype=tf.float32)
  for config in ({}, {"convolution": ""}):
    tf.random.set_seed(0)
    model = make("eghno", width=8, **config)
    found = model.sequence(*inputs, times)
    assert np.all(np.abs(np.diff(found, axis=1)).max((0, 2, 3)) > 1e-6)


@pytest.mark.parametrize(
  ("name", "config", "expected"),
  [
    # Less what nothing reads; see the files.
    ("eghn", {}, 361_326 - 4_745 - 8_320),
    ("eghno", {}, 348_261 + 2_048 + 49_200),
    ("eghno", {"convolution": ""}, 348_261 + 2_048),
  ],
)
def test_parameter_counts(name, config, expected):
  model = make(name, **config)
  model.predict(*charged(golden.load("eghn")), tf.constant([1.0, 2.0]))
  assert count(model) == expected


@pytest.mark.parametrize("name", ["eghn", "eghno"])
def test_loss_is_the_error_and_the_weighted_cut(name):
  frames = 2 if name == "eghn" else 3
  window = testing.to_tensors(
    testing.trajectory(frames, num_dims=3, charged=True)
  )
  config = {"width": 8} | ({"num_frames": 2} if name == "eghno" else {})
  losses = []
  for weight in (0.0, 2.0):
    tf.random.set_seed(0)
    model = make(name, cut_weight=weight, **config)
    losses.append(model.loss(window))
    error = jumps.position_loss(model, window)
  times = window.time[1:] - window.time[0]
  inputs = window.frame(0), window.particles, window.domain
  found = model.outcome(*inputs, *([times] if name == "eghno" else []))
  np.testing.assert_allclose(losses[0], error, rtol=1e-5)
  np.testing.assert_allclose(losses[1], error + 2 * found.cut_loss, rtol=1e-5)


def chain(num_padding=0):
  """Returns two chains of bonds, 0-1-2 and 3-4."""
  state, particles, domain = testing.random_system(1, 5, 3, np.inf)
  if num_padding:
    state, particles = testing.pad(state, particles, num_padding)
  bonds = np.array([[[0, 1], [1, 2], [3, 4]]])
  return testing.to_tensors((state, particles._replace(bonds=bonds), domain))


def test_bonds_are_local_and_two_in_a_row_are_not():
  state, particles, domain = chain()
  graph = eghn_layers.graph(PROBLEM, state.position, particles, domain)
  every = eghn_layers.coarsened(tf.eye(5)[None], graph.edges)[0]
  local = eghn_layers.coarsened(tf.eye(5)[None], graph.local)[0]
  expected = np.zeros((5, 5))
  for i, j in ((0, 1), (1, 2), (3, 4)):
    expected[i, j] = expected[j, i] = 1
  np.testing.assert_array_equal(local, expected)
  expected[0, 2] = expected[2, 0] = 1
  np.testing.assert_array_equal(every, expected)
  np.testing.assert_array_equal(graph.attributes[..., 1:2], graph.local.mask)


@pytest.mark.parametrize(
  ("clusters", "expected"),
  [
    ([0, 0, 0, 1, 1], 0.0),
    # One bond inside each, one across: S^T B S = [[2, 1], [1, 2]].
    ([0, 0, 1, 1, 1], np.hypot(2 / 5**0.5 - 1, 1 / 5**0.5) * 2**0.5),
    # The second cluster has no edges.
    ([0, 0, 0, 0, 0], 1.0),
  ],
)
def test_cut_loss(clusters, expected):
  state, particles, domain = chain()
  graph = eghn_layers.graph(PROBLEM, state.position, particles, domain)
  assignment = tf.one_hot([clusters], 2)
  found = eghn_layers.cut_loss(assignment, graph.local)
  np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("name", ["eghn", "eghno"])
def test_bonded_bodies_and_padding(name):
  model = make(name, width=8)
  times = [] if name == "eghn" else [tf.constant([1.0, 2.0])]
  found = model.outcome(*chain(), *times)
  padded = model.outcome(*chain(num_padding=2), *times)
  np.testing.assert_allclose(tf.reduce_sum(found.assignment, -1), 1, rtol=1e-6)
  assert not np.any(padded.assignment[..., 5:, :])
  np.testing.assert_allclose(padded.cut_loss, found.cut_loss, rtol=1e-5)
  np.testing.assert_allclose(
    padded.position[..., :5, :], found.position, atol=1e-5
  )


def test_one_body_has_finite_gradients():
  inputs = testing.to_tensors(testing.random_system(1, 1, 3, np.inf, True))
  model = make("eghn", width=8)
  model.outcome(*inputs)
  with tf.GradientTape() as tape:
    found = model.outcome(*inputs)
    loss = tf.reduce_sum(found.position**2) + found.cut_loss
  gradients = tape.gradient(loss, model.trainable_variables)
  assert all(np.all(np.isfinite(g)) for g in gradients if g is not None)


@pytest.mark.parametrize(
  ("name", "config", "message"),
  [
    ("eghn", {"num_clusters": 1}, "num_clusters is 1; it must be >= 2"),
    ("eghn", {"cut_weight": -1.0}, "cut_weight is -1.0; it must be >= 0"),
    ("eghno", {"num_pooling_layers": 0}, "num_pooling_layers is 0"),
    ("eghno", {"num_modes": 0}, "num_modes is 0; it must be >= 1"),
    ("eghno", {"convolution": "q"}, "it may have h, x and v"),
  ],
)
def test_wrong_settings(name, config, message):
  with pytest.raises(ValueError, match=message):
    plugins.load_model(name).config(**config)
