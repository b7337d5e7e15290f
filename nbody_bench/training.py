"""The one training loop."""

import dataclasses
import functools
import math
import pathlib
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import sonnet as snt
import tensorflow as tf

from nbody_bench import pipelines, simulators
from nbody_bench.recipes import Recipe
from nbody_bench.run_directory import Progress, RunDirectory
from nbody_bench.states import Trajectory


@dataclasses.dataclass(frozen=True)
class Schedule:
  """When a training run reports and saves; it does not change the result.

  Attributes:
    log_every: steps between lines of `metrics.jsonl`.
    validate_every: steps between validations.
    checkpoint_every: steps between checkpoints.
  """

  log_every: int = 100
  validate_every: int = 1000
  checkpoint_every: int = 1000


class NonFiniteLossError(ArithmeticError):
  """The loss became NaN or infinite."""


def loss_function(model: Any) -> Callable[[Trajectory], tf.Tensor]:
  """Returns the model's `loss`, or the one-step error of calling it."""
  loss = getattr(model, "loss", None)
  if callable(loss):
    return loss
  return lambda window: simulators.one_step_loss(model, window)


def window_length(model: Any) -> int:
  """Returns how many frames the model's loss needs, 2 if it does not say."""
  return getattr(model, "window_length", 2)


def check_gradients(loss_of, variables, window: Trajectory) -> None:
  """Raises ValueError if the loss does not depend on some variable.

  Such a variable is a mistake in the model: it would never be trained.
  """
  with tf.GradientTape() as tape:
    loss = loss_of(window)
  gradients = tape.gradient(loss, variables)
  lost = [
    v.name for v, g in zip(variables, gradients, strict=True) if g is None
  ]
  if lost:
    raise ValueError(
      f"the loss does not depend on the variables {', '.join(lost)}; use them "
      "in `step` or `loss`, or create them with trainable=False"
    )


def train(
  model: Any,
  recipe: Recipe,
  train_data: Trajectory,
  validate: Callable[[], dict[str, float]],
  directory: pathlib.Path,
  *,
  seed: int,
  checkpoint: Literal["last", "best"] = "last",
  schedule: Schedule = Schedule(),
  label: str = "training",
) -> dict[str, Any]:
  """Trains `model` in place, from its last checkpoint if there is one.

  Args:
    model: has `trainable_variables`, already built; optionally
      `loss(window)` and `window_length` (default 2 frames). Without `loss` it
      is called as a step and trained on `simulators.one_step_loss`.
    recipe: how.
    train_data: `[B, T, N, D]` NumPy arrays.
    validate: returns numbers to log; the one called "loss" chooses the best
      checkpoint.
    directory: gets `checkpoints/` (`last`, `best`), `metrics.jsonl` and
      `tensorboard/`.
    seed: of the order of the data.
    checkpoint: whose weights `model` has in the end.
    schedule: when to report and save.
    label: of the progress line.

  Returns:
    `{"steps", "seconds"}` of all sessions together.

  Raises:
    NonFiniteLossError: naming the step and the last good checkpoint.
  """
  loss_of = loss_function(model)
  windows_from = functools.partial(
    pipelines.training_windows,
    train_data,
    window_length(model),
    recipe.batch_size,
    seed,
  )
  # A variable, so that the compiled step reads each new value.
  learning_rate = tf.Variable(recipe.learning_rate, trainable=False)
  optimizer = snt.optimizers.Adam(learning_rate)
  variables = model.trainable_variables
  check_gradients(loss_of, variables, next(iter(windows_from(0))))
  run = RunDirectory(directory, model=model, optimizer=optimizer)
  run.restore()
  windows = iter(windows_from(run.step))

  @tf.function
  def update(window):
    with tf.GradientTape() as tape:
      loss = loss_of(window)
    gradients = tape.gradient(loss, variables)
    if recipe.clip_norm:
      gradients, _ = tf.clip_by_global_norm(gradients, recipe.clip_norm)
    optimizer.apply(gradients, variables)
    return loss

  losses = []
  with run, Progress(label, run.step, recipe.train_steps) as progress:
    while run.step < recipe.train_steps:
      learning_rate.assign(recipe.learning_rate_at(run.step))
      losses.append(update(next(windows)))
      run.step += 1
      at_end = run.step == recipe.train_steps
      if at_end or run.step % schedule.log_every == 0:
        loss = float(np.mean([x.numpy() for x in losses]))
        losses.clear()
        if not math.isfinite(loss):
          raise NonFiniteLossError(
            f"the training loss is {loss} at step {run.step}; the last good "
            f"checkpoint is {run.last_checkpoint}. Lower "
            "--recipe.learning_rate or set --recipe.clip_norm"
          )
        rate = float(learning_rate.numpy())
        run.log({"train_loss": loss, "learning_rate": rate})
        progress.show(run.step, loss)
      if at_end or run.step % schedule.validate_every == 0:
        values = validate()
        run.log(values)
        run.save_if_best(values["loss"])
      if at_end or run.step % schedule.checkpoint_every == 0:
        run.save()
  seconds = run.seconds
  if checkpoint == "best":
    run.load_best()
  return {
    "steps": run.step,
    "seconds": seconds,
  }
