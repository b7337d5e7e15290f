r"""Finds a learning rate, and how many steps fit into some minutes.

  python -m nbody_bench.trials --model=egno --dataset=nbody_charged/published \
    --task=uniform --core_minutes=20 --learning_rates=1e-3,4e-3 --output_dir=DIR

Trains for a few steps at each rate, from the same weights and with the same
batches, in one program, and writes `choice.json`, with the rate of the lowest
error on the validation split, the steps that fit, and how often to validate.
Flags are those of `nbody_bench.run`, which then trains.
"""

import dataclasses
import json
import math
import sys
import time
from typing import Any

import numpy as np
from absl import flags

from nbody_bench import command_line, run
from nbody_bench.files import exclusive, replace_json

# What a trial leaves.
CHOICE = "choice.json"
# Tells how long a step takes.
_PROBE_STEPS = 10
# Of the minutes: for the trial of a learning rate, and where there is no choice
# for timing more steps, for few are called one by one.
_SHARE, _TIMED_SHARE = 0.1, 0.02
# A short training has a curve of eight points, but for validations that would
# come to more than half of the minutes; midway and in the end there is one.
_POINTS, _VALIDATING, _FEWEST = 8, 0.5, 2
# Budgets are of minutes: where a batch is large, compiling pays.
_COMPILE = {"auto": "large"}


def define(values, argv):
  """Defines the flags; those of `nbody_bench.run` too."""
  run.define(values, argv)
  options = {"flag_values": values}
  flags.DEFINE_float(
    "core_minutes",
    None,
    "of the training that is to be",
    required=True,
    **options,
  )
  flags.DEFINE_list(
    "learning_rates", [], "to try; default: the recipe's alone", **options
  )
  flags.DEFINE_integer(
    "pilot_steps",
    300,
    "at most, of the trial of a rate; all trials together take no more than a "
    "tenth of the minutes for each rate",
    lower_bound=1,
    **options,
  )


def find(settings: Any, minutes: float, rates: list[float], pilot_steps: int):
  """Returns the choice, a dictionary of plain values.

  Args:
    settings: a `harness.Settings`; its first seed is tried.
    minutes: of the training that is to be.
    rates: to try; with fewer than two there is nothing to be tried, and only
      the time of a step is measured.
    pilot_steps: at most, of a trial.

  Raises:
    ValueError: if there is nothing to train, or no rate trains.
  """
  from nbody_bench import setups, training

  seed = settings.seeds[0]
  problem, task = setups.subject(settings)
  told = setups.told(settings, problem, seed)
  model = setups.build(settings, told, seed)
  setup = setups.make(settings, problem, task, model, seed)
  if setup.train_data is None:
    raise ValueError(f"{settings.model} has nothing to train")
  compiled = settings.recipe.compile
  compiled = _COMPILE.get(compiled, compiled)
  recipe = dataclasses.replace(settings.recipe, compile=compiled)
  update = training.updater(
    model, recipe, setup.train_data, seed, problem.num_context_frames
  )
  pilots = _Pilots(settings.model, update, model, setup.validate, seed)
  first = min(rates, default=recipe.learning_rate)
  seconds = pilots.timed(first, _PROBE_STEPS)
  if seconds is None:
    raise ValueError(
      f"{settings.model} does not train for {_PROBE_STEPS} steps at a learning "
      f"rate of {first:g}; give smaller ones, or set --recipe.clip_norm"
    )
  budget = 60 * minutes
  tried = rates if len(rates) > 1 else []
  affordable = int((_SHARE if tried else _TIMED_SHARE) * budget / seconds)
  steps = min(pilot_steps, max(_PROBE_STEPS, affordable))
  results = {rate: pilots.tried(rate, steps) for rate in tried}
  finished = {k: v for k, v in results.items() if v}
  if tried and not finished:
    raise ValueError(
      f"{settings.model}: no learning rate of {tried} trains for {steps} "
      "steps; give smaller ones, or set --recipe.clip_norm"
    )
  if finished:
    seconds = min(one["seconds_per_step"] for one in finished.values())
  elif steps > _PROBE_STEPS:
    seconds = pilots.timed(first, steps) or seconds
  best = min(finished, key=lambda k: finished[k]["error"], default=first)
  # Two digits: the third is noise of the clock. None at all would be no
  # training, however small the budget.
  train_steps = max(1, int(float(f"{budget / seconds:.2g}")))
  validating = pilots.validation_seconds(best)
  return {
    "core_minutes": minutes,
    "learning_rate": best,
    "train_steps": train_steps,
    "validate_every": validate_every(
      train_steps,
      max(_FEWEST, int(_VALIDATING * budget / validating))
      if validating
      else math.inf,
    ),
    # As it was timed, however few steps there are.
    "compile": compiled,
    "seconds_per_step": seconds,
    "seconds_per_validation": validating,
    "pilots": {str(k): v for k, v in results.items()},
  }


