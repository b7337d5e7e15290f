import numpy as np
import pytest
import tensorflow as tf

import golden
from nbody_bench import testing
from nbody_bench.states import Domain, Particles, State
from nbody_bench.systems import LAWS, System


def two_bodies(distance):
  state = State(np.array([[[0.0, 0.0], [distance, 0.0]]]), np.zeros((1, 2, 2)))
  return state, Particles(np.ones((1, 2))), Domain(np.full((1, 2), np.inf))


def test_two_bodies_at_distance_one():
  """Worked by hand: 2 / 1.04^1.5 and -2 / sqrt(1.04)."""
  system = two_bodies(1.0)
  force = testing.GRAVITY.force(*system)
  np.testing.assert_allclose(
    force[0], [[1.885733, 0], [-1.885733, 0]], atol=1e-6
  )
  energy = testing.GRAVITY.potential_energy(*system)
  np.testing.assert_allclose(energy, [-1.961161], atol=1e-6)


def test_largest_force_is_where_the_softening_says():
  """|a| is largest at eps / sqrt 2: 2 * 2 / (3 sqrt 3) / eps^2."""
  force = testing.GRAVITY.force(*two_bodies(0.2 / np.sqrt(2)))
  np.testing.assert_allclose(force[0, 0, 0], 19.2450, atol=1e-4)


@pytest.mark.parametrize(
  ("name", "system"),
  [("gravity", testing.GRAVITY), ("coulomb", testing.COULOMB)],
)
def test_golden_forces_and_energies(name, system):
  reference = golden.load(f"forces_{name}_20")
  s = reference["state"][None]
  charge = s[..., 1] if name == "coulomb" else None
  inputs = (
    State(s[..., -4:-2], s[..., -2:]),
    Particles(mass=s[..., 0], charge=charge),
    Domain(np.full((1, 2), float(reference["box_size"]))),
  )
  np.testing.assert_allclose(
    system.acceleration(*inputs)[0], reference["acceleration"], atol=1e-10
  )
  for key, function in [
    ("kinetic", system.kinetic_energy),
    ("potential", system.potential_energy),
  ]:
    np.testing.assert_allclose(function(*inputs)[0], reference[key], rtol=1e-12)


@pytest.mark.parametrize("law", sorted(LAWS))
def test_pair_force_is_minus_the_slope_of_the_potential(law):
  squared, step = np.linspace(0.1, 9.0, 50), 1e-5
  slope = (
    LAWS[law].potential(squared + step, 0.2)
    - LAWS[law].potential(squared - step, 0.2)
  ) / (2 * step)
  np.testing.assert_allclose(
    LAWS[law].force(squared, 0.2), -2 * slope, rtol=1e-6
  )


@pytest.mark.parametrize("box_side", [8.0, np.inf])
@pytest.mark.parametrize("num_dims", [1, 2, 3])
@pytest.mark.parametrize("system", [testing.GRAVITY, testing.COULOMB])
def test_loops_tensors_and_gradient_agree(system, num_dims, box_side):
  arrays = testing.random_system(
    batch=35,  # more than one block of lanes
    num_particles=6,
    num_dims=num_dims,
    box_side=box_side,
    charged=True,
  )
  tensors = tuple(
    type(a)(*(None if x is None else tf.constant(x) for x in a)) for a in arrays
  )
  state, particles, domain = tensors
  with tf.GradientTape() as tape:
    tape.watch(state.position)
    energy = system.potential_energy(state, particles, domain)
  gradient = tape.gradient(energy, state.position)
  force = system.force(*arrays)
  np.testing.assert_allclose(system.potential_energy(*arrays), energy)
  np.testing.assert_allclose(force, system.force(*tensors), atol=1e-12)
  np.testing.assert_allclose(force, -gradient, atol=1e-10)


@pytest.mark.parametrize("as_tensors", [False, True])
@pytest.mark.parametrize("system", [testing.GRAVITY, testing.COULOMB])
def test_padding_changes_nothing(system, as_tensors):
  state, particles, domain = testing.random_system(charged=True)
  padded = (*testing.pad(state, particles, 4), domain)
  alone = (state, particles, domain)
  if as_tensors:
    alone, padded = testing.to_tensors(alone), testing.to_tensors(padded)
  for name in ("force", "acceleration"):
    one = np.asarray(getattr(system, name)(*alone))
    other = np.asarray(getattr(system, name)(*padded))
    np.testing.assert_allclose(one, other[:, :5], rtol=1e-5, atol=1e-6)
  for name in ("hamiltonian", "momentum", "angular_momentum"):
    np.testing.assert_allclose(
      getattr(system, name)(*alone),
      getattr(system, name)(*padded),
      rtol=1e-5,
      atol=1e-5,
    )


def test_momentum_and_angular_momentum_by_hand():
  state = State(np.array([[[1.0, 2.0, 3.0]]]), np.array([[[-1.0, 0.5, 2.0]]]))
  arguments = (state, Particles(np.array([[2.0]])), None)
  np.testing.assert_allclose(testing.GRAVITY.momentum(*arguments), [[-2, 1, 4]])
  np.testing.assert_allclose(
    testing.GRAVITY.angular_momentum(*arguments),
    2 * np.cross(state.position, state.velocity)[:, 0],
  )


def test_unknown_law_and_missing_charge():
  with pytest.raises(ValueError, match="law 'newton' is not one of"):
    System(law="newton", coupling=1.0, softening=0.1)
  state, particles, domain = testing.random_system()
  with pytest.raises(ValueError, match=r"needs `particles\.charge`"):
    testing.COULOMB.force(state, particles, domain)
