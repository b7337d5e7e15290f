"""Linear dynamics, MPNN, RF and ClofNet: references, counts, symmetries."""

import numpy as np
import pytest
import tensorflow as tf

import golden
from nbody_bench import plugins, testing
from nbody_bench.conformance import SimulatorConformance
from nbody_bench.states import Domain, Particles, State
from nbody_bench.systems import System

CHARGES = System(law="plummer", coupling=1.0, source="charge")
NAMES = ("linear_dynamics", "mpnn", "radial_field", "clofnet")


def make(name, num_dims=3, **config):
  plugin = plugins.load_model(name)
  problem = testing.problem(CHARGES, num_dims)
  return plugin.build(plugin.config(**config), problem)


def charged(reference):
  """Returns the inputs of a golden file as a batch of tensors."""
  position, velocity, charge = (
    reference[k] for k in ("position", "velocity", "charge")
  )
  particles = Particles(np.ones(charge.shape[:2]), charge=charge[..., 0])
  domain = Domain(np.full((len(position), 3), np.inf))
  return testing.to_tensors((State(position, velocity), particles, domain))


def count(model):
  return sum(np.prod(v.shape) for v in model.trainable_variables)


def test_linear_dynamics_flies_for_a_learned_time():
  inputs = charged(golden.load("mpnn"))
  model = make("linear_dynamics")
  state = inputs[0]
  expected = state.position + 0.7 * state.velocity
  np.testing.assert_allclose(model.jump(*inputs), expected, rtol=1e-6)
  model.time.assign(0.5)
  moved = model.step(*inputs, tf.constant(2.0))
  np.testing.assert_allclose(
    moved.velocity, 0.25 * state.velocity, rtol=0, atol=1e-6
  )


def assigned(name):
  """Returns a model with the weights of its golden file, inputs, the file."""
  reference = golden.load(name)
  model = make(name, width=16, num_layers=2)
  inputs = charged(reference)
  model.jump(*inputs)
  for kind in "wb":  # there without the number of the layer
    if f"embedding/{kind}" in reference:
      value = reference[f"embedding/{kind}"]
      reference[f"embedding/linear_0/{kind}"] = value
  theirs = {"radial_field": {"edge": "phi", "velocity": "coord_mlp_vel"}}
  layer_name = "gcl" if name == "radial_field" else "layer"
  for part in ("embedding", "edge_embedding", "decoder"):
    if hasattr(model, f"_{part}"):
      golden.assign_mlp(getattr(model, f"_{part}"), reference, part)
  for i, layer in enumerate(model._layers):
    for part in ("edge", "frame", "velocity", "node"):
      if getattr(layer, part, None):
        path = theirs.get(name, {}).get(part, part)
        path = f"{layer_name}_{i}/{path}"
        assert f"{path}/linear_1/w" in reference
        golden.assign_mlp(getattr(layer, part), reference, path)
    if getattr(layer, "layer_norm", None):
      for part in ("scale", "offset"):
        value = reference[f"layer_{i}/layer_norm/{part}"]
        getattr(layer.layer_norm, part).assign(value)
  return model, inputs, reference


@pytest.mark.parametrize("name", NAMES[1:])
def test_matches_the_reference(name):
  model, inputs, reference = assigned(name)
  np.testing.assert_allclose(
    model.jump(*inputs), reference["target_position"], rtol=0, atol=1e-5
  )


def orthogonal(determinant):
  matrix, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))
  matrix[0] *= determinant * np.linalg.det(matrix)
  return matrix.astype(np.float32)


@pytest.mark.parametrize("name", ["radial_field", "clofnet"])
def test_several_layers_turn_and_shift_with_the_system(name):
  model, ((position, velocity), particles, domain), _ = assigned(name)
  expected = model.jump(State(position, velocity), particles, domain)
  turn, shift = orthogonal(1), np.float32([3, -2, 1])
  state = State(position @ turn.T + shift, velocity @ turn.T)
  np.testing.assert_allclose(
    model.jump(state, particles, domain),
    expected @ turn.T + shift,
    rtol=0,
    atol=1e-5,
  )


