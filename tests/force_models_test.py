"""ForceNet, GNS, pair forces and the median: references, counts, training."""

import dataclasses

import numpy as np
import pytest
import sonnet as snt
import tensorflow as tf

import golden
from nbody_bench import (
  capacity,
  forces,
  masked_batch_norm,
  pipelines,
  plugins,
  simulators,
  testing,
  training_mode,
  updates,
)
from nbody_bench.edge_bases import BASES
from nbody_bench.recipes import Recipe
from nbody_bench.states import FIXED, Domain, Particles, State, Trajectory
from nbody_bench.systems import System

SPACE = testing.problem(testing.GRAVITY, 3)
SLABS = dataclasses.replace(
  SPACE,
  statistics={
    "force_std": 0.5,
    "force_mean_abs": 0.3,
    "energy_mean": 0.0,
    "energy_std": 1.0,
  },
)
ABLATIONS = ("onlydist", "nodistlist", "nocond", "nofilter")
ABLATIONS += ("edgelinear", "nodelinear", "noself")
SMALL = {"width": 8, "num_layers": 1, "num_functions": 6, "rotate": False}
NEAR = {"cutoff": 3.5, "max_neighbours": 40}


def make(name, problem=SLABS, **config):
  plugin = plugins.load_model(name)
  return plugin.build(plugin.config(**config), problem)


def stir(variables, seed=0):
  """Adds noise, so that what begins as zero or one has an effect too."""
  rng = np.random.default_rng(seed)
  for variable in variables:
    noise = rng.normal(0, 0.1, variable.shape)
    variable.assign_add(tf.cast(noise, variable.dtype))


def slabs(batch=4, seed=0, num_padding=0):
  """Returns square slabs of two layers and an atom on top, as NumPy arrays."""
  rng = np.random.default_rng(seed)
  side = 2.8
  grid = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij"), -1)
  place = np.concatenate([grid.reshape(-1, 3) * side, [[0, 0, side + 1.9]]])
  place = place[None, None] + rng.normal(0, 0.15, (batch, 1, 9, 3))
  species = np.repeat(rng.choice([13, 29, 46, 78], (batch, 1)), 9, 1)
  species[:, -1] = rng.choice([1, 6, 8], batch)
  tag = np.tile([0, 1, 0, 1, 0, 1, 0, 1, 2], (batch, 1))
  force = rng.normal(0, 0.5, (batch, 1, 9, 3))

  def padded(x, axis):
    shape = list(x.shape)
    shape[axis] = num_padding
    wild = rng.uniform(0, 3, shape).astype(x.dtype)
    return np.concatenate([x, wild], axis)

  mask = (np.arange(9 + num_padding) < 9) + np.zeros((batch, 1))
  place = padded(place, 2)
  return Trajectory(
    np.zeros(1),
    State(place, np.zeros_like(place)),
    Particles(
      mass=padded(np.ones((batch, 9)), 1),
      species=padded(species, 1),
      tag=padded(tag, 1),
      mask=mask if num_padding else None,
    ),
    Domain(
      np.tile([2 * side, 2 * side, np.inf], (batch, 1)),
      np.tile(np.diag([2 * side, 2 * side, 1.0]), (batch, 1, 1)),
    ),
    force=padded(force, 2),
    potential_energy=rng.normal(size=(batch, 1)),
  )


def evaluated(model, data):
  """Returns the forces `[B, N, 3]` of the first frame."""
  inputs = data.frame(0), data.particles, data.domain
  return model(*testing.to_tensors(inputs)).numpy()


