"""The effective-medium potential, and the law of that name."""

import importlib.util

import numpy as np
import pytest
import tensorflow as tf

from nbody_bench import effective_medium, periodic_pairs, solvers, testing
from nbody_bench.states import Domain, Particles, State
from nbody_bench.systems import System

EMT = System(law="emt", coupling=1.0)
OPEN, CLOSED = np.zeros(3, bool), np.ones(3, bool)
METALS = np.array([29, 47, 79, 46, 78, 28, 13])
ALL = np.array([*METALS, 1, 6, 7, 8])


def clump(seed, count=14):
  """Random atoms of all kinds in an oblique cell, none too near another."""
  rng = np.random.default_rng(seed)
  cell = np.array([[6.5, 0, 0], [2.0, 6.0, 0], [0.5, -1.0, 7.0]])
  position = rng.random((count, 3)) @ cell
  for _ in range(200):
    pairs = periodic_pairs.within(position, cell, CLOSED, 1.9)
    if not len(pairs.first):
      break
    push = pairs.vector / pairs.distance[:, None]
    for axis in range(3):
      position[:, axis] -= 0.05 * np.bincount(pairs.first, push[:, axis], count)
  return position, rng.choice(ALL, count), cell


# Of `ase.calculators.emt.EMT` (ASE 3.29): numbers, places, cell, energy and the
# force on the first atom.
GOLDEN = {
  "copper": (
    [29] * 4,
    1.8 * np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]]),
    3.6,
    -0.02675507474316774,
    [0, 0, 0],
  ),
  "nickel aluminide": (
    [13, 28],
    np.array([[0, 0, 0], [1.4, 1.5, 1.6]]),
    2.9,
    0.9510511700948845,
    [-0.43703844876903775, 0.4370384487690342, 1.228518313732697],
  ),
  "carbon monoxide": (
    [6, 8],
    np.array([[0, 0, 0], [0.3, 0.4, 1.0]]),
    None,
    0.7225996104586363,
    [0.4338687369378238, 0.5784916492504322, 1.4462291231260798],
  ),
  "hydrogen": ([1], np.zeros((1, 3)), None, 3.21, [0, 0, 0]),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_values_of_ase(name):
  numbers, position, side, energy, force = GOLDEN[name]
  cell = np.eye(3) * (side or 1.0)
  found = effective_medium.evaluate(
    position, np.array(numbers), cell, CLOSED if side else OPEN
  )
  assert found[0] == pytest.approx(energy, rel=1e-12, abs=1e-12)
  np.testing.assert_allclose(found[1][0], force, atol=1e-12)


@pytest.mark.skipif(importlib.util.find_spec("ase") is None, reason="needs ase")
@pytest.mark.parametrize("is_periodic", [CLOSED, [True, True, False], OPEN])
def test_ase_computes_the_same(is_periodic):
  calculator = importlib.import_module("ase.calculators.emt").EMT
  make = importlib.import_module("ase").Atoms
  for seed in range(3):
    position, numbers, cell = clump(seed)
    atoms = make(numbers, position, cell=cell, pbc=is_periodic)
    atoms.calc = calculator()
    energy, force = effective_medium.evaluate(
      position, numbers, cell, np.array(is_periodic)
    )
    assert energy == pytest.approx(atoms.get_potential_energy(), rel=1e-11)
    scale = np.abs(force).max()
    np.testing.assert_allclose(
      force, atoms.get_forces(), atol=1e-11 * max(scale, 1)
    )


@pytest.mark.parametrize("seed", range(4))
def test_forces_are_minus_the_gradient(seed):
  position, numbers, cell = clump(seed)
  _, force = effective_medium.evaluate(position, numbers, cell, CLOSED)
  rng, step = np.random.default_rng(seed), 1e-5
  for _ in range(5):
    way = rng.normal(size=position.shape)
    rise = [
      effective_medium.evaluate(position + s * way, numbers, cell, CLOSED)[0]
      for s in (-step, step)
    ]
    slope = (rise[1] - rise[0]) / (2 * step)
    assert slope == pytest.approx(-np.sum(force * way), rel=1e-6, abs=1e-6)
  np.testing.assert_allclose(force.sum(0), 0, atol=1e-11)


def test_images_of_an_atom_itself():
  """A cell smaller than the cutoff against eight of them as one."""
  numbers, position, side, energy, force = GOLDEN["nickel aluminide"]
  assert side < effective_medium.CUTOFF
  shifts = side * np.array(
    [[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)]
  )
  many = (shifts[:, None] + position).reshape(-1, 3)
  found = effective_medium.evaluate(
    many, np.tile(numbers, 8), 2 * side * np.eye(3), CLOSED
  )
  assert found[0] == pytest.approx(8 * energy, rel=1e-12)
  np.testing.assert_allclose(found[1][::2], [force] * 8, atol=1e-11)


def test_places_outside_the_cell_are_images():
  position, numbers, cell = clump(0)
  energy, force = effective_medium.evaluate(position, numbers, cell, CLOSED)
  shift = np.random.default_rng(0).integers(-3, 4, position.shape) @ cell
  moved = effective_medium.evaluate(position + shift, numbers, cell, CLOSED)
  assert moved[0] == pytest.approx(energy, rel=1e-12)
  np.testing.assert_allclose(moved[1], force, atol=1e-10)


