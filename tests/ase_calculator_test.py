"""Force models as calculators of ASE; all but the first tests need ASE."""

import pathlib
import runpy
import sys
import types

import clusters
import numpy as np
import pytest
import sonnet as snt
import tensorflow as tf

from nbody_bench import ase_calculator, capacity, trained
from nbody_bench.states import Forces

EXAMPLE = pathlib.Path(__file__).parents[1] / "examples/relax_with_ase.py"


@pytest.fixture
def ase():
  return pytest.importorskip("ase")


def test_without_ase_it_is_said_how_to_get_it(monkeypatch):
  monkeypatch.setitem(sys.modules, "ase.calculators", None)
  ase_calculator._kind.cache_clear()
  with pytest.raises(ValueError, match=r"needs ASE .*pip install .*\[ase\]"):
    ase_calculator.Calculator(clusters.LennardJones())


class Weighted(snt.Module):
  """A trained model: a number, made by the first call, times the position."""

  def __init__(self):
    super().__init__()
    self.linear = snt.Linear(3, with_bias=False)

  def evaluate(self, state, particles, domain):
    assert particles.species.shape == particles.mass.shape
    energy = tf.fill([state.position.shape[0]], np.nan)
    return Forces(self.linear(state.position), energy)

  def __call__(self, state, particles, domain):
    return self.evaluate(state, particles, domain).force


def fake_run(monkeypatch, model, **statistics):
  """Makes `trained` find a run whose weights are 3 on the diagonal."""
  run = types.SimpleNamespace(
    model=model,
    description={"model": "some_model", "dataset": "some/data"},
    problem=types.SimpleNamespace(statistics=statistics),
  )

  def restore(run):
    (weights,) = run.model.trainable_variables
    weights.assign(3 * tf.eye(3))

  monkeypatch.setattr(trained, "read", lambda folder, data_dir: run)
  monkeypatch.setattr(trained, "restore", restore)


def test_a_run_is_restored(monkeypatch):
  fake_run(monkeypatch, Weighted(), force_std=1.0)
  model = ase_calculator.restored(pathlib.Path("seed_0"))
  np.testing.assert_array_equal(model.linear.w, 3 * np.eye(3))


def test_a_run_must_be_of_a_model_of_forces_in_these_units(monkeypatch):
  fake_run(monkeypatch, Weighted(), velocity_increment_std=1.0)
  with pytest.raises(ValueError, match=r"seed_0 was .* some/data, .*no forces"):
    ase_calculator.restored(pathlib.Path("seed_0"))
  fake_run(monkeypatch, object(), force_std=1.0)
  with pytest.raises(ValueError, match="some_model, which predicts no forces"):
    ase_calculator.restored(pathlib.Path("seed_0"))


def test_a_folder_that_is_no_run_is_named(ase, tmp_path):
  with pytest.raises(ValueError, match=r"config.json is missing"):
    ase_calculator.Calculator(tmp_path)


def test_a_run_as_a_calculator(ase, monkeypatch):
  fake_run(monkeypatch, Weighted(), force_std=1.0)
  atoms = ase.Atoms("CuO", [[0.1, 0, 0], [0, 0, 2]])
  atoms.calc = ase_calculator.Calculator("seed_0")
  np.testing.assert_allclose(atoms.get_forces(), 3 * atoms.positions)
  # Optimisers ask for the energy, if only to print it.
  assert np.isnan(atoms.get_potential_energy())


def cluster(ase, num_atoms, model=None, **arguments):
  state, _, _ = clusters.batch((num_atoms,), most=num_atoms, **arguments)
  atoms = ase.Atoms(f"Ar{num_atoms}", state.position[0])
  atoms.calc = ase_calculator.Calculator(model or clusters.LennardJones())
  return atoms


def test_energies_and_forces_are_those_of_the_model(ase):
  from ase.calculators.lj import LennardJones

  atoms = cluster(ase, 7)
  expected = atoms.copy()
  expected.calc = LennardJones(rc=1e3)
  for name in ("get_potential_energy", "get_forces"):
    found, right = (getattr(x, name)() for x in (atoms, expected))
    np.testing.assert_allclose(found, right, rtol=1e-4, atol=1e-3)
  assert atoms.get_forces().dtype == np.float64
  free = atoms.get_potential_energy(force_consistent=True)
  assert free == atoms.get_potential_energy()


class Gauss:
  """U = sum exp(-(Z_i + Z_j) r^2 / 50) of the nearest images."""

  def evaluate(self, state, particles, domain):
    with tf.GradientTape() as tape:
      tape.watch(state.position)
      q = state.position
      tf.debugging.assert_near(domain.wrap(q), q, atol=1e-5)
      d = domain.displacement(q[:, :, None], q[:, None])
      number = tf.cast(particles.species, q.dtype)
      weight = (number[:, :, None] + number[:, None]) / 50
      pairs = tf.exp(-weight * tf.reduce_sum(d * d, -1))
      energy = 0.5 * tf.reduce_sum(pairs, [1, 2])
    return Forces(-tape.gradient(energy, state.position), energy)

  def __call__(self, state, particles, domain):
    raise AssertionError("who knows the energy is asked for both")


