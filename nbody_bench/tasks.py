"""Tasks: what is predicted, how far, and how it is judged."""

import dataclasses
import re
from collections.abc import Callable, Mapping

import tensorflow_datasets as tfds

METRICS = (
  "rollout_rmse",
  "energy_error",
  "momentum_error",
  "angular_momentum_error",
  "time_to_failure",
)
# One file of predictions stays below this, so that it can be sent around.
_MAX_FILE_BYTES = 64 * 2**20


@dataclasses.dataclass(frozen=True)
class Task:
  """Predict a split's trajectories from their initial states.

  Attributes:
    dataset: `name/config`.
    version: of the data set.
    split: of the data set.
    num_trajectories: the first ones of the split. All of them where a file of
      predictions stays below 64 MiB, else as many as fit.
    num_steps: horizon; every step is predicted and kept.
    report_steps: for which scores are given.
    metrics: names.
  """

  dataset: str
  version: str
  split: str
  num_trajectories: int
  num_steps: int
  report_steps: tuple[int, ...]
  metrics: tuple[str, ...] = METRICS

  @property
  def id(self) -> str:
    """Such as `nbody_gravity/n20/rollout200`."""
    return f"{self.dataset}/rollout{self.num_steps}"


def rollout(
  dataset: str, data_dir: str | None, report_steps: tuple[int, ...] = ()
) -> Task:
  """Returns the roll-out task of a prepared data set.

  Args:
    dataset: `name/config`.
    data_dir: where TFDS keeps its data.
    report_steps: the longest is the horizon; default 20 and 200, as published,
      or fewer where the trajectories are shorter.

  Raises:
    ValueError: if a step is not in the data.
  """
  info = tfds.builder(dataset, data_dir=data_dir).info
  longest = info.metadata["num_frames"] - 1
  steps = tuple(sorted(set(report_steps))) or tuple(
    sorted({min(20, longest), min(200, longest)})
  )
  if steps[0] < 1 or steps[-1] > longest:
    raise ValueError(
      f"rollout steps {steps} are not within 1..{longest}, the steps in "
      f"{dataset!r}; choose others with --rollout_steps"
    )
  bytes_each = (
    steps[-1] * info.metadata["num_particles"] * info.metadata["num_dims"] * 8
  )
  return Task(
    dataset=dataset,
    version=str(info.version),
    split="test",
    num_trajectories=min(
      info.splits["test"].num_examples, _MAX_FILE_BYTES // bytes_each
    ),
    num_steps=steps[-1],
    report_steps=steps,
  )


def from_id(task_id: str, data_dir: str | None) -> Task:
  """Returns the task that `Task.id` names, as the board reports it.

  Raises:
    ValueError: if the id is malformed.
  """
  match = re.fullmatch(r"(\w+/\w+)/rollout([1-9]\d{0,5})", task_id)
  if not match:
    raise ValueError(
      f"{task_id!r} is no task; a task is named like "
      "'nbody_gravity/n20/rollout200'"
    )
  horizon = int(match[2])
  return rollout(match[1], data_dir, tuple({min(20, horizon), horizon}))


TASKS: Mapping[str, Callable[..., Task]] = {"rollout": rollout}
