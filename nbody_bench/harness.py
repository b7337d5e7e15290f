"""One experiment: train a model on each seed, roll it out, score it, submit it.

Under the output directory: `seed_<k>/` with `config.json`, `checkpoints/`,
`metrics.jsonl`, `tensorboard/`, `weights.npz`, `training.json` and
`scores.json`, and one `submission/` over all seeds.
"""

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

import nbody_bench
from nbody_bench import (
  cold_start,
  equal_error,
  equivariance,
  evaluation,
  pipelines,
  plugins,
  predictions,
  rollouts,
  rotation_instability,
  saved_model,
  setups,
  structure_timing,
  submission_files,
  submissions,
  tables,
  timing,
  training,
  weights,
)
from nbody_bench.files import exclusive, read_json, replace_json
from nbody_bench.recipes import Recipe
from nbody_bench.validation_changes import differences

# Steps, seconds and parameters of a training that has ended.
_TRAINING = "training.json"


@dataclasses.dataclass(frozen=True)
class Settings:
  """What to run.

  Attributes:
    model: as `plugins.load_model` takes it.
    config: the model's settings, an instance of its `Config`.
    recipe: how it is trained.
    dataset: `name/config`.
    task: a key of `tasks.TASKS`.
    report_steps: of the task; empty for its default.
    seeds: one training run each.
    output_dir: gets everything.
    data_dir: where TFDS keeps its data; None for its default.
    resume: whether to go on in an output directory that has something.
    start_from: output directory of a run whose weights each seed begins with;
      None for new ones.
    checkpoint: whose weights are scored.
    timing: a key of `timing.PROTOCOLS`, or "none".
    metrics: for `scores.json`, beside those of the task.
    eval_batch_size: systems in one roll-out call; 0 to choose by N.
    instability_samples: structures and rotations that the rotation instability
      of forces is measured with.
    save_models: whether the submission holds the models too.
    version: of the submission.
    evaluate: whether to do more than train.
    schedule: when training reports and saves.

  Raises:
    ValueError: for what the submission could not hold.
  """

  model: str
  config: Any
  recipe: Recipe
  dataset: str
  task: str
  report_steps: tuple[int, ...]
  seeds: tuple[int, ...]
  output_dir: pathlib.Path
  data_dir: str | None
  resume: bool
  start_from: pathlib.Path | None
  checkpoint: str
  timing: str
  metrics: tuple[str, ...]
  eval_batch_size: int
  instability_samples: tuple[int, int]
  save_models: bool
  version: str
  evaluate: bool
  schedule: training.Schedule

  def __post_init__(self):
    """Refuses now what would fail after the training."""
    plugin = plugins.load_model(self.model)
    submissions.check_names(plugin.key, self.version, plugin.card)
    for name in self.metrics:
      evaluation.metric(name)
    if not self.seeds or len(set(self.seeds)) < len(self.seeds):
      raise ValueError(
        f"--seeds={','.join(map(str, self.seeds))}: give at least one, each "
        "once"
      )
    for seed in self.seeds if self.start_from else ():
      folder = self.start_from / f"seed_{seed}"
      config = dataclasses.asdict(self.config)
      # As they are, they are the weights of these settings alone.
      as_they_are = not self.recipe.train_steps
      weights.check(folder, self.model, config if as_they_are else None)
    if not self.recipe.train_steps and not self.start_from:
      raise ValueError(
        "--train_steps=0 rolls out weights that are there; say where by "
        "--start_from"
      )
    if len(self.instability_samples) != 2 or min(self.instability_samples) < 1:
      given = ",".join(map(str, self.instability_samples))
      raise ValueError(
        f"--instability_samples={given}: give a number of structures and one "
        "of rotations, both positive, such as 1000,100"
      )
    if min(self.seeds) < 0 or self.eval_batch_size < 0:
      raise ValueError("--seeds and --eval_batch_size must not be negative")


def run(settings: Settings) -> submissions.Submission | None:
  """Runs everything and prints the score table.

  Returns:
    The submission, None if there was to be no evaluation.

  Raises:
    ValueError: if the output directory holds another setting's run.
    InUseError: if another process works in it.
  """
  with exclusive(settings.output_dir):
    return _run(settings)


