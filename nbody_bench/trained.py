"""A finished training run, read from its folder."""

import dataclasses
import json
import pathlib
from typing import Any, NamedTuple

import sonnet as snt
import tensorflow as tf

from nbody_bench import pipelines, plugins, stored, training, updates
from nbody_bench.problems import Problem
from nbody_bench.recipes import Recipe
from nbody_bench.run_directory import RunDirectory

# What is read of a run's config.json.
_DESCRIPTION = (
  "model",
  "dataset",
  "config",
  "recipe",
  "seed",
  "checkpoint",
  "statistics",
)


class Run(NamedTuple):
  """What `config.json` says, and the model it describes, not yet restored.

  Attributes:
    folder: the seed folder.
    description: the file.
    problem: of the data set.
    recipe: of the training.
    model: new; its variables are made by its first call.
  """

  folder: pathlib.Path
  description: dict[str, Any]
  problem: Problem
  recipe: Recipe
  model: Any


def read(folder: pathlib.Path, data_dir: str | None) -> Run:
  """Returns the run in a seed folder such as `out/x/seed_0`.

  Raises:
    ValueError: naming what is missing or damaged, and the mend.
  """
  description = _description(folder)
  dataset = description["dataset"]
  _check_prepared(dataset, data_dir)
  plugin = plugins.load_model(description["model"])
  try:
    config = _made(plugin.config, description["config"])
    recipe = _made(Recipe, description["recipe"])
  except (TypeError, AttributeError) as error:
    raise ValueError(
      f"{folder / 'config.json'} does not fit the model "
      f"{description['model']} ({error}); use the version of the suite that "
      "trained it"
    ) from None
  problem = dataclasses.replace(
    pipelines.problem(dataset, data_dir), statistics=description["statistics"]
  )
  model = plugin.build(config, problem)
  return Run(folder, description, problem, recipe, model)


def restore(run: Run) -> tuple[Any, int, dict[str, int]]:
  """Loads weights and optimiser of the checkpoint that the run was scored by.

  Args:
    run: whose model has been called once.

  Returns:
    The optimiser, steps done by then, and the sizes of the training program.

  Raises:
    ValueError: if there is no checkpoint, or it is damaged or of another model.
  """
  tf.random.set_global_generator(tf.random.Generator.from_seed(0))
  optimizer = snt.optimizers.Adam(tf.Variable(0.0, trainable=False))
  updates.make_slots(optimizer, training.trainable_variables(run.model))
  directory = RunDirectory(run.folder, model=run.model, optimizer=optimizer)
  path = directory.last_checkpoint
  if not path:
    raise ValueError(
      f"{run.folder / 'checkpoints'} holds no checkpoint; take the seed folder "
      "of a run that has saved one (python -m nbody_bench.run --resume goes on "
      "with one that was broken off)"
    )
  directory.load()
  step = directory.step
  if run.description["checkpoint"] == "best":
    step = directory.load_best()
  return optimizer, step, directory.sizes


def _description(folder):
  path = folder / "config.json"
  mend = "take the file of another seed of that run, its seed changed"
  if not path.is_file():
    seeds = sorted(p.parent for p in folder.glob("seed_*/config.json"))
    guess = f"; did you mean {seeds[0]}?" if seeds else ""
    raise ValueError(
      f"{path} is missing; the folder must be that of a run's seed, such as "
      f"out/x/seed_0{guess}"
    )
  try:
    description = json.loads(path.read_text())
    missing = [k for k in _DESCRIPTION if k not in description]
  except (ValueError, TypeError) as error:
    raise ValueError(f"{path} is damaged ({error}); {mend}") from None
  if missing:
    raise ValueError(f"{path} lacks {', '.join(missing)}; {mend}")
  return description


def _check_prepared(dataset, data_dir):
  plugins.check_dataset(dataset)
  builder = stored.builder(dataset, data_dir)
  if not builder.is_prepared():
    raise ValueError(
      f"{dataset} is not in {builder.data_dir}, and its states are needed as "
      "example and to choose sizes; say where it is by --data_dir, or make it: "
      f"python -m nbody_bench.prepare --dataset={dataset}"
    )


def _made(kind, values):
  """Returns a dataclass from JSON, which has no tuples."""
  return kind(
    **{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
  )
