"""SchNet and DimeNet++: references, gradients, symmetries, counts, batches."""

import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf

import golden
from nbody_bench import (
  capacity,
  forces,
  plugins,
  radial_bases,
  simulators,
  testing,
  triplets,
)
from nbody_bench.integrators import INTEGRATORS
from nbody_bench.states import Domain, Particles, State, Trajectory, map_arrays

NAMES = ("schnet", "dimenet_pp")
# Energies and forces in other units, so that their ratio shows.
SLABS = dataclasses.replace(
  testing.problem(num_dims=3),
  statistics={
    "force_std": 0.5,
    "force_mean_abs": 0.3,
    "energy_mean": -3.0,
    "energy_std": 1.5,
  },
)
CUTOFF = 3.0
# The layers of ours by the names of the reference.
OF_SCHNET = {
  "filter.0": "filter/linear_0",
  "filter.1": "filter/linear_1",
  "sent": "in",
  "update.0": "out",
  "update.1": "dense",
}
OF_DIMENET = {
  "radial.0": "radial1",
  "radial.1": "radial2",
  **{x: x for x in ("down", "up", "final")},
  **{"own": "ji", "heard": "kj"},
  **{
    f"{kind}.{i}.layers.{j}": f"{kind}_{i}/dense{j + 1}"
    for kind, i in (("before", 0), ("after", 0), ("after", 1))
    for j in (0, 1)
  },
}
OF_OUTPUT = {x: x for x in ("radial", "up", "final")}
OF_OUTPUT |= {f"dense.{i}": f"dense_{i}" for i in range(3)}


def make(name, problem=SLABS, **config):
  """Returns a small model whose weights all matter, once it is called."""
  plugin = plugins.load_model(name)
  small = plugins.load("baselines", name).TESTING[0]
  tf.random.set_seed(0)
  settings = {"cutoff": CUTOFF, "max_neighbours": 100, **config}
  return plugin.build(dataclasses.replace(small, **settings), problem)


def stir(model):
  """Adds noise, as some weights are 0 at first."""
  rng = np.random.default_rng(0)
  for variable in model.trainable_variables:
    noise = rng.normal(0, 0.1, variable.shape)
    variable.assign_add(tf.cast(noise, variable.dtype))


def inputs_of(reference, dtype, num_unused=5):
  """Returns a golden file's graph, unused edges at its end, and its order."""
  position = reference["position"].astype(np.float64)
  order = np.argsort(reference["receiver"], kind="stable")
  s, r = (reference[k][order] for k in ("sender", "receiver"))
  vector, n = position[s] - position[r], len(position)

  def edges(x, padding):
    widths = [[0, num_unused], *[[0, 0]] * (x.ndim - 1)]
    return np.pad(x, widths, constant_values=padding)

  cutoff = float(reference["cutoff"])
  arrays = {
    "features": np.zeros((n + 1, 9)),
    "radius": np.zeros(n + 1),
    "real": np.arange(n + 1) < n,
    "edge": edges(np.ones(len(s)), 0),
    "vector": edges(vector, 0),
    "distance": edges(np.linalg.norm(vector, axis=-1), cutoff),
  }
  integers = {
    "species": [*reference["atomic_number"], 0],
    "sample": np.arange(n + 1) == n,
    "senders": edges(s, n),
    "receivers": edges(r, n),
  }
  inputs = forces.Inputs(
    **{k: tf.constant(x, dtype) for k, x in arrays.items()},
    **{k: tf.constant(x, tf.int32) for k, x in integers.items()},
    batch=1,
  )
  return inputs, order


def assign(module, reference, part, names):
  """Copies the weights of layers, given by paths of attributes."""
  for path, theirs in names.items():
    layer = module
    for step in path.split("."):
      layer = layer[int(step)] if step.isdigit() else getattr(layer, step)
    layer.w.assign(reference[f"{part}/{theirs}/w"])
    if f"{part}/{theirs}/b" in reference:
      layer.b.assign(reference[f"{part}/{theirs}/b"])


def schnet(reference, inputs):
  scale = {**SLABS.statistics, "force_std": 1.0, "energy_std": 1.0}
  model = make(
    "schnet",
    dataclasses.replace(SLABS, statistics=scale),
    cutoff=4.0,
    width=16,
    filter_width=12,
    num_gaussians=20,
  )
  model.forces(inputs)
  model._embedding.table.assign(reference["embedding/table"])
  for i, layer in enumerate(model._layers):
    assign(layer, reference, f"interaction_{i}", OF_SCHNET)
  model._readout[0].w.assign(reference["readout/linear_0/w"])
  model._readout[0].b.assign(reference["readout/linear_0/b"])
  model._readout[1].w.assign(reference["readout/linear_1/w"])
  model.constant.assign(reference["readout/linear_1/b"][0])
  return model


