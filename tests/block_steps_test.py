import numpy as np
import pytest

import golden
from nbody_bench import block_steps
from nbody_bench.bodies import Bodies
from nbody_bench.states import Domain
from nbody_bench.systems import LAWS

ONE_LEVEL = 1e9  # an accuracy at which no particle leaves the base step


def make_bodies(position, velocity, *, mass=1.0, source=None, **constants):
  """Gravity in the published box of 20 particles, unless told otherwise."""
  batch, num_particles, num_dims = position.shape
  row = {"box": 15.5, "coupling": -2.0, "length": 0.2} | constants
  mass = np.broadcast_to(np.asarray(mass, float), (batch, num_particles))
  return Bodies(
    np.array(position),
    np.array(velocity),
    np.ascontiguousarray(1 / mass),
    np.array(mass if source is None else source, float),
    np.full((batch, num_dims), row["box"]),
    np.full(batch, row["coupling"]),
    np.full(batch, row["length"]),
    np.zeros(num_dims),
    np.zeros(3),
    0.0,
  )


def published(batch, seed=0):
  rng = np.random.default_rng(seed)
  return make_bodies(
    rng.uniform(-7.75, 7.75, (batch, 20, 2)), rng.uniform(-1, 1, (batch, 20, 2))
  )


def moved(bodies, base_step, num_base_steps, accuracy, frozen=False, law=None):
  """Returns the bodies later on, and the number of evaluations."""
  end = bodies._replace(
    position=bodies.position.copy(), velocity=bodies.velocity.copy()
  )
  count = block_steps.advance(
    law or "plummer", end, base_step, num_base_steps, accuracy, frozen
  )
  return end, count


def pairs(bodies):
  """Returns displacements, k s_i s_j and squared distances, by broadcasting."""
  x, s = bodies.position, bodies.strength
  displacement = Domain(bodies.box).displacement(x[:, None], x[:, :, None])
  weight = bodies.coupling[:, None, None] * s[:, None] * s[:, :, None]
  num_particles = x.shape[1]
  weight[:, range(num_particles), range(num_particles)] = 0
  return displacement, weight, (displacement**2).sum(-1) + (weight == 0)


def energy(bodies):
  _, weight, squared = pairs(bodies)
  potential = LAWS["plummer"].potential(squared, bodies.length[:, None, None])
  kinetic = (bodies.velocity**2).sum(-1) / bodies.inverse_mass
  return 0.5 * ((weight * potential).sum((1, 2)) + kinetic.sum(1))


def momentum(bodies):
  return (bodies.velocity / bodies.inverse_mass[..., None]).sum(1)


def leapfrog(bodies, step, num_steps, law):
  """Equal steps by broadcasting, an independent re-statement."""

  def acceleration():
    displacement, weight, squared = pairs(bodies)
    weight *= LAWS[law].force(squared, bodies.length[:, None, None])
    force = (weight[..., None] * displacement).sum(2)
    return force * bodies.inverse_mass[..., None]

  bodies = moved(bodies, step, 0, 1.0, law=law)[0]
  for _ in range(num_steps):
    bodies.velocity[:] += 0.5 * step * acceleration()
    bodies.position[:] += step * bodies.velocity
    bodies.position[:] = Domain(bodies.box).wrap(bodies.position)
    bodies.velocity[:] += 0.5 * step * acceleration()
  return bodies


def assert_same(a, b, tolerance=0.0):
  np.testing.assert_allclose(a.position, b.position, 0, tolerance)
  np.testing.assert_allclose(a.velocity, b.velocity, 0, tolerance)


@pytest.fixture(name="reference", scope="module")
def _reference():
  return golden.load("generator_block_gravity_20")


def bodies_of(states):
  return make_bodies(states[..., 1:3], states[..., 3:5])


@pytest.mark.slow
def test_frozen_scheme_is_the_published_generator(reference):
  states = reference["states"]
  end, _ = moved(bodies_of(states[:-1]), 0.01, 1, 0.001, frozen=True)
  assert_same(end, bodies_of(states[1:]), 1e-12)


