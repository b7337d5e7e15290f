"""Tasks: what is predicted, how far, and how it is judged."""

import dataclasses
import functools
import re
from collections.abc import Callable, Mapping

from nbody_bench import plugins, stored
from nbody_bench.pipelines import Split
from nbody_bench.systems import System

METRICS = (
  "rollout_rmse",
  "energy_error",
  "momentum_error",
  "angular_momentum_error",
  "time_to_failure",
  "local_defect",
)
# Long after the start no prediction is right point by point: chaos. What can be
# asked for is a state like those that the true system visits.
LONG_METRICS = (
  "energy_error",
  "momentum_error",
  "pair_distance_distribution",
  "speed_distribution",
  "local_defect",
)
# Of models that are trained on positions alone, over long steps.
JUMP_METRICS = ("final_mse", "average_mse")
# Of forces on a given structure, and of what they lead to.
FORCE_METRICS = ("force_mae", "efwt")
RELAXATION_METRICS = ("adwt", "afbt")
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
    num_steps: frames that are predicted; all are kept.
    report_steps: for which scores are given.
    metrics: names.
    name: a key of `TASKS`.
    frames: of the split, the first one given and the others predicted; empty
      for all from the first.
    kind: of prediction, a key of `predictions.KINDS`.
  """

  dataset: str
  version: str
  split: str
  num_trajectories: int
  num_steps: int
  report_steps: tuple[int, ...]
  metrics: tuple[str, ...] = METRICS
  name: str = "rollout"
  frames: tuple[int, ...] = ()
  kind: str = "motion"

  def cut(self, split: Split) -> Split:
    """Returns a split with the frames of the task alone, trained on or judged.

    Raises:
      ValueError: if it is too short for them.
    """
    if not self.frames:
      return split
    times = split.trajectory.time
    if self.frames[-1] >= len(times):
      raise ValueError(
        f"task {self.name!r} needs frame {self.frames[-1]}, and a split of "
        f"{self.dataset} has {len(times)}"
      )
    return split.at(self.frames)

  @property
  def id(self) -> str:
    """Such as `nbody_gravity/n20/rollout200`."""
    return f"{self.dataset}/{self.name}{self.num_steps}"


# Split and metrics of each task.
_KINDS = {
  "rollout": ("test", METRICS),
  "long": ("test_long", LONG_METRICS),
  "unseen_n": ("test_unseen_n", METRICS),
  "symmetry": ("test_symmetry", METRICS),
  "energetic": ("test_energetic", METRICS),
  # P frames within one long step, which the data set states: evenly from its
  # start to its end, or the last ones. With P = 1 both are the jump itself.
  "uniform": ("test", JUMP_METRICS),
  "last": ("test", JUMP_METRICS),
  # Structures and their forces, of the catalysts and adsorbates of training and
  # of others; and what becomes of structures that follow a model's forces.
  "forces": ("test", FORCE_METRICS),
  "forces_unseen_adsorbate": ("test_unseen_adsorbate", FORCE_METRICS),
  "forces_unseen_catalyst": ("test_unseen_catalyst", FORCE_METRICS),
  "forces_unseen_both": ("test_unseen_both", FORCE_METRICS),
  "relaxation": ("relaxation", RELAXATION_METRICS),
  "relaxation_unseen_adsorbate": (
    "relaxation_unseen_adsorbate",
    RELAXATION_METRICS,
  ),
  "relaxation_unseen_catalyst": (
    "relaxation_unseen_catalyst",
    RELAXATION_METRICS,
  ),
  "relaxation_unseen_both": ("relaxation_unseen_both", RELAXATION_METRICS),
}
# P where none is asked for; as in Xu et al. (2024).
_USUAL_FRAMES = 5


def make(
  name: str,
  dataset: str,
  data_dir: str | None,
  report_steps: tuple[int, ...] = (),
) -> Task:
  """Returns a task of a prepared data set.

  Args:
    name: a key of `TASKS`.
    dataset: `name/config`.
    data_dir: where TFDS keeps its data.
    report_steps: the longest is the horizon; default 20 and 200, as published,
      or fewer where the trajectories are shorter; of `long`, all steps and a
      fifth of them; of `uniform` and `last` the number of frames, default 5.

  Raises:
    ValueError: if the data set has no such split, or a step is not in the data.
  """
  split, metrics = _KINDS[name]
  info = stored.builder(dataset, data_dir).info
  if split not in info.splits:
    raise ValueError(
      f"task {name!r} cannot be done: "
      + plugins.unknown(f"{dataset}'s splits", split, list(info.splits))
    )
  facts = info.metadata["splits"][split]
  if name in ("uniform", "last"):
    return _jump(name, dataset, info, max(report_steps or (_USUAL_FRAMES,)))
  kind = name.partition("_")[0]
  if kind in ("forces", "relaxation"):
    return _structures(name, kind, dataset, info, report_steps)
  longest = facts["num_frames"] - info.metadata["num_context_frames"]
  if longest < 1:
    raise ValueError(
      f"{dataset!r} has structures and no motion for the task {name!r}; take "
      "--task=forces or --task=relaxation"
    )
  usual = (20, 200) if name != "long" else (max(1, longest // 5), longest)
  steps = tuple(
    sorted(set(report_steps) or {min(step, longest) for step in usual})
  )
  if steps[0] < 1 or steps[-1] > longest:
    raise ValueError(
      f"rollout steps {steps} are not within 1..{longest}, the steps in "
      f"{dataset!r}; choose others with --rollout_steps"
    )
  bytes_each = (
    steps[-1] * facts["num_particles"] * info.metadata["num_dims"] * 8
  )
  return Task(
    name=name,
    dataset=dataset,
    version=str(info.version),
    split=split,
    num_trajectories=min(
      info.splits[split].num_examples, max(1, _MAX_FILE_BYTES // bytes_each)
    ),
    num_steps=steps[-1],
    report_steps=steps,
    metrics=_defined(
      metrics,
      facts["num_particles"],
      info.metadata["num_dims"],
      System(**info.metadata["system"]),
    ),
  )


def _structures(name, kind, dataset, info, report_steps):
  split, metrics = _KINDS[name]
  if set(report_steps) - {1}:
    raise ValueError(
      f"task {name!r} has one step, and --rollout_steps asks for "
      f"{', '.join(map(str, report_steps))}; leave it out"
    )
  if "force_std" not in info.metadata["statistics"]:
    raise ValueError(
      f"task {name!r} asks for forces, and {dataset!r} tells no forces; take a "
      "data set of structures, such as slabs/emt"
    )
  system = System(**info.metadata["system"])
  if not system.is_known:
    # Only the true forces tell whether a structure is at rest.
    metrics = tuple(m for m in metrics if m != "afbt")
  return Task(
    name=name,
    kind=kind,
    dataset=dataset,
    version=str(info.version),
    split=split,
    num_trajectories=info.splits[split].num_examples,
    num_steps=1,
    report_steps=(1,),
    metrics=metrics,
  )


def _jump(name, dataset, info, count):
  split, metrics = _KINDS[name]
  facts = info.metadata["splits"][split]
  if info.metadata["num_context_frames"] > 1:
    raise ValueError(
      f"task {name!r} starts from one frame, and {dataset!r} gives several; "
      "take task 'rollout'"
    )
  start, length = info.metadata["jump"]
  allowed = [
    p for p in range(1, length + 1) if name == "last" or length % p == 0
  ]
  if count not in allowed:
    raise ValueError(
      f"task {name!r} of {count} frames: the long step of {dataset!r} has "
      f"{length}; --rollout_steps may be {', '.join(map(str, allowed))}"
    )
  if name == "uniform":
    steps = range(length // count, length + 1, length // count)
  else:
    steps = range(length - count + 1, length + 1)
  return Task(
    name=name,
    dataset=dataset,
    version=str(info.version),
    split=split,
    num_trajectories=facts["num_trajectories"],
    num_steps=count,
    report_steps=(count,),
    metrics=metrics,
    frames=(start, *(start + k for k in steps)),
  )


def _defined(metrics, num_particles, num_dims, system):
  """Returns the metrics that mean something for the data.

  Not those that are zero whatever is predicted, nor, where the law is not
  known, those of what it would conserve.
  """
  void = set()
  if not system.is_known:
    void |= {"energy_error", "momentum_error", "angular_momentum_error"}
  if not system.is_known or system.is_many_body:
    void.add("local_defect")
  if num_dims == 1:
    void.add("angular_momentum_error")
  if num_particles == 1:
    void.add("pair_distance_distribution")
  return tuple(m for m in metrics if m not in void)


TASKS: Mapping[str, Callable[..., Task]] = {
  name: functools.partial(make, name) for name in _KINDS
}


def from_id(task_id: str, data_dir: str | None) -> Task:
  """Returns the task that `Task.id` names, as the board reports it.

  Raises:
    ValueError: if the id is malformed.
  """
  match = re.fullmatch(
    rf"(\w+/\w+)/({'|'.join(TASKS)})([1-9]\d{{0,5}})", task_id
  )
  if not match:
    raise ValueError(
      f"{task_id!r} is no task; a task is named like "
      "'nbody_gravity/n20/rollout200'"
    )
  horizon = int(match[3])
  if match[2].startswith(("forces", "relaxation")):
    return make(match[2], match[1], data_dir, (horizon,))
  if match[2] in ("uniform", "last"):
    return make(match[2], match[1], data_dir, (horizon,))
  first = 20 if match[2] != "long" else max(1, horizon // 5)
  return make(
    match[2], match[1], data_dir, tuple({min(first, horizon), horizon})
  )
