import itertools

import numpy as np
import pytest

from nbody_bench import pair_kernels, pair_sums
from nbody_bench.bodies import Bodies
from nbody_bench.integrators import INTEGRATORS, Splitting
from nbody_bench.states import Domain
from nbody_bench.systems import LAWS

OPEN, CLOSED = (np.inf, np.inf, np.inf), (8.0, 6.0, 7.0)
MIXED = (np.inf, 6.0, 7.0)


@pytest.fixture(params=["systems", "tiles"])
def layout(request, monkeypatch):
  """Each of the two layouts, whatever the number of particles."""
  smallest = {"systems": 10**9, "tiles": 0}[request.param]
  monkeypatch.setattr(pair_sums, "_MIN_LARGE", smallest)
  return request.param


def random_bodies(
  batch=2, num_particles=5, num_dims=2, box=CLOSED, num_padding=0, seed=0
):
  """Systems with constants of their own; the last particles are padding.

  All padding lies on top of the first particle and has a velocity.
  """
  rng = np.random.default_rng(seed)
  shape = (batch, num_particles)
  real = np.arange(num_particles) < num_particles - num_padding
  side = np.where(np.isinf(box), 8.0, box)[:num_dims]
  position = side * rng.uniform(-0.5, 0.5, (*shape, num_dims))
  return Bodies(
    position=np.where(real[:, None], position, position[:, :1]),
    velocity=rng.uniform(-1, 1, (*shape, num_dims)),
    inverse_mass=real / rng.uniform(0.5, 1.5, shape),
    strength=real * rng.uniform(0.5, 1.5, shape) * rng.choice([-1, 1], shape),
    box=np.array(box[:num_dims]) * np.linspace(1, 1.5, batch)[:, None],
    coupling=rng.uniform(-2, 2, batch),
    length=rng.uniform(0.1, 0.5, batch),
    field=np.zeros(num_dims),
    magnetic_field=np.zeros(3),
    trap=0.0,
  )


def dense(law, bodies):
  """Pair forces `[B, N, D]` and potentials `[B]`, all pairs at once."""
  q, s = bodies.position, bodies.strength
  displacement = Domain(bodies.box).displacement(q[:, None], q[:, :, None])
  weight = bodies.coupling[:, None, None] * s[:, :, None] * s[:, None, :]
  weight = weight * (1 - np.eye(q.shape[1]))
  squared = np.where(weight == 0, 1, np.sum(displacement**2, -1))
  length = bodies.length[:, None, None]
  factor = weight * LAWS[law].force(squared, length)
  potential = weight * LAWS[law].potential(squared, length)
  return (
    np.sum(factor[..., None] * displacement, 2),
    0.5 * np.sum(potential, (1, 2)),
  )


def assert_sums(bodies, law="plummer"):
  forces, potentials = dense(law, bodies)
  scale = np.abs(forces).max(initial=1.0)
  np.testing.assert_allclose(
    pair_sums.forces(law, bodies), forces, rtol=1e-11, atol=1e-13 * scale
  )
  np.testing.assert_allclose(
    pair_sums.potentials(law, bodies), potentials, rtol=1e-10, atol=1e-11
  )


@pytest.mark.parametrize("num_dims", [1, 2, 3])
@pytest.mark.parametrize("num_particles", [1, 2, 5, 33, 64, 97, 300])
def test_sums_over_all_pairs(layout, num_particles, num_dims):
  for box in (OPEN, CLOSED, MIXED):
    assert_sums(random_bodies(3, num_particles, num_dims, box))


def test_more_systems_than_a_block_holds(layout):
  assert_sums(random_bodies(batch=70, num_particles=4))


@pytest.mark.parametrize("law", sorted(LAWS))
def test_laws(law):
  assert_sums(random_bodies(num_particles=7), law)


@pytest.mark.parametrize("num_padding", [1, 4])
def test_unsoftened_law_with_padding_on_top_of_a_particle(layout, num_padding):
  bodies = random_bodies(2, 40, num_padding=num_padding)
  bodies = bodies._replace(length=np.zeros(2))
  assert_sums(bodies)
  # Particles without strength, which are not padding, do not attract either.
  bodies = bodies._replace(inverse_mass=np.ones((2, 40)))
  assert_sums(bodies)


def test_a_collision_without_softening_does_not_pass_for_a_number(layout):
  bodies = random_bodies(1, 3)._replace(length=np.zeros(1))
  bodies.position[:, 1] = bodies.position[:, 0]
  forces = pair_sums.forces("plummer", bodies)
  assert not np.isfinite(forces[:, :2]).any()


def advance(bodies, integrator="leapfrog", num_substeps=10, time_step=0.1):
  block = pair_sums.Block("plummer", bodies)
  block.advance(INTEGRATORS[integrator], time_step, num_substeps)
  return block.state()


def reference(bodies, integrator="leapfrog", num_substeps=10, time_step=0.1):
  """The same in plain NumPy."""
  domain = Domain(bodies.box)
  position, velocity = domain.wrap(bodies.position), bodies.velocity.copy()
  method, step = INTEGRATORS[integrator], time_step / num_substeps
  for _ in range(num_substeps):
    for kick, drift in itertools.zip_longest(method.kicks, method.drifts):
      force = dense("plummer", bodies._replace(position=position))[0]
      force += bodies.field - bodies.trap * position
      velocity += kick * step * bodies.inverse_mass[..., None] * force
      position = domain.wrap(position + (drift or 0) * step * velocity)
  return position, velocity


