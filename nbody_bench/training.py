"""The one training loop."""

import dataclasses
import functools
import pathlib
import time
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import sonnet as snt
import tensorflow as tf

from nbody_bench import pipelines, signals, simulators, updates
from nbody_bench.recipes import Recipe
from nbody_bench.run_directory import Progress, RunDirectory
from nbody_bench.states import Trajectory

# From how many bodies in a batch XLA is faster than TensorFlow's own operations
# (1.3 to 1.6 times), and from how many steps that makes up for compiling where
# steps are long: those of EGNO save 0.17 s of 0.44, and compile in 30 s.
XLA_FROM_BODIES, XLA_FROM_STEPS = 200, 300


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
  """Returns the model's `loss`, or the error of what it predicts.

  Without a loss of its own, a model that has `predict` is judged by all frames
  of the window, one that is called as a step by the first.
  """
  if isinstance(model, tf.keras.Model):
    # Keras has a loss and a `predict` of its own under these names.
    method = type(model).loss
    if method is not tf.keras.Model.loss:
      return functools.partial(method, model)
  elif callable(getattr(model, "loss", None)):
    return model.loss
  elif isinstance(model, simulators.Simulator):
    return lambda window: simulators.prediction_loss(model, window)
  return lambda window: simulators.one_step_loss(model, window)


def trainable_variables(model: Any) -> list[tf.Variable]:
  """Returns the model's trainable variables, those of Keras unwrapped.

  Raises:
    ValueError: for a Sonnet module without any, which Sonnet takes for one that
      was never called.
  """
  try:
    variables = getattr(model, "trainable_variables", ())
  except ValueError as error:
    kind = type(model)
    raise ValueError(
      f"{kind.__module__}.{kind.__qualname__} has no trainable variables after "
      "a call; nothing can be trained. Make some in `__init__`, or write it as "
      "baselines/ballistic.py, which has nothing to learn"
    ) from error
  return [v if isinstance(v, tf.Variable) else v.value for v in variables]


def window_length(model: Any) -> int:
  """Returns how many frames the model's loss needs, 2 if it does not say."""
  return getattr(model, "window_length", 2)


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
  num_context_frames: int = 1,
) -> dict[str, Any]:
  """Trains `model` in place, from its last checkpoint if there is one.

  Ctrl-C and SIGTERM save and stop; a killed run goes on from its last
  checkpoint. In either case the final weights are those of an unbroken run, bit
  for bit on a CPU, provided that random numbers in the loss come from
  `tf.random.get_global_generator()`, whose state is saved.

  Args:
    model: has `trainable_variables`, already built; optionally
      `loss(window)` and `window_length` (default 2 frames). Without `loss` it
      is called as a step and trained on `simulators.one_step_loss`.
    recipe: how.
    train_data: `[B, T, N, D]` NumPy arrays.
    validate: returns numbers to log, "loss" among them; the first chooses the
      best checkpoint.
    directory: see `RunDirectory`.
    seed: of the order of the data and of `tf.random.get_global_generator()`.
    checkpoint: whose weights `model` has in the end.
    schedule: when to report and save.
    label: of the progress line.
    num_context_frames: see `pipelines.WindowSampler`.

  Returns:
    `{"steps", "seconds"}` of all sessions together, and of this one
    `"seconds_per_step"`, the median, if it did any.

  Raises:
    ValueError: if the loss does not depend on a variable, unless there is one
      body alone, to which a network of edges has nothing to say.
    NonFiniteLossError: naming the step, the cause and the last good checkpoint.
    KeyboardInterrupt: after a signal, when everything is saved.
  """
  update = updater(model, recipe, train_data, seed, num_context_frames)
  run = RunDirectory(directory, model=model, optimizer=update.optimizer)
  run.restore()
  # A resumed run goes on with the sizes that it had: others would add up the
  # same numbers in another order.
  update.sizes = run.sizes or update.sizes
  progress = Progress(label, run.step, recipe.train_steps)
  recent = []  # (loss, gradient norm) of the steps since the last look
  taken = []  # seconds a step, of each call
  steps_a_call = 1
  with run, progress, signals.noting():
    while run.step < recipe.train_steps:
      began, count = (
        time.perf_counter(),
        min(
          _until_next(schedule, run.step),
          recipe.train_steps - run.step,
          steps_a_call,
        ),
      )
      recent += update(run.step, count)
      run.step += count
      run.sizes = update.sizes
      seconds = (time.perf_counter() - began) / count
      taken.append(seconds)
      steps_a_call = updates.steps_a_call(seconds)
      # Looked at once: what comes later in this round is for the next one.
      stopping = signals.stop_requested()
      last = stopping or run.step == recipe.train_steps
      at = {k: last or run.step % n == 0 for k, n in vars(schedule).items()}
      if any(at.values()):
        loss = _mean_loss(recent, run, update)
        recent.clear()
      if at["log_every"]:
        rate = recipe.learning_rate_at(run.step - 1)
        run.log({"train_loss": loss, "learning_rate": rate})
        progress.show(run.step, loss)
      if at["validate_every"] and not stopping:
        values = validate()
        if not np.isfinite(values["loss"]):
          raise NonFiniteLossError(
            f"the validation loss is {values['loss']} at step {run.step}; the "
            f"last good checkpoint is {run.last_checkpoint}"
          )
        run.log(values)
        run.save_if_best(next(iter(values.values())))
      if at["checkpoint_every"]:
        run.save()
      if stopping:
        break
    if signals.stop_requested():
      raise KeyboardInterrupt
  seconds = run.seconds
  if checkpoint == "best":
    run.load_best()
  result = {"steps": run.step, "seconds": seconds}
  if taken:
    result["seconds_per_step"] = float(np.median(taken))
  return result