def inputs_of(reference, dtype=tf.float32, num_unused=5):
  """Returns the graph of a golden file, with unused edges at its end."""
  position = reference["position"].astype(np.float64)
  n, (s, r) = len(position), (reference[k] for k in ("sender", "receiver"))
  vector = position[s] - position[r]
  vector += reference["cell_offset"] @ reference["cell"].astype(np.float64)
  order = np.argsort(r, kind="stable")

  def edges(x, padding):
    widths = [[0, num_unused], *[[0, 0]] * (x.ndim - 1)]
    return np.pad(x[order], widths, constant_values=padding)

  def rows(x, padding=0):
    widths = [[0, 1], *[[0, 0]] * (x.ndim - 1)]
    return np.pad(x, widths, constant_values=padding)

  distance = np.linalg.norm(vector, axis=-1)
  arrays = {
    "features": rows(reference["atom_features"]),
    "radius": rows(reference["atom_radius"]),
    "real": rows(np.ones(n)),
    "edge": edges(np.ones(len(s)), 0),
    "vector": edges(vector, 0),
    "distance": edges(distance, float(reference["cutoff"])),
  }
  integers = {
    "species": rows(reference["atomic_number"]),
    "sample": rows(np.zeros(n), 1),
    "senders": edges(s, n),
    "receivers": edges(r, n),
  }
  return forces.Inputs(
    **{k: tf.constant(x, dtype) for k, x in arrays.items()},
    **{k: tf.constant(x, tf.int32) for k, x in integers.items()},
    batch=1,
  )


@pytest.fixture(scope="module")
def molecule():
  return inputs_of(golden.load("forcenet_spherical"))


def assign_linear(linear, reference, part):
  linear.w.assign(reference[f"{part}/w"])
  linear.b.assign(reference[f"{part}/b"])


def assign_normed_mlp(module, reference, part):
  for i, linear in enumerate(module.linear):
    assign_linear(linear, reference, f"{part}/linear_{i}")
  for name in ("scale", "offset", "mean", "variance"):
    value = reference[f"{part}/batch_norm_0/{name}"]
    getattr(module.norm, name).assign(value)


def assign_forcenet(model, reference):
  assign_linear(model._embedding, reference, "embedding")
  if "distance/w" in reference:
    assign_linear(model._edges.radial, reference, "distance")
  for i, layer in enumerate(model._layers):
    part = f"interaction_{i}"
    layer.self_weights.assign(reference[f"{part}/self"])
    assign_linear(layer.filter.basis, reference, f"{part}/basis")
    for j, linear in enumerate([layer.filter.first, *layer.filter.rest]):
      assign_linear(linear, reference, f"{part}/filter/linear_{j}")
    assign_linear(layer.transform, reference, f"{part}/transform")
    assign_normed_mlp(layer.node, reference, f"{part}/node")
  assign_linear(model._output, reference, "output")
  assign_normed_mlp(model._decoder, reference, "decoder")


@pytest.mark.parametrize(
  ("dtype", "tolerance"), [(tf.float64, 1e-9), (tf.float32, 1e-5)]
)
@pytest.mark.parametrize(
  ("name", "basis"),
  [("spherical", "spherical"), ("gauss_periodic", "gauss")],
)
def test_forcenet_matches_the_reference(name, basis, dtype, tolerance):
  reference = golden.load(f"forcenet_{name}")
  model = make(
    "forcenet",
    width=12,
    decoder_width=10,
    num_layers=2,
    basis=basis,
    num_functions=int(reference["frequencies"]),
    cutoff=float(reference["cutoff"]),
  )
  inputs = inputs_of(reference, dtype)
  model.forces(inputs)
  assign_forcenet(model, reference)
  force, energy = model.forces(inputs)
  assert energy is None
  np.testing.assert_allclose(
    force[:-1], reference["force"], rtol=0, atol=tolerance
  )


@pytest.mark.parametrize(
  ("name", "config", "expected"),
  [
    ("forcenet", {}, 11_363_111),
    pytest.param(
      *("forcenet", {"width": 768, "num_layers": 7}, 34_809_639),
      marks=pytest.mark.slow,
    ),
    ("gns", {}, 12_450_819),
    ("median", {}, 3),
    ("pair_forces", {}, 5_000),
  ],
)
def test_published_parameter_counts(molecule, name, config, expected):
  model = make(name, **config)
  model.forces(molecule)
  assert sum(np.prod(v.shape) for v in model.trainable_variables) == expected


