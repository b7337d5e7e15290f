"""The rules that every model keeps, as tests to inherit.

A model, here or in another project, is tested by a class of a few lines
(pytest finds it by its name; beside `unittest.TestCase` it works too):

    class TestMyModel(conformance.SimulatorConformance):
      symmetries = ("translation", "permutation")

      def make(self, problem):
        return my_model.Simulator(my_model.Config(), problem)

A data set is tested by `testing.assert_no_symmetric_pair` between its splits.
"""

import dataclasses
import functools
import tempfile
import unittest
from typing import Any

import numpy as np
import tensorflow as tf

from nbody_bench import rollouts, simulators, testing, training
from nbody_bench.cards import SYMMETRIES
from nbody_bench.problems import Problem
from nbody_bench.states import Domain, Particles, State, map_arrays

# Float32 rounds coordinates of a few units to 2e-7; sums in another order and
# a few steps cost another digit. Breaking a rule costs far more: steps are
# long and weights large.
TOLERANCE = 1e-5

_TIME_STEP = 0.1
_TIMES = _TIME_STEP * np.arange(1, 5)


def _rule(case):
  """Makes the docstring of a case the first line of its failures."""

  @functools.wraps(case)
  def wrapper(self):
    try:
      case(self)
    except unittest.SkipTest:
      raise
    except Exception as error:
      raise AssertionError(f"{case.__doc__}\n{error}") from error

  return wrapper