def dimenet_pp(reference, inputs):
  scale = {**SLABS.statistics, "force_std": 1.0, "energy_std": 1.0}
  model = make(
    "dimenet_pp",
    dataclasses.replace(SLABS, statistics=scale),
    cutoff=4.0,
    width=16,
    output_width=12,
    triplet_width=8,
    basis_width=4,
    num_blocks=2,
    num_radial=3,
    num_spherical=3,
  )
  model.forces(inputs)
  model._embedding.table.assign(reference["embedding/atom/table"])
  parts = {"_radial": "radial", "_dense": "dense"}
  assign(model, reference, "embedding", parts)
  for i, layer in enumerate(model._outputs):
    assign(layer, reference, f"output_{i}", OF_OUTPUT)
  for i, layer in enumerate(model._interactions):
    part = f"interaction_{i}"
    assign(layer, reference, part, OF_DIMENET)
    for j, variable in enumerate(layer.spherical):
      variable.assign(reference[f"{part}/spherical{j + 1}/w"])
  return model


@pytest.mark.parametrize(
  ("build", "dtype", "energy", "force"),
  [
    (schnet, tf.float64, 1e-9, 1e-9),
    (schnet, tf.float32, 1e-5, 1e-4),
    # The reference has its Bessel roots in 32 bits.
    (dimenet_pp, tf.float64, 1e-6, 1e-6),
    (dimenet_pp, tf.float32, 1e-5, 1e-4),
  ],
)
def test_matches_the_reference(build, dtype, energy, force):
  reference = golden.load(build.__name__.replace("_", ""))
  inputs, _ = inputs_of(reference, dtype)
  model = build(reference, inputs)
  found, total = model.forces(inputs)
  expected = float(reference["energy"])
  assert float(total[0]) == pytest.approx(expected, abs=energy)
  np.testing.assert_allclose(found[:-1], reference["force"], atol=force)


def listed(found):
  """Returns first and second edge and cosine of all triplets, `[T]` each."""
  second = np.broadcast_to(found.second.numpy()[..., None], found.used.shape)
  first = np.broadcast_to(found.first.numpy()[:, None], found.used.shape)
  used = found.used.numpy() > 0
  return first[used], second[used], found.cosine.numpy()[used]


def test_triplets_and_bases_match_the_reference():
  reference = golden.load("dimenetpp")
  inputs, order = inputs_of(reference, tf.float64)
  first, second, cosine = listed(triplets.build(inputs, 4.0, 50))
  mine = {
    (order[k], order[j]): i
    for i, (k, j) in enumerate(zip(first, second, strict=True))
  }
  theirs = list(
    zip(
      reference["triplet_kj"].tolist(),
      reference["triplet_ji"].tolist(),
      strict=True,
    )
  )
  assert mine.keys() == set(theirs)
  assert len(mine) == len(first)
  place = np.array([mine[key] for key in theirs])
  cosine = cosine[place]
  np.testing.assert_allclose(
    cosine, np.cos(reference["triplet_angle"]), atol=1e-12
  )
  t = inputs.distance / 4.0
  envelope = radial_bases.envelope(t, 5)[:, None]
  radial = envelope * tf.sin(t[:, None] * np.pi * np.arange(1.0, 4))
  expected = reference["radial_basis"][order]
  np.testing.assert_allclose(radial[: len(order)], expected, atol=1e-12)
  spherical = envelope[..., None] * radial_bases.spherical_bessel(t, 3, 3)
  spherical = tf.gather(spherical, first[place])
  spherical *= radial_bases.legendre(cosine, 3)[..., None]
  np.testing.assert_allclose(
    tf.reshape(spherical, [len(place), 9]),
    reference["spherical_basis"],
    atol=1e-5,
  )


def test_an_atom_and_its_images_make_triplets():
  """All but those that go back to the very image they came from."""
  model = make("dimenet_pp")
  inputs = model.inputs(
    *testing.to_tensors(
      (
        State(np.zeros((1, 1, 3)), np.zeros((1, 1, 3))),
        Particles(np.ones((1, 1))),
        Domain(np.array([[2.0, np.inf, np.inf]])),
      )
    )
  )
  first, second, cosine = listed(triplets.build(inputs, CUTOFF, 100))
  assert len(first) == 2
  np.testing.assert_allclose(cosine, 1)
  np.testing.assert_array_equal(first, second)