def _run(settings):
  _claim(settings)
  plugin = plugins.load_model(settings.model)
  problem, task = setups.subject(settings)
  _check(settings, plugin.card, task)
  truth = pipelines.load(
    settings.dataset, task.split, settings.data_dir, task.num_trajectories
  )
  truth = task.cut(truth).after(problem.num_context_frames)
  kind = predictions.KINDS[task.kind]
  scores: list[dict[str, Any]] = []
  shown: list[dict[str, Any]] = []  # what --metrics adds, too
  trained: list[dict[str, Any]] = []
  clock = symmetry = on_structures = None
  for seed in settings.seeds:
    directory = settings.output_dir / f"seed_{seed}"
    told = setups.told(settings, problem, seed)
    replace_json(directory / "config.json", _describe(settings, seed, told))
    model = setups.build(settings, told, seed)
    predictor = kind.predictor(model)
    trained.append(_train(settings, problem, task, model, seed, directory))
    if not settings.evaluate:
      continue
    predict = rollouts.compiled(predictor)
    prediction = _predict(settings, predict, truth.given, task)
    path = settings.output_dir / "submission"
    if settings.save_models:
      _save_model(settings, model, predict, truth.given, task, path, seed)
    submission_files.write_predictions(
      path / submissions.prediction_file(task, seed),
      truth.trajectory_id,
      prediction,
      task.kind,
    )
    score = evaluation.score(task, prediction, truth, problem.system)
    more = dataclasses.replace(task, metrics=settings.metrics)
    more = evaluation.score(more, prediction, truth, problem.system)
    every = {**score, "metrics": score["metrics"] | more["metrics"]}
    replace_json(directory / "scores.json", {"task": task.id, **every})
    scores.append(score)
    shown.append(every)
    if settings.timing == "none" or clock or on_structures:
      continue
    if task.kind == "motion":
      clock = _time(settings, predictor, problem, truth, prediction)
      symmetry = equivariance.measure(
        rollouts.compiled(predictor),
        truth.given,
        truth.trajectory.time[1] - truth.trajectory.time[0],
      )
    else:
      on_structures = structure_timing.measure(
        predict,
        truth.given,
        settings.eval_batch_size or rollouts.batch_size(truth.given),
        # Hundreds of calls of the model each: one is even enough.
        repeats=1 if task.kind == "relaxation" else 3,
      )
    if task.kind == "forces":
      instability = rotation_instability.measure(
        model, truth.given, *settings.instability_samples
      )
      symmetry = {"rotation_instability": instability}
  if not settings.evaluate:
    print(
      "trained, not evaluated: the same flags with --resume and without "
      "--noevaluate go on"
    )
    return None
  claims = evaluation.over_seeds(scores)
  submission = submissions.write(
    settings.output_dir / "submission",
    model_key=plugin.key,
    version=settings.version,
    card=plugin.card.for_task(
      task.kind, getattr(settings.config, "objective", "")
    ),
    task=task,
    config=dataclasses.asdict(settings.config),
    training={
      **trained[0],
      "seconds": float(np.mean([t["seconds"] for t in trained])),
      "device": timing.environment()["device"],
      "checkpoint": settings.checkpoint,
      "validate_every": settings.schedule.validate_every,
      "recipe": dataclasses.asdict(settings.recipe),
    },
    timing=clock,
    structure_timing=on_structures,
    equivariance=symmetry,
    seeds=settings.seeds,
    claims=claims,
    with_models=settings.save_models,
  )
  floor = evaluation.floor(task, truth, problem.system)
  replace_json(settings.output_dir / "floor.json", floor)
  print(
    tables.scores(task.id, {plugin.key: evaluation.over_seeds(shown)}, floor)
  )
  if clock:
    print(tables.clock(clock))
  if symmetry:
    print(tables.symmetry(symmetry))
  if on_structures:
    print(tables.structures(on_structures))
  print(f"submission: {submission.directory}")
  return submission


def _check(settings, card, task):
  """Refuses what would fail after the training."""
  evaluation.check(settings.metrics, task.kind)
  if settings.save_models and task.kind != "motion":
    raise ValueError(
      f"--save_models is for models of motion, and --task={settings.task} asks "
      f"for {task.kind}; leave it out"
    )
  trained = settings.recipe.train_steps > 0
  if trained and card.fixed_num_particles and settings.task == "unseen_n":
    raise ValueError(
      f"--task=unseen_n has other numbers of particles than the training, and "
      f"{settings.model} takes no other; choose another task or model"
    )


