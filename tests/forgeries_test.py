"""Every kind of forgery is found for the right reason; honest entries pass."""

import pathlib
import re
from types import SimpleNamespace

import numpy as np
import pytest
from forgeries import builders
from forgeries.builders import DATASET, FORGERIES, Board, Entry

from nbody_bench import (
  evaluation,
  pipelines,
  run,
  submission_files,
  submissions,
  tasks,
)
from nbody_bench.leaderboard import cases, duplicates, honesty, shadow
from nbody_bench.states import Domain, Forces, Particles, State, Trajectory


@pytest.fixture(scope="module")
def board(data_dir):
  return Board(data_dir)


@pytest.mark.parametrize(
  ("build", "kind", "verdict", "reason"),
  FORGERIES,
  ids=[f"{row[0].__name__}-{row[1].replace(' ', '_')}" for row in FORGERIES],
)
def test_forgery(board, build, kind, verdict, reason):
  found = board.findings(build(board))
  (one,) = [f for f in found if f["kind"] == kind]
  assert one["verdict"] == verdict
  assert re.search(reason, one["reason"]), one["reason"]


def test_edited_arrays_are_refused_by_their_hash(tmp_path, data_dir):
  submission = make("ballistic", tmp_path, data_dir)
  path = submission.directory / "predictions" / "test-seed0.npz"
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 1
  path.write_bytes(content)
  with pytest.raises(submissions.SubmissionError, match="SHA-256 differs"):
    submission_files.check_files(submission)


def make(model, folder, data_dir, *flags):
  """Runs a model as users do."""
  arguments = [
    "run",
    f"--model={model}",
    f"--dataset={DATASET}",
    f"--data_dir={data_dir}",
    f"--output_dir={folder}",
    "--timing=none",
    *flags,
  ]
  assert run.main(arguments) == 0
  return submissions.load(pathlib.Path(folder) / "submission")


SMALL = ("--config.edge_widths=8,8", "--config.node_widths=8")
TRAINED = (*SMALL, "--config.normalize", "--train_steps=20", "--batch_size=4")


@pytest.mark.parametrize(
  ("model", "flags"),
  [
    ("ballistic", ()),
    ("leapfrog", ("--config.num_substeps=4",)),
    ("classical", ("--config.integrator=yoshida4",)),
    pytest.param("delta_gn", (*TRAINED, "--seeds=0,1"), marks=pytest.mark.slow),
  ],
)
def test_honest_entry_passes(board, model, flags, tmp_path, data_dir):
  submission = make(model, tmp_path, data_dir, *flags)
  idle = board.other("idle", (board.ballistic(),))
  others = [idle] if model != "ballistic" else []
  found = honesty.findings(cases.read(submission, data_dir), others)
  assert [f for f in found if f["verdict"] != "flag"] == []


@pytest.mark.parametrize(
  ("solved", "verdicts"), [((), []), ((0, 1), ["reject"])]
)
def test_close_encounters_make_no_solver(solved, verdicts):
  """Where rounding grows to the size of the motion, anyone is as near."""
  shape = (10, 2, 3, 2)
  off = np.random.default_rng(0).normal(scale=0.1, size=(2, *shape))
  off[:, :, 0] = 0
  off[:, solved] *= 1e-6
  truth = Trajectory(
    np.arange(2.0),
    State(np.zeros(shape), np.ones(shape)),
    Particles(np.ones(shape[::2])),
    Domain(np.full((10, 2), np.inf)),
  )
  least = np.full((10, 1), 1e-7)
  least[-2:] = 1.0
  evidence = SimpleNamespace(
    is_stepped=True,
    division="learned-closed",
    content={"predictions": [{"seed": 0}]},
    sample=truth,
    samples=[truth._replace(state=State(*(truth.state + off)))],
    least_error=least,
    ballistic_error=np.ones((10, 1)),
  )
  found = shadow.mixed_trajectories(evidence)
  assert [f["verdict"] for f in found] == verdicts


def test_what_learned_little_is_no_copy(board):
  """All that has learned next to nothing is ballistic: nobody copied it."""
  one, two = (builders.noisy(board.ballistic(), 1e-4, k) for k in (1, 2))
  found = board.findings(Entry((one,), others=(board.other("x", (two,)),)))
  assert [f for f in found if f["kind"] == "duplicate"] == []


