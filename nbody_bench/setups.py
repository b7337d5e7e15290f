"""A model and its data, ready to be trained.

What `harness.run` trains and `trials.run` tries learning rates on is made here,
so that both see the same weights and the same batches.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from nbody_bench import (
  forces,
  held_out,
  pipelines,
  plugins,
  predictions,
  preparation,
  rollouts,
  tasks,
  training,
  weights,
)
from nbody_bench.problems import Problem
from nbody_bench.states import Trajectory
from nbody_bench.tasks import Task


class Setup(NamedTuple):
  """What a training begins with.

  Attributes:
    facts: of the model, for the submission: `num_parameters`, and the training
      whose weights it `started_from`, if any.
    train_data: NumPy arrays; None where there is nothing to train.
    validate: see `held_out.validator`.
  """

  facts: dict[str, Any]
  train_data: Trajectory | None = None
  validate: Callable[[], dict[str, float]] | None = None


def subject(settings: Any) -> tuple[Problem, Task]:
  """Returns what is to be learned, from data that are made if they are missing.

  Args:
    settings: a `harness.Settings`, as everywhere here.

  Raises:
    ValueError: before any are made, if the model cannot do the task.
  """
  if settings.task.startswith(("forces", "relaxation")):
    forces.require(plugins.load_model(settings.model).simulator)
  # The same seed gives the same bytes.
  tf.config.experimental.enable_op_determinism()
  preparation.prepare(settings.dataset, settings.data_dir)
  problem = pipelines.problem(settings.dataset, settings.data_dir)
  task = tasks.TASKS[settings.task](
    settings.dataset, settings.data_dir, settings.report_steps
  )
  return problem, task


def told(settings: Any, problem: Problem, seed: int) -> Problem:
  """Returns the problem as the model of a seed is told it.

  Weights mean what they do with the scales that they were trained with.
  """
  if not settings.start_from:
    return problem
  start = weights.describe(settings.start_from / f"seed_{seed}")
  return dataclasses.replace(problem, statistics=start["statistics"])


def build(settings: Any, problem: Problem, seed: int) -> Any:
  """Returns the model of a seed, its random numbers drawn anew."""
  tf.keras.utils.set_random_seed(seed)
  return plugins.load_model(settings.model).build(settings.config, problem)


def make(
  settings: Any, problem: Problem, task: Task, model: Any, seed: int
) -> Setup:
  """Makes the model's variables, and loads what it is trained with.

  Args:
    settings: what to train.
    problem: of the data.
    task: that the model is for.
    model: as `build` returns it; gets the weights to start from, if any.
    seed: whose weights these are.

  Raises:
    ValueError: if those weights are not of such a model.
  """
  kind = "motion" if task.kind == "motion" else "forces"
  how = predictions.KINDS[kind]
  predictor = how.predictor(model)
  validation = pipelines.load(settings.dataset, "validation", settings.data_dir)
  validation = task.cut(validation)
  context = problem.num_context_frames
  _call(predictor, how, validation.after(context).given)
  variables = training.trainable_variables(model)
  facts: dict[str, Any] = {
    "num_parameters": int(sum(np.prod(v.shape) for v in variables))
  }
  if variables and settings.start_from:
    facts["started_from"] = weights.load(
      settings.start_from / f"seed_{seed}", model
    )
  if not variables or not settings.recipe.train_steps:
    return Setup(facts)
  data = pipelines.load(
    settings.dataset,
    "train",
    settings.data_dir,
    settings.recipe.num_trajectories or None,
  )
  return Setup(
    facts,
    task.cut(data).given,
    held_out.validator(
      model,
      predictor,
      kind,
      validation,
      task,
      num_context_frames=context,
      batch_size=settings.eval_batch_size,
    ),
  )


def _call(predictor, kind, data):
  """Calls a model once, for its variables are made then."""
  start = data.select(slice(0, 1))
  rollouts.rollout(
    predictor.predict,
    start.frame(0),
    start.particles,
    start.domain,
    kind.times(data, 1),
  )
