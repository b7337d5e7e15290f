"""Relaxation: known minima, ASE's steps, and a batch as if each were alone."""

import functools

import clusters
import numpy as np
import pytest
import tensorflow as tf

from nbody_bench import capacity, relaxation, rollouts
from nbody_bench.states import Domain, Particles, State, map_arrays

SETTINGS = relaxation.Settings(force_tolerance=1e-3)


def relax(model, system, settings=SETTINGS, dtype=np.float64):
  """Returns NumPy results of a program that XLA does not compile."""
  relaxer = relaxation.Relaxer(model, settings)
  system = map_arrays(
    lambda x: tf.constant(x.astype(dtype) if x.dtype.kind == "f" else x),
    system,
  )
  result = tf.function(relaxer.relax, autograph=False)(*system)
  return map_arrays(lambda x: x.numpy(), result)


def energies(position, system):
  state = State(tf.constant(position), None)
  _, particles, domain = system
  return clusters.LennardJones().evaluate(state, particles, domain)[1].numpy()


@functools.cache
def two_clusters():
  system = clusters.batch((13, 7))
  return system, relax(clusters.LennardJones(), system)


def test_clusters_reach_their_published_minima():
  system, result = two_clusters()
  assert result.converged.all()
  assert (result.num_steps > 10).all()
  expected = [clusters.ENERGIES[n] for n in (13, 7)]
  found = energies(result.position, system)
  np.testing.assert_allclose(found, expected, atol=2e-6)
  forces = np.linalg.norm(result.force, axis=-1)
  assert (forces.max(1) < 1e-3).all()
  np.testing.assert_array_equal(result.force[1, 7:], 0)


def test_each_of_a_batch_goes_as_if_it_were_alone():
  system, result = two_clusters()
  for b, n in enumerate((13, 7)):
    alone = map_arrays(lambda x, b=b: x[b : b + 1], system)
    cut = (
      map_arrays(lambda x, n=n: x[:, :n], alone[0]),
      Particles(np.ones((1, n))),
      alone[2],
    )
    single = relax(clusters.LennardJones(), cut)
    assert single.num_steps[0] == result.num_steps[b]
    np.testing.assert_allclose(
      single.position[0], result.position[b, :n], atol=1e-9
    )


def test_the_program_that_is_rolled_out_ends_there_too():
  """In float32, by XLA, with padding as it was."""
  system, result = two_clusters()
  relaxer = relaxation.Relaxer(clusters.LennardJones(), SETTINGS)
  found = rollouts.rollout(
    rollouts.compiled(relaxer), *system, np.array([1.0])
  ).state
  assert found.position.shape == (2, 1, 13, 3)
  np.testing.assert_allclose(found.position[:, 0], result.position, atol=2e-3)
  padding = system[0].position[1, 7:].astype(np.float32)
  np.testing.assert_array_equal(found.position[1, 0, 7:], padding)
  np.testing.assert_array_equal(found.velocity, 0)


class Crowd:
  """Atoms in a bowl that push each other where they are nearer than 1."""

  calls = 0  # of Python: evaluations that are not compiled, and traces

  def __call__(self, state, particles, domain):
    self.calls += 1
    q = state.position
    i, j = np.triu_indices(q.shape[1], 1)
    d = tf.gather(q, i, axis=1) - tf.gather(q, j, axis=1)
    near = tf.cast(tf.reduce_sum(d**2, -1) < 1, tf.int32)
    most = tf.reduce_max(tf.reduce_sum(near, 1))
    size = capacity.fit("near_pairs", most, len(i))
    used, which = tf.math.top_k(near, size)
    d = tf.gather(d, which, batch_dims=1)
    push = 10 * (1 / tf.norm(d, axis=-1, keepdims=True) - 1) * d
    push *= tf.cast(used, q.dtype)[..., None]
    ends = (
      tf.one_hot(tf.gather(x, which), q.shape[1], dtype=q.dtype) for x in (i, j)
    )
    sign = next(ends) - next(ends)
    return tf.einsum("bsn,bsd->bnd", sign, push) - q


