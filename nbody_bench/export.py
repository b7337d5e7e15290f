r"""Writes a trained model as XLA programs that run without TensorFlow.

  python -m nbody_bench.export --checkpoint=out/x/seed_0 --out=DIR

Two programs, those that `run` executes: a roll-out (`rollouts.Compiled`) and
several optimiser steps (`updates.Updates`), as unoptimised HLO, for any PJRT
runtime to compile for its device. Beside them the weights, a signature, and
inputs with the outputs that TensorFlow gave for them. DIR/README.md says how to
run them; `benchmarks/exported.py` does so in JAX.
"""

import dataclasses
import os
import pathlib
import shutil
import sys
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from absl import flags

import nbody_bench
from nbody_bench import (
  command_line,
  export_readme,
  files,
  pipelines,
  portable,
  rollouts,
  simulators,
  trained,
  training,
  updates,
)
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
  loaded = _load(settings)
  temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
  temporary.mkdir(parents=True)
  try:
    _write(temporary, settings, loaded)
    temporary.rename(out)
  finally:
    shutil.rmtree(temporary, ignore_errors=True)


def _write(folder, settings, loaded):
  run = loaded.run
  variables = _variables(run.model, loaded.optimizer)
  weights = {name: v.numpy() for name, v in variables.items()}
  programs, example = {}, {}
  for name, called in (
    ("rollout", lambda: _rollout(loaded, settings)),
    ("train_step", lambda: _train_step(loaded, variables)),
  ):
    program = called()
    module, layout = portable.lowered(program, variables)
    file = f"{name}.hlo"
    files.replace_bytes(folder / file, module.SerializeToString())
    programs[name] = {
      "file": file,
      "steps": program.steps,
      "sizes": program.sizes,
      "needs": sorted(program.sizes),
      **layout,
    }
    for key, x in portable.named(program.arguments).items():
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
    "step": loaded.step,
    "time_step": run.problem.time_step,
    "programs": programs,
  }
  files.replace_json(folder / "signature.json", signature)
  files.replace_bytes(
    folder / "README.md", export_readme.text(signature).encode()
  )


class _Loaded(NamedTuple):
  """A trained model, and what its two programs are made of."""

  run: trained.Run
  optimizer: Any
  update: updates.Updates
  step: int
  test: Trajectory  # `[B, T, N, D]`, to roll out from


def _load(settings):
  """Builds the model as the run did, and restores it."""
  run = trained.read(settings.checkpoint, settings.data_dir)
  name, problem, model = run.description["model"], run.problem, run.model
  size = settings.train_batch_size or run.recipe.batch_size
  run = run._replace(recipe=dataclasses.replace(run.recipe, batch_size=size))
  simulator = simulators.as_simulator(model)
  if not getattr(simulator, "compilable", True):
    raise ValueError(
      f"{name} leaves TensorFlow (compilable = False): there is no program to "
      "export"
    )
  test, train = _data(settings, run.description["dataset"], problem)
  # Variables are made by the first call.
  simulator.predict(*_systems(test, 0, 1), _times(problem, 1))
  variables = training.trainable_variables(model)
  if not variables:
    raise ValueError(
      f"{name} has nothing to train, and what is exported is a trained model; "
      "choose another run"
    )
  optimizer, step, sizes = trained.restore(run)
  sample = pipelines.WindowSampler(
    train,
    training.window_length(model),
    size,
    run.description["seed"],
    problem.num_context_frames,
  )
  update = updates.Updates(
    training.loss_function(model),
    variables,
    optimizer,
    run.recipe,
    sample,
    jit=True,
  )
  if sizes and not (settings.num_particles or settings.train_batch_size):
    update.sizes = sizes
  else:
    update.measure()
  return _Loaded(run, optimizer, update, step, test)


def _variables(model, optimizer):
  """Returns all variables, by their names in `weights.npz`."""
  groups = {
    "model": getattr(model, "variables", ()),
    "optimizer": optimizer.variables,
    "random": [tf.random.get_global_generator().state],
  }
  result: dict[str, Any] = {}
  for group, variables in groups.items():
    for variable in variables:
      if not isinstance(variable, tf.Variable):
        variable = variable.value  # of Keras
      name = f"{group}/{variable.name.removesuffix(':0')}"
      if variable is optimizer.learning_rate:
        name = "optimizer/learning_rate"
      while name in result:
        name += "_"
      result[name] = variable
  return result


def _data(settings, dataset, problem):
  """Returns test trajectories to roll out from, and training trajectories."""
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


def _systems(trajectory, first, count):
  """Returns state, particles and domain of `count` systems, as tensors."""
  index = np.arange(first, first + count) % len(trajectory.domain.box)
  some = trajectory.select(index)
  return map_arrays(
    lambda x: tf.constant(x.astype(np.float32) if x.dtype.kind == "f" else x),
    (some.frame(0), some.particles, some.domain),
  )


def _times(problem, num_steps):
  steps = np.arange(1, num_steps + 1)
  return tf.constant(problem.time_step * steps, tf.float32)


def _rollout(loaded, settings):
  """Calls the roll-out, with room for all of its steps."""
  predict = rollouts.Compiled(simulators.as_simulator(loaded.run.model))
  times = _times(loaded.run.problem, settings.num_steps)
  for i in range(_MEASURED):
    systems = _systems(
      loaded.test, i * settings.batch_size, settings.batch_size
    )
    predict(*systems, times)
  # As large by now as any of these roll-outs needed.
  sizes = predict.sizes[tuple(systems[0].position.shape)]
  function = predict.program(sizes)
  systems = _systems(loaded.test, 0, settings.batch_size)
  arguments = {
    **dict(zip(("state", "particles", "domain"), systems, strict=True)),
    "times": times,
    "first": tf.constant(0),
  }
  trajectory, needs, done = function(*arguments.values())
  results = portable.named(trajectory._asdict()) | {
    "needs": needs,
    "done": done,
  }
  return portable.Program(
    function, arguments, results, sizes, settings.num_steps
  )


def _train_step(loaded, variables):
  """Calls the training program, which leaves the variables updated."""
  before = {name: v.numpy() for name, v in variables.items()}
  # Once for the sizes, which grow until the steps fit.
  loaded.update(loaded.step, updates.STEPS_A_CALL)
  for name, variable in variables.items():
    variable.assign(before[name])
  steps = range(loaded.step, loaded.step + updates.STEPS_A_CALL)
  arguments = {
    "windows": loaded.update.windows(loaded.step),
    "rates": tf.constant(
      [loaded.run.recipe.learning_rate_at(s) for s in steps]
    ),
    "first": tf.constant(0),
    "count": tf.constant(updates.STEPS_A_CALL),
  }
  function = loaded.update.program()
  losses, needs, done = function(*arguments.values())
  results = {"losses": losses, "needs": needs, "done": done}
  return portable.Program(
    function, arguments, results, loaded.update.sizes, updates.STEPS_A_CALL
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
