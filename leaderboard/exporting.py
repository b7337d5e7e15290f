"""Hands a task's initial states to whoever predicts without this package.

    OUT/
      states.npz         what a model is given
      submission.json    to be filled in: who, what, the files' sizes and hashes

`states.npz` has `trajectory_id` `[B]`, `time` `[P]` of the steps that are asked
for, counted from the state that is given, `position` and `velocity`
`[B, N, D]`, `box` `[B, D]` (infinite where open), `mass` `[B, N]` and whatever
else the particles have, float32. Predictions go into the files that
`submission.json` names: `trajectory_id` int64 `[B]`, `step` int32 `[P]` from 1,
`position` and `velocity` float32 `[B, P, N, D]`, and `diverged_at` int32 `[B]`,
the index of the first step that is not finite, or -1.
"""

import datetime
import io
import pathlib
from typing import Any

import numpy as np

from nbody_bench import pipelines, preparation, submissions, tasks
from nbody_bench.files import exclusive, replace_bytes, replace_json
from nbody_bench.metrics import METRIC_VERSION
from nbody_bench.predictions import KINDS
from nbody_bench.states import State


def export_states(
  task_id: str, data_dir: str | None, out: pathlib.Path
) -> dict[str, tuple[int, ...]]:
  """Writes the states and a `submission.json` to fill in.

  Args:
    task_id: such as `nbody_gravity/n20/rollout200`.
    data_dir: where TFDS keeps its data; generated if missing.
    out: folder, created if missing.

  Returns:
    Shapes of what was written, by name.

  Raises:
    ValueError: for an unknown task, or a folder that has a submission.
  """
  if (out / "submission.json").exists():
    raise ValueError(
      f"{out} has a submission.json, which may be filled in already; choose "
      "another --out"
    )
  dataset = task_id.rpartition("/")[0]
  if dataset.count("/") == 1:
    preparation.prepare(dataset, data_dir)
  task = tasks.from_id(task_id, data_dir)
  problem = pipelines.problem(dataset, data_dir)
  split = pipelines.load(dataset, task.split, data_dir, task.num_trajectories)
  given = task.cut(split).after(problem.num_context_frames).given
  arrays = {
    "trajectory_id": split.trajectory_id.astype(np.int64),
    "time": KINDS[task.kind].times(given, task.num_steps),
    **given.frame(0)._asdict(),
    "box": given.domain.box,
  }
  if given.domain.cell is not None:
    arrays["cell"] = given.domain.cell
  for name, value in given.particles._asdict().items():
    if isinstance(value, State):
      arrays |= {f"{name}_{k}": x for k, x in value._asdict().items()}
    elif value is not None:
      arrays[name] = value
  arrays = {k: _single(x) for k, x in arrays.items()}
  buffer = io.BytesIO()
  np.savez(buffer, **arrays)  # type: ignore[arg-type]
  with exclusive(out):
    replace_bytes(out / "states.npz", buffer.getvalue())
    replace_json(out / "submission.json", _to_fill_in(task))
  return {k: x.shape for k, x in arrays.items()}


def _to_fill_in(task: tasks.Task) -> dict[str, Any]:
  file = submissions.prediction_file(task, 0)
  return {
    "schema": 1,
    "metric_version": METRIC_VERSION,
    "model_key": "my_model",
    "version": "1",
    "card": {
      "name": "My model",
      "division": "learned-closed",
      "authors": [],
      "physics_given": [],
      "notes": "",
    },
    "task": task.id,
    "dataset_version": task.version,
    "date": datetime.date.today().isoformat(),
    "config": {},
    "training": {"num_parameters": 0, "steps": 0, "seconds": 0, "device": ""},
    "predictions": [{"seed": 0, "file": file, "bytes": 0, "sha256": ""}],
    "claims": {},
  }


def _single(x):
  return x.astype(np.float32) if x.dtype == np.float64 else x
