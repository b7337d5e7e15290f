"""What is learned, and how it is followed: against exact motions."""

import dataclasses
import functools

import numpy as np
import pytest
import tensorflow as tf

import golden
from nbody_bench import (
  dynamics,
  integrators,
  objectives,
  plugins,
  rollouts,
  simulators,
  testing,
)
from nbody_bench.states import Domain, Particles, State
from nbody_bench.systems import System

SPRINGS = System(law="harmonic", coupling=1.0, source="stiffness")
OPEN = Domain(np.full((1, 2), np.inf))


class TrueLaw:
  """The true law in the place of a network."""

  def __init__(self, settings):
    super().__init__(settings, testing.problem(SPRINGS), name="true_law")


class TrueRates(TrueLaw, dynamics.Derivative):
  def rates(self, structure, state, particles, domain):
    mass = particles.mass[..., None]
    force = SPRINGS.force(state, particles, domain)
    return State(state.velocity / mass, force)


class TrueHamiltonian(TrueLaw, dynamics.Hamiltonian):
  def hamiltonian(self, structure, state, particles, domain):
    mass = particles.mass[..., None]
    kinetic = tf.reduce_sum(state.velocity**2 / mass, [1, 2]) / 2
    return kinetic + SPRINGS.potential_energy(state, particles, domain)


class TruePotential(TrueLaw, dynamics.Potential):
  def potential(self, structure, position, particles, domain):
    state = State(position, tf.zeros_like(position))
    return SPRINGS.potential_energy(state, particles, domain)


class TrueLagrangian(TrueLaw, dynamics.Lagrangian):
  def lagrangian(self, structure, state, particles, domain):
    kinetic = dynamics.kinetic_energy(state.velocity, particles)
    return kinetic - SPRINGS.potential_energy(state, particles, domain)


FORMS = [TrueRates, TrueHamiltonian, TruePotential, TrueLagrangian]


def springs(n=4, seed=0):
  rng = np.random.default_rng(seed)
  state = State(rng.normal(size=(1, n, 2)), rng.normal(size=(1, n, 2)))
  particles = Particles(
    rng.uniform(0.5, 1.5, (1, n)), stiffness=rng.uniform(0.5, 1, (1, n))
  )
  return state, particles, OPEN


def settings(**kwargs):
  return dynamics.Settings(**kwargs)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_follows_the_same_motion(form):
  system = springs()
  times = 0.05 * np.arange(1, 21)
  model = form(settings())
  expected = simulators.ForceSimulator(
    SPRINGS.force, integrators.INTEGRATORS["rk4"]
  )
  results = [
    rollouts.rollout(rollouts.compiled(m), *system, times).state
    for m in (model, expected)
  ]
  for one, other in zip(*results, strict=True):
    np.testing.assert_allclose(one, other, atol=2e-5)
  assert np.ptp(results[0].position) > 1


@pytest.mark.parametrize("form", FORMS)
def test_sub_steps_are_shorter_steps(form):
  system = testing.to_tensors(springs())
  fine = form(settings()).predict(
    *system, tf.constant([0.125, 0.25, 0.375, 0.5])
  )
  coarse = form(settings(num_substeps=2)).predict(
    *system, tf.constant([0.25, 0.5])
  )
  for one, other in zip(fine.state, coarse.state, strict=True):
    np.testing.assert_allclose(one[:, 1::2], other, atol=1e-6)


def test_a_splitting_needs_a_potential():
  for form in FORMS:
    if form.separable:
      assert form(settings(integrator="leapfrog")).symplectic
      assert not form(settings(integrator="rk4")).symplectic
    else:
      assert not form(settings()).symplectic
      with pytest.raises(ValueError, match=r"'leapfrog'.*dop853, euler, rk4"):
        form(settings(integrator="leapfrog"))


@pytest.mark.parametrize(
  ("name", "value", "message"),
  [
    ("integrator", "rk5", "integrator is 'rk5'; choose one of .*yoshida4"),
    ("objective", "energy", "objective is 'energy'; choose one of acc"),
    ("horizon", 0, "horizon is 0; it must be at least 1"),
    ("num_substeps", 0, "num_substeps is 0; it must be at least 1"),
  ],
)
def test_settings_that_mean_nothing(name, value, message):
  with pytest.raises(ValueError, match=message):
    settings(**{name: value})