def slabs(batch=2, n=7, seed=0):
  """Returns atoms in oblique cells smaller than the cutoff, as NumPy arrays."""
  rng = np.random.default_rng(seed)
  cell = np.tile(np.diag([2.5, 4.0, 9.0]), (batch, 1, 1))
  cell[:, 0, 1], cell[:, 1, 0] = 0.4, rng.uniform(-1, 1, batch)
  grid = np.array([*itertools.product([0.0, 1.0], [0.0, 1.0], [0.0, 1.0])])
  place = np.array([1.25, 2.0, 1.6]) * grid[:n]
  place = place + rng.normal(0, 0.1, (batch, n, 3))
  species = rng.choice([1, 6, 29, 79], (batch, n))
  box = np.tile([2.5, 4.0, np.inf], (batch, 1))
  return (
    State(place, np.zeros_like(place)),
    Particles(np.ones((batch, n)), species=species),
    Domain(box, cell),
  )


def tensors(system, dtype=tf.float64):
  return map_arrays(
    lambda x: tf.constant(x, tf.int32 if x.dtype.kind == "i" else dtype), system
  )


def stirred(name, system, problem=SLABS, dtype=tf.float64, **config):
  model = make(name, problem, **config)
  model.evaluate(*tensors(system, dtype))
  stir(model)
  return model


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["slabs", "open", "bodies"])
def test_forces_are_the_gradient_of_the_energy(name, kind):
  system = slabs()
  state, particles, domain = system
  if kind == "open":
    system = state, particles, Domain(np.full((2, 3), np.inf))
  if kind == "bodies":
    masses = np.random.default_rng(0).uniform(0.5, 1.5, (2, 7))
    system = state, Particles(masses, charge=1 - masses), domain
  model = stirred(name, system)
  state, particles, domain = tensors(system)
  force = model.evaluate(state, particles, domain).force.numpy()
  assert 0.01 < np.std(force) < 100
  step = 1e-5
  for i, d in ((0, 0), (6, 2)):
    energy = []
    for sign in (1, -1):
      position = state.position.numpy()
      position[:, i, d] += sign * step
      moved = State(tf.constant(position), state.velocity)
      energy.append(model.evaluate(moved, particles, domain).potential_energy)
    slope = (energy[0] - energy[1]).numpy() / (2 * step)
    np.testing.assert_allclose(force[:, i, d], -slope, atol=1e-6)
  np.testing.assert_allclose(np.sum(force, 1), 0, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_forces_turn_with_the_structure(name):
  system = slabs()
  model = stirred(name, system)
  expected = model.evaluate(*tensors(system))
  matrix, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))
  state, particles, domain = system
  for turn in (matrix, -matrix):
    # Also moved, and in other images.
    place = state.position @ turn + 1.7
    place[:, 2] += 3 * (domain.cell @ turn)[:, 0]
    moved = domain._replace(cell=domain.cell @ turn)
    found = model.evaluate(
      *tensors((State(place, state.velocity), particles, moved))
    )
    np.testing.assert_allclose(found.force, expected.force @ turn, atol=1e-9)
    np.testing.assert_allclose(
      found.potential_energy, expected.potential_energy, atol=1e-9
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_structure_is_the_same_alone_and_in_a_padded_batch(name):
  state, particles, domain = system = slabs(3)
  rng = np.random.default_rng(1)
  mask = np.ones((3, 7))
  mask[1, 5:] = mask[2, 2] = 0
  particles = particles._replace(mask=mask)
  wild = state.position + 5 * rng.normal(size=(3, 7, 3)) * (mask < 1)[..., None]
  batch = state._replace(position=wild), particles, domain
  model = stirred(name, system)
  together = model.evaluate(*tensors(batch))
  for b in range(3):
    real = mask[b] > 0
    one = map_arrays(lambda x, b=b: x[b : b + 1], (state, particles, domain))
    alone = (
      State(*(x[:, real] for x in one[0])),
      map_arrays(lambda x, r=real: x[:, r], one[1]._replace(mask=None)),
      one[2],
    )
    expected = model.evaluate(*tensors(alone))
    np.testing.assert_allclose(
      together.force[b][real], expected.force[0], atol=1e-10
    )
    assert not np.any(together.force[b][~real])
    np.testing.assert_allclose(
      together.potential_energy[b], expected.potential_energy[0], atol=1e-10
    )


def window(system, dtype=tf.float32):
  state, particles, domain = system
  rng = np.random.default_rng(5)
  batch, n, _ = state.position.shape
  particles = particles._replace(tag=rng.integers(0, 3, (batch, n)))
  data = Trajectory(
    np.zeros(1),
    State(*(x[:, None] for x in state)),
    particles,
    domain,
    force=rng.normal(size=(batch, 1, n, 3)),
    potential_energy=rng.normal(size=(batch, 1)),
  )
  return tensors(data, dtype)


@pytest.mark.parametrize(
  "name", ["schnet", pytest.param("dimenet_pp", marks=pytest.mark.slow)]
)
def test_a_program_learns_what_is_learned_eagerly(name):
  """The gradient of errors of gradients, in arrays with room left."""
  data = window(slabs())
  model = stirred(name, slabs(), dtype=tf.float32, energy_weight=0.1)
  variables = model.trainable_variables

  def learn():
    with tf.GradientTape() as tape:
      loss = model.loss(data)
    return loss, tape.gradient(loss, variables)

  expected, gradients = learn()
  sizes = capacity.with_headroom(capacity.measure(learn), 0.2)
  assert ("triplet_groups" in sizes) == (name == "dimenet_pp")

  def program():
    with capacity.within(capacity.Room(sizes)) as room:
      return *learn(), room.overflow

  loss, found, overflow = tf.function(program, autograph=False)()
  assert not overflow
  assert float(loss) == pytest.approx(float(expected), rel=1e-5)
  for variable, x, y in zip(variables, found, gradients, strict=True):
    assert np.any(x), variable.name
    scale = np.max(np.abs(y))
    np.testing.assert_allclose(x, y, atol=1e-3 * scale, err_msg=variable.name)


@pytest.mark.parametrize("name", NAMES)
def test_atoms_in_one_place_leave_no_infinity(name):
  state, particles, domain = slabs(1, 4)
  state.position[0, 1] = state.position[0, 0]
  model = stirred(name, (state, particles, domain), dtype=tf.float32)
  with tf.GradientTape() as tape:
    loss = model.loss(window((state, particles, domain)))
  for gradient in tape.gradient(loss, model.trainable_variables):
    assert np.all(np.isfinite(gradient))


def test_the_zero_of_energy_is_learned_where_energies_are():
  for weight in (0.0, 0.1):
    model = stirred("schnet", slabs(), energy_weight=weight)
    assert model.constant.trainable == (weight > 0)


@pytest.mark.parametrize("name", NAMES)
def test_bodies_move_under_a_learned_energy(name):
  problem = testing.problem()
  system = testing.random_system(2, 6, box_side=4.0)
  model = stirred(name, system, problem, tf.float32)
  force = simulators.ForceSimulator(model, INTEGRATORS["leapfrog"])
  state, particles, domain = testing.to_tensors(system)
  result = force.predict(
    state, particles, domain, tf.constant([0.02, 0.04])
  ).state
  assert result.position.shape == (2, 2, 6, 2)
  for x in result:
    assert np.all(np.isfinite(x))
  flown = domain.wrap(state.position + 0.04 * state.velocity)
  assert np.any(np.abs(result.position[:, -1] - flown) > 1e-5)
  # Masses matter.
  lighter = particles._replace(mass=0.9 * particles.mass)
  other = force.predict(state, lighter, domain, tf.constant([0.02])).state
  assert np.any(np.abs(other.velocity[:, 0] - result.velocity[:, 0]) > 1e-5)


@pytest.mark.parametrize(
  ("name", "config", "expected"),
  [
    ("schnet", {}, 9_088_513),
    ("dimenet_pp", {}, 1_809_414),
    ("dimenet_pp", {"width": 512, "output_width": 384}, 10_716_806),
  ],
)
def test_parameter_counts(name, config, expected):
  plugin = plugins.load_model(name)
  model = plugin.build(plugin.config(**config), SLABS)
  state, particles, domain = slabs(1, 2)
  domain = Domain(np.full((1, 3), np.inf))
  model.evaluate(*tensors((state, particles, domain), tf.float32))
  assert sum(np.prod(v.shape) for v in model.variables) == expected


@pytest.mark.parametrize(
  ("name", "wrong"),
  [
    ("schnet", {"num_gaussians": 1}),
    ("dimenet_pp", {"num_blocks": 0}),
    ("dimenet_pp", {"num_after_skip": -1}),
  ],
)
def test_what_makes_no_network_is_refused(name, wrong):
  ((field, value),) = wrong.items()
  with pytest.raises(ValueError, match=f"{field} is {value}; it must be >="):
    plugins.load_model(name).config(**wrong)