def validate_every(train_steps: int, at_most: float = math.inf) -> int:
  """Returns steps between validations: a short training has a curve too."""
  often = min(1000, train_steps // _POINTS)
  return max(1, often, math.ceil(train_steps / at_most))


class _Pilots:
  """Short trainings of one model, each from its first weights."""

  def __init__(self, label, update, model, validate, seed):
    self._label, self._update, self._validate = label, update, validate
    self._seed, self._recipe = seed, update.recipe
    self._sizes, self._validating = dict(update.sizes), []
    known = {id(v): v for v in getattr(model, "variables", update.variables)}
    known |= {
      id(v): v for v in (*update.variables, *update.optimizer.variables)
    }
    self._start = [(v, v.numpy()) for v in known.values()]

  def timed(self, rate, steps):
    """Returns the time of a step, None if the training breaks down."""
    return self._unless_broken(rate, lambda: self._train(rate, steps))

  def tried(self, rate, steps):
    """Returns time and error of a training, None if it breaks down."""

    def trial():
      seconds = self._train(rate, steps)
      return {
        "steps": steps,
        "error": self._error(steps),
        "seconds_per_step": seconds,
      }

    return self._unless_broken(rate, trial)

  def validation_seconds(self, rate):
    """Returns the least time of a validation, None if it breaks down."""
    if not self._validating:
      self._unless_broken(rate, self._validated)
    return min(self._validating, default=None)

  def _validated(self):
    began = time.perf_counter()
    values = self._validate()
    self._validating.append(time.perf_counter() - began)
    return values

  def _unless_broken(self, rate, function):
    from nbody_bench import capacity, training

    try:
      return function()
    except (training.NonFiniteLossError, capacity.CapacityError) as error:
      print(f"{self._label}: learning rate {rate:g}: {error}", file=sys.stderr)
      return None

  def _train(self, rate, steps):
    """Trains anew, and returns the median time of a step.

    Raises:
      NonFiniteLossError: if a loss is no number.
    """
    import tensorflow as tf

    from nbody_bench import training, updates
    from nbody_bench.run_directory import Progress

    for variable, value in self._start:
      variable.assign(value)
    tf.random.get_global_generator().reset_from_seed(self._seed)
    update = self._update
    # Sums over rooms of other sizes differ in their last digit.
    update.sizes = dict(self._sizes)
    update.recipe = dataclasses.replace(
      self._recipe,
      learning_rate=rate,
      train_steps=steps,
      warmup_steps=min(self._recipe.warmup_steps, steps // 2),
    )
    step, taken, counted = 0, [], []
    with Progress(f"{self._label} at {rate:g}", 0, steps) as progress:
      while step < steps:
        count = updates.steps_a_call(taken[-1]) if taken else 1
        count = min(count, steps - step)
        sizes, began = dict(update.sizes), time.perf_counter()
        done = np.array(update(step, count))
        taken.append((time.perf_counter() - began) / count)
        # Not a call that compiles: the first, or one that needed more room.
        if step and update.sizes == sizes:
          counted.append(taken[-1])
        step += count
        if not np.isfinite(done).all():
          raise training.NonFiniteLossError(f"breaks down at step {step}")
        progress.show(step, float(done[-1, 0]))
    return float(np.median(counted or taken))

  def _error(self, steps):
    """Returns the error on the validation split.

    Raises:
      NonFiniteLossError: if it or the loss is no number.
    """
    from nbody_bench import training

    values = self._validated()
    if not np.isfinite(list(values.values())).all():
      raise training.NonFiniteLossError(
        f"is lost after {steps} steps: {values}"
      )
    return next(v for k, v in values.items() if k != "loss")


def trials(values, rest):
  """Runs the command."""
  settings = run.settings(values, rest)
  rates = command_line.floats("--learning_rates", values.learning_rates)
  if not 0 < values.core_minutes < math.inf:
    raise ValueError(f"--core_minutes={values.core_minutes:g} must be positive")
  with exclusive(settings.output_dir):
    choice = find(
      settings, values.core_minutes, list(rates), values.pilot_steps
    )
    replace_json(settings.output_dir / CHOICE, choice)
  print(json.dumps(choice, indent=1))
  print(
    f"train with --recipe.learning_rate={choice['learning_rate']:g} "
    f"--train_steps={choice['train_steps']} "
    f"--validate_every={choice['validate_every']} "
    f"--recipe.compile={choice['compile']}"
  )


def main(argv=None):
  """Entry point; returns the exit code."""
  return command_line.run(trials, define, argv, __doc__)


if __name__ == "__main__":
  sys.exit(main())
