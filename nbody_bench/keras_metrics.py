"""The metrics of `metrics/` as Keras metrics, for loops of one's own."""

import keras
import numpy as np
import tensorflow as tf

from nbody_bench import evaluation, predictions
from nbody_bench.states import State, Trajectory, map_arrays
from nbody_bench.systems import System


class RolloutMetric(keras.metrics.Metric):
  """Any metric by name, over all samples of all batches.

  Batches may differ in size. What is kept of each are its values by sample and
  step; they become one number in `result` only, so that it is the number that
  the harness and the leaderboard give for all samples at once, to the last
  digit.

  The metrics are NumPy functions in float64, so this one is evaluated outside
  compiled graphs: call it in a loop or a callback, or compile the model with
  `run_eagerly=True`. Its values are no Keras variables and are not saved.

    metric = RolloutMetric("rollout_rmse", problem.system)
    for truth in batches:
      metric.update_state(truth, simulator.predict(...))
    metric.result()
  """

  def __init__(
    self,
    metric: str,
    system: System,
    num_steps: int | None = None,
    name: str | None = None,
  ):
    """Makes a metric without samples.

    Args:
      metric: a file of `metrics/`.
      system: the true law.
      num_steps: reported for steps 1 to this one; default all.
      name: default the metric's.

    Raises:
      ValueError: for an unknown metric, listing those there are.
    """
    super().__init__(name=name or metric)
    self._metric = evaluation.metric(metric)
    self._system = system
    self._num_steps = num_steps
    self._values: list[np.ndarray] = []

  def update_state(self, truth: Trajectory, prediction: Trajectory | State):
    """Adds a batch.

    Args:
      truth: `[B, P + 1, N, D]`, the given initial states in frame 0.
      prediction: `[B, P, N, D]`, steps 1 onward as `Simulator.predict` returns
        them. From its first non-finite state on a trajectory counts as
        diverged, as in `evaluation.score`.

    Raises:
      RuntimeError: inside a compiled graph.
      ValueError: if the shapes do not match, or there are fewer steps than
        `num_steps`.
    """
    if not tf.executing_eagerly():
      raise RuntimeError(
        f"the metric {self.name!r} is evaluated outside compiled graphs; call "
        "it outside tf.function, or compile the model with run_eagerly=True"
      )
    truth = map_arrays(_float64, truth)
    prediction = getattr(prediction, "state", prediction)
    prediction = State(*map_arrays(_float64, tuple(prediction)))
    self._check(truth, prediction)
    whole = truth._replace(state=_with_start(prediction, truth.state))
    self._values.append(self._metric.values(whole, truth, self._system))

  def result(self) -> float:
    """Returns the number for all samples so far, NaN before the first."""
    if not self._values:
      return float("nan")
    values = np.concatenate(self._values)
    steps = self._num_steps or values.shape[1] - 1
    return self._metric.summary(values, (steps,))["at"][str(steps)]

  def reset_state(self):
    """Forgets all samples."""
    self._values = []

  def _check(self, truth, prediction):
    batch, num_frames, *rest = truth.state.position.shape
    expected = (batch, num_frames - 1, *rest)
    for name, x in prediction._asdict().items():
      if x.shape != expected:
        raise ValueError(
          f"the predicted {name} has shape {x.shape}; with this truth it must "
          f"be {expected}, the initial state left out"
        )
    if num_frames - 1 < (self._num_steps or 1):
      raise ValueError(
        f"{num_frames - 1} steps are fewer than num_steps {self._num_steps}"
      )


def _float64(x):
  x = np.asarray(x)
  return x.astype(np.float64) if x.dtype.kind == "f" else x


def _with_start(prediction, truth):
  """Returns `[B, P + 1, N, D]`, NaN from the first non-finite state on."""
  first = predictions.KINDS["motion"].first_non_finite(prediction)[:, None]
  num_steps = prediction.position.shape[1]
  lost = (first >= 0) & (np.arange(num_steps) >= first)

  def complete(predicted, true):
    predicted = np.where(lost[..., None, None], np.nan, predicted)
    return np.concatenate([true[:, :1], predicted], 1)

  return State(*map(complete, prediction, truth))
