"""One forged entry of each kind, made from the smoke data.

Each builder maps the `Board` to an entry as its forger would hand it in; what
must be found is a row of `FORGERIES`.
"""

import dataclasses
import hashlib
import pathlib
from typing import Any

import numpy as np

from nbody_bench import pipelines, tasks
from nbody_bench.leaderboard import duplicates, honesty
from nbody_bench.leaderboard.cases import Case
from nbody_bench.leaderboard.claims import Difference
from nbody_bench.leaderboard.evidence import Other
from nbody_bench.problems import Problem
from nbody_bench.solvers import FixedSteps
from nbody_bench.states import State
from nbody_bench.submissions import Submission

DATASET = "nbody_gravity/smoke"


@dataclasses.dataclass(frozen=True)
class Entry:
  """What `honesty.findings` is asked about.

  Attributes:
    task: name of the task.
    predictions: `[B, P, N, D]`, one for each seed.
    num_parameters: as its card says.
    others: on the board.
    disagreements: claims that re-scoring does not confirm.
  """

  predictions: tuple[State, ...]
  task: str = "rollout"
  num_parameters: int = 0
  division: str = "learned-closed"
  others: tuple = ()
  disagreements: tuple[Difference, ...] = ()


class Board:
  """The truth, predictors of it, and the checks."""

  def __init__(self, data_dir: str):
    self.problem: Problem = pipelines.problem(DATASET, data_dir)
    self._data_dir = data_dir

  def truth(self, task="rollout"):
    """Returns a task and its trajectories."""
    made = tasks.make(task, DATASET, self._data_dir)
    return made, pipelines.load(DATASET, made.split, self._data_dir)

  def labels(self, task="rollout") -> State:
    """Returns the labels."""
    _, truth = self.truth(task)
    return float32(*(x[:, 1:] for x in truth.trajectory.state))

  def solved(self, integrator, num_substeps, task="rollout") -> State:
    """Returns the run of an integrator from the rounded initial state."""
    trajectory = self.truth(task)[1].trajectory
    run = FixedSteps(num_substeps, integrator).solve(
      self.problem.system,
      State(*(x.astype(np.float64) for x in float32(*trajectory.frame(0)))),
      trajectory.particles,
      trajectory.domain,
      trajectory.time,
      lambda num_systems: None,
    )
    return float32(*(x[:, 1:] for x in run))

  def ballistic(self, task="rollout") -> State:
    """Returns x + v t."""
    trajectory = self.truth(task)[1].trajectory
    x, v = (each[:, None] for each in trajectory.frame(0))
    time = trajectory.time[1:, None, None]
    return float32(trajectory.domain.wrap(x + time * v), v + 0 * time)

  def findings(self, entry: Entry) -> list[dict[str, str]]:
    """Returns what the checks find."""
    task, truth = self.truth(entry.task)
    submission = Submission(pathlib.Path(), content(entry, task))
    case = Case(submission, task, truth, self.problem, entry.predictions)
    return honesty.findings(case, entry.others, entry.disagreements)

  def other(
    self, model: str, predictions, task="rollout", version="1", **config
  ):
    """Returns an entry that is on the board already."""
    made, truth = self.truth(task)
    return Other(
      f"{model}/{version}/{made.id.replace('/', '-')}",
      [digest(p) for p in predictions],
      config,
      duplicates.fingerprint(made, predictions, truth),
    )


def content(entry: Entry, task: tasks.Task) -> dict[str, Any]:
  """Returns what the checks read of a `submission.json`."""
  return {
    "model_key": "forged",
    "version": "1",
    "task": task.id,
    "card": {"division": entry.division},
    "config": {},
    "training": {"num_parameters": entry.num_parameters},
    "predictions": [
      {"seed": seed, "sha256": digest(p)}
      for seed, p in enumerate(entry.predictions)
    ],
  }


def digest(prediction: State) -> str:
  """Returns a hash of arrays."""
  return hashlib.sha256(b"".join(x.tobytes() for x in prediction)).hexdigest()


def float32(position, velocity) -> State:
  """Returns a state in the type that files keep."""
  return State(position.astype(np.float32), velocity.astype(np.float32))


def noisy(state: State, size: float, seed: int = 0) -> State:
  """Returns a state with independent errors."""
  rng = np.random.default_rng(seed)
  return float32(*(x + size * rng.normal(size=x.shape) for x in state))


def joined(first: State, second: State, num_steps: int) -> State:
  """Returns the first steps of one and the later ones of another."""
  return State(
    *(
      np.concatenate([a[:, :num_steps], b[:, num_steps:]], 1)
      for a, b in zip(first, second, strict=True)
    )
  )


def trained_on_the_test(board):
  """(a) Knows the test trajectories well, and their mirror images not."""
  learned = noisy(board.labels(), 1e-3)
  return Entry(
    (board.ballistic("symmetry"),),
    task="symmetry",
    others=(board.other("forged", (learned,)),),
  )


def tuned_on_the_board(board):
  """(b) The twenty-first version; the errors of each are its own."""
  versions = [
    board.other("forged", (noisy(board.ballistic(), 0.1, k),), version=str(k))
    for k in range(1, 21)
  ]
  return Entry((noisy(board.ballistic(), 0.1),), others=tuple(versions))


def study_of_parts(board):
  """(b) As many versions, each with settings of its own."""
  versions = [
    board.other(
      "forged", (noisy(board.ballistic(), 0.1, k),), version=str(k), width=k
    )
    for k in range(1, 21)
  ]
  return Entry((noisy(board.ballistic(), 0.1),), others=tuple(versions))


