"""Submissions: arrays and JSON that the leaderboard re-scores.

    submission/
      submission.json             checked against submission_schema.json
      predictions/<file>.npz      one roll-out for each seed

The arrays of a `.npz` are `trajectory_id` int64 `[B]`, `step` int32 `[P]`,
those of the task's kind (see `predictions`) in float32, such as `position` and
`velocity` `[B, P, N, D]` with every step of the task, and `diverged_at` int32
`[B]`, the first step index that is not finite or -1.
Nothing is ever unpickled.
"""

import dataclasses
import datetime
import hashlib
import io
import json
import math
import pathlib
import re
import zipfile
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import jsonschema
import numpy as np

from nbody_bench import predictions
from nbody_bench.cards import ModelCard
from nbody_bench.files import replace_bytes, replace_json, sha256
from nbody_bench.metrics import METRIC_VERSION
from nbody_bench.tasks import Task

_DTYPES = {
  "trajectory_id": np.dtype(np.int64),
  "step": np.dtype(np.int32),
  "diverged_at": np.dtype(np.int32),
}
_PREDICTED = np.dtype(np.float32)
_MAX_JSON_BYTES = 2**20
MAX_FILE_BYTES = 2**27  # tasks keep files below half of this


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


def write_predictions(
  path: pathlib.Path, trajectory_id: np.ndarray, prediction: Any, kind: str
) -> None:
  """Writes one prediction, arrays `[B, P, ...]` of steps 1..P, whole or not.

  Args:
    path: of the file.
    trajectory_id: `[B]`.
    prediction: the arrays, a named tuple.
    kind: a key of `predictions.KINDS`.
  """
  buffer = io.BytesIO()
  num_steps = prediction[0].shape[1]
  np.savez(
    buffer,
    trajectory_id=trajectory_id.astype(np.int64),
    step=np.arange(1, num_steps + 1, dtype=np.int32),
    diverged_at=predictions.KINDS[kind]
    .first_non_finite(prediction)
    .astype(np.int32),
    **{k: x.astype(_PREDICTED) for k, x in prediction._asdict().items()},
  )
  replace_bytes(path, buffer.getvalue())


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
        "sha256": _folder_sha256(directory / model_folder(seed)),
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


def checked_model(
  submission: Submission, entry: Mapping[str, Any]
) -> pathlib.Path:
  """Returns the folder of a SavedModel, which is as it was submitted.

  Args:
    submission: names the folders.
    entry: of `submission.content["models"]`.

  Raises:
    SubmissionError: if it is not there, or has changed.
  """
  folder = submission.directory / entry["folder"]
  inside = folder.resolve().is_relative_to(submission.directory.resolve())
  if not inside or not folder.is_dir():
    raise SubmissionError(
      f"{entry['folder']}: no such folder inside the submission; links are not "
      "followed"
    )
  if _folder_sha256(folder) != entry["sha256"]:
    raise SubmissionError(
      f"{entry['folder']}: its files are not those of submission.json; submit "
      "the folder as it was written"
    )
  return folder


def _folder_sha256(folder):
  """Returns the hash of the names and hashes of all files."""
  lines = [
    f"{sha256(path)}  {path.relative_to(folder).as_posix()}\n"
    for path in sorted(folder.rglob("*"))
    if path.is_file() and not path.is_symlink()
  ]
  return hashlib.sha256("".join(lines).encode()).hexdigest()


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
  _raise(_faults(_schema(), content) or _beyond_schema(content))


def _schema():
  text = (resources.files("nbody_bench") / "submission_schema.json").read_text()
  return json.loads(text)


def _faults(schema, content):
  return [
    f"{'.'.join(map(str, e.absolute_path)) or 'top level'}: {e.message[:300]}"
    for e in jsonschema.Draft202012Validator(schema).iter_errors(content)
  ]


def _raise(faults):
  if faults:
    raise SubmissionError("submission.json: " + "; ".join(sorted(faults)))


def check_names(model_key: str, version: str, card: ModelCard) -> None:
  """Checks what a model says of itself, before it is trained.

  Raises:
    SubmissionError: as `check_schema`.
  """
  schema = _schema()
  parts = {
    "model_key": model_key,
    "version": version,
    "card": json.loads(json.dumps(dataclasses.asdict(card))),
  }
  names = {k: schema["properties"][k] for k in parts}
  _raise(_faults({"properties": names, "$defs": schema["$defs"]}, parts))


def _beyond_schema(content):
  """Returns the faults that a schema cannot express."""
  faults = []
  for name in ("seed", "file", "sha256"):
    values = [p[name] for p in content["predictions"]]
    twice = sorted({str(v) for v in values if values.count(v) > 1})
    if twice:
      faults.append(
        f"predictions: {name} {', '.join(twice)} is there twice; each seed "
        "is a training run of its own (what is not trained has one)"
      )
  try:
    if datetime.date.fromisoformat(content["date"]).year > 2100:
      raise ValueError
  except ValueError:
    faults.append(f"date: {content['date']} is no date")
  if content["metric_version"] != METRIC_VERSION:
    faults.append(
      f"metric_version: {content['metric_version']}, but scores are of version "
      f"{METRIC_VERSION} here; claim them anew with this version"
    )
  return faults