_D = SMALL["width"]
_FEWER = {  # parameters
  "onlydist": (9 * 4 - 4 * 6) * _D + (4 * 6 + 1) * 4,
  "nodistlist": (9 * 4 - 9) * _D + (4 * 6 + 1) * 4 - (6 + 1),
  "nocond": 2 * _D * _D,
  "nofilter": (_D + 1) * _D,
  "edgelinear": 2 * (_D + 1) * _D - 2 * _D,
  "nodelinear": (_D + 1) * _D,
  "noself": _D,
}


def test_ablations_have_fewer_parameters(molecule):
  counts = {}
  for ablation in (None, *ABLATIONS):
    more = {ablation: True} if ablation else {}
    model = make("forcenet", **SMALL, **more)
    model.forces(molecule)
    sizes = [np.prod(v.shape) for v in model.trainable_variables]
    counts[ablation] = sum(sizes)
  assert {k: counts[None] - counts[k] for k in ABLATIONS} == _FEWER


PAIRS = [(b, a) for b in BASES for a in ("relu", "swish")]
VARIANTS = [
  {"basis": "none", "nocond": True, "nofilter": True, "noself": True},
  {"basis": "linear_act", "onlydist": True, "nodistlist": True},
  {"edgelinear": True, "nodelinear": True},
  *({"basis": basis, "activation": activation} for basis, activation in PAIRS),
  *({name: True} for name in ABLATIONS),
]


@pytest.mark.parametrize(
  "config",
  [
    pytest.param(
      config,
      id="-".join(f"{k}={v}" for k, v in config.items()),
      marks=[pytest.mark.slow] if i > 2 else [],
    )
    for i, config in enumerate(VARIANTS)
  ],
)
def test_variants_are_trained(molecule, config):
  """Gradients are finite, reach every variable, and lead downhill."""
  tf.random.set_seed(0)
  model = make("forcenet", **SMALL, **config)
  model.forces(molecule)
  stir(model.trainable_variables)
  target = np.random.default_rng(0).normal(size=(13, 3))
  losses = []
  for _ in range(3):
    with tf.GradientTape() as tape:
      loss = tf.reduce_mean((model.forces(molecule)[0] - target) ** 2)
    variables = model.trainable_variables
    gradients = tape.gradient(loss, variables)
    norm = tf.linalg.global_norm(gradients)
    for variable, gradient in zip(variables, gradients, strict=True):
      assert gradient is not None, variable.name
      assert np.any(gradient), variable.name
      variable.assign_sub(1e-2 / norm * gradient)
    losses.append(float(loss))
  assert losses[2] < losses[1] < losses[0]


def full_and_ablated(molecule, ablation):
  """Returns two models, their variables moved from where they began."""
  models = []
  for more in ({}, {ablation: True}):
    tf.random.set_seed(0)
    model = make("forcenet", **SMALL, **more)
    model.forces(molecule)
    stir(model.trainable_variables)
    models.append(model)
  return models


def change(function, before, after):
  return float(np.max(np.abs(function(after) - function(before))))


def random_rotation(seed=0):
  matrix, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
  return (matrix * np.linalg.det(matrix)).astype(np.float32)


def test_onlydist_does_not_see_directions(molecule):
  turned = molecule._replace(vector=molecule.vector @ random_rotation())
  full, ablated = full_and_ablated(molecule, "onlydist")
  assert change(lambda x: full.forces(x)[0], molecule, turned) > 1e-3
  assert change(lambda x: ablated.forces(x)[0], molecule, turned) == 0


def test_nodistlist_does_not_see_radii(molecule):
  larger = molecule._replace(radius=molecule.radius + 0.1)
  full, ablated = full_and_ablated(molecule, "nodistlist")
  assert change(lambda x: full.forces(x)[0], molecule, larger) > 1e-3
  assert change(lambda x: ablated.forces(x)[0], molecule, larger) == 0