@functools.lru_cache
def window(num_frames, seed=0):
  """An exact motion, in float32."""
  system = springs(seed=seed)
  times = 0.05 * np.arange(num_frames)
  exact = simulators.ForceSimulator(
    SPRINGS.force, integrators.INTEGRATORS["dop853"]
  )
  result = rollouts.rollout(rollouts.compiled(exact), *system, times[1:])
  frames = [
    np.concatenate([first[:, None], rest], 1)
    for first, rest in zip(system[0], result.state, strict=True)
  ]
  return simulators.Trajectory(
    *testing.to_tensors((times, State(*frames), *system[1:]))
  )


@pytest.mark.parametrize("objective", objectives.OBJECTIVES)
def test_the_true_law_has_no_error_by_any_objective(objective):
  model = TruePotential(settings(objective=objective, horizon=5))
  assert model.loss(window(6)) < 1e-9
  wrong = window(6)
  velocity = wrong.state.velocity + 0.1
  wrong = wrong._replace(state=State(wrong.state.position, velocity))
  if objective in ("states", "positions"):
    assert model.loss(wrong) > 1e-5
  law = testing.problem(
    System(law="harmonic", coupling=2.0, source="stiffness")
  )
  model.problem = law
  if objective in ("accelerations", "derivatives"):
    assert model.loss(window(6)) > 1e-2


@pytest.mark.parametrize("name", ["lnn", "lgnn", "hnn"])
def test_rates_of_a_law_that_nobody_knows_are_no_objective(name):
  unknown = System(law="unknown", coupling=0.0)
  withheld = dataclasses.replace(testing.problem(), withheld=("coupling",))
  for problem, message in (
    (testing.problem(unknown), "nobody knows that of testing"),
    (withheld, "withholds coupling"),
  ):
    with pytest.raises(ValueError, match=f"{message}; set config.objective"):
      make(name, problem, objective="accelerations")
    make(name, problem, objective="states")


def test_likelihood_is_that_of_a_normal_distribution():
  model = TruePotential(settings(likelihood=True))
  deviation = np.log(2.0)  # softplus(0)
  expected = 0.5 * np.log(2 * np.pi * deviation**2)
  np.testing.assert_allclose(model.loss(window(2)), expected, rtol=1e-4)
  error = tf.constant(0.3, shape=[1, 1, 4, 2])
  value = objectives.judge(error, tf.constant(0.0), None)
  expected += 0.5 * 0.3**2 / deviation**2
  np.testing.assert_allclose(value, expected, rtol=1e-5)


def make(name, problem=None, **config):
  module = plugins.load("baselines", name)
  config = module.Config(**config)
  return module.Simulator(config, problem or testing.problem())


def test_lagrangian_of_pairs_collapses_to_newton():
  """MCLNN's acceleration is what the general equation gives."""
  pairs = make("mclnn")
  system = testing.to_tensors(testing.random_system(2, 5))
  _, acceleration = pairs.derivative(None, *system)

  class General(dynamics.Lagrangian):
    def lagrangian(self, structure, state, particles, domain):
      potential = pairs.potential(None, state.position, particles, domain)
      return dynamics.kinetic_energy(state.velocity, particles) - potential

  general = General(settings(), testing.problem(), name="general")
  _, expected = general.derivative(None, *system)
  np.testing.assert_allclose(acceleration, expected, atol=1e-5)
  assert np.max(np.abs(expected)) > 0.05


def test_padding_does_not_make_the_mass_matrix_singular():
  model = make("lgnn", kinetic="given")
  state, particles, domain = testing.random_system(2, 5)
  expected = model.derivative(
    None, *testing.to_tensors((state, particles, domain))
  )
  padded = testing.pad(state, particles, 2)
  result = model.derivative(None, *testing.to_tensors((*padded, domain)))
  for one, other in zip(result, expected, strict=True):
    np.testing.assert_allclose(one[:, :5], other, atol=1e-5)


def test_lnn_matches_the_reference():
  reference = golden.load("lnn")
  model = make("lnn", widths=(12, 12))
  inputs = [reference[k][:, None] for k in ("position", "velocity")]
  state = State(*inputs)  # two degrees of freedom: one body in the plane
  particles = Particles(np.ones((6, 1)))
  domain = Domain(np.full((6, 2), np.inf))
  system = testing.to_tensors((state, particles, domain))
  model.derivative(None, *system)
  golden.assign_mlp(model._network, reference, "mlp")
  value = model.lagrangian(None, *system)
  np.testing.assert_allclose(value, reference["lagrangian"], atol=1e-5)
  matrix, _ = model.euler_lagrange(*system)
  np.testing.assert_allclose(matrix, reference["mass_matrix"], atol=1e-5)
  _, acceleration = model.derivative(None, *system)
  np.testing.assert_allclose(
    acceleration[:, 0], reference["acceleration"], rtol=1e-4, atol=1e-5
  )


