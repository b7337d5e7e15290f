import json

import numpy as np
import pytest
import sonnet as snt
import tensorflow as tf

from nbody_bench import testing, training
from nbody_bench.recipes import Recipe
from nbody_bench.simulators import LearnedSimulator
from nbody_bench.states import State


class Spring(LearnedSimulator):
  """Learns one number: dv = k q dt."""

  def __init__(self, start=0.0):
    super().__init__()
    self.stiffness = tf.Variable(start)
    self._mlp = snt.nets.MLP([4, 2])

  def step(self, state, particles, domain, time_step):
    position, velocity = state
    push = self.stiffness * position + self._mlp(velocity)
    return State(position + time_step * velocity, velocity + time_step * push)


SCHEDULE = training.Schedule(log_every=2, validate_every=4, checkpoint_every=3)


def train(directory, steps, model=None, validate=None, **kwargs):
  tf.keras.utils.set_random_seed(0)
  tf.config.experimental.enable_op_determinism()
  model = model or Spring()
  data = testing.trajectory(num_frames=6, batch=8, box_side=np.inf)
  model.step(
    *testing.to_tensors((data.frame(0), data.particles, data.domain)), 0.01
  )
  recipe = Recipe(
    train_steps=12, batch_size=4, learning_rate=1e-2, schedule="cosine"
  )
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
    **kwargs,
  )
  return model


def stop_at(step):
  """A validation that is interrupted, as by Ctrl-C."""
  calls = []

  def validate():
    calls.append(1)
    if len(calls) * SCHEDULE.validate_every >= step:
      raise KeyboardInterrupt
    return {"loss": 1.0}

  return validate


def weights(model):
  return [v.numpy() for v in model.trainable_variables]


def test_resumed_training_equals_unbroken_training_bit_for_bit(tmp_path):
  whole = train(tmp_path / "whole", 12)
  with pytest.raises(KeyboardInterrupt):
    train(tmp_path / "parts", 4)
  resumed = train(tmp_path / "parts", 12, model=Spring(start=9.0))
  for one, other in zip(weights(whole), weights(resumed), strict=True):
    assert one.tobytes() == other.tobytes()

  def log(name):
    lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
    return [json.loads(x) for x in lines]

  losses = [
    [(x["step"], x["train_loss"]) for x in log(n) if "train_loss" in x]
    for n in ("whole", "parts")
  ]
  assert losses[0] == losses[1]
  assert [step for step, _ in losses[0]] == [2, 4, 6, 8, 10, 12]


def test_training_moves_towards_the_truth(tmp_path):
  """Free flight: every push is wrong, so the learned one must shrink."""
  before = Spring(start=5.0)
  model = train(tmp_path, 12, model=before)
  assert abs(float(model.stiffness.numpy())) < 5.0


def test_best_checkpoint_is_the_one_with_the_lowest_validation(tmp_path):
  losses, seen = [3.0, 1.0, 2.0], []
  model = Spring()

  def validate():
    seen.append(weights(model))
    return {"loss": losses[len(seen) - 1]}

  train(tmp_path, 12, model=model, validate=validate, checkpoint="best")
  for one, other in zip(seen[1], weights(model), strict=True):
    np.testing.assert_array_equal(one, other)


def test_nan_stops_and_names_the_last_good_checkpoint(tmp_path):
  class Broken(Spring):
    def loss(self, window):
      big = tf.reduce_sum(self.stiffness) > -0.05
      return super().loss(window) + tf.where(big, 0.0, np.nan)

  class Sinking(Broken):
    def loss(self, window):
      return super().loss(window) + self.stiffness

  with pytest.raises(
    training.NonFiniteLossError,
    match=r"loss is nan at step \d+; the last good checkpoint is .*last-\d",
  ):
    train(tmp_path, 12, model=Sinking())


def test_a_variable_that_is_never_trained_is_an_error(tmp_path):
  class Idle(Spring):
    def __init__(self):
      super().__init__()
      self.idle = tf.Variable(1.0, name="idle")

  with pytest.raises(
    ValueError, match=r"does not depend on the variables .*idle"
  ):
    train(tmp_path, 12, model=Idle())


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
