"""What models of motion are trained for, each a function of one window.

An objective maps (model, window) to errors, of which `judge` makes the loss:

- "states": position and momentum of all frames after the first, the model
  rolled out from it (Desai and Roberts 2020);
- "positions": positions alone (MCLNN: no velocity is needed but the first);
- "accelerations": v' of the first frame, against the true law's (LNN);
- "derivatives": q' and p' of the first frame, likewise (HNN).

The last two (`cards.TELL_ACCELERATIONS`) are told what no roll-out of the data
shows, and the law must be known: their entries say so on the board. In data
with noise the model sees the noisy state, and is compared with the rates of the
clean one (HNN).
"""

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from nbody_bench import simulators
from nbody_bench.arrays import Array
from nbody_bench.states import State, Trajectory
from nbody_bench.systems import safe_mass

Objective = Callable[[Any, Trajectory], Array]


def judge(errors: Array, width: Array | None, mask: Array | None) -> Array:
  """Returns the loss, a scalar.

  Args:
    errors: `[B, P, N, F]`.
    width: None for the mean square; else the mean negative log-likelihood of
      normal errors whose standard deviation is softplus(width).
    mask: `[B, N]`.
  """
  values = errors**2
  if width is not None:
    deviation = tf.nn.softplus(width)
    values = 0.5 * (
      values / deviation**2 + tf.math.log(2 * 3.14159265 * deviation**2)
    )
  return simulators.masked_mean(tf.reduce_mean(values, 1), mask)


def _states(model, window):
  return tf.concat(_rolled_out(model, window), -1)


def _positions(model, window):
  return _rolled_out(model, window)[0]


def _accelerations(model, window):
  return _rates(model, window)[1][:, None]


def _derivatives(model, window):
  velocity, acceleration = _rates(model, window)
  force = safe_mass(window.particles) * acceleration
  return tf.concat([velocity, force], -1)[:, None]


def _rolled_out(model, window):
  """Returns errors of position and momentum, `[B, P, N, D]` each."""
  predicted = model.predict(
    window.frame(0),
    window.particles,
    window.domain,
    window.time[1:] - window.time[0],
  ).state
  truth = window.frames(1).state
  mass = safe_mass(window.particles)[:, None]
  return (
    window.domain.displacement(truth.position, predicted.position),
    mass * (predicted.velocity - truth.velocity),
  )


def _rates(model, window):
  """Returns errors of q' and v' in the first frame, `[B, N, D]` each."""
  state, *rest = window.frame(0), window.particles, window.domain
  rates = model.derivative(model.structure(state, *rest), state, *rest)
  if window.clean is not None:
    state = State(*(x[:, 0] for x in window.clean))
  force = model.problem.system.force(state, *rest)
  acceleration = force / safe_mass(window.particles)
  return rates[0] - state.velocity, rates[1] - acceleration


OBJECTIVES: Mapping[str, Objective] = {
  "states": _states,
  "positions": _positions,
  "accelerations": _accelerations,
  "derivatives": _derivatives,
}
