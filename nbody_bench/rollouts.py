"""The one roll-out: a simulator over a horizon, compiled, batch by batch."""

import numpy as np
import tensorflow as tf

from nbody_bench.simulators import Simulator
from nbody_bench.states import Domain, Particles, State, Trajectory, map_arrays


def compiled(simulator: Simulator):
  """Returns `simulator.predict` as one XLA program for each set of shapes.

  A simulator that says `compilable = False`, because it leaves TensorFlow, is
  called as it is.
  """
  if not getattr(simulator, "compilable", True):
    return simulator.predict
  return tf.function(simulator.predict, jit_compile=True, autograph=False)


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
  """
  total = len(state.position)
  size = min(batch_size or total, total)
  outputs = []
  for start in range(0, total, size):
    index = np.minimum(np.arange(start, start + size), total - 1)
    inputs = map_arrays(
      lambda x, index=index: _tensor(x[index]), (state, particles, domain)
    )
    outputs.append(predict(*inputs, tf.constant(times, tf.float32)).state)
  states = (
    np.concatenate([np.asarray(x) for x in parts])[:total]
    for parts in zip(*outputs, strict=True)
  )
  return Trajectory(np.asarray(times), State(*states), particles, domain)


def _tensor(x):
  return tf.constant(x.astype(np.float32) if x.dtype.kind == "f" else x)