@pytest.mark.slow
def test_first_accelerations_and_levels_are_the_published_ones(reference):
  start = bodies_of(reference["states"][:1])
  # One step of length 1/2 moves by v / 2 + a / 8.
  end, _ = moved(start, 0.5, 1, ONE_LEVEL)
  acceleration = 8 * Domain(start.box).displacement(
    start.position + start.velocity / 2, end.position
  )
  expected = reference["initial_acceleration"]
  np.testing.assert_allclose(acceleration[0], expected, 0, 1e-12)
  levels = [
    block_steps.level(np.linalg.norm(a), 0.2, 0.01, 0.001) for a in expected
  ]
  np.testing.assert_array_equal(levels, reference["initial_level"])


@pytest.mark.parametrize(
  ("size", "expected"),
  [(19.245, 7), (1.0, 5), (0.0, 0), (np.inf, block_steps.MAX_LEVEL)],
)
def test_level(size, expected):
  assert block_steps.level(size, 0.2, 0.01, 0.001) == expected


def test_step_equal_to_the_criterion_is_long_enough():
  assert block_steps.level(1.0, 1.0, 0.5, 0.5) == 0
  assert block_steps.level(1.0, 1.0, 0.5, 0.4999) == 1


@pytest.mark.slow
def test_prediction_conserves_what_freezing_does_not():
  start = published(8)

  def drifts(frozen):
    end, count = moved(start, 0.01, 200, 0.004, frozen)
    energy_drift = np.abs(energy(end) / energy(start) - 1)
    momentum_drift = np.linalg.norm(momentum(end) - momentum(start), axis=-1)
    return np.median(energy_drift), np.median(momentum_drift), count

  predicted, frozen = drifts(False), drifts(True)
  # Measured: 1.0e-6 and 1.3e-4 against 3.4e-4 and 9.8e-3.
  assert predicted[0] < 3e-6
  assert predicted[0] < frozen[0] / 50
  assert predicted[1] < frozen[1] / 20
  # It also saves the second force of each step.
  assert predicted[2] < 0.51 * frozen[2]


def eccentric_orbit():
  """Bodies of masses 1 and 9 that pass at 0.33, on different levels."""
  position = np.array([[[1.8, 0.0], [-0.2, 0.0]]])
  velocity = np.array([[[0.0, 1.35], [0.0, -0.15]]])
  return make_bodies(position, velocity, mass=[1.0, 9.0], box=np.inf)


def convergence_order(frozen):
  start = eccentric_orbit()
  accuracies = 0.02 * 0.5 ** np.arange(4)
  truth = moved(start, 1.0, 4, accuracies[-1] / 32)[0].position
  errors = [
    np.abs(moved(start, 1.0, 4, a, frozen)[0].position - truth).max()
    for a in accuracies
  ]
  return np.polyfit(np.log(accuracies), np.log(errors), 1)[0]


@pytest.mark.slow
def test_predicted_scheme_is_of_second_order_and_frozen_of_first():
  # Measured: 1.99 and 0.92.
  assert abs(convergence_order(frozen=False) - 2) < 0.15
  assert abs(convergence_order(frozen=True) - 1) < 0.2


@pytest.mark.slow
def test_fewer_evaluations_than_equal_steps_at_the_finest_level(reference):
  num_steps = 5 * 2 ** reference["initial_level"].max()
  _, count = moved(bodies_of(reference["states"][:1]), 0.01, 5, 0.001)
  # Measured: 0.36 of them.
  assert count < 0.5 * (num_steps + 1) * 20 * 19


