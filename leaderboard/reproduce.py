"""Runs a submitted model again and compares it with the submitted arrays.

What the board has computed itself is better than what it was given: an entry
whose SavedModels give the submitted roll-outs has the tier *reproduced*, and a
time that the board has measured.
"""

import pathlib
from typing import Any

import numpy as np

from nbody_bench import evaluation, saved_model, submission_files
from nbody_bench.leaderboard import model_scan, sandbox
from nbody_bench.leaderboard.cases import Case
from nbody_bench.states import State, map_arrays
from nbody_bench.submissions import SubmissionError

# Of the way that particles go in the first step (root mean square): rounding in
# another order is 10^4 times less, another model is not.
_FIRST_STEP = 1e-2
# Of each score. Motion is chaotic, so that late states of single trajectories
# differ by rounding alone, but not what they come to on average.
_SCORES = 0.1


def reproduce(case: Case, limits: sandbox.Limits) -> dict[str, Any]:
  """Runs the models of all seeds.

  Args:
    case: a submission with "models".
    limits: of each call.

  Returns:
    `first_step`, the largest difference in the first step over the way gone in
    it, `scores`, the largest relative difference of a score, and
    `seconds_per_step` of a batch, with its size.

  Raises:
    SubmissionError: naming the seed and what does not agree, or what a model is
      or does that it may not.
  """
  submission, task = case.submission, case.task
  if not sandbox.is_available():
    raise SubmissionError(
      "models: this machine has no namespaces to run them in (Linux with "
      "`unshare` is needed); enter without --reproduce"
    )
  models = {m["seed"]: m for m in submission.content.get("models", [])}
  uploaded = dict(zip(case.seeds, case.predictions, strict=True))
  missing = sorted(set(uploaded) - set(models))
  if missing:
    raise SubmissionError(
      f"models: none for seed {', '.join(map(str, missing))}; run with "
      "--save_models, or enter without --reproduce"
    )
  if task.kind != "motion":
    raise SubmissionError(f"models: a task of {task.kind} cannot be run again")
  worst = {"first_step": 0.0, "scores": 0.0}
  seconds = []
  for seed, given in sorted(uploaded.items()):
    folder = submission_files.checked_model(submission, models[seed])
    model_scan.check(folder)
    found, batch, taken = _rollout(folder, case.truth, task, limits)
    seconds.append(taken / task.num_steps)
    differences = _compare(found, given, case)
    for name, most in (("first_step", _FIRST_STEP), ("scores", _SCORES)):
      if not differences[name] <= most:
        raise SubmissionError(
          f"models: that of seed {seed} gives other {name.replace('_', ' ')} "
          f"than were submitted, by {differences[name]:.2g} where "
          f"{most:g} is allowed"
        )
      worst[name] = max(worst[name], differences[name])
  return worst | {
    "seconds_per_step": float(np.mean(seconds)),
    "batch": batch,
  }


def _rollout(folder, truth, task, limits):
  """Returns the model's states, its batch size and seconds for a batch."""
  data = truth.given
  systems = (data.frame(0), data.particles, data.domain)
  time = data.time[1 : task.num_steps + 1] - data.time[0]
  batch = _batch(folder)
  count = len(data.domain.box)
  index = np.arange(-(-count // batch) * batch).reshape(-1, batch)
  index = np.minimum(index, count - 1)
  some = map_arrays(lambda x: _single(x[index]), systems)
  found = sandbox.run(folder, saved_model.arrays(*some, _single(time)), limits)
  missing = {*State._fields, "seconds"} - set(found)
  if missing:
    raise SubmissionError(
      f"model: predict gives no {', '.join(sorted(missing))}"
    )
  states = (
    x.reshape(-1, *x.shape[2:])[:count]
    for x in (found[name] for name in State._fields)
  )
  return State(*states), batch, float(np.median(found["seconds"]))


def _compare(found, given, case):
  """Returns how far two roll-outs are apart; infinite for another shape."""
  if found.position.shape != given.position.shape:
    return {"first_step": np.inf, "scores": np.inf}
  truth, domain = case.truth, case.truth.given.domain
  start = truth.given.frame(0).position
  apart = domain.displacement(
    given.position[:, 0].astype(float), found.position[:, 0].astype(float)
  )
  way = domain.displacement(start, given.position[:, 0].astype(float))
  ratio = np.max(np.abs(apart)) / max(np.sqrt(np.mean(way**2)), 1e-12)
  scores = [
    evaluation.score(case.task, x, truth, case.problem.system)["metrics"]
    for x in (given, found)
  ]
  pairs = [
    (scores[0][name]["at"][k], scores[1][name]["at"][k])
    for name in scores[0]
    for k in scores[0][name]["at"]
  ]
  relative = [
    abs(one - other) / max(abs(one), abs(other), 1e-9) for one, other in pairs
  ]
  return {
    "first_step": float(ratio) if np.isfinite(ratio) else np.inf,
    "scores": float(max(relative)),
  }


def _batch(folder: pathlib.Path) -> int:
  """Returns B of the signature, read as data."""
  from tensorflow.core.protobuf import saved_model_pb2

  content = saved_model_pb2.SavedModel.FromString(
    (folder / "saved_model.pb").read_bytes()
  )
  for graph in content.meta_graphs:
    signature = graph.signature_def.get(saved_model.SIGNATURE)
    if signature and "position" in signature.inputs:
      size = signature.inputs["position"].tensor_shape.dim[0].size
      if 0 < size < 10_000:
        return int(size)
  raise SubmissionError(
    f"model: has no signature {saved_model.SIGNATURE!r} with an input "
    "'position' of fixed batch size"
  )


def _single(x):
  return x.astype(np.float32) if x.dtype.kind == "f" else x