def test_a_program_that_turns_out_too_small_is_done_again():
  """The bowl draws atoms together that were too far apart to count."""
  position = np.random.default_rng(0).normal(scale=2.0, size=(2, 12, 3))
  system = points(position)
  model = Crowd()
  settings = relaxation.Settings(memory=10, num_steps=600)
  predict = rollouts.compiled(relaxation.Relaxer(model, settings))
  found = rollouts.rollout(predict, *system, np.ones(1)).state.position[:, 0]
  # To measure what is needed takes no relaxation: a force and one step, of one
  # system and of all. The rest are the traces of two programs.
  assert predict.experimental_get_tracing_count() == 2
  assert model.calls == 2 * 2 + 2 * 2
  # All who are near have been counted: these are places of rest.
  whole = points(found)
  force = np.linalg.norm(model(*whole), axis=-1)
  assert force.max() < 0.011
  needs = capacity.measure(model, *whole)["near_pairs"]
  (sizes,) = predict.sizes.values()
  assert 24 < needs <= sizes["near_pairs"]
  assert capacity.measure(model, *system)["near_pairs"] < 10
  rollouts.rollout(predict, *system, np.ones(1))
  assert predict.experimental_get_tracing_count() == 2


@pytest.mark.parametrize("memory", [6, 50])
def test_steps_are_those_of_ase(memory):
  """More of them than are remembered, and fewer."""
  ase = pytest.importorskip("ase")
  from ase.calculators.lj import LennardJones
  from ase.optimize import LBFGS

  system = clusters.batch((13, 13))
  settings = relaxation.Settings(force_tolerance=1e-3, memory=memory)
  result = relax(clusters.LennardJones(), system, settings)
  for b in range(2):
    atoms = ase.Atoms("Ar13", system[0].position[b])
    atoms.calc = LennardJones(rc=1e3)
    method = LBFGS(atoms, memory=memory, maxstep=0.04, logfile=None)
    method.run(fmax=1e-3, steps=200)
    assert result.num_steps[b] == method.nsteps
    np.testing.assert_allclose(result.position[b], atoms.positions, atol=1e-7)


class Emt:
  """ASE's effective-medium potential, which leaves TensorFlow."""

  compilable = False

  def __init__(self, atoms):
    self.atoms = atoms.copy()
    self.atoms.set_constraint()

  def __call__(self, state, particles, domain):
    def force(position):
      from ase.calculators.emt import EMT

      self.atoms.calc = EMT()
      each = []
      for x in position:
        self.atoms.positions = x
        each.append(self.atoms.get_forces())
      return np.stack(each).astype(position.dtype)

    found = tf.numpy_function(force, [state.position], state.position.dtype)
    return tf.ensure_shape(found, state.position.shape)


@pytest.mark.slow
def test_an_adsorbate_on_copper_relaxes_as_in_ase():
  pytest.importorskip("ase")
  from ase.build import add_adsorbate, fcc111
  from ase.calculators.emt import EMT
  from ase.constraints import FixAtoms
  from ase.optimize import LBFGS

  atoms = fcc111("Cu", size=(2, 2, 3), vacuum=6.0)
  atoms.set_constraint(FixAtoms(mask=atoms.get_tags() > 2))
  add_adsorbate(atoms, "O", height=1.1, position="bridge")
  domain = Domain(
    np.array([[*atoms.cell.lengths()[:2], np.inf]]),
    np.array(atoms.cell[:])[None] + np.diag([0, 0, 1.0]),
  )
  position = domain.wrap(atoms.positions[None])
  particles = Particles(
    np.ones((1, len(atoms))), tag=(atoms.get_tags() < 3).astype(int)[None]
  )
  state = State(position, np.zeros_like(position))
  relaxer = relaxation.Relaxer(Emt(atoms))
  predict = rollouts.compiled(relaxer)  # which it is not
  found = rollouts.rollout(
    predict, state, particles, domain, np.ones(1)
  ).state.position[:, 0]
  atoms.calc = EMT()
  before = atoms.get_potential_energy()
  LBFGS(atoms, memory=50, maxstep=0.04, logfile=None).run(0.01, 200)
  expected = atoms.get_potential_energy()
  moved = domain.displacement(found, atoms.positions[None])
  assert np.abs(moved).max() < 2e-3
  atoms.positions = found[0]
  assert expected < before - 0.5
  assert atoms.get_potential_energy() == pytest.approx(expected, abs=1e-4)
  fixed = particles.tag == 0
  np.testing.assert_array_equal(
    found[fixed], position.astype(np.float32)[fixed]
  )


