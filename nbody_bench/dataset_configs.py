"""What is said of a simulated data set: one configuration, as data.

It names the law, how an initial state is drawn, the solver and the bounds;
`dataset_builder` makes the trajectories.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from nbody_bench import solvers
from nbody_bench.states import Domain, Particles, State
from nbody_bench.systems import System

# Every split that a configuration may have. The place of a name is part of the
# seed of its trajectories: append only.
SPLITS = (
  "train",
  "validation",
  "test",
  "test_long",  # a longer horizon
  "test_unseen_n",  # twice the particles
  "test_symmetry",  # twins of the first trajectories of `test`
  "test_energetic",  # initial velocities doubled
)
_USUAL_SOLVER = solvers.FixedSteps(64)


class Size(NamedTuple):
  """How much of a split.

  Attributes:
    num_trajectories: of the split.
    num_frames: of each trajectory.
  """

  num_trajectories: int
  num_frames: int


class Draw(NamedTuple):
  """What an initial state follows from.

  Attributes:
    rng: of this trajectory alone.
    num_particles: N.
    split: of the data set.
    trajectory_id: its place in the split.
  """

  rng: np.random.Generator
  num_particles: int
  split: str = "train"
  trajectory_id: int = 0


# Positions, velocities and constants of one system, a batch of 1.
Initial = Callable[[Draw], tuple[State, Particles, Domain]]


def sizes(
  train: int = 1000,
  validation: int = 200,
  test: int = 200,
  *,
  num_frames: int = 201,
  extra: int = 32,
  unseen_n: bool = True,
) -> dict[str, Size]:
  """Returns the usual splits.

  Args:
    train: trajectories.
    validation: trajectories.
    test: trajectories.
    num_frames: of each; `test_long` takes five times as many steps.
    extra: trajectories of each extra test split; 0 for none of these.
    unseen_n: whether there is a `test_unseen_n`.
  """
  counts = {"train": train, "validation": validation, "test": test}
  result = {k: Size(n, num_frames) for k, n in counts.items()}
  if extra:
    more = {k: Size(min(extra, test), num_frames) for k in SPLITS[3:]}
    more["test_long"] = Size(extra, 5 * (num_frames - 1) + 1)
    if not unseen_n:
      del more["test_unseen_n"]
    result |= more
  return result


@dataclasses.dataclass(eq=False, kw_only=True)
class NBodyConfig(tfds.core.BuilderConfig):
  """One configuration of a simulated data set.

  Attributes:
    system: the law and its constants.
    initial: draws one initial state.
    num_particles: N.
    num_dims: D.
    time_step: time between frames.
    first_time: of frame 0; initial states are drawn at time 0.
    splits: see `sizes`.
    solver: makes the trajectories.
    check: makes the second run that label errors are measured against; None
      for `solver.finer()`.
    noise: standard deviation of Gaussian noise on each coordinate and momentum
      of the training split.
    jump: frame that a long step starts from, and frames to its end; None for
      all from the first. See `tasks`.
    withheld: fields of `Particles`, drawn for each trajectory, that a model is
      not told.
    num_context_frames: frames that a model is given at once; it predicts what
      follows.
    seed: of the whole configuration.
    max_energy_drift: bound on |H(t) - H(0)| / (T(0) + |U(0)|), each trajectory;
      None for no bound, here and below.
    max_momentum_drift: bound on |P(t) - P(0)|, each trajectory and component,
      where the law conserves it.
    max_angular_momentum_drift: likewise, where space is open too.
    max_label_error: bound on the label error, each trajectory and frame;
      `test_long` is exempt, for chaos leaves no bound there.
  """

  system: System
  initial: Initial
  num_particles: int
  num_dims: int = 2
  time_step: float = 0.01
  first_time: float = 0.0
  splits: Mapping[str, Size] = dataclasses.field(default_factory=sizes)
  solver: solvers.Solver = _USUAL_SOLVER
  check: solvers.Solver | None = None
  noise: float = 0.0
  jump: tuple[int, int] | None = None
  withheld: tuple[str, ...] = ()
  num_context_frames: int = 1
  seed: int = 0
  max_energy_drift: float | None = 1e-4
  max_momentum_drift: float | None = 1e-11
  max_angular_momentum_drift: float | None = 1e-9
  max_label_error: float | None = 1e-2

  def __post_init__(self):
    if not self.system.symmetries:
      # A twin would be the trajectory itself.
      self.splits = {
        k: v for k, v in self.splits.items() if k != "test_symmetry"
      }
    unknown = set(self.splits) - set(SPLITS)
    if unknown:
      raise ValueError(
        f"configuration {self.name!r} has splits {sorted(unknown)}; there are "
        f"{SPLITS}"
      )
    if not self.description:
      self.description = (
        f"{self.num_particles} particles in {self.num_dims} dimensions, law "
        f"{self.system.law}, {self.splits['train'].num_frames} frames "
        f"{self.time_step:g} apart."
      )

  @property
  def constants(self) -> tuple[str, ...]:
    """The fields of `Particles` that the examples carry."""
    used = {"mass", self.system.source, *self.withheld}
    return tuple(f for f in Particles._fields if f in used)

  def size(self, split: str) -> int:
    """Returns the number of particles in a split."""
    return self.num_particles * (2 if split == "test_unseen_n" else 1)

  def times(self, split: str) -> np.ndarray:
    """Returns the times of a split's frames."""
    return self.first_time + self.time_step * np.arange(
      self.splits[split].num_frames
    )

  def metadata(self) -> dict[str, Any]:
    """Returns what a user of the data may want to know, as plain data."""
    plain = (
      *("num_dims", "num_particles", "time_step", "first_time", "noise"),
      *("num_context_frames", "seed", "max_energy_drift", "max_label_error"),
      *("max_momentum_drift", "max_angular_momentum_drift"),
    )
    return {
      "system": self.system.to_dict(),
      "solver": solvers.describe(self.solver),
      "check": solvers.describe(self.check or self.solver.finer()),
      "jump": list(self.jump or (0, self.splits["test"].num_frames - 1)),
      "withheld": list(self.withheld),
      "splits": {
        k: {**v._asdict(), "num_particles": self.size(k)}
        for k, v in self.splits.items()
      },
      **{k: getattr(self, k) for k in plain},
    }
