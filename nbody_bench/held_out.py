"""What a training is judged by as it goes: loss and error on held-out data.

As much of the validation split as costs little beside the training. A few
trajectories decide the mean of a squared error, so that a choice among
checkpoints or learning rates needs many: all of them, where one call of the
model predicts a system.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from nbody_bench import (
  evaluation,
  pipelines,
  predictions,
  rollouts,
  tasks,
  training,
)
from nbody_bench.simulators import Simulator
from nbody_bench.tasks import Task

# Bodies times steps, and the least and the most of systems.
_WINDOWS = (25_600, 8, 2048)
_PREDICTIONS = (40_000, 4, 2048)
# Of a roll-out; longer ones tell models apart no better while they train.
_ROLLOUT_STEPS = 20


def validator(
  model: Any,
  predictor: Simulator,
  kind: str,
  split: pipelines.Split,
  task: Task,
  *,
  num_context_frames: int = 1,
  batch_size: int = 0,
) -> Callable[[], dict[str, float]]:
  """Returns the function that `training.train` validates with.

  Args:
    model: that is trained.
    predictor: the model as what predicts motion or forces.
    kind: of predictions that it is trained for, a key of `predictions.KINDS`.
    split: of the data set, cut to the task.
    task: what the model is trained for.
    num_context_frames: how many frames the model is told.
    batch_size: systems in a call; 0: by their number of bodies.

  Returns:
    A function of nothing, which gives the `loss` of windows, always the same,
    and an error of predictions under its name and number of steps: roll-out
    RMSE, or what else the task is judged by first. First comes what is to
    choose a checkpoint. It is the error where all of a trajectory is predicted
    at once, for the loss of some models is another thing (of all frames where
    the last counts, of shorter steps, of clusters too), and the loss where the
    error is of few systems.
  """
  how = predictions.KINDS[kind]
  batch_size = batch_size or rollouts.batch_size(split.given)
  windows = _windows(model, split.given, num_context_frames, batch_size)
  loss_of = training.loss_function(model)
  predict = rollouts.compiled(predictor)
  few = split.after(num_context_frames).given
  if kind == "forces":
    # A structure is as much work as some steps of a roll-out: its atoms have
    # many neighbours, and forces may be gradients.
    name, horizon, work = tasks.FORCE_METRICS[0], 1, _ROLLOUT_STEPS
  else:
    name = task.metrics[0] if task.frames else "rollout_rmse"
    horizon = work = min(_ROLLOUT_STEPS, len(few.time) - 1)
  few = few.select(slice(0, _count(_PREDICTIONS, few, work)))
  aligned = how.aligned(few, horizon)

  def validate():
    states = rollouts.rollout(
      predict,
      few.frame(0),
      few.particles,
      few.domain,
      how.times(few, horizon),
      batch_size,
    ).state
    metric = evaluation.metric(name)
    values = metric.values(how.whole(states, aligned), aligned, None)[:, 1:]
    loss = {"loss": float(np.mean([loss_of(w).numpy() for w in windows]))}
    error = {f"{name}_{horizon}": metric.reduce(values)}
    return error | loss if task.frames else loss | error

  return validate


def _windows(model, data, num_context_frames, batch_size):
  """Returns batches of windows that the loss is taken of."""
  length = training.window_length(model)
  num_systems, num_frames = data.state.position.shape[:2]
  there = num_systems * (num_frames - length - num_context_frames + 2)
  # The loss may be of many steps.
  count = min(there, _count(_WINDOWS, data, length - 1))
  size = min(batch_size, count)
  sample = pipelines.WindowSampler(
    data, length, size, seed=0, num_context_frames=num_context_frames
  )
  return [sample(tf.constant(i, tf.int64)) for i in range(count // size)]


def _count(work_least_most, data, steps):
  """Returns how many systems to take."""
  work, least, most = work_least_most
  bodies = data.state.position.shape[2]
  return min(most, max(least, work // (bodies * max(1, steps))))
