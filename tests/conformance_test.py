"""Every file of `baselines/` keeps the rules; models that break one are caught.

What is run of a file is its `TESTING`, a tuple of `Config`s with small widths,
or its default `Config`.
"""

import functools
import unittest

import pytest
import tensorflow as tf

from nbody_bench import plugins, simulators, training
from nbody_bench.cards import SYMMETRIES
from nbody_bench.conformance import SimulatorConformance
from nbody_bench.states import State

CASES = [n for n in dir(SimulatorConformance) if n.startswith("test_")]

# Compiling takes long: by default one of each kind is, with `slow` all are.
COMPILED = ("delta_gn", "leapfrog")
# These take long eagerly too; by default they keep the rules most often broken.
HEAVY = ("hierarchical_delta_gn", "hierarchical_hogn", "hierarchical_vign")
HEAVY += ("hogn", "lgnn", "ogn", "vign")
HEAVY += ("clofnet", "eghn", "eghno", "segnn", "se3_transformer", "tfn")
HEAVY += ("dimenet_pp", "forcenet", "gns", "schnet")
OF_HEAVY = (
  "test_gradients_reach_every_variable",
  "test_padding_changes_nothing",
)
# `equivariance_test.py` measures these of every file too.
MEASURED = {f"test_{kind}" for kind in SYMMETRIES}

# Those that charges could fail where masses do not.
OF_CHARGES = (
  "test_gradients_reach_every_variable",
  "test_inputs_are_passed_through",
)


def configs(model):
  module = plugins.load("baselines", model.key)
  return getattr(module, "TESTING", (model.config(),))


def _suite(name, model, config, is_charged):
  class Suite(SimulatorConformance):
    symmetries = model.card.symmetries
    fixed_num_particles = model.card.fixed_num_particles
    charged = is_charged

    def make(self, problem):
      return model.build(config, problem)

    def test_division_of_the_card(self):
      """What has nothing to train is classical: no case is skipped unseen."""
      inputs = self._inputs(self.min_particles, self._squares(1))
      variables = training.trainable_variables(self._built(*inputs))
      assert bool(variables) == (model.card.division != "classical")

  late = set(CASES) - set(OF_HEAVY) if model.key in HEAVY else set()
  compiled = "test_same_result_eagerly_and_compiled"
  late = late - {compiled} if model.key in COMPILED else late | {compiled}
  late |= MEASURED
  for case in late:
    setattr(Suite, case, pytest.mark.slow(_copy(case)))
  if is_charged:
    # Charges are a feature like others: what could go wrong are these.
    for case in {*CASES, "test_division_of_the_card"} - set(OF_CHARGES):
      setattr(Suite, case, None)
  Suite.__name__ = Suite.__qualname__ = name
  # The first one of a file is tested in any case.
  return Suite if config == configs(model)[0] else pytest.mark.slow(Suite)


def _copy(case):
  """Returns a case as a function of its own, which a mark then is of alone."""
  method = getattr(SimulatorConformance, case)

  @functools.wraps(method)  # pytest collects functions by their names
  def copied(self):
    method(self)

  return copied


for _name in plugins.names("baselines"):
  _model = plugins.load_model(_name)
  for _index, _config in enumerate(configs(_model)):
    # Charges are one feature more: once a file is enough.
    for _law in ("gravity", "coulomb")[: 1 if _index else 2]:
      _suite_name = f"Test_{_name}_{_index}_{_law}"
      globals()[_suite_name] = _suite(
        _suite_name, _model, _config, _law == "coulomb"
      )


class Pairs(simulators.LearnedSimulator):
  """Pair forces of learned strength; it keeps every rule."""

  def __init__(self):
    super().__init__()
    self.strength = tf.Variable(0.5)

  def step(self, state, particles, domain, time_step):
    velocity = state.velocity + time_step * self.pull(state, particles, domain)
    position = state.position + time_step * velocity
    return State(self.wrap(position, domain), velocity)

  def pull(self, state, particles, domain):
    q = state.position
    displacement = domain.displacement(q[:, :, None], q[:, None])
    squared = tf.reduce_sum(displacement**2, -1)
    weight = self.weight(squared, self.mass(particles)[:, None])
    return tf.reduce_sum(weight[..., None] * displacement, 2)

  def weight(self, squared, mass):
    return self.strength * mass / (squared + 1)

  def mass(self, particles):
    mask = particles.mask
    return particles.mass if mask is None else particles.mass * mask

  def wrap(self, position, domain):
    return domain.wrap(position)


