"""Entries that are copies: of a file, of errors, of one seed.

The errors of a prediction are its fingerprint: numbers of fixed trajectories,
steps and particles, drawn by the name of the data set, so that twins of
`test_symmetry` are looked at beside the trajectories that they are twins of.
"""

import itertools
import zlib

import numpy as np

from nbody_bench import predictions as kinds
from nbody_bench.leaderboard.evidence import Evidence, finding
from nbody_bench.pipelines import Split
from nbody_bench.states import Forces, State
from nbody_bench.tasks import Task

_TRAJECTORIES, _STEPS, _PARTICLES = 8, 4, 6
# Twins are of the first trajectories.
_FIRST_TRAJECTORIES = 32
# Distance of errors that are correlated by 0.999. One training on two
# processors: 0.002; two seeds: 0.99; leapfrog with 2 and 4 steps: 0.78.
_ALIKE = 0.045
# Seeds whose errors are mostly those of the integrator are apart by 0.008.
_ONE_TRAINING = 1e-3
# Of so many numbers the direction tells whose errors they are, whatever they
# are multiplied by: unlike models of a data set are apart by 0.05 and more. Of
# one oscillator it is the phase that is off, in all models: two numbers.
_DIRECTION = 8
# Errors so close to those of `_idle` are alike in all that has learned nothing.
_IDLE = 0.2
# Above the label error, where errors are a predictor's own.
_OWN = 20.0
_ROUNDING = 1e-6
# Networks of different seeds are never the same, a number that is fitted is.
_NETWORK = 100
# The error on twins over that on what they are twins of.
_TWINS = 10.0
# Versions of a model on one task, before it is said; of the same settings,
# before it is refused.
_MANY_VERSIONS, _MOST_VERSIONS = 5, 20


def fingerprint(task: Task, predictions, truth: Split) -> np.ndarray:
  """Returns errors of a few trajectories, steps and particles.

  Args:
    task: that the predictions are for.
    predictions: arrays `[B, P, ...]` of the task's kind, one for each seed.
    truth: the task's trajectories.

  Returns:
    Float32 `[seeds, M, K, n]`: errors of all coordinates of a few particles at
    K steps of M trajectories; NaN where a prediction is not finite.
  """
  kind = kinds.KINDS[task.kind]
  aligned = kind.aligned(truth.trajectory, task.num_steps)
  source = aligned.state if task.kind != "forces" else aligned
  batch, num_particles = aligned.particles.mass.shape
  rng = np.random.default_rng(zlib.crc32(task.dataset.encode()))
  size = min(batch, _FIRST_TRAJECTORIES)
  rows = np.sort(rng.permutation(size)[:_TRAJECTORIES])
  steps = np.unique(
    np.linspace(task.num_steps / _STEPS, task.num_steps, _STEPS).astype(int)
  )
  steps = steps[steps > 0] - 1
  some = rng.permutation(num_particles)[:_PARTICLES]
  domain = aligned.select(rows).domain
  result = []
  for prediction in predictions:
    parts = []
    for name in kind.judged:
      label = getattr(source, name)[rows][:, steps + 1][:, :, some]
      own = getattr(prediction, name)[rows][:, steps][:, :, some]
      own = own.astype(np.float64)
      own[~np.isfinite(own)] = np.nan
      with np.errstate(all="ignore"):
        error = (
          domain.displacement(label, own) if name == "position" else own - label
        )
      parts.append(error.reshape(len(rows), len(steps), -1))
    result.append(np.concatenate(parts, -1))
  return np.stack(result).astype(np.float32)


def distance(one: np.ndarray, other: np.ndarray, counts: np.ndarray) -> float:
  """Returns how far two errors are from one another.

  The sine of the angle between them: whoever moves another's predictions
  towards the labels has the same errors, only smaller. Of few numbers the
  distance over the size.

  Args:
    one: `[M, K, n]`.
    other: likewise.
    counts: `[M, K]`, where errors are a predictor's own.

  Returns:
    The median over trajectories and steps; infinity where too few count.
  """
  with np.errstate(all="ignore"):
    if one.shape[-1] < _DIRECTION:
      apart = _size(one - other) / np.maximum(_size(one), _size(other))
    else:
      cosine = np.mean(one * other, -1) / (_size(one) * _size(other))
      apart = np.sqrt(np.maximum(0, 1 - cosine**2))
  counts = counts & np.isfinite(apart)
  if not np.mean(counts) >= 0.25:
    return float("inf")
  return float(np.median(apart[counts]))


def copied_files(evidence: Evidence) -> list[dict[str, str]]:
  """Finds files that are on the board already."""
  own = _hashes(evidence)
  found = []
  for other in evidence.others:
    if own & set(other.hashes):
      found.append(_duplicate(evidence, other.key, "holds a file of", ""))
  return found


def copied_errors(evidence: Evidence) -> list[dict[str, str]]:
  """Finds the entry whose errors it has, if any."""
  own = _fingerprint(evidence).astype(float)
  counts = _counts(evidence)
  closest, key = float("inf"), ""
  hashes = _hashes(evidence)
  for other in evidence.others:
    if not _same_task(evidence, other) or other.fingerprint is None:
      continue
    if hashes & set(other.hashes):
      continue  # a copied file, which is said already
    if other.fingerprint.shape[1:] != own.shape[1:]:
      continue
    for one, another in itertools.product(own, other.fingerprint.astype(float)):
      apart = distance(one, another, counts(one) & counts(another))
      closest, key = min((closest, key), (apart, other.key))
  if closest > _ALIKE:
    return []
  detail = f" but for {100 * closest:.2g} %, or in proportion to them"
  return [_duplicate(evidence, key, "has the errors of", detail)]