def springs(state, particles, domain):
  """Forces to the origin, of stiffness 1 along x, 10 along y and 30 along z."""
  q = state.position
  return -domain.displacement(tf.zeros_like(q), q) * [1.0, 10.0, 30.0]


def points(position, **particles):
  position = np.array(position, float)
  system = Particles(np.ones(position.shape[:2]), **particles)
  domain = Domain(np.full((len(position), 3), np.inf))
  return State(position, np.zeros_like(position)), system, domain


def test_steps_are_cut_to_what_the_atom_that_moves_most_may_move():
  system = points([[[0, 0, 3.0], [1.0, 0, 0]], [[0, 0.007, 0], [0.07, 0, 0]]])
  one = relaxation.Settings(num_steps=1, damping=0.5)
  result = relax(springs, system, one)
  moved = result.position - system[0].position
  # 90 and 1 along the forces, shortened; 0.07 of both over 70, which is short.
  expected = 0.02 * np.array([[0, 0, -1], [-1 / 90, 0, 0]])
  np.testing.assert_allclose(moved[0], expected, rtol=1e-12, atol=1e-15)
  expected = 0.5 * np.array([[0, -0.001, 0], [-0.001, 0, 0]])
  np.testing.assert_allclose(moved[1], expected, rtol=1e-12, atol=1e-15)
  assert result.num_steps.tolist() == [1, 1]
  assert not result.converged.any()


def test_the_last_step_is_the_last():
  system = points([[[0, 0, 3.0]]])
  result = relax(springs, system, relaxation.Settings(num_steps=30))
  assert result.num_steps.tolist() == [30]
  assert not result.converged[0]
  assert result.position[0, 0, 2] == pytest.approx(3.0 - 30 * 0.04)
  result = relax(springs, system)
  assert result.converged[0]
  assert 70 < result.num_steps[0] < 80
  assert np.abs(result.position).max() < 1e-3


def test_what_is_relaxed_stays_where_it_is():
  """The second from the start, the third long before the first."""
  system = points([[[0, 0, 3.0]], [[9e-4, 0, 0]], [[0, 0.03, 0.01]]])
  result = relax(springs, system)
  assert result.converged.all()
  assert result.num_steps[1] == 0
  np.testing.assert_array_equal(result.position[1], system[0].position[1])
  alone = relax(springs, map_arrays(lambda x: x[2:], system))
  assert result.num_steps[2] == alone.num_steps[0] < result.num_steps[0]
  np.testing.assert_array_equal(result.position[2], alone.position[0])


def test_what_is_not_free_does_not_move_nor_count():
  """Fixed atoms and padding, whose forces are large, or not even numbers."""

  def wild(state, particles, domain):
    force = springs(state, particles, domain)
    free = (particles.tag != 0) & (particles.mask > 0)
    return tf.where(free[..., None], force, np.nan * force)

  position = np.random.default_rng(0).normal(size=(2, 4, 3))
  system = points(
    position,
    tag=np.array([[0, 1, 2, 1], [1, 0, 0, 2]]),
    mask=np.array([[1.0, 1, 1, 0], [1, 1, 1, 1]]),
  )
  result = relax(wild, system)
  assert result.converged.all()
  free = np.array([[0, 1, 1, 0], [1, 0, 0, 1]], bool)
  np.testing.assert_array_equal(result.position[~free], position[~free])
  np.testing.assert_array_equal(result.force[~free], 0)
  assert np.abs(result.position[free]).max() < 1e-3
  # All steps are those of the free atoms alone.
  alone = relax(springs, points(position[:1, 1:3]))
  np.testing.assert_allclose(
    result.position[0, 1:3], alone.position[0], atol=1e-12
  )
  nothing = points(position[:1], tag=np.zeros((1, 4), int))
  assert relax(springs, nothing).num_steps[0] == 0


