"""The arrays of a submission, and its models: written, and read with suspicion.

The arrays of a `.npz` are `trajectory_id` int64 `[B]`, `step` int32 `[P]`,
those of the task's kind (see `predictions`) in float32, such as `position` and
`velocity` `[B, P, N, D]` with every step of the task, and `diverged_at` int32
`[B]`, the first step index that is not finite or -1.
Nothing is ever unpickled.
"""

import hashlib
import io
import pathlib
import re
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from nbody_bench import predictions
from nbody_bench.files import folder_sha256, replace_bytes
from nbody_bench.submissions import Submission, SubmissionError
from nbody_bench.tasks import Task

_DTYPES = {
  "trajectory_id": np.dtype(np.int64),
  "step": np.dtype(np.int32),
  "diverged_at": np.dtype(np.int32),
}
_PREDICTED = np.dtype(np.float32)
MAX_FILE_BYTES = 2**27  # tasks keep files below half of this


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
  if folder_sha256(folder) != entry["sha256"]:
    raise SubmissionError(
      f"{entry['folder']}: its files are not those of submission.json; submit "
      "the folder as it was written"
    )
  return folder
