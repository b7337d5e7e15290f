r"""Writes a trained model as XLA programs that run without TensorFlow.

  python -m nbody_bench.export --checkpoint=out/x/seed_0 --out=DIR

Two programs, those that `run` executes: a roll-out (`rollouts.Compiled`) and
several optimiser steps (`updates.Updates`), as unoptimised HLO, for any PJRT
runtime to compile for its device. Beside them the weights, a signature, and
inputs with the outputs that TensorFlow gave for them. DIR/README.md says how to
run them; `benchmarks/exported.py` does so in JAX.
"""

import dataclasses
import json
import os
import pathlib
import shutil
import sys
from typing import Any, NamedTuple

import numpy as np
from absl import flags

import nbody_bench
from nbody_bench import command_line, files
from nbody_bench.states import (
  OF_SYSTEM,
  Domain,
  Particles,
  State,
  Trajectory,
  map_arrays,
)

# Batches of states that the roll-out is given room for.
_MEASURED = 4
# Training windows come from so many trajectories: all of them may not fit in
# memory, and a few show what is needed.
_TRAIN_TRAJECTORIES = 16
# What is read of a run's config.json.
_DESCRIPTION = ("model", "dataset", "config", "recipe", "seed", "checkpoint")
_DTYPES = {
  "PRED": "bool",
  "S32": "int32",
  "S64": "int64",
  "U32": "uint32",
  "U64": "uint64",
  "F16": "float16",
  "BF16": "bfloat16",
  "F32": "float32",
  "F64": "float64",
}


@dataclasses.dataclass(frozen=True)
class Settings:
  """What to export.

  Attributes:
    checkpoint: a run's seed folder, with `config.json` and `checkpoints/`.
    out: folder to write, absent or empty.
    data_dir: where TFDS keeps its data; None for its default.
    num_particles: N; None for that of the data set.
    batch_size: systems in a roll-out.
    num_steps: of the roll-out, one time step of the data set each.
    train_batch_size: windows in a batch; None for the recipe's.
  """

  checkpoint: pathlib.Path
  out: pathlib.Path
  data_dir: str | None = None
  num_particles: int | None = None
  batch_size: int = 1
  num_steps: int = 20
  train_batch_size: int | None = None


class _Run(NamedTuple):
  """A trained model as its run left it: weights, slots, steps done."""

  description: dict[str, Any]
  problem: Any
  recipe: Any
  model: Any
  optimizer: Any
  update: Any  # `updates.Updates`
  step: int
  test: Trajectory  # `[B, T, N, D]`, to roll out from


class _Program(NamedTuple):
  """A `tf.function`, and one call of it that found enough room."""

  function: Any
  arguments: dict[str, Any]
  results: dict[str, Any]
  sizes: dict[str, int]
  steps: int


def export(settings: Settings) -> None:
  """Writes the folder, whole or not at all.

  Raises:
    ValueError: if the output folder is not empty, the run cannot be read, its
      data are not prepared, or a program would not be portable.
    CapacityError: if the model's roll-out needs more room than memory has.
  """
  out = settings.out
  if out.exists() and (not out.is_dir() or any(out.iterdir())):
    raise ValueError(
      f"{out} exists and is not an empty folder; choose another --out"
    )
  run = _load(settings)
  temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
  temporary.mkdir(parents=True)
  try:
    _write(temporary, settings, run)
    temporary.rename(out)
  finally:
    shutil.rmtree(temporary, ignore_errors=True)


