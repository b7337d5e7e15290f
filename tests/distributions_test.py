import numpy as np
import pytest
import scipy.stats

from nbody_bench import distributions, evaluation, testing


def test_equals_scipy():
  rng = np.random.default_rng(0)
  one, other = rng.normal(size=(2, 40)), rng.normal(1, 2, size=(2, 40))
  found = distributions.wasserstein(one, other)
  for k in range(2):
    right = scipy.stats.wasserstein_distance(one[k], other[k])
    assert found[k] == pytest.approx(right)


def test_padding_has_no_values_and_a_diverged_model_no_excuse():
  one = np.array([1.0, 5.0, np.nan])
  other = np.array([6.0, 1.0, np.nan])
  assert distributions.wasserstein(one, other) == pytest.approx(0.5)
  assert np.isnan(distributions.wasserstein([np.nan, 1.0, np.nan], other))


@pytest.mark.parametrize(
  "name", ["pair_distance_distribution", "speed_distribution"]
)
@pytest.mark.parametrize("n", [1, 2, 5, 6, 300])
def test_the_order_of_the_particles_does_not_matter_to_their_number(name, n):
  """Values exist for every size, and are 0 for the truth itself."""
  truth = testing.trajectory(num_particles=n)
  values = evaluation.metric(name).values(truth, truth, testing.GRAVITY)
  np.testing.assert_allclose(values, 0, atol=1e-12)
  moved = truth._replace(
    state=truth.state._replace(
      position=1.1 * truth.state.position, velocity=2 * truth.state.velocity
    )
  )
  values = evaluation.metric(name).values(moved, truth, testing.GRAVITY)
  if n > 1 or name == "speed_distribution":
    assert np.all(values > 0)


@pytest.mark.parametrize("n", [2, 6, 7])
def test_all_pairs_of_a_small_system_count(n):
  from nbody_bench.metrics.pair_distance_distribution import pair_distances

  trajectory = testing.trajectory(num_particles=n, box_side=np.inf)
  found = pair_distances(trajectory)[0, 0]
  q = trajectory.state.position[0, 0]
  i, j = np.triu_indices(n, 1)
  right = np.linalg.norm(q[i] - q[j], axis=-1)
  np.testing.assert_allclose(np.sort(found), np.sort(right))
