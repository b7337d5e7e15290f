"""Spherical harmonics, couplings, and the models that are built on them."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

import golden
from nbody_bench import conformance, plugins, spherical, testing
from nbody_bench.states import Domain, Particles, State
from nbody_bench.systems import System

CHARGES = System(law="plummer", coupling=1.0, source="charge")
NAMES = ("tfn", "se3_transformer", "segnn")


def random_rotation(seed=0):
  rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
  return rotation * np.linalg.det(rotation)


def triples(highest):
  return [
    (a, b, c)
    for a, b, c in itertools.product(range(highest + 1), repeat=3)
    if abs(a - b) <= c <= a + b
  ]


def test_harmonics_are_orthonormal():
  """By Gauss-Legendre quadrature in y, equal weights in the azimuth."""
  nodes, weights = np.polynomial.legendre.leggauss(6)
  azimuth = 2 * np.pi * np.arange(12) / 12
  y, phi = np.meshgrid(nodes, azimuth, indexing="ij")
  s = np.sqrt(1 - y**2)
  points = tf.constant(np.stack([s * np.sin(phi), y, s * np.cos(phi)], -1))
  values = tf.concat(spherical.harmonics(points, 4, "integral"), -1).numpy()
  weights = weights * 2 * np.pi / 12
  products = np.einsum("tpa,tpb,t->ab", values, values, weights)
  np.testing.assert_allclose(products, np.eye(25), atol=1e-12)


def test_harmonics_match_the_reference():
  reference = golden.load("spherical_harmonics")
  vectors = tf.constant(reference["vector"], tf.float64)
  for normalization in ("norm", "component", "integral"):
    for degree, values in enumerate(
      spherical.harmonics(vectors, 3, normalization)
    ):
      expected = reference[f"{normalization}/degree_{degree}"]
      np.testing.assert_allclose(values, expected, atol=1e-6)


def test_harmonics_of_the_se3_transformer_are_those_of_the_opposite_vector():
  reference = golden.load("se3_transformer")
  vectors = tf.constant(-reference["edge_vector"])
  for degree, values in enumerate(spherical.harmonics(vectors, 4, "integral")):
    expected = reference[f"harmonics/degree_{degree}"]
    np.testing.assert_allclose(values, expected, atol=1e-12)


def test_harmonics_turn_with_the_vector():
  """In float32; the same matrices as the reference's for its rotation."""
  reference = golden.load("spherical_harmonics")
  rotation = reference["rotation_matrix"]
  vectors = np.random.default_rng(0).normal(size=(20, 3))
  before, after = (
    spherical.harmonics(tf.constant(x, tf.float32), 4)
    for x in (vectors, vectors @ rotation.T)
  )
  for degree in range(5):
    turn = spherical.representation(degree, rotation)
    np.testing.assert_allclose(
      after[degree], before[degree] @ turn.T, atol=1e-5
    )
    if degree < 4:
      expected = reference[f"rotation/degree_{degree}"]
      np.testing.assert_allclose(turn, expected, atol=1e-10)


@pytest.mark.parametrize("size", [0.0, 1e-20, 1e-6, 1e6])
def test_harmonics_of_vectors_of_any_length_have_gradients(size):
  vectors = tf.constant([[size, 0, 0], [0.0, 0.0, 0.0]])
  with tf.GradientTape() as tape:
    tape.watch(vectors)
    values = spherical.harmonics(vectors, 4)
    total = tf.add_n([tf.reduce_sum(x) for x in values])
  assert np.all(np.isfinite(tape.gradient(total, vectors)))
  length = tf.concat([tf.norm(x[:1], axis=-1) for x in values], 0)
  expected = np.ones(5) if size > 1e-12 else np.eye(5)[0]
  np.testing.assert_allclose(length, expected, atol=1e-6)


@pytest.mark.parametrize(("a", "b", "c"), [*triples(2), (3, 3, 3), (2, 2, 4)])
def test_couplings_are_invariant(a, b, c):
  tensor = spherical.coupling(a, b, c)
  turns = (
    spherical.representation(degree, random_rotation(seed=7))
    for degree in (a, b, c)
  )
  turned = np.einsum("abc,ia,jb,kc->ijk", tensor, *turns)
  np.testing.assert_allclose(turned, tensor, atol=1e-12)
  assert np.linalg.norm(tensor) == pytest.approx(1)


