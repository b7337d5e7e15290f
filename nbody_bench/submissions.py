"""Submissions: arrays and JSON that the leaderboard re-scores.

    submission/
      submission.json             checked against submission_schema.json
      predictions/<file>.npz      one roll-out for each seed

What the arrays are, `submission_files` says.
"""

import dataclasses
import datetime
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from nbody_bench import submission_schema
from nbody_bench.cards import ModelCard
from nbody_bench.files import folder_sha256, replace_json, sha256
from nbody_bench.metrics import METRIC_VERSION
from nbody_bench.tasks import Task

_MAX_JSON_BYTES = 2**20


class SubmissionError(ValueError):
  """A submission is not valid; the message says what and where."""


@dataclasses.dataclass(frozen=True)
class Submission:
  """A `submission.json` that passed its schema, and where it lies.

  Attributes:
    directory: paths in `content` are relative to it.
    content: the parsed JSON; fields as in `submission_schema.json`.
  """

  directory: pathlib.Path
  content: Mapping[str, Any]

  @property
  def key(self) -> str:
    """`model_key/version/task` with the task's slashes as dashes."""
    task = self.content["task"].replace("/", "-")
    return f"{self.content['model_key']}/{self.content['version']}/{task}"


def write(
  directory: pathlib.Path,
  *,
  model_key: str,
  version: str,
  card: ModelCard,
  task: Task,
  config: Mapping[str, Any],
  training: Mapping[str, Any],
  timing: Mapping[str, Any] | None,
  structure_timing: Mapping[str, Any] | None,
  equivariance: Mapping[str, float] | None,
  seeds: Sequence[int],
  claims: Mapping[str, Any],
  with_models: bool = False,
) -> Submission:
  """Writes `submission.json` beside `predictions/<split>-seed<k>.npz`.

  Args:
    directory: holds the predictions of all seeds already.
    model_key: letters, digits, `_ . -`.
    version: of the model.
    card: facts about it.
    task: that the predictions are for.
    config: the model's settings.
    training: see the schema.
    timing: of `timing.measure`, or None if it was not timed.
    structure_timing: of `structure_timing.measure`, likewise.
    equivariance: of `equivariance.measure`, or None if it was not measured.
    seeds: of the predictions.
    claims: of `evaluation.over_seeds`.
    with_models: whether a SavedModel of each seed is there too.

  Raises:
    SubmissionError: if the result breaks the schema.
  """
  files = []
  for seed in seeds:
    path = directory / prediction_file(task, seed)
    files.append(
      {
        "seed": seed,
        "file": prediction_file(task, seed),
        "bytes": path.stat().st_size,
        "sha256": sha256(path),
      }
    )
  content = {
    "schema": 1,
    "metric_version": METRIC_VERSION,
    "model_key": model_key,
    "version": version,
    "card": dataclasses.asdict(card),
    "task": task.id,
    "dataset_version": task.version,
    "date": datetime.date.today().isoformat(),
    "config": dict(config),
    "training": dict(training),
    "predictions": files,
    "claims": {name: claim["at"] for name, claim in claims.items()},
  }
  if with_models:
    content["models"] = [
      {
        "seed": seed,
        "folder": model_folder(seed),
        "sha256": folder_sha256(directory / model_folder(seed)),
      }
      for seed in seeds
    ]
  if equivariance is not None:
    content["equivariance"] = dict(equivariance)
  if timing is not None:
    content["timing"] = dict(timing)
  if structure_timing is not None:
    content["structure_timing"] = dict(structure_timing)
  content = json.loads(json.dumps(content))  # tuples become lists
  check_schema(content)
  replace_json(directory / "submission.json", content)
  return Submission(directory, content)


def prediction_file(task: Task, seed: int) -> str:
  """Returns the path of a roll-out inside a submission."""
  return f"predictions/{task.split}-seed{seed}.npz"


def model_folder(seed: int) -> str:
  """Returns the path of a SavedModel inside a submission."""
  return f"models/seed{seed}"


def load(
  directory: pathlib.Path, any_metric_version: bool = False
) -> Submission:
  """Reads and checks `submission.json`; arrays are not touched.

  Args:
    directory: where it lies.
    any_metric_version: whether claims may be of another version of the metrics,
      as those of older entries of a board are.

  Raises:
    SubmissionError: naming every fault.
  """
  path = pathlib.Path(directory) / "submission.json"
  if not path.is_file():
    raise SubmissionError(
      f"no file {path}; give the folder that `nbody_bench.run` wrote as "
      "OUTPUT_DIR/submission"
    )
  if path.stat().st_size > _MAX_JSON_BYTES:
    raise SubmissionError(f"{path} is larger than {_MAX_JSON_BYTES} bytes")
  try:
    content = json.loads(
      path.read_bytes(), parse_constant=_finite, parse_float=_finite
    )
  except (ValueError, RecursionError) as error:
    raise SubmissionError(f"{path} is not valid JSON: {error}") from None
  check_schema(
    content | {"metric_version": METRIC_VERSION}
    if any_metric_version and isinstance(content, dict)
    else content
  )
  return Submission(pathlib.Path(directory), content)


def check_schema(content: Any) -> None:
  """Checks the content of a `submission.json`.

  Raises:
    SubmissionError: with the dotted path of every fault.
  """
  _raise(submission_schema.faults(content))


def _raise(faults):
  if faults:
    raise SubmissionError("submission.json: " + "; ".join(faults))


def check_names(model_key: str, version: str, card: ModelCard) -> None:
  """Checks what a model says of itself, before it is trained.

  Raises:
    SubmissionError: as `check_schema`.
  """
  _raise(submission_schema.faults_of_names(model_key, version, card))


def _finite(text):
  """Parses a JSON number; Python's own parser lets NaN and 1e999 pass."""
  number = float(text)
  if not math.isfinite(number):
    raise ValueError(f"{text} is not a finite number")
  return number