class SimulatorConformance:
  """The rules of the `Simulator` contract; a subclass defines `make`.

  A failure names the rule that was broken, then what was found. Cases that do
  not concern a model are skipped: those of symmetries that it does not claim,
  of learning if it has no trainable variables, of compilation if it says
  `compilable = False`.

  Attributes:
    symmetries: of `cards.SYMMETRIES`, those that hold by construction. Nothing
      is asserted of others.
    min_particles: the smallest N that the model takes.
    charged: whether particles have charges, and the law is Coulomb's.
    num_dims: D.
    fixed_num_particles: whether the model refuses, by a ValueError, another
      number of particles than it was first called with, and padding.
  """

  symmetries: tuple[str, ...] = ()
  min_particles: int = 5
  charged: bool = False
  num_dims: int = 2
  fixed_num_particles: bool = False

  def make(self, problem: Problem) -> Any:
    """Returns a new model, not called yet; anything `as_simulator` takes."""
    raise NotImplementedError("define `make(problem)` and return a new model")

  @property
  def problem(self) -> Problem:
    """What `make` is given.

    Steps are long and statistics are 1, so that no effect is scaled away.
    """
    problem = testing.problem(
      testing.COULOMB if self.charged else testing.GRAVITY, self.num_dims
    )
    return dataclasses.replace(
      problem,
      time_step=_TIME_STEP,
      statistics=dict.fromkeys(problem.statistics, 1.0),
    )

  @_rule
  def test_any_batch_number_and_box(self):
    """One model predicts for any batch, N, box and times."""
    n = self.min_particles
    counts = (n, n, n) if self.fixed_num_particles else (n + 2, 4 * n, n + 1)
    model = self._built(*self._inputs(n, self._squares(2)))
    oblong = self._squares(3) + 1.5 * np.arange(self.num_dims)
    strip = self._squares(2)
    strip[:, 0] = np.inf
    for inputs in (
      self._inputs(counts[0], self._squares(1) + 3),
      self._inputs(counts[1], oblong),
      self._inputs(counts[2], strip),
    ):
      times = _TIMES[: len(inputs[2].box)]
      result = _predict(model, *inputs, times=times)
      # What the model was called with before makes no difference.
      fresh = self._built(*inputs, weights_of=model)
      _assert_same(result, _predict(fresh, *inputs, times=times), *inputs[1:])

  @_rule
  def test_same_result_eagerly_and_compiled(self):
    """The result is the same eagerly, in `tf.function` and under XLA."""
    inputs = self._inputs(self._num_particles, self._squares(2))
    model = simulators.as_simulator(self._built(*inputs))
    if not getattr(model, "compilable", True):
      raise unittest.SkipTest("it says `compilable = False`")
    expected = _predict(model, *inputs)
    graph = tf.function(model.predict, autograph=False)
    _assert_same(_states(graph, *inputs), expected, *inputs[1:])
    xla = rollouts.compiled(model)
    _assert_same(_states(xla, *inputs), expected, *inputs[1:])

  @_rule
  def test_frames(self):
    """Frames are `[B, P, N, D]`, finite, and inside the box."""
    n, batch = self._num_particles, 3
    inputs = self._inputs(n, self._squares(batch))
    states = _predict(self._built(*inputs), *inputs)
    for name, x in states._asdict().items():
      shape = (batch, len(_TIMES), n, self.num_dims)
      assert x.shape == shape, f"{name} is {x.shape}, expected {shape}"
      assert np.all(np.isfinite(x)), f"{name} is not finite"
    # Wrapping may round up to the border itself.
    half = inputs[2].box[:, None, None] / 2 * (1 + 1e-6)
    worst = np.max(np.abs(states.position) / half)
    assert worst <= 1, f"a position lies at {worst:.3g} half boxes"

  @_rule
  def test_inputs_are_passed_through(self):
    """The trajectory has the times, particles and box of the call."""
    state, particles, domain = self._inputs(
      self._num_particles, self._squares(2)
    )
    if not self.fixed_num_particles:
      state, particles = testing.pad(state, particles, 1)
    model = self._built(state, particles, domain)
    given = testing.to_tensors((state, particles, domain, _TIMES))
    result = simulators.as_simulator(model).predict(*given)
    fields = {"time": (result.time, given[3])}
    fields["box"] = (result.domain.box, given[2].box)
    for name in Particles._fields:
      fields[name] = getattr(result.particles, name), getattr(given[1], name)
    for name, (one, other) in fields.items():
      assert (one is None) == (other is None), f"{name} is {one}"
      assert one is None or np.array_equal(one, other), f"{name} changed"

  @_rule
  def test_save_and_restore(self):
    """A restored model predicts what the saved one did, bit for bit."""
    inputs = self._inputs(self._num_particles, self._squares(2))
    model = self._learned(*inputs)
    other = self._built(*inputs, seed=1)
    with tempfile.TemporaryDirectory() as folder:
      path = f"{folder}/checkpoint"
      tf.train.Checkpoint(model=model).write(path)
      status = tf.train.Checkpoint(model=other).read(path)
      status.assert_existing_objects_matched()
    expected = _predict(model, *inputs)
    for x, y in zip(_predict(other, *inputs), expected, strict=True):
      assert np.array_equal(x, y), "the results differ"

  @_rule
  def test_gradients_reach_every_variable(self):
    """The gradient of the loss reaches every variable and is finite."""
    model = self._learned(*self._inputs(self._num_particles, self._squares(2)))
    window = testing.trajectory(
      training.window_length(model),
      _TIME_STEP,
      num_particles=self._num_particles,
      num_dims=self.num_dims,
      charged=self.charged,
    )
    with tf.GradientTape() as tape:
      loss = training.loss_function(model)(testing.to_tensors(window))
    variables = training.trainable_variables(model)
    gradients = tape.gradient(loss, variables)
    for variable, gradient in zip(variables, gradients, strict=True):
      assert gradient is not None, f"{variable.name} is not used"
      values = tf.convert_to_tensor(gradient).numpy()
      assert np.all(np.isfinite(values)), f"{variable.name}: not finite"
      assert np.any(values), f"{variable.name}: zero, it would never change"

  @_rule
  def test_padding_changes_nothing(self):
    """Padding, where `particles.mask` is 0, changes nothing."""
    state, particles, domain = self._inputs(
      self._num_particles, self._squares(2)
    )
    model = self._built(state, particles, domain)
    if self.fixed_num_particles:
      self._assert_refused(model, *testing.pad(state, particles, 3), domain)
      mask = np.ones_like(particles.mass)
      self._assert_refused(model, state, particles._replace(mask=mask), domain)
      return
    padded = _predict(model, *testing.pad(state, particles, 3), domain)
    real = State(*(x[:, :, : self._num_particles] for x in padded))
    expected = _predict(model, state, particles, domain)
    _assert_same(real, expected, particles, domain)

  @_rule
  def test_samples_do_not_depend_on_each_other(self):
    """The result of a sample does not depend on the rest of its batch."""
    n = self._num_particles
    state, particles, domain = self._inputs(n + 2, self._squares(3))
    if not self.fixed_num_particles:
      mask = np.ones_like(particles.mass)
      mask[1, n:] = 0
      particles = particles._replace(mask=mask)
    inputs = state, particles, domain
    model = self._built(*inputs)
    together = _predict(model, *inputs)
    for b in range(3):
      one, batched = map_arrays(lambda x, b=b: x[b : b + 1], (inputs, together))
      _assert_same(batched, _predict(model, *one), *one[1:])

  @_rule
  def test_permutation(self):
    """Particles in another order are predicted in that order."""
    self._require("permutation")
    n = self._num_particles
    state, particles, domain = self._inputs(n, self._squares(2))
    # Padding moves too: a mask may have its zeros anywhere.
    state, particles = testing.pad(state, particles, 2)
    order = np.random.default_rng(2).permutation(n + 2)
    self._assert_equivariant(
      (state, particles, domain),
      lambda state: State(*(x[..., order, :] for x in state)),
      map_arrays(lambda x: x[:, order], particles),
    )

  @_rule
  def test_periodic_images(self):
    """A particle whole boxes away is the same particle."""
    inputs = self._inputs(self._num_particles, self._squares(2))
    state, particles, domain = inputs
    moved = np.random.default_rng(2).integers(-1, 2, state.position.shape)
    moved = state.position + moved * domain.box[:, None]
    model = self._built(*inputs)
    _assert_same(
      _predict(model, state._replace(position=moved), particles, domain),
      _predict(model, *inputs),
      particles,
      domain,
    )

  @_rule
  def test_translation(self):
    """What is shifted is predicted shifted."""
    self._require("translation")
    shift = np.random.default_rng(2).uniform(-4, 4, self.num_dims)
    for box in (self._squares(2), self._open(2)):
      inputs = self._inputs(self._num_particles, box)
      wrap = inputs[2].wrap
      self._assert_equivariant(
        inputs,
        lambda state, wrap=wrap: State(
          wrap(state.position + shift), state.velocity
        ),
      )

  @_rule
  def test_rotation(self):
    """What is rotated is predicted rotated."""
    self._require("rotation")
    quarter = np.eye(self.num_dims)
    quarter[:2, :2] = [[0, -1], [1, 0]]
    any_angle, _ = np.linalg.qr(
      np.random.default_rng(2).normal(size=quarter.shape)
    )
    any_angle[0] *= np.linalg.det(any_angle)  # if it was a reflection
    self._assert_orthogonal(self._squares(2), quarter)
    self._assert_orthogonal(self._open(2), any_angle)

  @_rule
  def test_reflection(self):
    """What is reflected is predicted reflected."""
    self._require("reflection")
    mirror = np.diag([-1.0, *[1.0] * (self.num_dims - 1)])
    self._assert_orthogonal(self._squares(2), mirror)
    self._assert_orthogonal(self._open(2), mirror)

  def _assert_orthogonal(self, box, matrix):
    inputs = self._inputs(self._num_particles, box)
    self._assert_equivariant(
      inputs, lambda state: State(*(x @ matrix.T for x in state))
    )

  def _assert_equivariant(self, inputs, transform, particles=None):
    """Asserts that `transform` before `predict` equals `transform` after it.

    Args:
      inputs: of `predict`.
      transform: maps states `[B, ..., N, D]`.
      particles: transformed, if they change.
    """
    state, old, domain = inputs
    new = particles or old
    model = self._built(*inputs)
    _assert_same(
      _predict(model, transform(state), new, domain),
      transform(_predict(model, *inputs)),
      new,
      domain,
    )

  @property
  def _num_particles(self):
    """N of most cases: enough for particles to be told apart."""
    return self.min_particles + 4

  def _assert_refused(self, model, *inputs):
    n = inputs[0].position.shape[1]
    try:
      _predict(model, *inputs)
    except ValueError as error:
      message = str(error)
      if str(n) not in message:
        raise AssertionError(f"its error does not name {n}") from error
      return
    raise AssertionError(
      "it says `fixed_num_particles` and takes others, or padding"
    )

  def _require(self, symmetry):
    unknown = sorted(set(self.symmetries) - set(SYMMETRIES))
    assert not unknown, f"no case tests {unknown}; there are {SYMMETRIES}"
    if symmetry not in self.symmetries:
      raise unittest.SkipTest(f"{symmetry} is not claimed")

  def _learned(self, *inputs):
    model = self._built(*inputs)
    if not training.trainable_variables(model):
      raise unittest.SkipTest("there are no trainable variables")
    return model

  def _built(self, *inputs, seed=0, weights_of=None):
    """Returns a new model, called once and given weights that matter.

    Args:
      *inputs: of the call.
      seed: of the weights.
      weights_of: a model to take them from.
    """
    tf.random.set_seed(seed)
    model = self.make(self.problem)
    _predict(model, *inputs, times=_TIMES[:1])
    variables = training.trainable_variables(model)
    if weights_of is not None:
      old = training.trainable_variables(weights_of)
      for variable, value in zip(variables, old, strict=True):
        variable.assign(value)
      return model
    # Many models begin as the identity, their last layer zero: whatever else
    # they do wrong would not show.
    rng = np.random.default_rng(seed)
    for variable in variables:
      noise = rng.normal(0, 0.1, variable.shape)
      variable.assign_add(tf.cast(noise, variable.dtype))
    return model

  def _inputs(self, num_particles, box):
    """Returns random systems in boxes `[B, D]`, two particles about to leave.

    They are at opposite faces: a model that pushes everything one way does not
    keep both from leaving.
    """
    state, particles, _ = testing.random_system(
      len(box), num_particles, self.num_dims, 1.0, self.charged
    )
    state.position[:, 0, 0], state.velocity[:, 0, 0] = 0.49, 2.0
    state.position[:, -1, 0], state.velocity[:, -1, 0] = -0.49, -2.0
    side = np.where(np.isinf(box), 4.0, box)[:, None]
    state = state._replace(position=side * state.position)
    return state, particles, Domain(box)

  def _squares(self, batch):
    """Returns the sides `[B, D]` of squares, another one in each sample."""
    return np.repeat(6.0 + np.arange(batch)[:, None], self.num_dims, 1)

  def _open(self, batch):
    return np.full((batch, self.num_dims), np.inf)


def _predict(model, *inputs, times=_TIMES):
  """Returns the states `[B, P, N, D]` that a model predicts, in NumPy."""
  return _states(simulators.as_simulator(model).predict, *inputs, times=times)


def _states(predict, *inputs, times=_TIMES):
  states = predict(*testing.to_tensors((*inputs, times))).state
  return State(*(np.asarray(x) for x in states))


def _assert_same(one, other, particles, domain):
  """Asserts that states `[B, P, N, D]` agree, at all real particles."""
  mask = particles.mask
  real = np.ones_like(particles.mass) if mask is None else mask

  def largest(*values):
    return np.max(np.where(real[:, None, :, None] > 0, np.abs(values), 0))

  error = largest(
    domain.displacement(one.position, other.position),
    other.velocity - one.velocity,
  )
  allowed = TOLERANCE * max(1.0, largest(other.velocity))
  assert error <= allowed, f"results differ by {error:.3g} (not {allowed:.1g})"