@pytest.mark.parametrize(
  ("law", "frozen"),
  [
    ("plummer", False),
    pytest.param("plummer", True, marks=pytest.mark.slow),
    pytest.param("spring", False, marks=pytest.mark.slow),
  ],
)
def test_on_one_level_both_are_leapfrog(law, frozen):
  rng = np.random.default_rng(1)
  shape = (2, 6)
  start = make_bodies(
    rng.uniform(-3, 3, (*shape, 3)),
    rng.uniform(-1, 1, (*shape, 3)),
    mass=rng.uniform(0.5, 2, shape),
    source=rng.choice([-1, 1], shape),
    box=6.0,
    coupling=0.7,
  )
  end, count = moved(start, 0.02, 20, ONE_LEVEL, frozen, law)
  assert_same(end, leapfrog(start, 0.02, 20, law), 1e-10)
  forces = 2 * 20 if frozen else 20 + 1
  assert count == forces * 2 * 6 * 5


@pytest.mark.parametrize("frozen", [False, True])
def test_systems_and_calls_are_independent(frozen):
  start = published(3)
  together, count = moved(start, 0.01, 6, 0.01, frozen)
  for b in range(3):
    alone, _ = moved(start.select(slice(b, b + 1)), 0.01, 6, 0.01, frozen)
    assert_same(alone, together.select(slice(b, b + 1)))
  half, _ = moved(start, 0.01, 3, 0.01, frozen)
  assert_same(moved(half, 0.01, 3, 0.01, frozen)[0], together)
  assert_same(start, published(3))
  assert count > 3 * 6 * 20 * 19


@pytest.mark.parametrize(
  ("law", "frozen"), [("plummer", False), ("plummer", True), ("spring", False)]
)
def test_padding_changes_nothing(law, frozen):
  real = eccentric_orbit()
  # One of the real particles is where the padding is.
  real.position[:] -= real.position[:, :1]

  def padded(array):
    filler = np.zeros((1, 3, *array.shape[2:]))
    return np.concatenate([array, filler], 1)

  fields = ("position", "velocity", "inverse_mass", "strength")
  more = real._replace(**{k: padded(getattr(real, k)) for k in fields})
  expected, _ = moved(real, 0.1, 10, 0.05, frozen, law)
  end, _ = moved(more, 0.1, 10, 0.05, frozen, law)
  assert not end.position[:, 2:].any()
  assert not end.velocity[:, 2:].any()
  end = end._replace(position=end.position[:, :2], velocity=end.velocity[:, :2])
  assert_same(end, expected, 1e-9)


@pytest.mark.parametrize("frozen", [False, True])
def test_positions_end_in_the_box(frozen):
  side = np.array([4.0, 6.0, 11.0, 15.5, 24.5, 34.6, 109.5, np.pi])
  batch = len(side)
  position = side[:, None] * np.array([0.25, 0.5, -0.5, 2.25, 0.0])
  velocity = side[:, None] * np.array([0.25, 0.0, 0.0, 0.0, -0.5])
  start = make_bodies(position[..., None], velocity[..., None], coupling=0.0)
  start = start._replace(box=side[:, None])
  end, _ = moved(start, 1.0, 1, 0.1, frozen)
  expected = side[:, None] * np.array([-0.5, -0.5, -0.5, 0.25, -0.5])
  np.testing.assert_allclose(end.position[..., 0], expected, 1e-14)
  free = start._replace(box=np.full((batch, 1), np.inf))
  end, _ = moved(free, 1.0, 1, 0.1, frozen)
  np.testing.assert_array_equal(end.position[..., 0], position + velocity)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"length": np.zeros(1)}, "softening or rest length.*AdaptiveSteps"),
    ({"trap": 1.0}, "no trap.*AdaptiveSteps"),
    ({"field": np.array([0.0, 1.0])}, "field.*AdaptiveSteps"),
    ({"magnetic_field": np.array([0.0, 1.0, 0.0])}, "field.*AdaptiveSteps"),
  ],
)
def test_unsupported_bodies_are_refused(change, message):
  with pytest.raises(ValueError, match=message):
    moved(published(1)._replace(**change), 0.01, 1, 0.001)


@pytest.mark.parametrize("accuracy", [0.0, -1.0, np.nan])
def test_accuracy_must_be_positive(accuracy):
  with pytest.raises(ValueError, match=r"accuracy .* must be positive"):
    moved(published(1), 0.01, 1, accuracy)
