"""Re-scores submissions from their arrays and enters them into a board."""

import datetime
import os
import pathlib
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from nbody_bench import evaluation, submissions
from nbody_bench.files import replace_json
from nbody_bench.leaderboard import (
  cases,
  claims,
  details,
  duplicates,
  entries,
  entry_checks,
  fetching,
  honesty,
  previews,
  reproduce,
  sandbox,
)
from nbody_bench.leaderboard.cases import Case
from nbody_bench.leaderboard.evidence import Other
from nbody_bench.metrics import METRIC_VERSION
from nbody_bench.predictions import KINDS


def rescore(
  case: Case,
  others: Sequence[Other] = (),
  limits: sandbox.Limits | None = None,
) -> tuple[dict[str, Any], entries.Files]:
  """Recomputes every score of a submission from its arrays.

  Args:
    case: the submission, with its arrays and the truth.
    others: entries that were there before, which it may be a copy of; nothing
      but findings depends on them.
    limits: of running its models again; None not to run them.

  Returns:
    The content of `scores.json`, and the arrays of each `.npz` file.

  Raises:
    SubmissionError: if a model is not there, not allowed, or gives something
      else than was submitted.
  """
  content, task, truth = case.submission.content, case.task, case.truth
  system = case.problem.system
  each = [evaluation.values(task, p, truth, system) for p in case.predictions]
  result = _scores(task, each)
  values = details.of_trajectories(task, each)
  worst = details.worst(task, values, case.seeds, truth.trajectory_id)
  # Claims of another version of the metrics say nothing about this one's.
  current = content["metric_version"] == METRIC_VERSION
  wrong = claims.disagreements(content["claims"], result) if current else []
  findings = honesty.findings(case, others, wrong)
  times = KINDS[task.kind].times(truth.trajectory, task.num_steps)
  scores = {
    "metric_version": METRIC_VERSION,
    "task": {
      "id": task.id,
      "kind": task.kind,
      "split": task.split,
      "num_trajectories": task.num_trajectories,
      "num_particles": int(truth.trajectory.state.position.shape[2]),
      "num_steps": task.num_steps,
      # After the given frame; where nothing moves there are none.
      "times": np.round(times, 9).tolist() if task.kind == "motion" else [],
      "report_steps": list(task.report_steps),
    },
    "scores": result,
    "survival": details.survival(each, times),
    "worst": worst,
    "diverged": sum(evaluation.diverged(task, p) for p in case.predictions),
    "floor": evaluation.floor(task, truth, system),
    "disagreements": [str(each) for each in wrong],
    "findings": findings,
    "division": honesty.division(content["card"]["division"], findings),
  }
  if limits is not None:
    scores["reproduced"] = reproduce.reproduce(case, limits)
  return scores, {
    "values.npz": values,
    "fingerprint.npz": {
      "fingerprint": duplicates.fingerprint(task, case.predictions, truth)
    },
    "preview.npz": previews.of_rollouts(case, worst),
  }


def _scores(task, each):
  """Returns scores over all seeds, with what single ones are."""
  summaries = [evaluation.summaries(task, values) for values in each]
  over_seeds = evaluation.over_seeds([{"metrics": s} for s in summaries])
  return {
    name: {
      **score,
      "curve": [details.rounded(x) for x in score["curve"]],
      "band": details.band(name, each),
      "per_seed": details.per_seed(name, summaries),
    }
    for name, score in over_seeds.items()
  }


def submit(
  submission: submissions.Submission,
  board: pathlib.Path,
  data_dir: str | None,
  arrays_at: str = "",
  limits: sandbox.Limits | None = None,
) -> tuple[pathlib.Path, dict[str, Any]]:
  """Re-scores a submission and puts it on the board.

  One that is there as it is, is told where its arrays are, and no more.

  Args:
    submission: to enter.
    board: the folder of entries.
    data_dir: where TFDS keeps its data.
    arrays_at: https address, or path relative to the board, that the files of
      `predictions` will be found under; recorded, not read. Empty: they are not
      offered.
    limits: of running its models again; None not to run them.

  Returns:
    The entry's folder, and the content of its `scores.json`.

  Raises:
    SubmissionError: as `cases.read` and `rescore`, if the entry exists
      already, if it is rejected for what its arrays tell, or if `arrays_at`
      is no such place.
  """
  fetching.check_offer(arrays_at, entry_checks.max_length("arrays_at"))
  folder = board / submission.key
  if folder.exists():
    return folder, _offer(submission, folder, arrays_at, limits)
  before = entries.all_of(board)
  case = cases.read(submission, data_dir)
  result, files = rescore(case, entries.predecessors(before), limits)
  rejected = [
    f["reason"] for f in result["findings"] if f["verdict"] == "reject"
  ]
  if rejected:
    raise submissions.SubmissionError(
      f"{submission.key} is rejected: {'; '.join(rejected)}"
    )
  now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
  facts = {"arrays_at": arrays_at, "entered": now}
  folder.parent.mkdir(parents=True, exist_ok=True)
  # Beside its place and not in it, so that an entry is there whole or not.
  with tempfile.TemporaryDirectory(dir=board, prefix=".new-") as temporary:
    entry = pathlib.Path(temporary) / "entry"
    replace_json(entry / "submission.json", submission.content)
    entries.write(entry, facts | result, files)
    os.replace(entry, folder)
  return folder, facts | result


def _offer(submission, folder, arrays_at, limits):
  """Records where the arrays of an entry are, hashes and all else as before."""
  entry = entries.read(folder)
  same = entry.submission == submission.content
  if not (same and arrays_at and limits is None):
    raise submissions.SubmissionError(
      f"{submission.key} is on the board already; submit under another "
      "version, or, to say where its arrays are, the unchanged submission with "
      "--arrays_at and without --reproduce"
    )
  scores = entry.scores | {"arrays_at": arrays_at}
  entries.write(folder, scores, {})
  return scores