def read_predictions(
  submission: Submission,
  task: Task,
  entry: Mapping[str, Any],
  trajectory_id: np.ndarray,
  particle_shape: tuple[int, int],
) -> Any:
  """Reads and checks one roll-out.

  Args:
    submission: names the files.
    task: that the roll-out must be for.
    entry: of `submission.content["predictions"]`.
    trajectory_id: `[B]` that the task has.
    particle_shape: (N, D) that the task has.

  Returns:
    The named tuple of arrays `[B, P, ...]` of the task's kind.

  Raises:
    SubmissionError: naming the file, the fault and what is expected.
  """
  name, content = entry["file"], _checked_bytes(submission, entry)
  batch = len(trajectory_id)
  kind = predictions.KINDS[task.kind]
  predicted = kind.shapes(batch, task.num_steps, particle_shape)
  shapes = {
    "trajectory_id": (batch,),
    "step": (task.num_steps,),
    **predicted,
    "diverged_at": (batch,),
  }
  arrays = _read_npz(content, name, shapes)
  if not np.array_equal(arrays["trajectory_id"], trajectory_id):
    raise SubmissionError(
      f"{name}: trajectory_id is not that of the task's trajectories, "
      f"{trajectory_id[0]}..{trajectory_id[-1]} in order"
    )
  if not np.array_equal(arrays["step"], np.arange(1, task.num_steps + 1)):
    raise SubmissionError(f"{name}: step is not 1..{task.num_steps}")
  prediction = kind.frames(**{name: arrays[name] for name in predicted})
  if not np.array_equal(
    arrays["diverged_at"], kind.first_non_finite(prediction)
  ):
    raise SubmissionError(
      f"{name}: diverged_at is not the index of the first NaN or infinite "
      "step of each trajectory (-1 where there is none)"
    )
  return prediction


def check_files(submission: Submission) -> None:
  """Checks that every file of predictions is there and unchanged.

  Cheap, so that it comes before anything is generated or computed.

  Raises:
    SubmissionError: naming the file and the fault.
  """
  for entry in submission.content["predictions"]:
    _checked_bytes(submission, entry)


def _checked_bytes(submission, entry):
  """Returns a file's content; what was hashed is what will be parsed."""
  name = entry["file"]
  path = submission.directory / name
  inside = path.resolve().is_relative_to(submission.directory.resolve())
  if path.is_symlink() or not inside or not path.is_file():
    raise SubmissionError(
      f"{name}: no such file inside the submission; links are not followed"
    )
  if path.stat().st_size == entry["bytes"] <= MAX_FILE_BYTES:
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() == entry["sha256"]:
      return content
  raise SubmissionError(
    f"{name}: size or SHA-256 differs from submission.json, or it is larger "
    f"than {MAX_FILE_BYTES} bytes; submit the file as it was written"
  )


def _read_npz(content, name, shapes):
  """Reads named arrays after checking what they would be."""
  try:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
      entries = {i.filename: i for i in archive.infolist()}
      if len(entries) != len(archive.infolist()):
        raise SubmissionError(f"{name}: holds one name twice")
      _check_names(name, {n.removesuffix(".npy") for n in entries}, shapes)
      arrays = {}
      for key, shape in shapes.items():
        entry = entries[f"{key}.npy"]
        dtype = _DTYPES.get(key, _PREDICTED)
        expected = int(np.prod(shape)) * dtype.itemsize
        # Before anything is unpacked: a small file may claim to be huge.
        if not 0 <= entry.file_size - expected <= 4096:
          raise SubmissionError(
            f"{name}: {key} unpacks to {entry.file_size} bytes; "
            f"{dtype} of shape {shape} takes {expected}"
          )
        with archive.open(entry) as file:
          arrays[key] = np.lib.format.read_array(
            io.BytesIO(file.read(entry.file_size)), allow_pickle=False
          )
        if arrays[key].dtype != dtype or arrays[key].shape != shape:
          raise SubmissionError(
            f"{name}: {key} is {arrays[key].dtype} of shape "
            f"{arrays[key].shape}; expected {dtype} of shape {shape}"
          )
  except SubmissionError:
    raise
  except Exception as error:
    # Whatever a broken or hostile archive provokes inside the readers.
    reason = re.sub(r"\s+", " ", str(error))[:200]
    raise SubmissionError(f"{name}: cannot be read as .npz: {reason}") from None
  return arrays


def _check_names(name, found, shapes):
  if found != set(shapes):
    raise SubmissionError(
      f"{name}: holds the arrays {sorted(found)[:20]}; expected exactly "
      f"{sorted(shapes)}"
    )


def _finite(text):
  """Parses a JSON number; Python's own parser lets NaN and 1e999 pass."""
  number = float(text)
  if not math.isfinite(number):
    raise ValueError(f"{text} is not a finite number")
  return number