def updater(
  model: Any,
  recipe: Recipe,
  train_data: Trajectory,
  seed: int,
  num_context_frames: int = 1,
) -> updates.Updates:
  """Returns what does the steps of a training; arguments as of `train`.

  The global generator of random numbers begins anew.

  Raises:
    ValueError: as `train`.
  """
  tf.random.set_global_generator(tf.random.Generator.from_seed(seed))
  sample = pipelines.WindowSampler(
    train_data,
    window_length(model),
    recipe.batch_size,
    seed,
    num_context_frames,
  )
  loss_of, variables = loss_function(model), trainable_variables(model)
  _check_gradients(loss_of, variables, sample(tf.constant(0, tf.int64)))
  update = updates.Updates(
    loss_of,
    variables,
    # A variable, so that the compiled step reads each new value.
    snt.optimizers.Adam(tf.Variable(0.0, trainable=False)),
    recipe,
    sample,
    jit=use_xla(recipe, model, train_data),
  )
  update.measure()
  return update


def use_xla(recipe: Recipe, model: Any, data: Trajectory) -> bool:
  """Returns whether training is compiled, as the recipe says.

  "large" compiles where arrays are large enough to gain by it, "auto" where
  steps are many, too; see `benchmarks/hierarchy.py`.
  """
  if recipe.compile in ("always", "never"):
    return recipe.compile == "always"
  bodies = recipe.batch_size * data.state.position.shape[2]
  bodies *= max(1, window_length(model) - 1)
  many = recipe.compile == "large" or recipe.train_steps >= XLA_FROM_STEPS
  large = bodies >= XLA_FROM_BODIES and many
  return getattr(model, "compilable", True) and large


def _until_next(schedule, step):
  """Returns the number of steps to the next that the schedule names."""
  return min(every - step % every for every in vars(schedule).values())


def _check_gradients(loss_of, variables, window):
  """Refuses a model with variables that would never be trained.

  A lone body has no neighbours: networks of edges have nothing to learn then.
  """
  if window.state.position.shape[2] == 1:
    return
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


def _mean_loss(recent, run, update):
  """Returns the mean of the recent losses, if they and the weights are sound.

  Looked at before every checkpoint, so that none holds NaN.
  """
  losses, norms = np.array(recent, dtype=np.float64).T
  broken = np.flatnonzero(~np.isfinite(losses))
  weights_sound = all(np.isfinite(v.numpy()).all() for v in update.variables)
  if not len(broken) and weights_sound:
    return float(np.mean(losses))
  first = run.step - len(losses) + 1
  index = int(broken[0]) if len(broken) else len(losses) - 1
  step = first + index
  window = update.sample(tf.constant(step - 1, tf.int64))
  if not all(np.isfinite(x.numpy()).all() for x in window.state):
    cause = "the training data of that batch are not finite"
  elif index and not np.isfinite(norms[index - 1]):
    cause = f"the gradient of step {step - 1} was not finite"
  else:
    before = norms[max(index - 1, 0)]
    cause = f"the norm of the gradient had come to {before:.3g}"
  raise NonFiniteLossError(
    f"training broke down at step {step}: loss {losses[index]}; {cause}. The "
    f"last good checkpoint is {run.last_checkpoint}. Lower "
    "--recipe.learning_rate, set --recipe.clip_norm, or mend the data"
  )