def test_clofnet_tells_left_from_right_in_space():
  model, ((position, velocity), particles, domain), _ = assigned("clofnet")
  expected = model.jump(State(position, velocity), particles, domain)
  mirror = orthogonal(-1)
  state = State(position @ mirror.T, velocity @ mirror.T)
  found = model.jump(state, particles, domain)
  assert np.max(np.abs(found - expected @ mirror.T)) > 1e-3


def test_clofnet_does_not_see_the_border_of_a_large_box():
  model, (state, particles, _), _ = assigned("clofnet")
  far = 2 * np.max(np.abs(state.position)) * np.sqrt(3)
  domain = Domain(tf.fill([len(state.position), 3], np.float32(4 * far)))
  shift = np.float32([2 * far, 0, 0])  # onto the border
  moved = State(domain.wrap(state.position + shift), state.velocity)
  found = domain.wrap(model.jump(moved, particles, domain) - shift)
  open_space = Domain(tf.fill(domain.box.shape, np.float32(np.inf)))
  expected = model.jump(state, particles, open_space)
  np.testing.assert_allclose(found, domain.wrap(expected), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
  ("name", "expected"),
  [
    ("linear_dynamics", 1),
    ("mpnn", 104_387),
    ("radial_field", 2_052),
    # Less the last layer's node network, 12,416, and its normalisation, 128.
    ("clofnet", 160_964 - 12_544),
  ],
)
def test_published_parameter_counts(name, expected):
  model = make(name)
  model.jump(*charged(golden.load("mpnn")))
  assert count(model) == expected


@pytest.mark.parametrize(
  ("name", "config", "message"),
  [
    ("linear_dynamics", {"initial_time": np.nan}, "finite"),
    ("mpnn", {"num_layers": 0}, "got 0 and 64"),
    ("radial_field", {"width": 0}, "got 4 and 0"),
    ("clofnet", {"num_layers": 0}, "num_layers is 0"),
    ("clofnet", {"width": 1}, "width is 1"),
  ],
)
def test_settings_that_cannot_be_are_refused(name, config, message):
  with pytest.raises(ValueError, match=message):
    plugins.load_model(name).config(**config)


@pytest.mark.parametrize("num_dims", [1, 2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_finite_where_vectors_are_zero(name, num_dims):
  # Two bodies in one place, one in the centre of all, one behind it in line,
  # and all at rest.
  x = np.zeros((1, 4, num_dims))
  x[0, :, 0] = [-1, -1, 0, 2]
  particles = Particles(np.ones((1, 4)), charge=np.array([[1, -1, 1, 1]]))
  domain = Domain(np.full((1, num_dims), np.inf))
  state = State(x, np.zeros_like(x))
  inputs = testing.to_tensors((state, particles, domain))
  small = {} if name == "linear_dynamics" else {"width": 8}
  model = make(name, num_dims, **small)
  with tf.GradientTape() as tape:
    tape.watch(inputs[0])
    loss = tf.reduce_sum(model.jump(*inputs) ** 2)
  watched = [*model.trainable_variables, *inputs[0]]
  assert np.isfinite(loss)
  for gradient in tape.gradient(loss, watched):
    assert np.all(np.isfinite(gradient))


class InSpace(SimulatorConformance):
  """What depends on D; `conformance_test` has two dimensions."""

  charged = True
  num_dims = 3

  def make(self, problem):
    module = plugins.load("baselines", self.name)
    config = getattr(module, "TESTING", (module.Config(),))[0]
    return module.Simulator(config, problem)


for _case in dir(SimulatorConformance):
  _kept = ("test_reflection", "test_rotation", "test_translation")
  if _case.startswith("test_") and _case not in _kept:
    setattr(InSpace, _case, None)

for _name in NAMES:
  _card = plugins.load_model(_name).card
  if "rotation" in _card.symmetries:
    globals()[f"Test_{_name}_in_space"] = type(
      f"Test_{_name}_in_space",
      (InSpace,),
      {"name": _name, "symmetries": _card.symmetries},
    )