def _time(settings, simulator, problem, truth, prediction):
  cold = None
  if settings.timing == "full":
    cold = cold_start.measure(
      settings.model,
      dataclasses.asdict(settings.config),
      settings.dataset,
      settings.data_dir,
      prediction.position.shape[1],
    )
  clock = timing.measure(
    simulator, problem, truth.given, prediction, settings.timing, cold
  )
  return clock | {
    "equal_error": equal_error.measure(
      problem, truth.given, prediction, clock["rollout_seconds"]
    )
  }


def _claim(settings):
  """Refuses a directory that holds the results of another setting.

  What broke off before there was anything to keep is no result.
  """
  for path in sorted(settings.output_dir.glob("seed_*/config.json")):
    kept = (_TRAINING, "scores.json", "checkpoints/checkpoint")
    if not any((path.parent / name).is_file() for name in kept):
      continue
    if not settings.resume:
      raise ValueError(
        f"{path.parent} holds an earlier run; go on with --resume or choose "
        "another --output_dir"
      )
    _compare(path, _identity(settings))


def _compare(path, now):
  before = {k: v for k, v in read_json(path).items() if k in now}
  if before.get("model") != now["model"]:
    now = {**before, "model": now["model"]}  # what else differs follows
  found = " and another ".join(
    f"{name}: {then}, not {given}"
    for name, then, given in differences(before, now)
  )
  if found:
    raise ValueError(
      f"{path} was made with another {found}; give the same flags or choose "
      "another --output_dir"
    )


def _identity(settings):
  """Returns what all seeds and all parts of a resumed run share."""
  start = settings.start_from
  version = tfds.builder_cls(settings.dataset.partition("/")[0]).VERSION
  return json.loads(
    json.dumps(
      {
        "model": settings.model,
        "dataset": settings.dataset,
        "dataset_version": str(version),
        "task": settings.task,
        "start_from": str(start) if start else None,
        "config": dataclasses.asdict(settings.config),
        "recipe": dataclasses.asdict(settings.recipe),
      }
    )
  )


def _describe(settings, seed, problem):
  return {
    **_identity(settings),
    "statistics": dict(problem.statistics),
    "seed": seed,
    "checkpoint": settings.checkpoint,
    "nbody_bench": nbody_bench.__version__,
    "environment": timing.environment(),
  }


def _train(settings, problem, task, model, seed, directory):
  """Trains what has variables; returns facts for the submission."""
  setup = setups.make(settings, problem, task, model, seed)
  facts = {"steps": 0, "seconds": 0.0, **setup.facts}
  if not facts["num_parameters"] and len(settings.seeds) > 1:
    raise ValueError(
      f"{settings.model} has nothing to train, so that all seeds are the "
      "same; give one"
    )
  if setup.train_data is None or setup.validate is None:
    return facts
  facts |= training.train(
    model,
    settings.recipe,
    setup.train_data,
    setup.validate,
    directory,
    seed=seed,
    checkpoint=settings.checkpoint,
    schedule=settings.schedule,
    label=f"{settings.model} seed {seed}",
    num_context_frames=problem.num_context_frames,
  )
  if hasattr(model, "variables"):
    weights.save(directory / weights.FILE, model, facts["steps"])
  path = directory / _TRAINING
  # Resumed after its end, a training does no step that could be timed.
  before = read_json(path) if path.is_file() else {}
  replace_json(path, before | facts)
  return before | facts


def _save_model(settings, model, predict, truth, task, path, seed):
  """Writes a SavedModel that rolls out as many systems as were at a time."""
  size = settings.eval_batch_size or rollouts.batch_size(truth)
  some = truth.select(slice(0, min(size, len(truth.domain.box))))
  saved_model.write(
    path / submissions.model_folder(seed),
    model,
    predict,
    rollouts.tensors((some.frame(0), some.particles, some.domain)),
    tf.constant(
      predictions.KINDS[task.kind].times(truth, task.num_steps), tf.float32
    ),
  )


def _predict(settings, predict, truth, task):
  return rollouts.rollout(
    predict,
    truth.frame(0),
    truth.particles,
    truth.domain,
    predictions.KINDS[task.kind].times(truth, task.num_steps),
    settings.eval_batch_size or rollouts.batch_size(truth),
  ).state
