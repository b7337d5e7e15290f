"""The one roll-out: a simulator over a horizon, compiled, batch by batch."""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from nbody_bench import capacity
from nbody_bench.simulators import Simulator
from nbody_bench.states import Domain, Particles, State, Trajectory, map_arrays

# Shares of room left free: bodies flock together as they move, a compilation
# takes as long as many steps, and what has collapsed goes on collapsing.
_AT_FIRST, _AS_IT_GROWS = 0.25, 0.5


# Roll-outs of models whose cost grows with N^2 fill memory at about this many
# pairs at a time.
_PAIRS_AT_ONCE = 100_000


def batch_size(data: Trajectory) -> int:
  """Returns how many systems of this size are rolled out in one call."""
  num_particles = data.state.position.shape[2]
  return max(1, _PAIRS_AT_ONCE // num_particles**2)


class Compiled:
  """`predict` of a simulator as one XLA program for each set of shapes.

  Where the model builds graphs whose sizes depend on the data, the first call
  measures what its inputs need, and a program that turns out too small hands
  over to a larger one: at the step where it ended, if states follow from one
  another (see `simulators.unroll`), else from the beginning. The states are
  those of a program that was large enough at once.
  """

  def __init__(self, simulator: Simulator):
    self._simulator = simulator
    self.sizes: dict[tuple, dict[str, int]] = {}
    self._programs: dict[tuple, Any] = {}  # by sizes

  def __call__(self, state, particles, domain, times) -> Trajectory:
    """See `Simulator.predict`.

    Raises:
      CapacityError: where more is needed than memory could hold.
    """
    inputs = (state, particles, domain, times)
    shape = tuple(state.position.shape)
    if shape not in self.sizes:
      self.sizes[shape] = self._measure(*inputs)
    if not self.sizes[shape]:
      return self.program({})(*inputs, 0)[0]
    first, frames = 0, None
    while True:
      sizes = self.sizes[shape]
      result, needs, done = self.program(sizes)(*inputs, tf.constant(first))
      states, done = result.state, int(done)
      if frames is not None:
        earlier = tf.range(len(times)) < first
        pick = functools.partial(_where_frame, earlier)
        states = type(states)(*map(pick, frames, states))
      if done == len(times):
        return result._replace(state=states)
      needs = capacity.needed(sorted(sizes), needs)
      self.sizes[shape] = capacity.grown(sizes, needs, _AS_IT_GROWS)
      if done > first:
        last = State(*(x[:, done - 1] for x in states))
        inputs = (last, *inputs[1:])
      first, frames = done, states

  def program(self, sizes: Mapping[str, int]):
    """Returns the program for given sizes.

    It maps (state, particles, domain, times, first) to the trajectory, of which
    frames `first` to `done` are valid, the needs (see `capacity.Room`), and
    `done`, the state given being that of frame `first - 1`.
    """
    key = tuple(sorted(sizes.items()))
    if key not in self._programs:

      def program(state, particles, domain, times, first):
        with capacity.within(capacity.Room(sizes, first)) as room:
          result = self._simulator.predict(state, particles, domain, times)
        total = times.shape[0]
        done = first if room.done is None else room.done
        # What did not fit before or after the loop has spoilt all frames.
        done = tf.where(done < total, done, first)
        return result, room.needs, tf.where(room.overflow, done, total)

      self._programs[key] = tf.function(
        program, jit_compile=True, autograph=False
      )
    return self._programs[key]

  def _measure(self, state, particles, domain, times):
    """Returns sizes for the inputs, empty if nothing depends on the data."""
    predict = self._simulator.predict
    # One system first: models without needs are not run on all for nothing.
    one = map_arrays(lambda x: x[:1], (state, particles, domain))
    if not capacity.measure(predict, *one, times[:1]):
      return {}
    needs = capacity.measure(predict, state, particles, domain, times[:1])
    return capacity.with_headroom(needs, _AT_FIRST)

  def experimental_get_tracing_count(self) -> int:
    """As that of `tf.function`, over all sizes."""
    return sum(
      p.experimental_get_tracing_count() for p in self._programs.values()
    )


def _where_frame(chosen, one, other):
  shape = [1, -1, *[1] * (one.shape.rank - 2)]
  return tf.where(tf.reshape(chosen, shape), one, other)


def compiled(simulator: Simulator):
  """Returns a simulator's `predict`, compiled; see `Compiled`.

  A simulator that says `compilable = False`, because it leaves TensorFlow, is
  called as it is.
  """
  if not getattr(simulator, "compilable", True):
    return simulator.predict
  return Compiled(simulator)


def rollout(
  predict,
  state: State,
  particles: Particles,
  domain: Domain,
  times: np.ndarray,
  batch_size: int | None = None,
) -> Trajectory:
  """Predicts states of many systems.

  Args:
    predict: of a simulator, compiled or not.
    state: initial `[B, N, D]` NumPy arrays; converted to float32.
    particles: `[B, N]`.
    domain: `[B, D]`.
    times: `[P]`.
    batch_size: systems in one call; default all. The last batch is filled up
      with repetitions, so that all calls have one shape.

  Returns:
    A trajectory of P frames in NumPy float32. Diverged systems hold
    non-finite values from then on; nothing is dropped.

  Raises:
    ValueError: if a box has a side that is not positive.
  """
  domain.check()
  total = len(state.position)
  size = min(batch_size or total, total)
  outputs = []
  for start in range(0, total, size):
    index = np.minimum(np.arange(start, start + size), total - 1)
    inputs = tensors(
      map_arrays(lambda x, index=index: x[index], (state, particles, domain))
    )
    outputs.append(predict(*inputs, tf.constant(times, tf.float32)).state)
  states = (
    np.concatenate([np.asarray(x) for x in parts])[:total]
    for parts in zip(*outputs, strict=True)
  )
  frames = type(outputs[0])(*states)
  return Trajectory(np.asarray(times), frames, particles, domain)


def tensors(arrays: Any) -> Any:
  """Returns (tuples of) NumPy arrays as tensors, numbers in float32."""
  return map_arrays(
    lambda x: tf.constant(x.astype(np.float32) if x.dtype.kind == "f" else x),
    arrays,
  )
