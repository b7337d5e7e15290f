import numpy as np
import pytest
import tensorflow as tf

from nbody_bench import evaluation, plugins, tasks, testing
from nbody_bench.keras_metrics import RolloutMetric
from nbody_bench.pipelines import Split
from nbody_bench.states import State
from nbody_bench.tasks import Task

NUM_STEPS = 6
OF_MOTION = sorted(
  set(plugins.names("metrics"))
  - set(tasks.FORCE_METRICS)
  - set(tasks.RELAXATION_METRICS)
)


def truth_and_prediction(num_samples=5):
  """Free flights, and predictions that err by sample and step; one diverges."""
  truth = testing.trajectory(num_frames=NUM_STEPS + 1, batch=num_samples)
  rng = np.random.default_rng(0)
  growth = np.geomspace(1e-3, 1, NUM_STEPS)[:, None, None]
  state = State(
    *(
      (x[:, 1:] + growth * rng.normal(size=x[:, 1:].shape)).astype(np.float32)
      for x in truth.state
    )
  )
  state.velocity[3, 4, 0, 0] = np.inf
  state.velocity[3, 5] = 0  # finite again, and lost all the same
  return truth, state


def expected(name, truth, prediction, num_steps=NUM_STEPS):
  """What the harness says of all samples at once."""
  samples = len(truth.domain.box)
  task = Task(
    dataset="testing/testing",
    version="1.0.0",
    split="test",
    num_trajectories=samples,
    num_steps=NUM_STEPS,
    report_steps=(num_steps, NUM_STEPS),
    metrics=(name,),
  )
  split = Split(np.arange(samples), truth, np.zeros((samples, NUM_STEPS + 1)))
  score = evaluation.score(task, prediction, split, testing.GRAVITY)
  return score["metrics"][name]["at"][str(num_steps)]


def cut(state, samples):
  return State(*(x[samples] for x in state))


@pytest.mark.parametrize("name", OF_MOTION)
def test_uneven_batches_give_the_number_of_the_harness(name):
  truth, prediction = truth_and_prediction()
  metric = RolloutMetric(name, testing.GRAVITY)
  for samples in (slice(0, 4), slice(4, 5)):
    metric.update_state(truth.select(samples), cut(prediction, samples))
  whole = expected(name, truth, prediction)
  assert metric.result() == whole
  # The mean over batches would be another number.
  parts = [
    expected(name, truth.select(s), cut(prediction, s))
    for s in (slice(0, 4), slice(4, 5))
  ]
  assert np.mean(parts) != pytest.approx(whole)


def test_fewer_steps_and_tensors_as_keras_passes_them():
  truth, prediction = truth_and_prediction()
  metric = RolloutMetric("rollout_rmse", testing.GRAVITY, num_steps=2)
  tensors = truth._replace(state=State(*map(tf.constant, truth.state)))
  result = metric(tensors, State(*map(tf.constant, prediction)))
  assert result == expected("rollout_rmse", truth, prediction, num_steps=2)
  assert result != expected("rollout_rmse", truth, prediction)


def test_reset_forgets():
  truth, prediction = truth_and_prediction()
  metric = RolloutMetric("rollout_rmse", testing.GRAVITY)
  assert metric.name == "rollout_rmse"
  assert np.isnan(metric.result())
  metric.update_state(truth, prediction)
  assert metric.result() > 0
  metric.reset_state()
  assert np.isnan(metric.result())
  metric.update_state(truth, truth.frames(1))
  assert metric.result() == 0


def test_errors_name_the_mend():
  truth, prediction = truth_and_prediction()
  with pytest.raises(ValueError, match="Did you mean 'rollout_rmse'"):
    RolloutMetric("rollout_rsme", testing.GRAVITY)
  metric = RolloutMetric("rollout_rmse", testing.GRAVITY, num_steps=9)
  with pytest.raises(ValueError, match="6 steps are fewer than num_steps 9"):
    metric.update_state(truth, prediction)
  with pytest.raises(
    ValueError, match=r"position has shape .* must be \(5, 6,"
  ):
    metric.update_state(truth, truth)
  with pytest.raises(ValueError, match="a trajectory has no forces"):
    RolloutMetric("force_mae", testing.GRAVITY)(truth, prediction)
  with pytest.raises(RuntimeError, match="run_eagerly=True"):
    tf.function(lambda: metric.update_state(truth, prediction))()