def test_couplings_match_the_references():
  """Up to the sign, which nothing determines."""
  reference = golden.load("spherical_harmonics")
  for a, b, c in triples(3):
    _signed(spherical.coupling(a, b, c), reference[f"coupling/{a}_{b}_{c}"])


def test_degrees_without_a_coupling_are_refused():
  with pytest.raises(ValueError, match="must lie between 1 and 3"):
    spherical.coupling(1, 2, 4)


def _signed(ours, theirs):
  """Returns theirs / ours, 1 or -1, having asserted that it is."""
  sign = np.sign(np.sum(ours * theirs))
  np.testing.assert_allclose(sign * ours, theirs, atol=1e-10)
  return sign


def make(name, **config):
  plugin = plugins.load_model(name)
  problem = testing.problem(CHARGES, 3)
  return plugin.build(plugin.config(**config), problem)


def charged(reference):
  """Returns the inputs of a golden file as a batch of tensors."""
  charge = reference["charge"][..., 0]
  particles = Particles(np.ones(charge.shape), charge=charge)
  domain = Domain(np.full((len(charge), 3), np.inf))
  state = State(reference["position"], reference["velocity"])
  return testing.to_tensors((state, particles, domain))


def assign_kernel(kernel, reference, part):
  """Copies radial networks; channels of ours come last, theirs first."""
  networks = [
    {
      k: reference[f"{part}/radial_{i}_{o}/{k}"]
      for k in (
        *(f"linear_{n}/{x}" for n in range(3) for x in "wb"),
        *(f"layer_norm_{n}/{x}" for n in (0, 1) for x in ("scale", "offset")),
      )
    }
    for i, o in kernel.pairs
  ]
  for n, variables in enumerate(kernel.radial.hidden):
    names = (
      *(f"linear_{n}/{x}" for x in "wb"),
      *(f"layer_norm_{n}/{x}" for x in ("scale", "offset")),
    )
    for variable, name in zip(variables, names, strict=True):
      stacked = np.stack([x[name] for x in networks])
      variable.assign(np.reshape(stacked, variable.shape))
  lasts = zip(kernel.pairs, networks, kernel.radial.last, strict=True)
  for (i, o), network, (weights, bias) in lasts:
    # The sign of a coupling is a convention, and part of the weights.
    signs = np.array(
      [
        _signed(
          spherical.coupling(o, i, degree),
          reference[f"coupling/in_{i}_out_{o}_J_{degree}"],
        )
        for degree in range(abs(i - o), i + o + 1)
      ]
    )
    for variable, x in ((weights, "w"), (bias, "b")):
      value = network[f"linear_2/{x}"]
      rows, out = value.shape[:-1], kernel._widths[o]
      value = np.reshape(value, [*rows, out, -1, len(signs)]) * signs
      value = np.moveaxis(value, -3, -1)  # [..., in, F, out]
      value = np.swapaxes(value, -3, -2)
      variable.assign(np.reshape(value, variable.shape))


def assign_mixing(mixing, reference, part):
  for degree, variable in mixing.weights.items():
    variable.assign(reference[f"{part}_{degree}/w"])


def assign_norm(norm, reference, part):
  for degree, layer in norm.norms.items():
    for x in ("scale", "offset"):
      name = f"{part}/norm_{degree}/layer_norm_0/{x}"
      getattr(layer, x).assign(reference[name])
  for degree, layer in norm.layers.items():
    for x in "wb":
      name = f"{part}/norm_{degree}/linear_0/{x}"
      getattr(layer, x).assign(reference[name])


def assign_convolution(convolution, reference, part):
  assign_kernel(convolution.kernel, reference, part)
  assign_mixing(convolution.mixing, reference, f"{part}/self")


def test_tfn_matches_the_reference():
  reference = golden.load("tfn")
  model = make("tfn", num_layers=3, channels=4, radial_width=8)
  inputs = charged(reference)
  model.jump(*inputs)
  for i, (convolution, norm) in enumerate(model._blocks):
    assign_convolution(convolution, reference, f"block_{2 * i}")
    assign_norm(norm, reference, f"block_{2 * i + 1}")
  assign_convolution(model._last, reference, "block_4")
  np.testing.assert_allclose(
    model.jump(*inputs), reference["target_position"], atol=1e-4
  )


