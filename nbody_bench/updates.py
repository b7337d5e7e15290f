"""Optimiser steps as one program: several a call, compiled by XLA or not."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from nbody_bench import capacity, training_mode
from nbody_bench.capacity import Room
from nbody_bench.pipelines import WindowSampler
from nbody_bench.recipes import Recipe
from nbody_bench.states import Trajectory, map_arrays

# Batches handed over in one call; fewer steps may be done of them.
STEPS_A_CALL = 8
# The share of room left free: the sums over a batch differ little.
_HEADROOM = 1 / 16
# Batches whose needs are looked at before the first step; those that come later
# and need more cost a compilation each.
_MEASURED = 4


def steps_a_call(seconds: float) -> int:
  """Returns how many steps of so many seconds are done in one call.

  Long ones one by one, so that a signal is heard soon.
  """
  return max(1, min(STEPS_A_CALL, int(1 / seconds)))


class Updates:
  """Does optimiser steps, growing where a batch needs more room.

  A batch that overflows changes nothing; it is done again by a larger program,
  so that the result is that of a program that was large enough at once.

  Attributes:
    sizes: that the program is compiled for; see `capacity`.
    recipe: whose learning rates are taken. They are told to the program, so
      that it serves those of another recipe too.
    variables: that are trained.
    optimizer: that trains them.
    sample: draws the batches.
  """

  def __init__(
    self,
    loss_of: Callable[[Trajectory], tf.Tensor],
    variables: list[tf.Variable],
    optimizer: Any,
    recipe: Recipe,
    sample: WindowSampler,
    *,
    jit: bool,
  ):
    self.sizes: dict[str, int] = {}
    self._loss_of = loss_of
    self.variables = variables
    self.optimizer = optimizer
    self.recipe = recipe
    self.sample = sample
    self._sample = tf.function(
      functools.partial(_stacked, sample), autograph=False
    )
    self._jit = jit
    self._programs: dict[tuple, Any] = {}
    make_slots(optimizer, variables)

  def measure(self) -> None:
    """Chooses sizes by what the first batches need."""
    windows = self.windows(0)
    for i in range(_MEASURED):
      needs = capacity.measure(self._loss_of, _window(windows, i))
      if not needs:
        return
      sizes = capacity.with_headroom(needs, _HEADROOM)
      self.sizes = {k: max(v, self.sizes.get(k, 0)) for k, v in sizes.items()}

  def __call__(self, step: int, count: int) -> list[tuple[float, float]]:
    """Does the steps from `step` on, `count` of them, at most `STEPS_A_CALL`.

    Returns:
      Loss and norm of the gradient of each step.

    Raises:
      CapacityError: where a batch needs more than memory could hold.
    """
    windows = self.windows(step)
    rates = [self.recipe.learning_rate_at(step + i) for i in range(count)]
    rates += [0.0] * (STEPS_A_CALL - count)
    first, values = 0, np.zeros((STEPS_A_CALL, 2))
    while first < count:
      program = self.program()
      results, needs, done = program(
        windows, tf.constant(rates), tf.constant(first), tf.constant(count)
      )
      done = int(done)
      values[first:done] = results.numpy()[first:done]
      if done < count:
        needs = capacity.needed(sorted(self.sizes), needs)
        self.sizes = capacity.grown(self.sizes, needs, _HEADROOM)
      first = done
    return list(map(tuple, values[:count].tolist()))

  def windows(self, step: int) -> Trajectory:
    """Returns the batches from a step on, `[STEPS_A_CALL, B, W, N, D]`."""
    return self._sample(tf.constant(step, tf.int64))

  def program(self):
    """Returns the `tf.function` for the present sizes; see `_steps`."""
    key = tuple(sorted(self.sizes.items()))
    if key not in self._programs:
      self._programs[key] = tf.function(
        functools.partial(self._steps, dict(self.sizes)),
        jit_compile=self._jit or None,
        autograph=False,
      )
    return self._programs[key]

  def _steps(self, sizes, windows, rates, first, count):
    """Returns `[STEPS_A_CALL, 2]` losses and norms, needs, and steps done."""
    room = Room(sizes)
    generator = tf.random.get_global_generator()

    def body(i, results, needs):
      noise = tf.identity(generator.state) if sizes else None
      with room.inside_loop() as inner:
        loss, norm, gradients = self._gradients(_window(windows, i))
      needs = tf.maximum(needs, inner.needs)
      fits = ~room.exceeded_by(needs)
      self._apply(gradients, rates[i], fits if sizes else None)
      if sizes:
        # A batch that is done again draws the same numbers.
        generator.state.assign(tf.where(fits, generator.state, noise))
      results = tf.tensor_scatter_nd_update(
        results, [[i]], [tf.stack([loss, norm])]
      )
      return i + tf.cast(fits, tf.int32), results, needs

    done, results, needs = tf.while_loop(
      lambda i, results, needs: (i < count) & ~room.exceeded_by(needs),
      body,
      (first, tf.zeros([STEPS_A_CALL, 2]), room.needs),
      maximum_iterations=STEPS_A_CALL,
    )
    return results, needs, done

  def _gradients(self, window):
    with tf.GradientTape() as tape, training_mode.training():
      loss = self._loss_of(window)
    gradients = tape.gradient(loss, self.variables)
    norm = tf.linalg.global_norm(gradients)
    if self.recipe.clip_norm:
      gradients, _ = tf.clip_by_global_norm(
        gradients, self.recipe.clip_norm, use_norm=norm
      )
    return tf.cast(loss, tf.float32), tf.cast(norm, tf.float32), gradients

  def _apply(self, gradients, rate, fits):
    def apply():
      self.optimizer.learning_rate.assign(rate)
      self.optimizer.apply(gradients, self.variables)
      return tf.constant(0)

    if fits is None:
      apply()
    else:
      tf.cond(fits, apply, lambda: tf.constant(0))


def _stacked(sample, step):
  """Returns windows of consecutive steps, stacked; time is common to all."""
  windows = [sample(step + i) for i in range(STEPS_A_CALL)]
  flat = [tf.nest.flatten(w[1:]) for w in windows]
  stacked = [
    None if xs[0] is None else tf.stack(xs) for xs in zip(*flat, strict=True)
  ]
  rest = tf.nest.pack_sequence_as(windows[0][1:], stacked)
  return Trajectory(windows[0].time, *rest)


def _window(windows, i):
  rest = map_arrays(lambda x: x[i], tuple(windows[1:]))
  return Trajectory(windows.time, *rest)


def make_slots(optimizer: Any, variables: list[tf.Variable]) -> None:
  """Makes the optimiser's variables, which a loop's body must not."""
  if getattr(optimizer, "m", None):
    return
  optimizer.apply([tf.zeros_like(v) for v in variables], variables)
  for variable in optimizer.variables:
    variable.assign(tf.zeros_like(variable))
