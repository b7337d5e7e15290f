import json
import os
import re
import signal

import numpy as np
import pytest
import sonnet as snt
import tensorflow as tf

from nbody_bench import plugins, testing, training
from nbody_bench.recipes import Recipe
from nbody_bench.simulators import LearnedSimulator
from nbody_bench.states import State


class Spring(LearnedSimulator):
  """Learns dv = (k q + f(v)) dt; its loss draws random numbers."""

  def __init__(self, start=0.0):
    super().__init__()
    self.stiffness = tf.Variable(start)
    self._mlp = snt.nets.MLP([4, 2])

  def step(self, state, particles, domain, time_step):
    position, velocity = state
    push = self.stiffness * position + self._mlp(velocity)
    return State(position + time_step * velocity, velocity + time_step * push)

  def loss(self, window):
    noise = tf.random.get_global_generator().normal([])
    return super().loss(window) * (1 + 0.1 * noise)


SCHEDULE = training.Schedule(log_every=2, validate_every=4, checkpoint_every=3)


RECIPE = {
  "train_steps": 12,
  "batch_size": 4,
  "learning_rate": 1e-2,
  "schedule": "cosine",
}


def train(
  directory,
  steps,
  model=None,
  validate=None,
  spoil=0.0,
  checkpoint="last",
  num_bodies=5,
  **kwargs,
):
  tf.keras.utils.set_random_seed(0)
  tf.config.experimental.enable_op_determinism()
  model = model or Spring()
  data = testing.trajectory(
    num_frames=6, batch=8, num_particles=num_bodies, box_side=np.inf
  )
  data.state.velocity[3, 2] += spoil
  model.step(
    *testing.to_tensors((data.frame(0), data.particles, data.domain)), 0.01
  )
  recipe = Recipe(**(RECIPE | kwargs))
  if steps < recipe.train_steps:
    validate = stop_at(steps)
  training.train(
    model,
    recipe,
    data,
    validate or (lambda: {"loss": 1.0}),
    directory,
    seed=3,
    schedule=SCHEDULE,
    checkpoint=checkpoint,
  )
  return model


def stop_at(step, number=signal.SIGINT):
  """A validation during which a signal comes."""
  calls = []

  def validate():
    calls.append(1)
    if len(calls) * SCHEDULE.validate_every == step:
      os.kill(os.getpid(), number)
    return {"loss": 1.0}

  return validate


def weights(model):
  return [v.numpy() for v in model.trainable_variables]


def log(folder):
  lines = (folder / "metrics.jsonl").read_text().splitlines()
  values = [json.loads(x) for x in lines]
  return [(x["step"], x["train_loss"]) for x in values if "train_loss" in x]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
  folder = tmp_path_factory.mktemp("unbroken")
  return folder, weights(train(folder, 12))


def assert_same_run(unbroken, folder, model):
  for one, other in zip(unbroken[1], weights(model), strict=True):
    assert one.tobytes() == other.tobytes()
  assert log(folder)[-2:] == log(unbroken[0])[-2:]


def test_interrupted_training_goes_on_bit_for_bit(unbroken, tmp_path):
  with pytest.raises(KeyboardInterrupt):
    train(tmp_path, 4)
  assert list(tmp_path.glob("checkpoints/last-[56].index"))  # no step is lost
  model = train(tmp_path, 12, model=Spring(start=9.0))
  assert_same_run(unbroken, tmp_path, model)


def test_killed_training_goes_on_from_its_checkpoint(unbroken, tmp_path):
  """As after SIGKILL: the log is ahead of the last checkpoint."""
  with pytest.raises(RuntimeError, match="power cut"):
    train(tmp_path, 12, validate=fail_at(8))
  assert not list(tmp_path.glob("checkpoints/last-8*"))
  model = train(tmp_path, 12, model=Spring(start=9.0))
  assert_same_run(unbroken, tmp_path, model)
  assert [step for step, _ in log(tmp_path)] == [2, 4, 6, 8, 10, 12]