class Keras(tf.keras.Model):
  """A model of other people's making: no base class of ours."""

  def __init__(self):
    super().__init__()
    self.drag = tf.keras.layers.Dense(1)

  def call(self, state, particles, domain, time_step):
    drag = self.drag(particles.mass[..., None])
    velocity = state.velocity * (1 - time_step * drag)
    return State(domain.wrap(state.position + time_step * velocity), velocity)


class TestPairs(SimulatorConformance):
  """Also as unittest would run it, were `TestCase` a second base."""

  symmetries = SYMMETRIES
  min_particles = 1

  def make(self, problem):
    return Pairs()


class TestPairsInSpace(TestPairs):
  num_dims = 3


class TestKeras(TestPairs):
  def make(self, problem):
    return Keras()


class DividesByFirstNumber(Pairs):
  number = None

  def pull(self, state, particles, domain):
    self.number = self.number or state.position.shape[1]
    return super().pull(state, particles, domain) / self.number


class AnotherLawInGraphs(Pairs):
  def weight(self, squared, mass):
    factor = 1.0 if tf.executing_eagerly() else 1.01
    return factor * super().weight(squared, mass)


class DoesNotWrap(Pairs):
  def wrap(self, position, domain):
    return position


class LosesTheMask(Pairs):
  def predict(self, state, particles, domain, times):
    result = super().predict(state, particles, domain, times)
    return result._replace(particles=particles._replace(mask=None))


class DrawsWhatItDoesNotSave(Pairs):
  def __init__(self):
    super().__init__()
    self.drawn = tf.random.uniform([])

  def weight(self, squared, mass):
    return self.drawn * super().weight(squared, mass)


class HasAnUnusedVariable(Pairs):
  def __init__(self):
    super().__init__()
    self.unused = tf.Variable(1.0)


class DetachesItsVariable(Pairs):
  def weight(self, squared, mass):
    return tf.stop_gradient(self.strength) * mass / (squared + 1)


class HasAVariableWithoutEffect(Pairs):
  def __init__(self):
    super().__init__()
    self.other = tf.Variable(1.0)

  def weight(self, squared, mass):
    return super().weight(squared, mass) + 0 * self.other


class TakesTheRootOfZero(Pairs):
  """A particle is at distance 0 of itself: the gradient there is infinite."""

  def weight(self, squared, mass):
    distance = tf.sqrt(self.strength * squared)
    total = tf.reduce_sum(mass * distance, -1, keepdims=True)
    return mass / (squared + total + 1)


class IgnoresTheMask(Pairs):
  def mass(self, particles):
    return particles.mass


class NormalizesByTheBatch(Pairs):
  def pull(self, state, particles, domain):
    pull = super().pull(state, particles, domain)
    squared = tf.reduce_sum(pull**2, -1)
    real = tf.ones_like(squared) if particles.mask is None else particles.mask
    mean = tf.reduce_sum(squared * real) / tf.reduce_sum(real)
    return pull / tf.sqrt(mean + 1)


class HearsLowerIndicesOnly(Pairs):
  def weight(self, squared, mass):
    return tf.linalg.band_part(super().weight(squared, mass), -1, 0)


class ExpectsPaddingLast(Pairs):
  def mass(self, particles):
    if particles.mask is None:
      return particles.mass
    number = tf.reduce_sum(particles.mask, 1, keepdims=True)
    index = tf.range(particles.mass.shape[1], dtype=number.dtype)
    return tf.where(index < number, particles.mass, 0.0)


class PullsToTheOrigin(Pairs):
  def pull(self, state, particles, domain):
    pull = super().pull(state, particles, domain)
    return pull - 0.1 * domain.wrap(state.position)


