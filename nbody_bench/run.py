r"""Trains, rolls out, scores and times a model, and writes a submission.

  python -m nbody_bench.run --model=delta_gn --dataset=nbody_gravity/n20 \
    --seeds=0,1,2 --output_dir=DIR

Missing data are generated first. `--config.<field>` sets a field of the model's
`Config`, `--recipe.<field>` one of its training recipe; `--model=NAME --help`
lists them.
"""

import pathlib
import sys

from absl import flags

from nbody_bench import command_line

_SHORT = ("train_steps", "batch_size")  # recipe fields with flags of their own


def define(values, argv):
  """Defines the flags; those of the model depend on `--model`."""
  options = {"flag_values": values}
  flags.DEFINE_string(
    "model",
    None,
    "a file of baselines/ by name, the path of such a file, or path/to/file.py:"
    "ClassName",
    required=True,
    **options,
  )
  flags.DEFINE_string(
    "dataset", None, "such as nbody_gravity/n20", required=True, **options
  )
  flags.DEFINE_string(
    "output_dir", None, "gets everything", required=True, **options
  )
  from nbody_bench.tasks import TASKS

  flags.DEFINE_enum(
    "task", "rollout", sorted(TASKS), "what to predict", **options
  )
  flags.DEFINE_list(
    "rollout_steps",
    [],
    "steps to report, the longest is the horizon; default 20,200",
    **options,
  )
  flags.DEFINE_list("seeds", ["0"], "one training run each", **options)
  flags.DEFINE_integer("train_steps", None, "default: the recipe's", **options)
  flags.DEFINE_integer("batch_size", None, "default: the recipe's", **options)
  flags.DEFINE_string("data_dir", None, "where TFDS keeps its data", **options)
  flags.DEFINE_bool(
    "resume", False, "go on in an output_dir that holds a run", **options
  )
  flags.DEFINE_string(
    "start_from",
    None,
    "output_dir of another run, whose weights each seed begins with; with "
    "--train_steps=0 they are rolled out as they are, by any integrator",
    **options,
  )
  flags.DEFINE_enum(
    "checkpoint", "last", ["last", "best"], "weights to score", **options
  )
  flags.DEFINE_integer(
    "validate_every",
    1000,
    "steps between validations",
    lower_bound=1,
    **options,
  )
  flags.DEFINE_integer(
    "checkpoint_every",
    1000,
    "steps between checkpoints",
    lower_bound=1,
    **options,
  )
  flags.DEFINE_list(
    "metrics", [], "for scores.json, beside those of the task", **options
  )
  flags.DEFINE_bool(
    "evaluate",
    True,
    "roll out, score and time too; --noevaluate trains only",
    **options,
  )
  flags.DEFINE_enum(
    "timing",
    "quick",
    ["none", "quick", "full"],
    "quick is indicative",
    **options,
  )
  flags.DEFINE_integer(
    "eval_batch_size", 0, "systems in a roll-out call; 0: by N", **options
  )
  flags.DEFINE_list(
    "instability_samples",
    ["20", "10"],
    "structures and rotations to measure the rotation instability of forces "
    "with; published 1000,100",
    **options,
  )
  flags.DEFINE_bool(
    "save_models",
    False,
    "put a SavedModel of each seed into the submission, which the leaderboard "
    "can run again",
    **options,
  )
  flags.DEFINE_string("version", "1", "of the submission", **options)
  model = _value_of("model", argv)
  if model:
    from nbody_bench import plugins

    plugin = plugins.load_model(model)
    command_line.define_dataclass(values, "config", plugin.config)
    command_line.define_dataclass(
      values, "recipe", type(plugin.recipe), leave_out=_SHORT
    )
    for name, value in vars(plugin.recipe).items():
      if name not in _SHORT:
        values[f"recipe.{name}"].default = value
        values[f"recipe.{name}"].value = value


def _value_of(flag, argv):
  """Reads a flag before the others are defined; the last one counts."""
  found = None
  for i, text in enumerate(argv):
    name, _, value = text.lstrip("-").partition("=")
    if text.startswith("-") and name == flag:
      found = value or next(iter(argv[i + 1 :]), "")
  return found


def settings(values, rest):
  """Returns the `harness.Settings` of the flags.

  Raises:
    ValueError: for what is no flag, and for values that do not go together.
  """
  from nbody_bench import harness, plugins, training

  if rest:
    raise ValueError(f"arguments not understood: {' '.join(rest)}")
  if not values.output_dir:
    raise ValueError(
      "--output_dir= is empty; name the folder that gets everything, such as "
      "--output_dir=out"
    )
  plugin = plugins.load_model(values.model)
  recipe = plugin.recipe
  return harness.Settings(
    model=values.model,
    config=command_line.from_flags(values, "config", plugin.config),
    recipe=command_line.from_flags(
      values,
      "recipe",
      type(recipe),
      **{
        name: getattr(recipe, name)
        if values[name].value is None
        else values[name].value
        for name in _SHORT
      },
    ),
    dataset=values.dataset,
    task=values.task,
    report_steps=command_line.integers("--rollout_steps", values.rollout_steps),
    seeds=command_line.integers("--seeds", values.seeds),
    output_dir=pathlib.Path(values.output_dir),
    data_dir=values.data_dir,
    resume=values.resume,
    start_from=values.start_from and pathlib.Path(values.start_from),
    checkpoint=values.checkpoint,
    timing=values.timing,
    metrics=tuple(values.metrics),
    eval_batch_size=values.eval_batch_size,
    instability_samples=command_line.integers(
      "--instability_samples", values.instability_samples
    ),
    save_models=values.save_models,
    version=values.version,
    evaluate=values.evaluate,
    schedule=training.Schedule(
      validate_every=values.validate_every,
      checkpoint_every=values.checkpoint_every,
    ),
  )


def run(values, rest):
  """Runs the command."""
  from nbody_bench import harness

  harness.run(settings(values, rest))


def main(argv=None):
  """Entry point; returns the exit code."""
  return command_line.run(run, define, argv, __doc__)


if __name__ == "__main__":
  sys.exit(main())