def test_all_pairs_within_a_distance():
  position, _, cell = clump(1)
  found = periodic_pairs.within(position, cell, np.array([1, 0, 1]) > 0, 9.0)
  counted = 0
  for a in range(-4, 5):
    for c in range(-4, 5):
      shift = a * cell[0] + c * cell[2]
      apart = position + shift - position[:, None]
      near = np.linalg.norm(apart, axis=-1) < 9.0
      counted += near.sum() - (len(position) if a == c == 0 else 0)
  assert len(found.first) == counted
  np.testing.assert_allclose(
    np.linalg.norm(found.vector, axis=1), found.distance
  )
  way = found.vector - position[found.second] + position[found.first]
  steps = way @ np.linalg.inv(cell)
  np.testing.assert_allclose(steps, steps.round(), atol=1e-9)
  assert not np.any(steps[:, 1].round())


def system_of(seed, padding=0):
  position, numbers, cell = clump(seed)
  real = np.r_[np.ones(len(numbers)), np.zeros(padding)]
  position = np.r_[position, np.zeros((padding, 3))]
  species = np.r_[numbers, np.zeros(padding, int)]
  return (
    State(position[None], np.zeros((1, *position.shape))),
    Particles(real[None] * 50, species=species[None], mask=real[None]),
    Domain(np.linalg.norm(cell, axis=1)[None], cell[None]),
  )


def test_the_law_is_the_potential():
  system = System(law="emt", coupling=2.0)
  inputs = system_of(3)
  position, numbers, cell = clump(3)
  energy, force = effective_medium.evaluate(position, numbers, cell, CLOSED)
  assert system.potential_energy(*inputs)[0] == pytest.approx(2 * energy)
  np.testing.assert_allclose(system.force(*inputs)[0], 2 * force, atol=1e-12)
  padded = system_of(3, padding=4)
  np.testing.assert_array_equal(
    system.force(*padded)[:, :14], system.force(*inputs)
  )
  assert not np.any(system.force(*padded)[:, 14:])
  np.testing.assert_allclose(
    system.acceleration(*inputs), system.force(*inputs) / 50
  )
  assert system.hamiltonian(*inputs) == system.potential_energy(*inputs)


def test_an_open_box_has_no_images():
  state, particles, domain = system_of(2)
  free = Domain(np.full((1, 3), np.inf))
  position, numbers, cell = clump(2)
  energy, _ = effective_medium.evaluate(position, numbers, cell, OPEN)
  assert EMT.potential_energy(state, particles, free)[0] == pytest.approx(
    energy
  )
  slab = domain._replace(box=domain.box * [1, 1, np.inf])
  energy, _ = effective_medium.evaluate(
    position, numbers, cell, np.array([True, True, False])
  )
  assert EMT.potential_energy(state, particles, slab)[0] == pytest.approx(
    energy
  )


def test_what_is_known_of_the_law():
  assert EMT.is_known
  assert EMT.is_many_body
  assert EMT.conserves_momentum
  assert System(**EMT.to_dict()) == EMT
  assert not testing.GRAVITY.is_many_body


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_places_that_are_not_finite(broken):
  state, particles, domain = system_of(0)
  state.position[0, 3, 1] = broken
  assert np.isnan(EMT.potential_energy(state, particles, domain)).all()
  assert np.isnan(EMT.force(state, particles, domain)).all()


def test_atoms_in_one_place():
  position = np.zeros((2, 3))
  energy, force = effective_medium.evaluate(
    position, np.array([29, 1]), np.eye(3), OPEN
  )
  assert np.isfinite(energy)
  assert not np.any(force)


def test_what_the_law_cannot_do():
  state, particles, domain = system_of(0)
  with pytest.raises(ValueError, match="'emt' takes NumPy arrays, not tensors"):
    EMT.force(*testing.to_tensors((state, particles, domain)))
  with pytest.raises(ValueError, match=r"needs `particles.species`.*None"):
    EMT.force(state, particles._replace(species=None), domain)
  flat = State(*(x[..., :2] for x in state))
  with pytest.raises(ValueError, match=r"three dimensions: .* D = 2"):
    EMT.force(flat, particles, Domain(domain.box[:, :2]))
  gold = particles._replace(species=np.full_like(particles.species, 26))
  with pytest.raises(
    ValueError, match=r"no parameters for atomic numbers \[26\]; it knows H, C,"
  ):
    EMT.potential_energy(state, gold, domain)
  with pytest.raises(
    ValueError, match="'emt' is no pair law, and solvers know"
  ):
    solvers.FixedSteps(2).solve(
      EMT, state, particles, domain, np.arange(3.0), lambda n: None
    )
  with pytest.raises(ValueError, match=r"softening is 0.1, but the law 'emt'"):
    System(law="emt", coupling=1.0, softening=0.1)
  with pytest.raises(ValueError, match=r"'yukava' is not one of .*'emt', 'har"):
    System(law="yukava", coupling=1.0)
  assert not isinstance(EMT.force(state, particles, domain), tf.Tensor)