@pytest.mark.parametrize(
  ("learned", "verdict"), [(1e-3, []), (0.5, ["reject"])]
)
def test_forces_that_were_hardly_learned_are_no_copies(
  learned, verdict, data_dir
):
  """Next to no force is what every network begins with."""
  pytest.importorskip("ase")
  task = tasks.make("forces", "slabs/smoke", data_dir)
  truth = pipelines.load("slabs/smoke", task.split, data_dir)
  force = truth.trajectory.force[:, :1]
  rng = np.random.default_rng(0)

  def predicted(scale):
    noise = 1 + 1e-3 * rng.normal(size=force.shape)
    return Forces(scale * noise * force, np.zeros(force.shape[:2]))

  def print_of(prediction):
    return duplicates.fingerprint(task, [prediction], truth)

  other = SimpleNamespace(
    key=f"other/1/{task.id.replace('/', '-')}",
    hashes=("b",),
    fingerprint=print_of(predicted(learned)),
  )
  evidence = SimpleNamespace(
    task=task,
    truth=truth,
    is_stepped=False,
    division="learned",
    content={"model_key": "own", "predictions": [{"sha256": "a"}]},
    predictions=[predicted(learned)],
    others=[other],
  )
  found = duplicates.copied_errors(evidence)
  assert [f["verdict"] for f in found] == verdict


def test_classical_methods_may_be_alike(board):
  """Two people's leapfrog are one: that is said, and no reason to reject."""
  run = board.solved("leapfrog", 1)
  entry = Entry(
    (builders.noisy(run, 1e-8),),
    division="classical",
    others=(board.other("x", (run,)),),
  )
  assert {f["verdict"] for f in board.findings(entry)} == {"flag"}


def test_diverged_rollouts_are_no_fraud(board):
  position, velocity = (x.copy() for x in board.ballistic())
  velocity[:, 12:] *= 1e30
  position[:, 15:] = np.nan
  velocity[:, 15:] = np.inf
  assert board.findings(Entry((State(position, velocity),))) == []


def test_fingerprint_is_small_and_tells_seeds_apart(board):
  task, truth = board.truth()
  rolls = [builders.noisy(board.ballistic(), 1.0, k) for k in (1, 2)]
  prints = duplicates.fingerprint(task, rolls, truth)
  assert prints.dtype == np.float32
  assert prints[0].size < 1000
  everywhere = np.ones(prints.shape[1:3], bool)
  assert duplicates.distance(prints[0], prints[0], everywhere) == 0
  assert duplicates.distance(prints[0], prints[1], everywhere) > 0.3
  few = np.zeros_like(everywhere)
  assert duplicates.distance(prints[0], prints[0], few) == float("inf")


def test_division_after_findings():
  flag = {"kind": "x", "verdict": "flag", "reason": ""}
  moved = {"kind": "x", "verdict": "redivision", "reason": ""}
  assert honesty.division("learned-open", [flag]) == "learned-open"
  assert honesty.division("learned-open", [flag, moved]) == "classical"


def test_local_defect_of_an_integrator_is_its_local_error(board):
  """Of order 2: half the step, a quarter of the defect, at all times.

  And a stitched roll-out shows where.
  """
  task, truth = board.truth()
  metric = evaluation.metric("local_defect")
  kind = truth.trajectory.frames(0, task.num_steps + 1)

  def defect(state):
    whole = kind._replace(
      state=State(
        *(
          np.concatenate([first[:, :1], x.astype(np.float64)], 1)
          for first, x in zip(kind.state, state, strict=True)
        )
      )
    )
    return np.sqrt(metric.values(whole, kind, board.problem.system))

  coarse, fine = (
    np.median(defect(board.solved("leapfrog", n))[:, 1:]) for n in (1, 2)
  )
  assert 3 < coarse / fine < 5
  stitched = builders.joined(board.ballistic(), board.solved("rk4", 1), 20)
  assert np.all(np.argmax(defect(stitched), 1) == 21)


def test_local_defect_needs_a_law(board):
  _, truth = board.truth()
  unknown = type(board.problem.system)(law="unknown", coupling=0.0)
  with pytest.raises(ValueError, match="needs a law that a solver can step"):
    evaluation.metric("local_defect").values(
      truth.trajectory, truth.trajectory, unknown
    )