class CountsBoxesPassed(Pairs):
  def pull(self, state, particles, domain):
    passed = state.position - domain.wrap(state.position)
    return super().pull(state, particles, domain) + 0.1 * passed


class TreatsAxesDifferently(Pairs):
  def pull(self, state, particles, domain):
    return super().pull(state, particles, domain) * tf.constant([1.0, 1.1])


class TurnsLeft(Pairs):
  def pull(self, state, particles, domain):
    x, y = tf.unstack(super().pull(state, particles, domain), axis=-1)
    return tf.stack([x - 0.1 * y, y + 0.1 * x], -1)


BROKEN = {
  DividesByFirstNumber: "test_any_batch_number_and_box",
  AnotherLawInGraphs: "test_same_result_eagerly_and_compiled",
  DoesNotWrap: "test_frames",
  LosesTheMask: "test_inputs_are_passed_through",
  DrawsWhatItDoesNotSave: "test_save_and_restore",
  HasAnUnusedVariable: "test_gradients_reach_every_variable",
  DetachesItsVariable: "test_gradients_reach_every_variable",
  HasAVariableWithoutEffect: "test_gradients_reach_every_variable",
  TakesTheRootOfZero: "test_gradients_reach_every_variable",
  IgnoresTheMask: "test_padding_changes_nothing",
  NormalizesByTheBatch: "test_samples_do_not_depend_on_each_other",
  HearsLowerIndicesOnly: "test_permutation",
  ExpectsPaddingLast: "test_permutation",
  CountsBoxesPassed: "test_periodic_images",
  PullsToTheOrigin: "test_translation",
  TreatsAxesDifferently: "test_rotation",
  TurnsLeft: "test_reflection",
}


def _failures(model, claims=SYMMETRIES, cases=CASES):
  """Returns what each of the cases that does not pass says."""

  class Suite(SimulatorConformance):
    symmetries = claims

    def make(self, problem):
      return model()

  failures = {}
  for case in cases:
    try:
      getattr(Suite(), case)()
    except (AssertionError, unittest.SkipTest) as error:
      failures[case] = str(error)
  return failures


def test_every_case_has_a_model_that_fails_it():
  assert sorted(set(BROKEN.values())) == sorted(CASES)


@pytest.mark.parametrize(("model", "case"), BROKEN.items())
def test_a_broken_model_fails_the_case_of_its_rule(model, case):
  failures = _failures(model, cases=[case])
  rule = getattr(SimulatorConformance, case).__doc__
  assert failures[case].startswith(rule)


@pytest.mark.slow
@pytest.mark.parametrize(("model", "case"), BROKEN.items())
def test_a_broken_model_fails_no_other(model, case):
  assert list(_failures(model)) == [case]


def test_nothing_is_asserted_of_symmetries_that_are_not_claimed():
  assert _failures(TurnsLeft, ("rotation",)) == {
    "test_permutation": "permutation is not claimed",
    "test_reflection": "reflection is not claimed",
    "test_translation": "translation is not claimed",
  }


def test_an_unknown_claim_is_an_error():
  failures = _failures(Pairs, ("translations",))
  assert "no case tests ['translations']" in failures["test_translation"]


def test_a_model_outside_tensorflow_is_tested_but_for_compilation():
  def coast(state, particles, domain, time_step):
    x = domain.wrap(state.position.numpy() + time_step.numpy() * state.velocity)
    return State(x, state.velocity)

  failures = _failures(
    lambda: simulators.StepSimulator(coast, compilable=False)
  )
  assert failures == {
    "test_gradients_reach_every_variable": "there are no trainable variables",
    "test_same_result_eagerly_and_compiled": "it says `compilable = False`",
    "test_save_and_restore": "there are no trainable variables",
  }


def test_errors_of_the_model_name_the_rule_too():
  class NoPadding(Pairs):
    def mass(self, particles):
      if particles.mask is not None:
        raise ValueError("no padding, please")
      return particles.mass

  failures = _failures(NoPadding, ())
  assert failures["test_padding_changes_nothing"] == (
    "Padding, where `particles.mask` is 0, changes nothing.\nno padding, please"
  )
