"""What a task asks for: states, forces or relaxed structures.

Each kind says how a model is asked, which arrays the answer has, and how the
answer and the truth become two trajectories of the same frames, which is all
that metrics see.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from nbody_bench.states import Forces, State, Trajectory


@dataclasses.dataclass(frozen=True)
class Kind:
  """One kind of prediction.

  Attributes:
    frames: the named tuple of arrays `[B, P, ...]` that is predicted.
    axes: of each array, in the letters of `states`.
    judged: arrays in which NaN means that the prediction has failed.
    predictor: makes of a model what has `predict`, as a `Simulator` has.
    repeats_first: whether the frame that is given is also the one asked about.
  """

  frames: Any
  axes: dict[str, str]
  judged: tuple[str, ...]
  predictor: Callable[[Any], Any]
  repeats_first: bool = False

  def aligned(self, truth: Trajectory, num_steps: int) -> Trajectory:
    """Returns the given frame and the true ones after it."""
    if self.repeats_first:
      twice = truth.each_frame(lambda x: x[:, [0, 0]])
      return twice._replace(time=np.array([0.0, 1.0]))
    return truth.frames(0, num_steps + 1)

  def times(self, truth: Trajectory, num_steps: int) -> np.ndarray:
    """Returns the times that are asked for, counted from the given frame."""
    time = self.aligned(truth, num_steps).time
    return time[1:] - time[0]

  def first_non_finite(self, prediction: Any) -> np.ndarray:
    """Returns the first frame with a NaN or infinity, -1 if none, `[B]`."""
    broken = np.any(
      [
        ~np.isfinite(x).reshape(*x.shape[:2], -1).all(-1)
        for x in (getattr(prediction, name) for name in self.judged)
      ],
      0,
    )
    return np.where(broken.any(1), broken.argmax(1), -1)

  def whole(self, prediction: Any, aligned: Trajectory) -> Trajectory:
    """Returns the prediction after the given frame, in float64.

    NaN from its first non-finite frame on. Of states without the forces of the
    truth, which nobody predicted.

    Args:
      prediction: `frames`, `[B, P, ...]`.
      aligned: `[B, P + 1, ...]`, the truth.
    """
    at = self.first_non_finite(prediction)[:, None]
    num_steps = len(aligned.time) - 1
    lost = (at >= 0) & (np.arange(num_steps) >= at)

    def complete(predicted, true):
      gone = lost.reshape(*lost.shape, *[1] * (predicted.ndim - 2))
      predicted = np.where(gone, np.nan, predicted)
      return np.concatenate([true[:, :1], predicted.astype(np.float64)], 1)

    if self.frames is State:
      state = State(*map(complete, prediction, aligned.state))
      return aligned._replace(state=state, force=None, potential_energy=None)
    return aligned._replace(
      **{
        name: complete(getattr(prediction, name), getattr(aligned, name))
        for name in self.frames._fields
      }
    )

  def shapes(
    self, batch: int, num_steps: int, particle_shape: tuple[int, int]
  ) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each array; `particle_shape` is (N, D)."""
    length = dict(zip("BPND", (batch, num_steps, *particle_shape), strict=True))
    return {
      name: tuple(length[letter] for letter in axes)
      for name, axes in self.axes.items()
    }


# What asks models needs TensorFlow, what judges them does not.
def _motion(model):
  from nbody_bench import simulators

  return simulators.as_simulator(model)


def _forces(model):
  from nbody_bench import forces

  return forces.Evaluator(model)


def _relaxed(model):
  from nbody_bench import relaxation

  return relaxation.Relaxer(model)


_STATES = {"position": "BPND", "velocity": "BPND"}
KINDS = {
  "motion": Kind(State, _STATES, ("position", "velocity"), _motion),
  "forces": Kind(
    Forces,
    {"force": "BPND", "potential_energy": "BP"},
    ("force",),
    _forces,
    repeats_first=True,
  ),
  "relaxation": Kind(State, _STATES, ("position", "velocity"), _relaxed),
}