def fail_at(step):
  calls = []

  def validate():
    calls.append(1)
    if len(calls) * SCHEDULE.validate_every == step:
      raise RuntimeError("power cut")
    return {"loss": 1.0}

  return validate


def test_a_signal_during_the_last_step_is_not_lost(tmp_path):
  with pytest.raises(KeyboardInterrupt):
    train(tmp_path, 12, validate=stop_at(12, signal.SIGTERM))
  assert list(tmp_path.glob("checkpoints/last-12.index"))


def test_the_recipe_is_followed(tmp_path, monkeypatch):
  """With plain gradient descent a clipped update is rate times norm long."""
  monkeypatch.setattr(snt.optimizers, "Adam", snt.optimizers.SGD)
  seen, model = [], Spring(start=5.0)
  monkeypatch.setattr(
    training,
    "_mean_loss",
    lambda *_: (
      seen.append(np.concatenate([w.ravel() for w in weights(model)])) or 0.0
    ),
  )
  every = training.Schedule(log_every=1, validate_every=99, checkpoint_every=99)
  monkeypatch.setitem(globals(), "SCHEDULE", every)
  changes = {"clip_norm": 1e-5, "warmup_steps": 4, "learning_rate": 10.0}
  train(tmp_path, 12, model=model, **changes)
  moved = np.linalg.norm(np.diff(np.array(seen, float), axis=0), axis=1)
  recipe = Recipe(**(RECIPE | changes))
  rates = [recipe.learning_rate_at(s) for s in range(1, 12)]
  np.testing.assert_allclose(
    moved, 1e-5 * np.array(rates), rtol=0.05, atol=5e-7
  )
  lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
  logged = [json.loads(x).get("learning_rate") for x in lines]
  logged = [x for x in logged if x is not None]
  np.testing.assert_allclose(logged[1:], rates, rtol=1e-6)


def test_a_validation_that_is_no_number_stops(tmp_path):
  with pytest.raises(
    training.NonFiniteLossError, match="validation loss is nan"
  ):
    train(tmp_path, 12, validate=lambda: {"loss": float("nan")})


def test_a_gradient_that_is_no_number_never_reaches_a_checkpoint(tmp_path):
  class Spike(Spring):
    def loss(self, window):
      @tf.custom_gradient
      def spiked(x):
        def gradient(upstream):
          return upstream * tf.where(x < 4.965, np.float32(np.nan), 1.0)

        return x, gradient

      return super().loss(window) + spiked(self.stiffness)

  with pytest.raises(training.NonFiniteLossError, match=r"gradient"):
    train(tmp_path, 12, model=Spike(start=5.0))
  for path in tmp_path.glob("checkpoints/last-*.index"):
    saved = tf.train.load_checkpoint(str(path).removesuffix(".index"))
    for name in saved.get_variable_to_shape_map():
      if name.startswith("model/") and "VARIABLE_VALUE" in name:
        assert np.isfinite(saved.get_tensor(name)).all(), path


def test_a_damaged_checkpoint_is_named(tmp_path):
  train(tmp_path, 12)
  (path,) = tmp_path.glob("checkpoints/last-12.index")
  path.write_bytes(b"nonsense")
  with pytest.raises(ValueError, match=r"checkpoint .*last-12 is damaged or"):
    train(tmp_path, 12)
  train(tmp_path / "b", 12)
  (path,) = (tmp_path / "b").glob("checkpoints/last-12.data*")
  path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
  with pytest.raises(ValueError, match=r"checkpoint .*last-12 is damaged or"):
    train(tmp_path / "b", 12)
  for file in tmp_path.glob("checkpoints/last-12.*"):
    file.unlink()
  train(tmp_path, 12)  # goes on from the one before


def test_a_foreign_checkpoint_is_named(tmp_path):
  class Other(Spring):
    def __init__(self):
      super().__init__()
      self.more = tf.Variable([1.0, 2.0])

    def loss(self, window):
      return super().loss(window) + tf.reduce_sum(self.more**2)

  train(tmp_path, 12)
  with pytest.raises(ValueError, match=r"is damaged or of another model"):
    train(tmp_path, 12, model=Other())


