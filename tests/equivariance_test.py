"""Equivariance errors: what is claimed is small, what is broken is seen."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from nbody_bench import equivariance, plugins, simulators, testing
from nbody_bench.states import State

OPEN = testing.problem(testing.GRAVITY, 3)


def systems(num_particles=6, box=np.inf):
  data = testing.trajectory(
    2, 0.1, num_particles=num_particles, num_dims=3, batch=4
  )
  domain = data.domain._replace(box=np.full((4, 3), box))
  return data._replace(domain=domain)


def stirred(name):
  """Returns a baseline as conformance tests it, with weights that matter."""
  plugin = plugins.load_model(name)
  module = plugins.load("baselines", plugin.key)
  config = getattr(module, "TESTING", (plugin.config(),))[0]
  if getattr(config, "integrator", "") == "euler":
    # After one such step positions do not know of the force.
    config = dataclasses.replace(config, integrator="rk4")
  tf.random.set_seed(0)
  model = plugin.build(config, OPEN)
  simulator = simulators.as_simulator(model)
  data = systems()
  simulator.predict(
    *testing.to_tensors((data.frame(0), data.particles, data.domain)),
    tf.constant([0.1]),
  )
  rng = np.random.default_rng(0)
  for variable in getattr(model, "trainable_variables", ()):
    noise = rng.normal(0, 0.1, variable.shape)
    variable.assign_add(tf.cast(noise, variable.dtype))
  return plugin, simulator


@pytest.mark.parametrize("name", plugins.names("baselines"))
def test_what_is_claimed_holds_and_what_is_not_is_seen(name):
  plugin, simulator = stirred(name)
  errors = equivariance.measure(simulator.predict, systems(), 1.0)
  for kind, error in errors.items():
    if kind in plugin.card.symmetries:
      assert error < 1e-5, (kind, error)
  # What claims nothing is far from it in something.
  unclaimed = set(errors) - set(plugin.card.symmetries)
  if unclaimed:
    assert max(errors[k] for k in unclaimed) > 1e-4, errors


def drift(state, particles, domain, time_step):
  """Breaks one symmetry of each kind but the last."""
  push = tf.constant([1.0, 0.0, 0.0])
  return State(state.position + push * state.position**2, state.velocity)


def by_row(state, particles, domain, time_step):
  rows = tf.range(state.position.shape[1], dtype=tf.float32)[None, :, None]
  return State(state.position + rows * state.velocity, state.velocity)


@pytest.mark.parametrize(
  ("step", "broken"),
  [
    (drift, {"rotation", "reflection", "translation"}),
    (by_row, {"permutation"}),
  ],
)
def test_each_kind_is_told_apart(step, broken):
  predict = simulators.as_simulator(step).predict
  errors = equivariance.measure(predict, systems(), 0.1)
  assert {k for k, v in errors.items() if v > 1e-2} == broken
  assert all(v < 1e-5 for k, v in errors.items() if k not in broken)


def test_in_a_box_rotations_are_quarter_turns():
  predict = simulators.as_simulator(
    lambda state, particles, domain, time_step: State(
      domain.wrap(state.position + time_step * state.velocity), state.velocity
    )
  ).predict
  errors = equivariance.measure(predict, systems(box=4.0), 0.1)
  assert max(errors.values()) < 1e-5


def test_bonds_follow_the_order():
  """A pull along bonds commutes with another order of the particles."""

  def pull(state, particles, domain, time_step):
    bonds = tf.cast(particles.bonds, tf.int32)
    ends = tf.gather(state.position, bonds, batch_dims=1)
    apart = ends[:, :, 1] - ends[:, :, 0]
    first = tf.one_hot(bonds[..., 0], 6)
    return State(
      state.position + tf.einsum("ben,bed->bnd", first, apart), state.velocity
    )

  data = systems()
  bonds = np.tile([[0, 3], [1, 2], [4, 0]], (4, 1, 1))
  particles = data.particles._replace(bonds=bonds)
  predict = simulators.as_simulator(pull).predict
  errors = equivariance.measure(
    predict, data._replace(particles=particles), 0.1
  )
  assert errors["permutation"] < 1e-6


def test_what_is_not_finite_counts_as_much_as_can_be():
  nowhere = simulators.as_simulator(
    lambda state, particles, domain, time_step: State(
      state.position * np.nan, state.velocity
    )
  )
  errors = equivariance.measure(nowhere.predict, systems(), 0.1)
  assert set(errors.values()) == {1e6}