def layer_inputs(molecule, num_functions=5, seed=0):
  rng = np.random.default_rng(seed)
  nodes = rng.normal(size=(13, SMALL["width"]))
  edges = rng.normal(size=(molecule.edge.shape[0], num_functions))
  return tf.constant(nodes, tf.float32), tf.constant(edges, tf.float32)


def filter_of(molecule, **config):
  model = make("forcenet", **SMALL, **config)
  found = model._layers[0].filter
  found(*layer_inputs(molecule), molecule)
  stir(found.trainable_variables)
  return found


def test_nocond_has_filters_of_edges_alone(molecule):
  nodes, edges = layer_inputs(molecule)
  for nocond in (False, True):
    found = filter_of(molecule, nocond=nocond)
    one, other = (found(h, edges, molecule) for h in (nodes, nodes + 1))
    assert np.allclose(one, other) == nocond


def test_edgelinear_has_affine_filters(molecule):
  nodes, edges = layer_inputs(molecule)
  for edgelinear in (False, True):
    found = filter_of(molecule, edgelinear=edgelinear)
    once, twice, thrice = (found(nodes, k * edges, molecule) for k in (1, 2, 3))
    bent = np.max(np.abs(thrice - 2 * twice + once))
    assert (bent < 1e-5) == edgelinear


def test_nodelinear_has_affine_updates(molecule):
  nodes, _ = layer_inputs(molecule)
  for model in full_and_ablated(molecule, "nodelinear"):
    update = model._layers[0].node
    once, twice, thrice = (update(k * nodes, molecule.real) for k in (1, 2, 3))
    bent = np.max(np.abs(thrice - 2 * twice + once))
    assert (bent < 1e-5) == model.settings.nodelinear


@pytest.mark.parametrize("ablation", ["noself", "nofilter"])
def test_atoms_alone_send_themselves_nothing(molecule, ablation):
  """Without edges an update does not depend on the atom, unless it should."""
  alone = molecule._replace(edge=tf.zeros_like(molecule.edge))
  nodes, edges = layer_inputs(molecule, 36)
  for model in full_and_ablated(molecule, ablation):

    def update(nodes, layer=model._layers[0]):
      return layer(nodes, edges, tf.ones_like(edges[:, :1]), alone)

    moved = change(update, nodes, nodes + 1)
    assert (moved == 0) == getattr(model.settings, ablation)


def test_nofilter_sums_filters(molecule):
  """With a filter of ones the sum is the number of edges."""
  model = make("forcenet", **SMALL, nofilter=True, nodelinear=True)
  nodes, edges = layer_inputs(molecule, 36)
  layer = model._layers[0]
  layer.filter = lambda *_: tf.ones([edges.shape[0], SMALL["width"]])
  layer.node = lambda total, mask: total
  total = layer(nodes, edges, tf.ones_like(edges[:, :1]), molecule)
  degree = np.bincount(molecule.receivers, molecule.edge, 13)
  np.testing.assert_allclose(
    total - layer.self_weights, np.tile(degree[:, None], (1, 8)), rtol=1e-5
  )


@pytest.mark.parametrize(
  ("name", "config", "message"),
  [
    ("forcenet", {"basis": "bessel"}, "basis is 'bessel'; choose one of none"),
    ("forcenet", {"activation": "tanh"}, "choose one of relu, swish"),
    ("forcenet", {"width": 0}, "width is 0; it must be >= 1"),
    ("forcenet", {"num_functions": 1}, "num_functions is 1; it must be >= 2"),
    ("gns", {"num_layers": 0}, "num_layers is 0; it must be >= 1"),
    ("gns", {"cutoff": 0.0}, "cutoff is 0.0"),
    (
      "pair_forces",
      {"num_gaussians": 1},
      "num_gaussians is 1; it must be >= 2",
    ),
  ],
)
def test_settings_that_cannot_be_are_refused(name, config, message):
  with pytest.raises(ValueError, match=message):
    plugins.load_model(name).config(**config)


