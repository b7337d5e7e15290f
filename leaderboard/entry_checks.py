"""What the files of an entry must be for the board to be built from them.

The board writes them itself; but they lie in a repository, where anybody may
propose others.
"""

import functools
import io
import json
import math
import pathlib
import re
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import jsonschema
import numpy as np

from nbody_bench.leaderboard import resampling
from nbody_bench.submissions import SubmissionError

_MAX_JSON_BYTES = 2**24
_MAX_ARRAY_BYTES = 2**26
_MAX_ARRAYS = 200


def read_scores(path: pathlib.Path) -> dict[str, Any]:
  """Returns the content of `scores.json`, checked against its schema.

  Raises:
    SubmissionError: naming every fault.
    OSError: if it cannot be read.
  """
  if path.stat().st_size > _MAX_JSON_BYTES:
    raise SubmissionError(f"{path} is larger than {_MAX_JSON_BYTES} bytes")
  try:
    content = json.loads(path.read_bytes())
  except (ValueError, RecursionError) as error:
    raise SubmissionError(f"{path} is not valid JSON: {error}") from None
  faults = [
    f"{'.'.join(map(str, e.absolute_path)) or 'top level'}: {e.message[:300]}"
    for e in _validator().iter_errors(content)
  ]
  if not faults:
    faults = [*_not_finite(content), *_uneven(content)]
  if faults:
    raise SubmissionError(f"{path}: {'; '.join(sorted(faults)[:20])}")
  return content


def read_arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
  """Returns the arrays of an `.npz` file of an entry.

  Raises:
    SubmissionError: if it is no such file, or unpacks to too much.
    OSError: if it cannot be read.
  """
  content = path.read_bytes()
  try:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
      entries = archive.infolist()
      size = sum(entry.file_size for entry in entries)
      if len(entries) > _MAX_ARRAYS or size > _MAX_ARRAY_BYTES:
        raise ValueError(
          f"{len(entries)} arrays of {size} bytes; at most {_MAX_ARRAYS} of "
          f"{_MAX_ARRAY_BYTES}"
        )
      arrays = {}
      for entry in entries:
        with archive.open(entry) as file:
          arrays[entry.filename.removesuffix(".npy")] = (
            np.lib.format.read_array(
              io.BytesIO(file.read(entry.file_size)), allow_pickle=False
            )
          )
  except Exception as error:
    # Whatever a broken or hostile archive provokes inside the readers.
    reason = re.sub(r"\s+", " ", str(error))[:200]
    raise SubmissionError(f"{path}: cannot be read: {reason}") from None
  return arrays


def check_values(
  values: Mapping[str, np.ndarray], scores: Mapping[str, Any], num_seeds: int
) -> None:
  """Checks that values are of the scores.

  Args:
    values: of `values.npz`.
    scores: of `scores.json`.
    num_seeds: of the submission.

  Raises:
    SubmissionError: naming what is not.
  """
  task = scores["task"]
  expected = {
    resampling.column(name, k)
    for name in scores["scores"]
    for k in task["report_steps"]
  }
  if set(values) != expected:
    raise SubmissionError(
      f"values.npz: holds {sorted(values)[:20]}; expected {sorted(expected)}"
    )
  shape = (num_seeds, task["num_trajectories"])
  for name, array in values.items():
    if array.shape != shape or array.dtype != np.float32:
      raise SubmissionError(
        f"values.npz: {name} is {array.dtype} of shape {array.shape}; expected "
        f"float32 of shape {shape}"
      )
    if np.isnan(array).any() or (array == np.inf).any():
      raise SubmissionError(f"values.npz: {name} is not finite")


def check_fingerprint(
  arrays: Mapping[str, np.ndarray], num_seeds: int
) -> np.ndarray:
  """Returns the array of `fingerprint.npz`.

  Raises:
    SubmissionError: if it is none.
  """
  found = arrays.get("fingerprint")
  if (
    found is None
    or found.dtype != np.float32
    or found.ndim != 4
    or len(found) != num_seeds
  ):
    raise SubmissionError(
      "fingerprint.npz: expected a float32 array 'fingerprint' of 4 axes, the "
      f"first of {num_seeds} seeds"
    )
  return found


def check_preview(arrays: Mapping[str, np.ndarray], is_motion: bool) -> None:
  """Checks the roll-outs for the player.

  Raises:
    SubmissionError: naming the array that is not of the others' shape.
  """
  names = {"time", "trajectory_id", "seed", "box", "prediction", "truth"}
  if not names <= set(arrays) <= names | {"leapfrog"}:
    if not arrays and not is_motion:
      return
    raise SubmissionError(
      f"preview.npz: holds {sorted(arrays)[:20]}; expected {sorted(names)}, "
      "and maybe 'leapfrog'"
    )
  shape = arrays["prediction"].shape
  if len(shape) != 4 or 0 in shape:
    raise SubmissionError(f"preview.npz: prediction is of shape {shape}")
  expected = {
    "time": shape[1:2],
    "trajectory_id": shape[:1],
    "seed": shape[:1],
    "box": (shape[0], shape[3]),
    "truth": shape,
    "leapfrog": shape[1:],
  }
  for name, array in arrays.items():
    wanted = expected.get(name, shape)
    if array.shape != wanted or array.dtype.kind not in "fiu":
      raise SubmissionError(
        f"preview.npz: {name} is {array.dtype} of shape {array.shape}; "
        f"expected numbers of shape {wanted}"
      )
    if array.dtype.kind == "f" and name in ("trajectory_id", "seed"):
      raise SubmissionError(f"preview.npz: {name} is not of integers")


def _not_finite(content: Any, path: str = "") -> list[str]:
  """Returns where numbers are NaN or infinite: a schema lets NaN pass."""
  if isinstance(content, Mapping):
    items: Sequence[tuple[Any, Any]] = list(content.items())
  elif isinstance(content, list):
    items = list(enumerate(content))
  else:
    is_number = isinstance(content, float) and not math.isfinite(content)
    return [f"{path}: {content} is not finite"] if is_number else []
  return [f for k, v in items for f in _not_finite(v, f"{path}.{k}".strip("."))]


def _uneven(content):
  """Returns the lists and steps that are not those of the task."""
  task = content["task"]
  steps = {str(k) for k in task["report_steps"]}
  faults = []
  for name, score in content["scores"].items():
    for part in ("at", "per_seed"):
      if set(score[part]) != steps:
        faults.append(f"scores.{name}.{part}: steps are not {sorted(steps)}")
    for part in (score["curve"], *score["band"]):
      if len(part) != task["num_steps"]:
        faults.append(f"scores.{name}: a curve has {len(part)} steps")
  for name, score in content["floor"].items():
    if set(score["at"]) != steps or len(score["curve"]) != task["num_steps"]:
      faults.append(f"floor.{name}: steps are not those of the task")
  if len(content["survival"]) not in (0, task["num_steps"]):
    faults.append(f"survival: has {len(content['survival'])} steps")
  if len(task["times"]) != (task["num_steps"] * (task["kind"] == "motion")):
    faults.append(f"task.times: has {len(task['times'])} steps")
  return faults


def max_length(name: str) -> int:
  """Returns how many characters a text of `scores.json` may have."""
  return _validator().schema["properties"][name]["maxLength"]


@functools.cache
def _validator():
  path = pathlib.Path(__file__).parent / "scores_schema.json"
  return jsonschema.Draft202012Validator(json.loads(path.read_text()))