def test_training_moves_towards_the_truth(tmp_path):
  """Free flight: every push is wrong, so the learned one must shrink."""
  before = Spring(start=5.0)
  model = train(tmp_path, 12, model=before)
  assert abs(float(model.stiffness.numpy())) < 5.0


def test_best_checkpoint_is_where_the_first_of_validation_is_lowest(tmp_path):
  errors, seen = [3.0, 1.0, 2.0], []
  model = Spring()

  def validate():
    seen.append(weights(model))
    error = errors[len(seen) - 1]
    return {"final_mse_1": error, "loss": 4.0 - error}

  train(tmp_path, 12, model=model, validate=validate, checkpoint="best")
  for one, other in zip(seen[1], weights(model), strict=True):
    np.testing.assert_array_equal(one, other)


class Sinking(Spring):
  """Walks to where its loss is not a number."""

  def loss(self, window):
    broken = tf.where(self.stiffness < -0.05, np.nan, 0.0)
    return super().loss(window) + self.stiffness + broken


def test_nan_stops_with_step_cause_and_last_good_checkpoint(tmp_path):
  with pytest.raises(
    training.NonFiniteLossError,
    match=r"broke down at step 7: loss nan; the norm of the gradient had come "
    r"to 1.*The last good checkpoint is .*last-6",
  ) as error:
    train(tmp_path, 12, model=Sinking())
  path = re.search(r"checkpoint is (\S+)\.", str(error.value))[1]
  saved = tf.train.load_checkpoint(path)
  for name in saved.get_variable_to_shape_map():
    if name.startswith("model/") and "VARIABLE_VALUE" in name:
      assert np.isfinite(saved.get_tensor(name)).all()


def test_nan_in_the_data_is_named_as_the_cause(tmp_path):
  with pytest.raises(
    training.NonFiniteLossError, match="training data of that batch are not"
  ):
    train(tmp_path, 12, spoil=np.nan)


def test_a_variable_that_is_never_trained_is_an_error(tmp_path):
  class Idle(Spring):
    def __init__(self):
      super().__init__()
      self.idle = tf.Variable(1.0, name="idle")

  with pytest.raises(
    ValueError, match=r"does not depend on the variables .*idle"
  ):
    train(tmp_path, 12, model=Idle())


def test_a_module_without_variables_is_said_to_have_none():
  class Free(LearnedSimulator):
    def step(self, state, particles, domain, time_step):
      return state

  with pytest.raises(
    ValueError, match=r"Free has no trainable variables after a call; nothing "
  ):
    training.trainable_variables(Free())
  flight = plugins.load_model("ballistic")
  flight = flight.build(flight.config(), testing.problem())
  assert training.trainable_variables(flight) == []


def test_a_lone_body_has_no_edges_to_learn_of(tmp_path):
  plugin = plugins.load_model("ogn")
  model = plugin.build(plugin.config(widths=(4,)), testing.problem())
  train(tmp_path, 12, model=model, num_bodies=1)
  assert log(tmp_path)[-1][0] == 12


def test_learning_rate_schedules():
  published = Recipe()
  rates = [
    published.learning_rate_at(s) for s in (0, 199_999, 200_000, 400_000)
  ]
  np.testing.assert_allclose(rates, [3e-4, 3e-4, 3e-5, 3e-6])
  cosine = Recipe(
    train_steps=100, learning_rate=1.0, schedule="cosine", warmup_steps=10
  )
  rates = [cosine.learning_rate_at(s) for s in (0, 9, 50, 100)]
  np.testing.assert_allclose(rates, [0.1, 1.0, 0.5, 1e-7])
  with pytest.raises(ValueError, match="batch_size is 0; it must be > 0"):
    Recipe(batch_size=0)
  with pytest.raises(ValueError, match=r"warmup_steps is 9: in 9 train_steps"):
    Recipe(train_steps=9, warmup_steps=9)