def test_se3_transformer_matches_the_reference():
  reference = golden.load("se3_transformer")
  model = make("se3_transformer", num_layers=2, channels=4, radial_width=8)
  inputs = charged(reference)
  model.jump(*inputs)
  for i, (attention, norm) in enumerate(model._blocks):
    part = f"block_{2 * i}"
    assign_kernel(attention.value, reference, f"{part}/value")
    assign_kernel(attention.key, reference, f"{part}/key")
    assign_mixing(attention.query, reference, f"{part}/query")
    assign_norm(norm, reference, f"block_{2 * i + 1}")
  assign_convolution(model._last, reference, "block_4")
  model._scale.assign(reference["output_scale"][0])
  np.testing.assert_allclose(
    model.jump(*inputs), reference["target_position"], atol=1e-4
  )


def assign_product(product, reference, part):
  """Copies weights; paths of ours are ordered by degree, then by block."""
  first = str(reference[f"{part}/irreps"]).split(" x ")[0].split("+")
  degrees = [int(block.split("x")[1][0]) for block in first]
  paths = []
  while f"{part}/path_{len(paths)}/w" in reference:
    path = f"{part}/path_{len(paths)}"
    block, attribute, _ = reference[f"{path}/blocks"]
    outputs = str(reference[f"{part}/irreps"]).split("-> ")[1].split("+")
    output = int(outputs[reference[f"{path}/blocks"][2]].split("x")[1][0])
    key = output, degrees[block], attribute, block
    paths.append((key, reference[f"{path}/w"][:, 0]))
  paths.sort(key=lambda path: path[0])
  for degree, variable in product.weights.items():
    rows = [w for key, w in paths if key[0] == int(degree)]
    variable.assign(np.concatenate(rows))
  if product.bias is not None:
    product.bias.assign(reference[f"{part}/bias"])


def test_segnn_matches_the_reference():
  reference = golden.load("segnn")
  model = make("segnn", num_layers=2, hidden_features=12)
  inputs = charged(reference)
  model.jump(*inputs)
  assign_product(model._embedding, reference, "embedding")
  for i, layer in enumerate(model._layers):
    for j in (0, 1):
      part = f"layer_{i}/message_{j + 1}"
      assign_product(layer.message[j].product, reference, part)
    first, second = layer.update
    assign_product(first.product, reference, f"layer_{i}/update_1")
    assign_product(second, reference, f"layer_{i}/update_2")
  assign_product(model._decoder[0].product, reference, "pre_pool1")
  assign_product(model._decoder[1], reference, "pre_pool2")
  np.testing.assert_allclose(
    model.jump(*inputs), reference["target_position"], atol=1e-5
  )


@pytest.mark.parametrize(
  ("name", "expected"),
  [("tfn", 127_024), ("se3_transformer", 1_763_134), ("segnn", 147_424)],
)
def test_parameter_counts(name, expected):
  model = make(name)
  model.jump(*charged(golden.load("tfn")))
  count = sum(np.prod(v.shape) for v in model.trainable_variables)
  assert count == expected


def in_space(name):
  """Returns the cases of a model in three dimensions, where degrees show."""
  model = plugins.load_model(name)
  config = plugins.load("baselines", name).TESTING[0]

  class Suite(conformance.SimulatorConformance):
    symmetries = model.card.symmetries
    num_dims = 3

    def make(self, problem):
      return model.build(config, problem)

  return Suite()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
  "case",
  ["test_rotation", "test_translation", "test_gradients_reach_every_variable"],
)
def test_models_in_space(name, case):
  getattr(in_space(name), case)()


def test_segnn_is_reflected_in_space():
  in_space("segnn").test_reflection()


@pytest.mark.parametrize("name", ["tfn", "se3_transformer"])
def test_kernels_with_cross_products_are_not_reflected_in_space(name):
  suite = in_space(name)
  suite.symmetries = ("reflection",)
  with pytest.raises(AssertionError, match="reflected"):
    suite.test_reflection()
