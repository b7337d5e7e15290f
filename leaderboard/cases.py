"""A submission beside what it is judged by, read once for all who judge it."""

from typing import Any, NamedTuple

from nbody_bench import (
  pipelines,
  preparation,
  submission_files,
  submissions,
  tasks,
)
from nbody_bench.pipelines import Split
from nbody_bench.problems import Problem
from nbody_bench.tasks import Task


class Case(NamedTuple):
  """What is judged.

  Attributes:
    submission: as it was handed in.
    task: that it is for.
    truth: the task's trajectories, frame 0 the given one.
    problem: what is known of the data set; its law is the true one.
    predictions: arrays `[B, P, ...]` of the task's kind, one for each seed, in
      the order of the submission.
  """

  submission: submissions.Submission
  task: Task
  truth: Split
  problem: Problem
  predictions: tuple[Any, ...]

  @property
  def seeds(self) -> list[int]:
    """Of the predictions."""
    return [p["seed"] for p in self.submission.content["predictions"]]


def read(submission: submissions.Submission, data_dir: str | None) -> Case:
  """Reads a submission's arrays and the truth.

  Args:
    submission: its arrays must be at hand.
    data_dir: where TFDS keeps its data; the task's data are generated if
      missing.

  Raises:
    SubmissionError: if arrays are missing, changed, or not the task's.
  """
  content = submission.content
  submission_files.check_files(submission)
  dataset = content["task"].rsplit("/", 1)[0]
  try:
    preparation.prepare(dataset, data_dir)
    task = tasks.from_id(content["task"], data_dir)
  except ValueError as error:
    raise submissions.SubmissionError(f"task: {error}") from None
  if content["dataset_version"] != task.version:
    raise submissions.SubmissionError(
      f"dataset_version: {content['dataset_version']} was submitted, the board "
      f"has {task.version}; run the model on that version"
    )
  problem = pipelines.problem(dataset, data_dir)
  truth = pipelines.load(dataset, task.split, data_dir, task.num_trajectories)
  truth = task.cut(truth).after(problem.num_context_frames)
  shape = truth.trajectory.state.position.shape[2:]
  predictions = tuple(
    submission_files.read_predictions(
      submission, task, entry, truth.trajectory_id, shape
    )
    for entry in content["predictions"]
  )
  return Case(submission, task, truth, problem, predictions)