def test_hnn_matches_the_reference():
  reference = golden.load("hnn")
  model = make("hnn", widths=(16, 16))
  # (x1, x2, y1, y2) of the reference: particles run fastest.
  position, momentum = (
    np.swapaxes(x.reshape(5, 2, 2), 1, 2)
    for x in np.split(reference["state"], 2, axis=1)
  )
  particles = Particles(np.ones((5, 2)))
  domain = Domain(np.full((5, 2), np.inf))
  system = testing.to_tensors((State(position, momentum), particles, domain))
  model.derivative(None, *system)
  weights = dict(reference)
  order = [0, 2, 1, 3, 4, 6, 5, 7]
  weights["mlp/linear_0/w"] = reference["mlp/linear_0/w"][order]
  weights["mlp/linear_2/w"] = reference["mlp/linear_2/w"][:, 1:]
  golden.assign_mlp(model._network, weights, "mlp")
  value = model.hamiltonian(None, *system)
  np.testing.assert_allclose(value, reference["hamiltonian"], atol=1e-5)
  rates = model.derivative(None, *system)
  expected = np.split(reference["time_derivative"], 2, axis=1)
  for one, other in zip(rates, expected, strict=True):
    other = np.swapaxes(other.reshape(5, 2, 2), 1, 2)
    np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize(
  ("name", "config", "count"),
  [
    ("vign", {}, 26_048),
    ("hogn", {"network": "vign"}, 26_432),
    # Less what nothing reads; see the files.
    ("ogn", {}, 26_628 - 12_480),
    ("mclnn", {}, 141 - 1),
    ("vin", {}, 6_000),
  ],
)
def test_published_parameter_counts_on_springs(name, config, count):
  model = make(name, testing.problem(SPRINGS), **config)
  model.step(*testing.to_tensors(springs(5)), tf.constant(0.1))
  total = sum(np.prod(v.shape) for v in model.trainable_variables)
  assert total == count


def test_published_parameter_counts_of_two_bodies():
  model = make("hnn")
  system = testing.random_system(1, 2)
  model.step(*testing.to_tensors(system), tf.constant(0.1))
  total = sum(np.prod(v.shape) for v in model.trainable_variables)
  assert total == 42_400 - 200


def stirred(model, system, scale=0.5):
  """Weights that make a learned law of some strength."""
  model.step(*testing.to_tensors(system), tf.constant(0.01))
  rng = np.random.default_rng(1)
  for variable in model.trainable_variables:
    variable.assign_add(scale * rng.normal(size=variable.shape))
  return model


def learned_energy(model, states, particles, domain):
  kinetic, potential = [], []
  particles, domain = testing.to_tensors((particles, domain))
  for q, v in zip(*(np.moveaxis(x, 1, 0) for x in states), strict=True):
    kinetic.append(dynamics.kinetic_energy(v, particles)[0])
    potential.append(model.potential(None, tf.constant(q), particles, domain))
  return np.array(kinetic) + np.array(potential)[:, 0]


def test_symplectic_ones_keep_the_learned_energy_bounded():
  """Over 10,000 steps; Runge-Kutta of order 4, at its own cost, drifts."""
  rng = np.random.default_rng(0)
  position = np.array([[[0.5, 0.75], [-0.7, 0.3], [0.0, -0.6]]])
  state = State(position, 0.3 * rng.normal(size=(1, 3, 2)))
  system = state, Particles(np.ones((1, 3))), OPEN
  worst = {}
  for integrator in ("leapfrog", "yoshida4", "rk4"):
    model = make("mclnn", integrator=integrator, widths=(2,))
    model.step(*testing.to_tensors(system), tf.constant(0.2))
    # A smooth spring: V = squareplus(2 r - 2) + squareplus(2 - 2 r).
    inner, bias, outer = (
      next(v for v in model.trainable_variables if part in v.name)
      for part in ("linear_0/w", "linear_0/b", "linear_1/w")
    )
    inner.assign([[2.0, -2.0]])
    bias.assign([-2.0, 2.0])
    outer.assign([[1.0], [1.0]])
    predict = rollouts.compiled(model)
    states = rollouts.rollout(
      predict, *system, 0.2 * np.arange(1, 10_001)
    ).state
    few = State(*(x[:, ::50] for x in states))
    energy = learned_energy(model, few, *system[1:])
    error = np.abs(energy - energy[0])
    worst[integrator] = np.max(error[:20]), np.max(error[150:])
  for name in ("leapfrog", "yoshida4"):
    early, late = worst[name]
    assert late < 1.5 * early, worst
  early, late = worst["rk4"]
  assert late > 3 * early, worst