def turned(data, turn):
  """Returns structures, cell and forces turned by a matrix."""
  return data._replace(
    state=State(*(x @ turn.T for x in data.state)),
    force=data.force @ turn.T,
    domain=data.domain._replace(cell=data.domain.cell @ turn.T),
  )


@pytest.mark.parametrize(
  ("name", "config", "is_invariant"),
  [
    ("forcenet", SMALL, False),
    ("forcenet", SMALL | {"onlydist": True}, True),
    ("gns", {"width": 8, "num_layers": 2}, False),
  ],
)
def test_forces_do_not_turn_with_a_structure(name, config, is_invariant):
  """Those of ForceNet and GNS change somehow, those without directions not."""
  model = make(name, **NEAR, **config)
  data = slabs()
  evaluated(model, data)
  stir(model.trainable_variables)
  cos, sin = np.cos(0.7), np.sin(0.7)
  turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1.0]])
  before, after = evaluated(model, data), evaluated(model, turned(data, turn))
  size = np.max(np.abs(before))
  assert np.max(np.abs(after - before @ turn.T)) > 1e-2 * size
  moved = np.max(np.abs(after - before))
  assert (moved < 1e-4 * size) == is_invariant


def traced_loss(model, data):
  """Returns the loss of a training step, which updates moving averages."""
  window = testing.to_tensors(data)
  sizes = capacity.with_headroom(capacity.measure(model.loss, window), 0)

  @tf.function(autograph=False)
  def loss(window):
    with capacity.within(capacity.Room(sizes)), training_mode.training():
      return model.loss(window)

  return float(loss(window))


@pytest.mark.parametrize("name", ["forcenet", "gns"])
def test_padding_does_not_take_part_in_training(name):
  config = SMALL if name == "forcenet" else {"width": 8, "num_layers": 1}
  losses, averages = [], []
  for data in (slabs(), slabs(num_padding=2)):
    tf.random.set_seed(0)
    model = make(name, **config | {"rotate": False} | NEAR)
    losses.append(traced_loss(model, data))
    averages.append([v for v in model.variables if not v.trainable])
  np.testing.assert_allclose(*losses, rtol=1e-5)
  for one, other in zip(*averages, strict=True):
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    assert not np.any(np.isin(one, (0, 1)))


def trained(model, data, steps=3, jit=False, sizes=None):
  """Does training steps on all data; returns losses and the program."""
  tf.random.set_global_generator(tf.random.Generator.from_seed(0))
  batch = len(data.state.position)
  recipe = Recipe(train_steps=8, batch_size=batch, learning_rate=1e-3)
  sample = pipelines.WindowSampler(data, 1, batch, seed=0)
  model.loss(sample(tf.constant(0, tf.int64)))
  update = updates.Updates(
    model.loss,
    model.trainable_variables,
    snt.optimizers.Adam(tf.Variable(0.0, trainable=False)),
    recipe,
    sample,
    jit=jit,
  )
  update.measure()
  update.sizes = sizes or update.sizes
  return [loss for loss, _ in update(0, steps)], update


class Normed(snt.Module):
  """A loss that has room for some of the rows, and normalises them."""

  def __init__(self):
    super().__init__()
    self.norm = masked_batch_norm.MaskedBatchNorm()

  def loss(self, window):
    rows = tf.reshape(window.state.position, [-1, 3])
    size = capacity.fit("rows", tf.shape(rows)[0], rows.shape[0])
    normed = self.norm(rows[:size], tf.ones([size]))
    return tf.reduce_mean((normed - 1) ** 2)


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("sizes", [None, {"rows": 8}])
def test_moving_averages_are_updated_in_the_compiled_step(jit, sizes):
  """Once a step, though a step with too little room is done twice."""
  model, data = Normed(), slabs()
  _, update = trained(model, data, 3, jit, sizes)
  assert update.sizes["rows"] >= 36
  rows = data.state.position.reshape(-1, 3)
  expected = (1 - 0.9**3) * rows.mean(0)
  np.testing.assert_allclose(model.norm.mean, expected, rtol=1e-4)
  expected = 0.9**3 + (1 - 0.9**3) * rows.var(0, ddof=1)
  np.testing.assert_allclose(model.norm.variance, expected, rtol=1e-4)