@pytest.mark.parametrize(
  "pbc",
  [
    (1, 1, 0),
    (0, 0, 0),
    *(
      pytest.param(pbc, marks=pytest.mark.slow)
      for pbc in ((1, 1, 1), (0, 1, 0), (1, 0, 1))
    ),
  ],
)
def test_the_cell_and_what_is_periodic(ase, pbc):
  """Oblique cells; ASE's own distances of nearest images."""
  rng = np.random.default_rng(1)
  cell = np.array([[6.0, 0, 0], [2.0, 5.0, 0], [1.0, 1.0, 7.0]])
  if not any(pbc):
    cell *= 0
  elif pbc == (1, 1, 0):
    cell[2] = 0
  # Near each other, and then anywhere along what is periodic.
  position = rng.uniform(-1.5, 1.5, (5, 3))
  position += (rng.integers(-2, 3, (5, 3)) * pbc) @ cell
  atoms = ase.Atoms("CuNiAgPtAu", position, cell=cell, pbc=pbc)
  number = atoms.numbers
  weight = (number[:, None] + number) / 50
  distance = atoms.get_all_distances(mic=True)
  expected = np.exp(-weight * distance**2).sum() / 2
  assert expected > 2.6  # 2.5 of each atom and itself
  atoms.calc = ase_calculator.Calculator(Gauss())
  found = atoms.get_potential_energy()
  assert found == pytest.approx(expected, rel=1e-4)


def test_forces_are_the_slope_of_the_energy(ase):
  rng = np.random.default_rng(0)
  atoms = ase.Atoms(
    "He5", rng.uniform(0, 4, (5, 3)), cell=[4, 4, 9], pbc=(1, 1, 0)
  )
  atoms.calc = ase_calculator.Calculator(Gauss())
  force = atoms.get_forces()
  along = rng.normal(size=force.shape)
  energy = []
  for step in (0.05, -0.05):
    moved = atoms.copy()
    moved.positions += step * along
    moved.calc = atoms.calc
    energy.append(moved.get_potential_energy())
  slope = (energy[0] - energy[1]) / 0.1
  assert slope == pytest.approx(-np.sum(force * along), rel=0.02)


@pytest.mark.slow
def test_an_optimiser_of_ase_finds_the_minimum_in_one_program(ase):
  from ase.optimize import BFGS

  atoms = cluster(ase, 7)
  calls = atoms.calc._predict
  assert BFGS(atoms, logfile=None).run(fmax=1e-3, steps=100)
  found = atoms.get_potential_energy()
  assert found == pytest.approx(clusters.ENERGIES[7], abs=1e-4)
  assert calls.experimental_get_tracing_count() == 1
  larger = cluster(ase, 13)
  larger.calc = atoms.calc
  larger.get_forces()
  assert calls.experimental_get_tracing_count() == 2
  np.testing.assert_allclose(atoms.get_forces(), 0, atol=2e-3)
  assert calls.experimental_get_tracing_count() == 2


@pytest.mark.slow
def test_molecular_dynamics_of_ase_conserves_energy(ase):
  from ase.md.verlet import VelocityVerlet

  atoms = cluster(ase, 7, noise=0.02)
  atoms.set_masses(np.ones(7))
  before = atoms.get_total_energy()
  kinetic = []
  motion = VelocityVerlet(atoms, timestep=0.01)
  motion.attach(lambda: kinetic.append(atoms.get_kinetic_energy()))
  motion.run(200)
  assert max(kinetic) > 0.01
  assert atoms.get_total_energy() == pytest.approx(before, abs=2e-3)


def test_a_model_whose_graph_grows_is_given_more_room(ase):
  class Neighbours:
    """Forces count who is near."""

    def __call__(self, state, particles, domain):
      q = state.position
      d = tf.norm(q[:, :, None] - q[:, None], axis=-1)
      near = tf.reshape(tf.cast(d < 1.5, tf.int32), [1, -1])
      size = capacity.fit("near", tf.reduce_sum(near), near.shape[1])
      kept, place = tf.math.top_k(near, size)
      n = q.shape[1]
      each = tf.one_hot(place // n, n) * tf.cast(kept, q.dtype)[..., None]
      return tf.reduce_sum(each, 1)[..., None] + tf.zeros_like(q)

  atoms = cluster(ase, 13, Neighbours())
  atoms.positions *= 3
  np.testing.assert_array_equal(atoms.get_forces(), 1)
  atoms.positions /= 30
  np.testing.assert_array_equal(atoms.get_forces(), 13)
  assert np.isnan(atoms.get_potential_energy())


def test_the_example_relaxes(ase, capsys):
  example = runpy.run_path(str(EXAMPLE))
  atoms = example["relax"](example["Morse"]())
  assert np.linalg.norm(atoms.get_forces(), axis=-1).max() < 0.01
  # Oxygen is where it should be, as far from one side as from the other.
  distances = atoms.get_distances(-1, range(48), mic=True)
  nearest = np.sort(distances)[:5]
  assert 1.8 < nearest[0] < nearest[4] < 2.2
  fixed = atoms.get_tags() > 1
  np.testing.assert_array_equal(
    atoms.positions[fixed], example["slab"]().positions[fixed]
  )
  example["main"]([])
  assert "Cu-O: 1." in capsys.readouterr().out