def test_what_diverges_stops_and_harms_no_other():
  """A force that ends below a height, at once, later and never."""

  def ends(value):
    def model(state, particles, domain):
      tf.debugging.assert_all_finite(state.position, "asked about nowhere")
      force = springs(state, particles, domain)
      return tf.where(state.position < -0.5, value + 0 * force, force)

    return model

  position = [
    [[0.3, 0, 0], [-0.6, 0, 0]],
    [[0.1, 0.1, 0.1], [0, 0, 0]],
    [[0.1, 0, 0], [-0.45, 0, 0]],
  ]
  system = points(position, mask=np.array([[1.0, 1], [1, 0], [1, 1]]))
  expected = relax(springs, system)
  for value in (np.nan, np.inf):
    result = relax(ends(value), system)
    assert np.isnan(result.position[0]).all()
    assert result.num_steps[0] == 0
    for b in (1, 2):
      np.testing.assert_array_equal(result.position[b], expected.position[b])
    assert result.converged.tolist() == [False, True, True]

  def slope(state, particles, domain):
    force = tf.where(state.position < -0.5, np.nan, -1.0)
    return tf.cast(force, state.position.dtype) * [1.0, 0, 0]

  # In steps of 1 / 70: the fourth is beyond. Padding is no number that anyone
  # predicted.
  system = points([[[-0.45, 0, 0], [0.2, 0, 0]], position[1]], mask=np.eye(2))
  result = relax(slope, system)
  assert result.num_steps[0] == 4 < result.num_steps[1]
  assert np.isnan(result.position[0, 0]).all()
  np.testing.assert_array_equal(result.position[0, 1], [0.2, 0, 0])


def test_forces_beyond_measure_are_no_numbers():
  def huge(state, particles, domain):
    return 1e25 * springs(state, particles, domain)

  position = [[[1.0, 1, 1]], [[0, 0, 0]]]
  result = relax(huge, points(position), dtype=np.float32)
  assert result.converged.tolist() == [False, True]
  assert np.isnan(result.position[0]).all()
  np.testing.assert_array_equal(result.position[1], 0)


def test_an_atom_may_leave_on_one_side_and_come_back_on_the_other():
  """As in open space, and the result is inside the oblique box."""
  cell = np.array([[[2.0, 0, 0], [1.0, 1.5, 0], [0, 0, 1]]])
  domain = Domain(np.array([[2.0, 1.8, np.inf]]), cell)
  target, apart = np.array([0.85, 0.1, 0.0]), np.array([0.7, 0.2, 0.3])

  def model(state, particles, domain):
    q = state.position
    away = domain.displacement(target + tf.zeros_like(q), q)
    tf.debugging.assert_near(domain.wrap(q), q)
    return -away * [1.0, 10.0, 30.0]

  state, particles, open_space = points([[target + apart]])
  inside = State(domain.wrap(state.position), state.velocity)
  assert abs(inside.position[0, 0, 0] - target[0]) > 1  # an image is nearer
  result = relax(model, (inside, particles, domain))
  assert result.converged[0]
  np.testing.assert_allclose(
    domain.displacement(target[None, None], result.position), 0, atol=1e-2
  )
  np.testing.assert_allclose(domain.wrap(result.position), result.position)
  expected = relax(model, (state, particles, open_space))
  assert result.num_steps == expected.num_steps


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"num_steps": 0}, "num_steps is 0; it must be positive"),
    ({"max_step": -0.1}, "max_step is -0.1"),
    ({"memory": 0}, "memory is 0"),
    ({"force_tolerance": float("nan")}, "force_tolerance is nan"),
  ],
)
def test_settings_are_checked(change, message):
  with pytest.raises(ValueError, match=message):
    relaxation.Settings(**change)


def test_what_a_relaxation_is_not():
  relaxer = relaxation.Relaxer(springs)
  with pytest.raises(ValueError, match=r"3 frames .* pass a single time"):
    relaxer.predict(*points([[[0, 0, 1.0]]]), np.arange(1.0, 4.0))
  with pytest.raises(ValueError, match="object is no force model"):
    relaxation.Relaxer(object())