def test_batch_norm_learns_from_real_rows():
  rng = np.random.default_rng(0)
  values = rng.normal(3, 2, (7, 4)).astype(np.float32)
  mask = np.array([1, 1, 0, 1, 1, 1, 0], np.float32)
  values[mask == 0] = 1e3
  norm = masked_batch_norm.MaskedBatchNorm()
  norm(tf.constant(values), mask)

  @tf.function
  def step():
    with training_mode.training():
      return norm(tf.constant(values), mask)

  real = values[mask > 0]
  mean, variance = real.mean(0), real.var(0)
  expected = (values - mean) / np.sqrt(variance + 1e-5)
  np.testing.assert_allclose(step(), expected, rtol=1e-4)
  np.testing.assert_allclose(norm.mean, 0.1 * mean, rtol=1e-5)
  unbiased = 0.9 + 0.1 * variance * 5 / 4
  np.testing.assert_allclose(norm.variance, unbiased, rtol=1e-5)
  expected = (values - norm.mean) / np.sqrt(norm.variance + 1e-5)
  found = norm(tf.constant(values), mask)
  np.testing.assert_allclose(found, expected, rtol=1e-5)
  np.testing.assert_allclose(norm.mean, 0.1 * mean, rtol=1e-5)


def test_moving_averages_are_saved(molecule, tmp_path):
  models = []
  for seed in (0, 1):
    model = make("forcenet", **SMALL)
    model.forces(molecule)
    stir(model.variables, seed)
    models.append(model)
  one, other = models
  path = str(tmp_path / "checkpoint")
  tf.train.Checkpoint(model=one).write(path)
  tf.train.Checkpoint(model=other).read(path).assert_existing_objects_matched()
  for x, y in zip(one.variables, other.variables, strict=True):
    assert np.array_equal(x, y)
  names = [v.name for v in other.variables if not v.trainable]
  assert sum("mean" in n for n in names) == 2  # of the layer and the decoder
  np.testing.assert_array_equal(
    one.forces(molecule)[0], other.forces(molecule)[0]
  )


def test_a_prediction_does_not_depend_on_its_batch():
  """Of a trained model, whose moving averages are no longer 0 and 1."""
  model, data = make("forcenet", **NEAR, **SMALL), slabs()
  traced_loss(model, data)
  together = evaluated(model, data)
  alone = evaluated(model, data.select(slice(2, 3)))
  np.testing.assert_allclose(together[2:3], alone, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["forcenet", "gns"])
def test_training_is_the_same_with_xla(name):
  config = SMALL if name == "forcenet" else {"width": 8, "num_layers": 1}
  # XLA draws other angles of the same generator.
  config = config | {"rotate": False} | NEAR
  losses, found = [], []
  for jit in (False, True):
    tf.random.set_seed(0)
    model = make(name, **config)
    losses.append(trained(model, slabs(), 8, jit)[0])
    found.append(evaluated(model, slabs()))
    assert losses[-1][-1] < losses[-1][0]
  np.testing.assert_allclose(*losses, rtol=1e-3)
  # Biases before a normalisation have no gradient but rounding, which Adam
  # makes steps of; the moving averages follow them late.
  np.testing.assert_allclose(*found, rtol=0, atol=2e-2 * np.std(found[0]))


def test_the_median_has_the_least_error():
  data = slabs(batch=9)
  fixed = data.particles.tag == FIXED
  data.force[fixed[:, None]] = 50.0  # has no weight
  scale = SLABS.statistics["force_std"]
  expected = np.median(data.force[:, 0][~fixed], 0) / scale
  model = make("median")
  window = testing.to_tensors(data)
  losses = {}
  for step in (-1e-2, 0, 1e-2):
    for axis in range(3):
      model.median.assign(expected + step * np.eye(3)[axis])
      losses[step, axis] = float(model.loss(window))
  for (step, axis), loss in losses.items():
    assert loss >= losses[0, axis] - 1e-6, (step, axis)
  force = evaluated(model, data)
  np.testing.assert_allclose(force, np.broadcast_to(force[0, 0], force.shape))