def _write(folder, settings, run):
  variables = _variables(run)
  weights = {name: v.numpy() for name, v in variables.items()}
  programs, example = {}, {}
  for name, called in (
    ("rollout", lambda: _rollout(run, settings)),
    ("train_step", lambda: _train_step(run, variables)),
  ):
    program = called()
    module, layout = _lowered(program, variables)
    file = f"{name}.hlo"
    files.replace_bytes(folder / file, module.SerializeToString())
    programs[name] = {
      "file": file,
      "steps": program.steps,
      "sizes": program.sizes,
      "needs": sorted(program.sizes),
      **layout,
    }
    for key, x in _named(program.arguments).items():
      example[f"{name}/in/{key}"] = x.numpy()
    for key in (output["name"] for output in layout["outputs"]):
      value = program.results.get(key, variables.get(key))
      example[f"{name}/out/{key}"] = value.numpy()
  inputs = (x for p in programs.values() for x in p["inputs"])
  used = sorted({x["weights"] for x in inputs} - {None})
  np.savez(folder / "weights.npz", **{k: weights[k] for k in used})
  np.savez_compressed(folder / "example.npz", **example)
  signature = {
    "format": 1,
    "nbody_bench": nbody_bench.__version__,
    **{k: run.description[k] for k in ("model", "dataset", "config", "seed")},
    "recipe": dataclasses.asdict(run.recipe),
    "step": run.step,
    "time_step": run.problem.time_step,
    "programs": programs,
  }
  files.replace_json(folder / "signature.json", signature)
  files.replace_bytes(folder / "README.md", _readme(signature).encode())


def _load(settings):
  """Builds the model as the run did, and restores it."""
  import sonnet as snt
  import tensorflow as tf

  from nbody_bench import pipelines, plugins, simulators, training, updates

  description = _description(settings.checkpoint)
  dataset = description["dataset"]
  _check_prepared(dataset, settings.data_dir)
  plugin = plugins.load_model(description["model"])
  config, recipe = _configured(description, plugin, settings)
  problem = pipelines.problem(dataset, settings.data_dir)
  model = plugin.build(config, problem)
  simulator = simulators.as_simulator(model)
  if not getattr(simulator, "compilable", True):
    raise ValueError(
      f"{description['model']} leaves TensorFlow (compilable = False): there "
      "is no program to export"
    )
  test, train = _data(settings, dataset, problem)
  # Variables are made by the first call.
  simulator.predict(*_systems(test, 0, 1), _times(problem, 1))
  if not training.trainable_variables(model):
    raise ValueError(
      f"{description['model']} has nothing to train, and what is exported is a "
      "trained model; choose another run"
    )
  tf.random.set_global_generator(tf.random.Generator.from_seed(0))
  optimizer = snt.optimizers.Adam(tf.Variable(0.0, trainable=False))
  sample = pipelines.WindowSampler(
    train,
    training.window_length(model),
    recipe.batch_size,
    description["seed"],
    problem.num_context_frames,
  )
  update = updates.Updates(
    training.loss_function(model),
    training.trainable_variables(model),
    optimizer,
    recipe,
    sample,
    jit=True,
  )
  update.measure()
  step, sizes = _restore(settings.checkpoint, model, optimizer, description)
  if sizes and not (settings.num_particles or settings.train_batch_size):
    update.sizes = sizes
  return _Run(
    description, problem, recipe, model, optimizer, update, step, test
  )