def assert_same_states(actual, desired, domain):
  apart = domain.displacement(actual[0], desired[0])
  np.testing.assert_allclose(apart, 0 * apart, atol=1e-11)
  np.testing.assert_allclose(actual[1], desired[1], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("integrator", ["leapfrog", "forest_ruth"])
def test_trajectory_with_field_trap_and_padding(layout, integrator):
  bodies = random_bodies(1, 37, box=MIXED, num_padding=2)
  # Twice across the box within one drift.
  bodies.velocity[0, 3] = (0.0, 1500.0)
  bodies = bodies._replace(field=np.array([0.5, -1.0]), trap=0.7)
  actual = advance(bodies, integrator)
  assert_same_states(actual, reference(bodies, integrator), Domain(bodies.box))
  np.testing.assert_array_equal(actual[1][0, -2:], bodies.velocity[0, -2:])


@pytest.mark.parametrize("num_particles", [2, 5])
def test_calls_in_between_change_nothing(layout, num_particles):
  # Without softening, so that a particle which meets itself is found out.
  bodies = random_bodies(1, num_particles)._replace(length=np.zeros(1))
  blocks = [pair_sums.Block("plummer", bodies) for _ in range(3)]
  for _ in range(2):
    blocks[1].potentials()
    blocks[2].forces()
    for block in blocks:
      block.advance(INTEGRATORS["leapfrog"], 0.1, 5)
  states = [block.state() for block in blocks]
  for position, velocity in states[1:]:
    assert np.isfinite(velocity).all()
    assert position.tobytes() == states[0][0].tobytes()
    assert velocity.tobytes() == states[0][1].tobytes()


def test_no_force_is_evaluated_where_the_kick_is_zero(layout):
  # It would be seen: two bodies collide without softening.
  bodies = random_bodies(1, 5)
  bodies.position[:, 1] = bodies.position[:, 0]
  bodies = bodies._replace(length=np.zeros(1))
  block = pair_sums.Block("plummer", bodies)
  block.advance(Splitting(1, (0.0, 0.0), (1.0,)), 0.1, 3)
  position, velocity = block.state()
  assert velocity.tobytes() == bodies.velocity.tobytes()
  assert np.isfinite(position).all()


def test_layouts_agree(monkeypatch):
  bodies = random_bodies(1, 70)
  states = []
  for smallest in (0, 10**9):
    monkeypatch.setattr(pair_sums, "_MIN_LARGE", smallest)
    states.append(advance(bodies, "yoshida4"))
  assert_same_states(*states, Domain(bodies.box))


def test_a_trajectory_does_not_depend_on_its_neighbours():
  def made(bodies):
    sums = (pair_sums.forces, pair_sums.potentials)
    return *advance(bodies), *(f("plummer", bodies) for f in sums)

  bodies = random_bodies(pair_kernels.NUM_LANES, 7)
  together = made(bodies)
  alone = made(bodies.select(slice(5, 8)))
  for one, other in zip(together, alone, strict=True):
    assert one[5:8].tobytes() == other.tobytes()


def test_inputs_are_copied(layout):
  bodies = random_bodies(1, 5)
  before = [np.copy(x) for x in bodies]
  block = pair_sums.Block("plummer", bodies)
  state = block.state()
  block.advance(INTEGRATORS["leapfrog"], 0.1, 2)
  for one, other in zip(bodies, before, strict=True):
    np.testing.assert_array_equal(one, other)
  np.testing.assert_array_equal(state[1], bodies.velocity)


@pytest.mark.parametrize("num_particles", [20, 10_000])
def test_forces_sum_to_zero(num_particles):
  forces = pair_sums.forces("plummer", random_bodies(1, num_particles))
  # Rounding of each, as if by chance of either sign.
  bound = 1e-15 * np.sqrt(np.sum(forces**2, 1))
  assert np.all(np.abs(forces.sum(1)) < bound * np.log2(num_particles))


def test_positions_are_wrapped():
  bodies = random_bodies(1, 4)
  moved = bodies._replace(position=bodies.position + 3 * bodies.box[:, None])
  position, _ = pair_sums.Block("plummer", moved).state()
  np.testing.assert_allclose(position, bodies.position, atol=1e-13)


def test_too_many_systems():
  bodies = random_bodies(pair_kernels.NUM_LANES + 1)
  with pytest.raises(ValueError, match="a block holds at most 32 systems"):
    pair_sums.Block("plummer", bodies)
  large = random_bodies(2, 1000)
  assert pair_sums.block_size(1000) == 1
  with pytest.raises(ValueError, match="a block holds at most 1 system"):
    pair_sums.Block("plummer", large)


def test_a_magnetic_field_needs_another_solver():
  bodies = random_bodies(num_dims=3)
  bodies = bodies._replace(magnetic_field=np.array([0.0, 0.0, 1.0]))
  block = pair_sums.Block("plummer", bodies)
  with pytest.raises(ValueError, match="AdaptiveSteps, or FixedSteps"):
    block.advance(INTEGRATORS["leapfrog"], 0.1, 1)