def copied_seeds(evidence: Evidence) -> list[dict[str, str]]:
  """Finds seeds that are one training.

  Where training has one end, whatever it begins with, honest seeds are alike:
  they tell nothing that a single one does not.
  """
  is_network = evidence.content["training"]["num_parameters"] >= _NETWORK
  counts, found = _counts(evidence), []
  pairs = itertools.combinations(
    zip(
      evidence.content["predictions"],
      evidence.predictions,
      _fingerprint(evidence).astype(float),
      strict=True,
    ),
    2,
  )
  for (one, first, errors), (other, second, others) in pairs:
    same = all(
      np.array_equal(a, b, equal_nan=True)
      for a, b in zip(first, second, strict=True)
    )
    apart = distance(errors, others, counts(errors) & counts(others))
    if same or apart < _ONE_TRAINING:
      found.append(
        finding(
          "copied seed",
          "reject" if same and is_network else "unranked",
          f"seeds {one['seed']} and {other['seed']} are "
          f"{'one roll-out' if same else 'alike, as one training is'}; each "
          "seed is a training run of its own",
        )
      )
  return found


def broken_symmetry(evidence: Evidence) -> list[dict[str, str]]:
  """Finds what knows the test set and not its mirror images.

  Beside the same version's entry for the task that the twins are of. In a
  periodic box initial states are as likely as their twins; elsewhere they may
  not be, and a model without the symmetry may honestly fail: a flag.
  """
  if evidence.task.name != "symmetry":
    return []
  own = _fingerprint(evidence)
  model, version = (evidence.content[k] for k in ("model_key", "version"))
  name = evidence.task.id.replace("/symmetry", "/rollout").replace("/", "-")
  is_closed = np.isfinite(evidence.truth.trajectory.domain.box).all()
  for other in evidence.others:
    if other.key != f"{model}/{version}/{name}" or other.fingerprint is None:
      continue
    if other.fingerprint.shape[1:] != own.shape[1:]:
      continue
    with np.errstate(all="ignore"):
      ratio = _size(own.astype(float)) / np.maximum(
        _size(other.fingerprint[:1].astype(float)), _ROUNDING
      )
    jump = float(np.median(np.nan_to_num(ratio, nan=1.0)))
    if jump > _TWINS:
      return [
        finding(
          "lookup table",
          "reject" if is_closed else "flag",
          f"errors on turned and mirrored twins are {jump:.2g} times those on "
          "the trajectories that they are twins of: it knows these and not the "
          "law. Train on the training split alone",
        )
      ]
  return []


def many_versions(evidence: Evidence) -> list[dict[str, str]]:
  """Finds models that are tuned on the board.

  Versions that differ in the settings of the model may be a study of its parts,
  and are a flag. Many of the same settings are a search among rates, steps and
  seeds.
  """
  model, config = (evidence.content[k] for k in ("model_key", "config"))
  versions = [
    other
    for other in evidence.others
    if other.key.split("/")[0] == model and _same_task(evidence, other)
  ]
  count = 1 + len(versions)
  alike = 1 + sum(other.config == config for other in versions)
  if count <= _MANY_VERSIONS:
    return []
  return [
    finding(
      "tuned on the board",
      "reject" if alike > _MOST_VERSIONS else "flag",
      f"this is version number {count} of {model} for this task, and number "
      f"{alike} with these settings, of at most {_MOST_VERSIONS}; choose "
      "settings on the validation split",
    )
  ]


def _hashes(evidence):
  return {p["sha256"] for p in evidence.content["predictions"]}


def _fingerprint(evidence):
  return fingerprint(evidence.task, evidence.predictions, evidence.truth)


def _size(errors):
  return np.sqrt(np.mean(errors**2, -1))


def _counts(evidence):
  """Returns which errors `[M, K]` tell predictors apart, a function of them."""
  task, truth = evidence.task, evidence.truth
  (idle,) = fingerprint(task, [_idle(task, truth)], truth).astype(float)
  floor = _ROUNDING
  if evidence.is_stepped:
    # Labels that are off by their error, in each number.
    trajectory = truth.trajectory
    label = truth.label_error[:, 1 : task.num_steps + 1, None, None]
    off = State(
      *(x[:, 1 : task.num_steps + 1] + label for x in trajectory.state)
    )
    own = np.max(np.abs(fingerprint(task, [off], truth)[0]), -1)
    floor = np.maximum(_OWN * own.astype(float), _ROUNDING)

  def counts(errors):
    with np.errstate(all="ignore"):
      apart = _size(errors - idle) / np.maximum(_size(errors), _size(idle))
    return (_size(errors) > floor) & (apart > _IDLE)

  return counts


def _idle(task, truth):
  """Returns what is predicted where nothing was learned.

  Free flight; of forces none; of structures to be relaxed, themselves.
  """
  aligned = kinds.KINDS[task.kind].aligned(truth.trajectory, task.num_steps)
  if task.kind == "forces":
    force = np.zeros_like(aligned.force[:, 1:])
    return Forces(force, np.zeros(force.shape[:2]))
  position, velocity = (x[:, :1] for x in aligned.state)
  if task.kind == "relaxation":
    velocity = np.zeros_like(velocity)
  time = (aligned.time[1:] - aligned.time[0])[None, :, None, None]
  way = time * velocity
  return State(aligned.domain.wrap(position + way), velocity + 0 * way)


def _duplicate(evidence, key, relation, detail):
  """Classical methods are alike, and so are versions of one model."""
  is_own = key.split("/")[0] == evidence.content["model_key"]
  harmless = is_own or evidence.division == "classical"
  return finding(
    "duplicate",
    "flag" if harmless else "reject",
    f"it {relation} {key}{detail}, which was there before",
  )


def _same_task(evidence, other):
  return other.key.split("/")[-1] == evidence.task.id.replace("/", "-")