def test_momentum_of_pairs_is_conserved_for_any_number():
  for n in (2, 6):
    state, particles, _ = testing.random_system(1, n, seed=n)
    system = State(state.position / 2, state.velocity), particles, OPEN
    model = stirred(make("mclnn"), system)
    states = rollouts.rollout(
      rollouts.compiled(model), *system, 0.02 * np.arange(1, 101)
    ).state
    mass = particles.mass[:, None, :, None]
    momentum = np.sum(mass * states.velocity, 2)
    np.testing.assert_allclose(momentum[:, -1], momentum[:, 0], atol=1e-5)
    spin = np.sum(mass[..., 0] * np.cross(*states), 2)
    np.testing.assert_allclose(spin[:, -1], spin[:, 0], atol=1e-5)
    assert np.ptp(states.velocity[0, :, 0]) > 1e-2


def test_another_number_is_refused_with_the_way_out():
  model = make("mlp", widths=(8,))
  five, six = (testing.to_tensors(testing.random_system(1, n)) for n in (5, 6))
  model.step(*five, tf.constant(0.1))
  with pytest.raises(ValueError, match=r"inputs for 5 .* given 6; .*mclnn"):
    model.step(*six, tf.constant(0.1))


def test_shifted_grids_lessen_the_jump_of_a_hierarchical_potential():
  """A particle that crosses a border of cells: G grids, a G-th of the jump."""
  base = make("hierarchical_vign", num_levels=3, **WIDTHS)
  state, particles, domain = testing.random_system(1, 30, seed=3)
  stirred(base, (state, particles, domain), 0.1)
  jumps = {}
  for grids in (1, 4):
    model = make("hierarchical_vign", num_levels=3, num_grids=grids, **WIDTHS)
    model.step(*testing.to_tensors((state, particles, domain)), 0.01)
    for variable, value in zip(
      model.trainable_variables, base.trainable_variables, strict=True
    ):
      variable.assign(value)
    energies = []
    for x in (-1e-4, 1e-4):
      position = state.position.copy()
      position[0, 0, 0] = x
      system = testing.to_tensors(
        (State(position, state.velocity), particles, domain)
      )
      structure = model.structure(*system)
      energies.append(
        model.potential(structure, system[0].position, *system[1:])
      )
    jumps[grids] = abs(float(np.diff(energies, axis=0)[0, 0]))
  assert jumps[1] > 1e-3
  assert jumps[4] < 0.4 * jumps[1], jumps


WIDTHS = dict(edge_widths=(8, 8), node_widths=(8, 8), global_widths=(8, 8))


def test_positions_of_graph_networks():
  with pytest.raises(ValueError, match="positions is 'polar'; choose one of"):
    make("vign", positions="polar")
  state, particles, domain = springs(3)
  shifted = State(state.position + 0.7, state.velocity)
  for positions, same in (
    ("centred", True),
    ("relative", True),
    ("absolute", False),
  ):
    model = make("vign", testing.problem(SPRINGS), positions=positions)
    forces = [
      model.force(*testing.to_tensors((s, particles, domain))).numpy()
      for s in (state, shifted)
    ]
    assert np.allclose(*forces, atol=1e-6) == same, positions
    total = np.abs(np.sum(forces[0], 1)).max()
    assert (total < 1e-6) == (positions == "relative"), positions


@pytest.mark.slow
def test_training_through_a_long_roll_out_compiles():
  """First and second derivatives of a loop inside a loop, by XLA."""
  for name, config in (("mclnn", {"horizon": 3}), ("lnn", {"horizon": 2})):
    model = make(name, testing.problem(SPRINGS), **config)
    data = window(4)
    expected = model.loss(data)

    @tf.function(jit_compile=True, autograph=False)
    def gradients(data, model=model):
      def once(i, total):
        with tf.GradientTape() as tape:
          loss = model.loss(data)
        found = tape.gradient(loss, model.trainable_variables)
        return i + 1, total + tf.linalg.global_norm(found) + 0 * loss

      return tf.while_loop(
        lambda i, total: i < 2, once, (0, 0.0), maximum_iterations=2
      )[1]

    with tf.GradientTape() as tape:
      loss = model.loss(data)
    np.testing.assert_allclose(loss, expected)
    norm = tf.linalg.global_norm(tape.gradient(loss, model.trainable_variables))
    np.testing.assert_allclose(gradients(data), 2 * norm, rtol=1e-3)