def _description(folder):
  """Returns what `config.json` says."""
  path = folder / "config.json"
  mend = "take the file of another seed of that run, its seed changed"
  if not path.is_file():
    seeds = sorted(p.parent for p in folder.glob("seed_*/config.json"))
    guess = f"; did you mean {seeds[0]}?" if seeds else ""
    raise ValueError(
      f"{path} is missing; --checkpoint is a run's seed folder, such as "
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
  import tensorflow_datasets as tfds

  from nbody_bench import plugins

  plugins.check_dataset(dataset)
  builder = tfds.builder(dataset, data_dir=data_dir)
  if not builder.is_prepared():
    raise ValueError(
      f"{dataset} is not in {builder.data_dir}, and its states are needed as "
      "example and to choose sizes; say where it is by --data_dir, or make it: "
      f"python -m nbody_bench.prepare --dataset={dataset}"
    )


def _configured(description, plugin, settings):
  """Returns the model's config and the recipe, as dataclasses."""
  from nbody_bench.recipes import Recipe

  def made(kind, values):
    # JSON has no tuples.
    return kind(
      **{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    )

  try:
    config = made(plugin.config, description["config"])
    recipe = made(Recipe, description["recipe"])
  except (TypeError, AttributeError) as error:
    raise ValueError(
      f"{settings.checkpoint / 'config.json'} does not fit the model "
      f"{description['model']} ({error}); export with the version of the suite "
      "that trained it"
    ) from None
  size = settings.train_batch_size or recipe.batch_size
  return config, dataclasses.replace(recipe, batch_size=size)


def _data(settings, dataset, problem):
  """Returns test trajectories to roll out from, and training trajectories."""
  from nbody_bench import pipelines

  count = _MEASURED * settings.batch_size
  test = pipelines.load(dataset, "test", settings.data_dir, count)
  test = test.after(problem.num_context_frames).given
  train = pipelines.load(
    dataset, "train", settings.data_dir, _TRAIN_TRAJECTORIES
  ).given
  if settings.num_particles:
    test = with_particles(test, settings.num_particles)
    train = with_particles(train, settings.num_particles)
  return test, train


def with_particles(trajectory: Trajectory, num_particles: int) -> Trajectory:
  """Returns systems of another size and the same density, as examples.

  Trajectories are laid over each other, and positions and box are scaled. The
  numbers of neighbours are plausible; the motion is no solution of the law.

  Args:
    trajectory: `[B, T, N, D]` NumPy arrays.
    num_particles: of the systems to return.

  Raises:
    ValueError: for data with bonds or a history.
  """
  particles = trajectory.particles
  if particles.bonds is not None or particles.history is not None:
    raise ValueError(
      "--num_particles needs data without bonds and without context frames; "
      "leave it out to take the number of the data set"
    )
  batch, _, n, num_dims = trajectory.state.position.shape
  scale = (num_particles / n) ** (1 / num_dims)
  domain = Domain(trajectory.domain.box * scale)
  layers = [
    trajectory.select((np.arange(batch) + i) % batch)
    for i in range(-(-num_particles // n))
  ]
  # Anywhere in a periodic box, so that a trajectory may be laid down twice.
  sides = np.where(np.isfinite(domain.box), domain.box, 0)
  draw = np.random.default_rng(0).uniform
  shifts = [draw(size=sides.shape) * sides for _ in layers]

  def joined(parts, axis):
    parts = list(parts)
    if parts[0] is None:
      return None
    whole = np.concatenate(parts, axis)
    return np.take(whole, range(num_particles), axis)

  position = joined(
    (
      scale * layer.state.position + shift[:, None, None]
      for layer, shift in zip(layers, shifts, strict=True)
    ),
    2,
  )
  velocity = joined((layer.state.velocity for layer in layers), 2)
  constants = {
    f: getattr(particles, f)
    if f in OF_SYSTEM
    else joined((getattr(layer.particles, f) for layer in layers), 1)
    for f in Particles._fields
  }
  return trajectory._replace(
    state=State(domain.wrap(position), velocity),
    particles=Particles(**constants),
    domain=domain,
  )


def _restore(folder, model, optimizer, description):
  """Loads the run's weights and slots; returns its steps and sizes."""
  import tensorflow as tf

  from nbody_bench.run_directory import RunDirectory

  run = RunDirectory(folder, model=model, optimizer=optimizer)
  path = run.last_checkpoint
  if not path:
    raise ValueError(
      f"{folder / 'checkpoints'} holds no checkpoint; --checkpoint is the seed "
      "folder of a run that has saved one (python -m nbody_bench.run --resume "
      "goes on with one that was broken off)"
    )
  step = tf.Variable(0, dtype=tf.int64, trainable=False)
  sizes = tf.Variable("{}", dtype=tf.string, trainable=False)
  # Not by `run.restore()`, which would cut the log of a run that is going on.
  saved = tf.train.Checkpoint(
    model=model,
    optimizer=optimizer,
    step=step,
    sizes=sizes,
    random=tf.random.get_global_generator(),
  )
  try:
    saved.restore(path).assert_existing_objects_matched()
  except (tf.errors.OpError, ValueError, AssertionError) as error:
    reason = str(error).strip().partition("\n")[0][:200]
    raise ValueError(
      f"checkpoint {path} is damaged or of another model ({reason}); remove it "
      "to export the one before"
    ) from None
  if description["checkpoint"] == "best":
    run.load_best()
  return int(step.numpy()), json.loads(sizes.numpy())


def _variables(run):
  """Returns all variables, by their names in `weights.npz`."""
  import tensorflow as tf

  groups = {
    "model": getattr(run.model, "variables", ()),
    "optimizer": run.optimizer.variables,
    "random": [tf.random.get_global_generator().state],
  }
  result: dict[str, Any] = {}
  for group, variables in groups.items():
    for variable in variables:
      if not isinstance(variable, tf.Variable):
        variable = variable.value  # of Keras
      name = f"{group}/{variable.name.removesuffix(':0')}"
      if variable is run.optimizer.learning_rate:
        name = "optimizer/learning_rate"
      while name in result:
        name += "_"
      result[name] = variable
  return result


def _systems(trajectory, first, count):
  """Returns state, particles and domain of `count` systems, as tensors."""
  import tensorflow as tf

  index = np.arange(first, first + count) % len(trajectory.domain.box)
  some = trajectory.select(index)
  return map_arrays(
    lambda x: tf.constant(x.astype(np.float32) if x.dtype.kind == "f" else x),
    (some.frame(0), some.particles, some.domain),
  )


def _times(problem, num_steps):
  import tensorflow as tf

  steps = np.arange(1, num_steps + 1)
  return tf.constant(problem.time_step * steps, tf.float32)


def _rollout(run, settings):
  """Calls the roll-out, with room for all of its steps."""
  import tensorflow as tf

  from nbody_bench import rollouts, simulators

  predict = rollouts.Compiled(simulators.as_simulator(run.model))
  times = _times(run.problem, settings.num_steps)
  for i in range(_MEASURED):
    systems = _systems(run.test, i * settings.batch_size, settings.batch_size)
    predict(*systems, times)
  # As large by now as any of these roll-outs needed.
  sizes = predict._sizes[tuple(systems[0].position.shape)]
  function = predict.program(sizes)
  systems = _systems(run.test, 0, settings.batch_size)
  arguments = {
    **dict(zip(("state", "particles", "domain"), systems, strict=True)),
    "times": times,
    "first": tf.constant(0),
  }
  trajectory, needs, done = function(*arguments.values())
  results = _named(trajectory._asdict()) | {"needs": needs, "done": done}
  return _Program(function, arguments, results, sizes, settings.num_steps)


def _train_step(run, variables):
  """Calls the training program, which leaves the variables updated."""
  import tensorflow as tf

  from nbody_bench.updates import STEPS_A_CALL

  before = {name: v.numpy() for name, v in variables.items()}
  # Once for the sizes, which grow until the steps fit.
  run.update(run.step, STEPS_A_CALL)
  for name, variable in variables.items():
    variable.assign(before[name])
  steps = range(run.step, run.step + STEPS_A_CALL)
  arguments = {
    "windows": run.update._windows(run.step),
    "rates": tf.constant([run.recipe.learning_rate_at(s) for s in steps]),
    "first": tf.constant(0),
    "count": tf.constant(STEPS_A_CALL),
  }
  function = run.update._program()
  losses, needs, done = function(*arguments.values())
  results = {"losses": losses, "needs": needs, "done": done}
  return _Program(function, arguments, results, run.update.sizes, STEPS_A_CALL)


def _named(structure) -> dict[str, Any]:
  """Returns the arrays of nested (named) tuples, by dotted names, in order."""
  result: dict[str, Any] = {}
  for name, value in structure.items():
    if hasattr(value, "_asdict"):
      inner = _named(value._asdict())
      result |= {f"{name}.{k}": v for k, v in inner.items()}
    elif value is not None:
      result[name] = value
  return result


def _lowered(program, variables):
  """Returns the module of a program, and its inputs and outputs in order.

  The inputs are the arguments, then the variables that the function captured;
  the outputs its results, then the variables that it updates.
  """
  from tensorflow.compiler.xla.service import hlo_pb2

  values = tuple(program.arguments.values())
  lower = program.function.experimental_get_compiler_ir(*values)
  # What is lowered for the CPU holds nothing of it; for a GPU it might.
  module = hlo_pb2.HloModuleProto.FromString(
    lower(stage="hlo_serialized", platform_name="CPU")
  )
  check_portable(module)
  _forget_sources(module)
  names = {id(v.handle): name for name, v in variables.items()}
  captured = program.function.get_concrete_function(*values).captured_inputs
  weights = [names.get(id(x)) for x in captured]
  if None in weights:
    raise ValueError(
      "the model uses a tensor or variable from outside that is not among its "
      "`variables`; make it a tf.Variable attribute of the model"
    )
  arguments = list(_named(program.arguments))
  shape = module.host_program_shape
  inputs = [
    {"name": name, **_layout(x), "weights": of}
    for name, of, x in zip(
      [*arguments, *weights],
      [None] * len(arguments) + weights,
      shape.parameters,
      strict=True,
    )
  ]
  updated = {
    alias.output_shape_index[0]: alias.parameter_number
    for alias in module.input_output_alias.entries
  }
  results = list(program.results)
  outputs = []
  for i, x in enumerate(shape.result.tuple_shapes):
    of = updated.get(i)
    name = results[i] if of is None else inputs[of]["name"]
    outputs.append({"name": name, **_layout(x), "updates": of})
  return module, {"inputs": inputs, "outputs": outputs}


def _layout(shape):
  from tensorflow.compiler.xla import xla_data_pb2

  kind = xla_data_pb2.PrimitiveType.Name(shape.element_type)
  return {"shape": list(shape.dimensions), "dtype": _DTYPES[kind]}


def check_portable(module: Any) -> None:
  """Refuses what another runtime, or another device, could not run.

  Args:
    module: an `HloModuleProto`.

  Raises:
    ValueError: naming the operation that calls a kernel of TensorFlow's, or
      whose shape depends on the data.
  """
  for computation in module.computations:
    for instruction in computation.instructions:
      name = instruction.metadata.op_name or instruction.name
      if instruction.opcode == "custom-call":
        raise ValueError(
          f"{name} becomes a call of {instruction.custom_call_target!r}, which "
          "only TensorFlow has; compute it by other operations"
        )
      if any(instruction.shape.is_dynamic_dimension):
        raise ValueError(
          f"{name} has a shape that depends on the data; give it a size by "
          "nbody_bench.capacity.fit"
        )


def _forget_sources(module):
  """Removes the paths of the machine that lowered the module."""
  module.ClearField("stack_frame_index")
  for computation in module.computations:
    for instruction in computation.instructions:
      metadata = instruction.metadata
      for field in ("source_file", "source_line", "stack_frame_id"):
        metadata.ClearField(field)


_README = """# {model} as XLA programs

Trained for {done} steps on {dataset} (seed {seed}), exported by nbody_bench
{version}. Nothing here needs TensorFlow.

| file | what |
|---|---|
| `rollout.hlo` | {num_steps} time steps of {batch} x {n} particles |
| `train_step.hlo` | {steps} steps of Adam, each on {windows} windows |
| `weights.npz` | the model's variables and the optimiser's |
| `signature.json` | inputs and outputs of both programs, in order |
| `example.npz` | inputs, and the outputs that TensorFlow gave for them |

A program is a serialized `HloModuleProto`, not optimised for any device, for
runtimes with a PJRT interface to compile. It calls no custom kernel, and no
shape in it depends on the data. Tried: JAX 0.10.2 on a CPU, by
`python benchmarks/exported.py --dir=THIS_FOLDER` in the repository.

## Calling a program

1. Read `programs.<name>` in `signature.json`. Pass one array for each of
   `inputs`, in that order, with that shape and dtype. Where `weights` is null
   it is an argument of the call, for which `example.npz` has
   `<name>/in/<input>`; else it is a variable, `weights.npz` has it under that
   name. Some are int64: a runtime that narrows integers must be told not to.
2. Compile the module with default options, execute it, and take the result
   apart: one array for each of `outputs`, in order.
3. Where `updates` is a number, the output is the new value of that input
   (counted from 0). Pass it there in the next call. The module lets the runtime
   reuse the memory of these inputs: an array that was passed there is gone.

Outputs for the inputs of the example are in `example.npz`,
`<name>/out/<output>`. All is in single precision, and each compiler adds up in
an order of its own: expect a step's change to agree to 1e-6 and several
optimiser steps' to 1e-3, less where a GPU multiplies matrices in TF32.

## What the arrays mean

All is in the units of the data set; `time_step` in `signature.json` is the time
between its frames. B systems, P output times, N particles, D dimensions.

Roll-out:

- `state.position`, `state.velocity` `[B, N, D]`: at time 0. In a periodic box
  of sides L coordinates lie in [-L/2, L/2).
- `particles.*` `[B, N]`: masses and what else the law knows. `mask` marks
  particles by 1 and padding by 0.
- `domain.box` `[B, D]`: sides, infinite along open directions.
- `times` `[P]`: output times, increasing and positive.
- `first`: how many of the output times are done already, 0 at first. Otherwise
  `state` is that of the last one done, and only later frames of the result are
  valid.
- Outputs `state.position`, `state.velocity` `[B, P, N, D]`: at these times.

Training:

- `windows.*`: {steps} batches of windows of consecutive frames,
  `windows.time` `[T]` being common to all.
- `rates` `[{steps}]`: learning rate of each step.
- `first`, `count`: the steps to do are `first` to `count` (exclusive).
- Output `losses` `[{steps}, 2]`: loss and norm of the gradient of each.

## When there is not enough room

Sizes that depend on the data, such as the number of edges, are fixed:
`sizes` in `signature.json`, measured on the data set with some headroom. Output
`done` says how many steps (`first` included) are finished, and `needs` what was
needed: entry i belongs to the i-th name of `needs` in `signature.json`, the
others are unused. If `done` is less than was asked for, a need was larger than
its size: frames and updates up to `done` are valid, later frames are not, and a
program with larger sizes has to go on from there. The harness of nbody_bench
makes one by itself; here, export again for more particles or a larger batch.
Models whose shapes do not depend on the data have no sizes.
"""


def _readme(signature):
  rollout, train = (signature["programs"][k] for k in ("rollout", "train_step"))
  batch, n, _ = rollout["inputs"][0]["shape"]
  return _README.format(
    **{k: signature[k] for k in ("model", "dataset", "seed")},
    done=signature["step"],
    version=signature["nbody_bench"],
    batch=batch,
    n=n,
    num_steps=rollout["steps"],
    steps=train["steps"],
    windows=signature["recipe"]["batch_size"],
  )


def define(values, argv):
  """Defines the flags."""
  del argv
  options = {"flag_values": values}
  for name, text in (
    ("checkpoint", "a run's seed folder, such as out/x/seed_0"),
    ("out", "folder to write, absent or empty"),
  ):
    flags.DEFINE_string(name, None, text, required=True, **options)
  flags.DEFINE_string("data_dir", None, "where TFDS keeps its data", **options)
  for name, default, text in (
    ("num_particles", None, "of a system; default that of the data set"),
    ("batch_size", 1, "systems in a roll-out"),
    ("num_steps", 20, "of the roll-out"),
    ("train_batch_size", None, "windows in a batch; default the recipe's"),
  ):
    flags.DEFINE_integer(name, default, text, lower_bound=1, **options)


def run(values, rest):
  """Runs the command."""
  if rest:
    raise ValueError(f"arguments not understood: {' '.join(rest)}")
  settings = Settings(
    checkpoint=pathlib.Path(values.checkpoint),
    out=pathlib.Path(values.out),
    data_dir=values.data_dir,
    num_particles=values.num_particles,
    batch_size=values.batch_size,
    num_steps=values.num_steps,
    train_batch_size=values.train_batch_size,
  )
  export(settings)
  print(f"written to {settings.out}; its README.md says how to run it")


def main(argv=None):
  """Entry point; returns the exit code."""
  return command_line.run(run, define, argv, __doc__)


if __name__ == "__main__":
  sys.exit(main())