def bodies(law, batch, seed):
  """Returns bodies in open space that accelerate by a law of distance.

  In proportion to the other's mass, and to both charges.
  """
  rng = np.random.default_rng(seed)
  place = rng.uniform(-0.8, 0.8, (batch, 1, 6, 3))
  mass, charge = rng.uniform(0.5, 2, (2, batch, 6))
  apart = place[:, 0, None] - place[:, 0, :, None]  # from row to column
  distance = np.linalg.norm(apart, axis=-1) + np.eye(6)
  told = mass[:, None] - charge[:, None] * charge[:, :, None]
  pull = mass[:, :, None] * told * law(distance) / distance
  return Trajectory(
    np.zeros(1),
    State(place, np.zeros_like(place)),
    Particles(mass=mass, charge=charge),
    Domain(np.full((batch, 3), np.inf)),
    force=np.einsum("bij,bijd->bid", pull, apart)[:, None],
  )


def test_pair_forces_find_any_law_of_pairs_by_least_squares():
  """Which then holds of bodies that were not seen."""
  data = [bodies(lambda d: np.exp(-d) / (d + 0.5), 30, seed) for seed in (0, 1)]
  model = make("pair_forces", SPACE, cutoff=3.0, num_gaussians=12)
  assert not evaluated(model, data[0]).any()
  columns = []
  for one in np.eye(9 * 12):
    model.weights.assign(one.reshape(9, 12))
    columns.append(evaluated(model, data[0]).ravel())
  # Accelerations are learned: a force is told times the mass.
  found = np.linalg.lstsq(np.array(columns).T, data[0].force.ravel(), 1e-6)[0]
  model.weights.assign(found.reshape(9, 12))
  error = evaluated(model, data[1]) - data[1].force[:, 0]
  assert np.std(error) < 1e-2 * np.std(data[1].force)


def test_a_roll_out_of_gravity_is_finite():
  data = testing.trajectory(1, num_particles=20, batch=2)
  model = make("forcenet", testing.problem(), **SMALL | {"cutoff": 2.0})
  inputs = data.frame(0), data.particles, data.domain, 0.01 * np.arange(1, 4)
  found = model.predict(*testing.to_tensors(inputs))
  assert found.state.position.shape == (2, 3, 20, 2)
  assert np.all(np.isfinite(found.state))
  assert np.all(np.abs(found.state.position) <= 4)
  assert np.all(found.state.velocity[:, 0] != data.state.velocity[:, 0])


def test_forces_of_what_moves_are_in_units_of_its_motion():
  """A model that returns the forces of the data moves as the data do."""
  unknown = testing.problem(System(law="unknown", coupling=0.0), num_dims=3)
  with pytest.raises(ValueError, match="nobody knows that of testing; use a"):
    make("pair_forces", unknown)
  told = dataclasses.replace(unknown, force_unit=0.01)
  model = make("pair_forces", told, cutoff=3.0)
  data = bodies(lambda d: np.exp(-d), 2, 0)

  def labels(inputs):
    force = 0.01 * data.force[:, 0] / data.particles.mass[..., None]
    rows = tf.reshape(force / model.force_scale, [-1, 3])
    return tf.pad(tf.cast(rows, tf.float32), [[0, 1], [0, 0]]), None

  model.forces = labels
  inputs = testing.to_tensors(data)
  assert model.loss(inputs) < 1e-6
  found = model(inputs.frame(0), inputs.particles, inputs.domain)
  np.testing.assert_allclose(found, 0.01 * data.force[:, 0], rtol=1e-4)


def test_what_predicts_motion_alone_has_no_forces():
  with pytest.raises(ValueError, match=r"predicts motion.* take a force model"):
    forces.Evaluator(simulators.StepSimulator(lambda *args: None))