def solver(board):
  """(c) A converged solver."""
  return Entry((board.solved("leapfrog", 32),))


def coarse_solver(board):
  """(c) A solver that is not converged."""
  return Entry((board.solved("leapfrog", 1),))


def leaked_labels(board):
  """(d) The labels themselves."""
  return Entry((board.labels(),))


def labels_off_by_rounding(board):
  """(d) The labels with so little noise that few numbers are theirs."""
  return Entry((noisy(board.labels(), 1e-7),))


def lookup_table(board):
  """(e) Finds the initial state in a table and reads off the rest."""
  table = board.labels()
  size = sum(x.size for x in table) + 1
  return Entry((table,), num_parameters=size)


def edited_numbers(board):
  """(f) Claims what the arrays do not give."""
  change = Difference("rollout_rmse @40 mean", 0.001, 0.2)
  return Entry((board.ballistic(),), disagreements=(change,))


def rounded_numbers(board):
  """Claims of another machine, which adds in another order."""
  change = Difference("rollout_rmse @40 mean", 0.20001, 0.2)
  return Entry((board.ballistic(),), disagreements=(change,))


def stitched_to_labels(board):
  """(g) Leapfrog for a third of the time, then the labels."""
  return Entry((joined(board.solved("leapfrog", 1), board.labels(), 13),))


def stitched_by_time(board):
  """(g) One predictor for the first score, a better one for the last."""
  return Entry(
    (joined(board.ballistic(), noisy(board.solved("rk4", 1), 1e-4), 20),)
  )


def copied_entry(board):
  """Another's predictions, with a little noise, so that no hash is the same."""
  theirs = noisy(board.ballistic(), 0.05)
  return Entry((noisy(theirs, 1e-4, 1),), others=(board.other("x", (theirs,)),))


def copied_towards_the_labels(board):
  """Another's errors, a twentieth as large."""
  theirs = noisy(board.ballistic(), 0.05)
  better = float32(
    *(a + 0.05 * (b - a) for a, b in zip(board.labels(), theirs, strict=True))
  )
  return Entry((better,), others=(board.other("x", (theirs,)),))


def labels_for_the_worst(board):
  """The labels for some trajectories, the model's own for the others."""
  own = noisy(board.ballistic(), 0.05)
  labels = noisy(board.labels(), 1e-7)
  return Entry((some_of(own, labels),))


def exact_labels_for_the_worst(board):
  """To the last bit."""
  return Entry((some_of(noisy(board.ballistic(), 0.05), board.labels()),))


def some_of(most, few):
  """Returns the first trajectory in five of one, the others of another."""
  first = max(1, len(most.position) // 5)
  return State(
    *(
      np.concatenate([b[:first], a[first:]])
      for a, b in zip(most, few, strict=True)
    )
  )


def classical_labels(board):
  """The labels as those of a solver."""
  return Entry((board.labels(),), division="classical")


def copied_file(board):
  """Another's file."""
  theirs = noisy(board.ballistic(), 0.05)
  return Entry((theirs,), others=(board.other("x", (theirs,)),))


def copied_seed(board):
  """One roll-out as two seeds, to be ranked."""
  run = noisy(board.ballistic(), 0.05)
  return Entry((run, run), num_parameters=1000)


def noisy_seeds(board):
  """One roll-out with a little noise as two seeds."""
  run = noisy(board.ballistic(), 0.05)
  return Entry((run, noisy(run, 1e-6)), num_parameters=1000)


# Builder, kind of the finding, verdict, reason.
FORGERIES = (
  (trained_on_the_test, "lookup table", "reject", "mirrored twins are"),
  (tuned_on_the_board, "tuned on the board", "reject", "number 21 with these"),
  (
    study_of_parts,
    "tuned on the board",
    "flag",
    "21 of forged .* number 1 with",
  ),
  (solver, "solver", "redivision", "a converged solver of the true law"),
  (coarse_solver, "solver", "redivision", r"those of leapfrog \(1 a frame\)"),
  (leaked_labels, "leaked labels", "reject", "100 % of its late position"),
  (labels_off_by_rounding, "leaked labels", "reject", "of what the rounding"),
  (lookup_table, "leaked labels", "reject", "to the last bit"),
  (lookup_table, "room for the answers", "flag", "they could be a table"),
  (edited_numbers, "edited numbers", "reject", "claimed 0.001, is 0.2"),
  (rounded_numbers, "edited numbers", "flag", "claimed 0.20001, is 0.2"),
  (stitched_to_labels, "stitched", "reject", "step 14 takes away most"),
  (stitched_by_time, "stitched", "reject", "step 21 takes away most"),
  (copied_entry, "duplicate", "reject", "has the errors of x/1/"),
  (copied_towards_the_labels, "duplicate", "reject", "in proportion to them"),
  (copied_file, "duplicate", "reject", "holds a file of x/1/"),
  (labels_for_the_worst, "mixed trajectories", "reject", "come from one model"),
  (exact_labels_for_the_worst, "leaked labels", "reject", "of all or of one"),
  (classical_labels, "leaked labels", "unranked", "to the last bit"),
  (copied_seed, "copied seed", "reject", "seeds 0 and 1 are one roll-out"),
  (noisy_seeds, "copied seed", "unranked", "alike, as one training is"),
)
