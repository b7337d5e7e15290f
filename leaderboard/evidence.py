"""What the checks of an entry look at, computed once."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from nbody_bench import predictions as kinds
from nbody_bench import solvers
from nbody_bench.leaderboard.claims import Difference
from nbody_bench.metrics import local_defect
from nbody_bench.pipelines import Split
from nbody_bench.problems import Problem
from nbody_bench.states import State, Trajectory
from nbody_bench.tasks import Task

# So many trajectories speak for all; of large systems fewer, and fewer steps.
_MOST_TRAJECTORIES = 16
_MOST_PAIRS = 2e8


class Other(NamedTuple):
  """An entry that is on the board already.

  Attributes:
    key: of its submission, `model/version/task`.
    hashes: SHA-256 of its files of predictions.
    config: settings of its model.
    fingerprint: of `duplicates.fingerprint`, or None if it has none.
  """

  key: str
  hashes: Sequence[str]
  config: Mapping[str, Any]
  fingerprint: np.ndarray | None


@dataclasses.dataclass(frozen=True, eq=False)
class Evidence:
  """An entry beside the truth.

  Attributes:
    content: of its `submission.json`.
    task: that it is for.
    predictions: arrays of the task's kind, one for each seed.
    truth: the task's trajectories, frame 0 included.
    problem: what is known of the data set; its law is the true one.
    others: on the board.
    disagreements: claims that re-scoring does not confirm.
  """

  content: Mapping[str, Any]
  task: Task
  predictions: Sequence[Any]
  truth: Split
  problem: Problem
  others: Sequence[Other] = ()
  disagreements: Sequence[Difference] = ()

  @property
  def division(self) -> str:
    """As claimed."""
    return self.content["card"]["division"]

  @property
  def is_stepped(self) -> bool:
    """Whether it is motion under a law that a solver can step."""
    system = self.problem.system
    is_known = system.is_known and not system.is_many_body
    return self.task.kind == "motion" and is_known

  @functools.cached_property
  def sample(self) -> Trajectory:
    """Trajectories of the truth that are looked at, from their given state on.

    Which ones follows from the hash of the predictions: nobody can choose them,
    and the next look sees the same.
    """
    truth = kinds.KINDS[self.task.kind].aligned(
      self.truth.trajectory, self.task.num_steps
    )
    batch, num_frames, num_particles = truth.state.position.shape[:3]
    pairs = num_particles**2 / 2
    most = int(_MOST_PAIRS / (pairs * (num_frames - 1)))
    count = min(batch, max(2, min(most, _MOST_TRAJECTORIES)))
    num_steps = max(1, min(num_frames - 1, int(_MOST_PAIRS / pairs / count)))
    chosen = self._order[:count]
    return truth.select(np.sort(chosen)).frames(0, num_steps + 1)

  @functools.cached_property
  def _order(self):
    """Returns the batch shuffled by the hash of the first file."""
    seed = int(self.content["predictions"][0]["sha256"][:8], 16)
    rng = np.random.default_rng(seed)
    return rng.permutation(len(self.truth.trajectory_id))

  @functools.cached_property
  def _chosen(self):
    """Returns the places of `sample` in the batch."""
    return np.sort(self._order[: len(self.sample.domain.box)])

  @functools.cached_property
  def samples(self) -> list[Trajectory]:
    """The predictions of `sample`, by seed, from the start as it is given."""
    num_frames = len(self.sample.time)
    start = rounded(self.sample.frame(0))
    result = []
    for prediction in self.predictions:
      states = (
        x[self._chosen, : num_frames - 1].astype(np.float64) for x in prediction
      )
      result.append(
        self.sample._replace(
          state=State(
            *(
              np.concatenate([first[:, None], x], 1)
              for first, x in zip(start, states, strict=True)
            )
          )
        )
      )
    return result

  @functools.cached_property
  def growth(self) -> np.ndarray:
    """What becomes of the rounding of the given state, `[B, P]`.

    The distance, at each step, of two runs of one solver, from the state of the
    data and from that state in float32, which is all that a model is given.
    """
    sample = self.sample
    exact, shadow = (
      self.solved(start, self.solver) for start in (sample.frame(0), None)
    )
    return size(difference(sample, exact, shadow))[:, 1:]

  @functools.cached_property
  def least_error(self) -> np.ndarray:
    """The error of a perfect predictor of the given state, `[B, P]`.

    The label error and the `growth` together.
    """
    num_steps = self.growth.shape[1]
    label = self.truth.label_error[self._chosen, 1 : num_steps + 1]
    return np.sqrt(self.growth**2 + label**2)

  @functools.cached_property
  def ballistic_error(self) -> np.ndarray:
    """The error of x + v t, `[B, P]`: what a motion differs from inertia."""
    sample = self.sample
    position, velocity = (x[:, :1] for x in sample.state)
    time = (sample.time - sample.time[0])[None, :, None, None]
    free = State(
      sample.domain.wrap(position + time * velocity),
      np.broadcast_to(velocity, sample.state.velocity.shape),
    )
    return size(difference(sample, sample.state, free))[:, 1:]

  @property
  def solver(self) -> solvers.FixedSteps:
    """The reference, of bounded cost."""
    batch, num_frames, num_particles = self.sample.state.position.shape[:3]
    pairs = batch * num_frames * num_particles**2 / 2
    return local_defect.reference_solver(
      self.sample, self.problem.system, pairs
    )

  def solved(
    self,
    start: State | None,
    solver: solvers.Solver,
    num_frames: int | None = None,
  ) -> State:
    """Returns a run `[B, T, N, D]`, by default all, from the given state."""
    sample = self.sample
    if num_frames is not None:
      sample = sample.frames(0, num_frames)
    with np.errstate(all="ignore"):
      return solver.solve(
        self.problem.system,
        rounded(sample.frame(0)) if start is None else start,
        sample.particles._replace(history=None),
        sample.domain,
        sample.time - sample.time[0],
        lambda num_systems: None,
      )


def finding(kind: str, verdict: str, reason: str) -> dict[str, str]:
  """Returns a finding: its verdict, see `honesty.findings`, and why."""
  return {"kind": kind, "verdict": verdict, "reason": reason}


def rounded(state: State) -> State:
  """Returns a state as float32 has it, in float64."""
  return State(*(x.astype(np.float32).astype(np.float64) for x in state))


def difference(trajectory: Trajectory, one: State, other: State) -> np.ndarray:
  """Returns `other - one` in phase space, `[B, T, N, 2 D]`, minimum image.

  0 for padding.
  """
  result = np.concatenate(
    [
      trajectory.domain.displacement(one.position, other.position),
      other.velocity - one.velocity,
    ],
    -1,
  )
  mask = trajectory.particles.mask
  return result if mask is None else result * mask[:, None, :, None]


def size(vectors: np.ndarray) -> np.ndarray:
  """Returns the root mean square of `[B, T, N, 2 D]` over the last two axes."""
  return np.sqrt(np.mean(vectors**2, (2, 3)))
