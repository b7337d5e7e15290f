"""A model's roll-out as a SavedModel, for the board to run again.

One signature, `predict`: float32 arrays by name, all shapes fixed, to
`position` and `velocity` `[B, P, N, D]`. The names are the fields of `State`,
`Particles` and `Domain` that the task has, and `times` `[P]`. Where graphs are
of static size (see `capacity`), those of the scored roll-out are used.
"""

import pathlib
import shutil
from typing import Any

import tensorflow as tf

from nbody_bench import portable, rollouts
from nbody_bench.states import Domain, Particles, State, map_arrays

SIGNATURE = "predict"


def arrays(
  state: State, particles: Particles, domain: Domain, times: Any
) -> dict[str, Any]:
  """Returns the inputs of the signature, by name; None is left out."""
  parts = {"state": state, "particles": particles, "domain": domain}
  return {
    name.split(".", 1)[1].replace(".", "_"): x
    for name, x in portable.named(parts).items()
  } | {"times": times}


def write(
  folder: pathlib.Path,
  model: Any,
  predict: rollouts.Compiled,
  systems: tuple[State, Particles, Domain],
  times: Any,
) -> None:
  """Writes the folder, whole or not at all.

  Args:
    folder: absent, or written before and replaced.
    model: whose variables are saved.
    predict: the compiled roll-out, after it was run on what is scored.
    systems: one batch of tensors.
    times: `[P]`, a tensor.

  Raises:
    ValueError: if the model leaves TensorFlow.
  """
  if not isinstance(predict, rollouts.Compiled):
    raise ValueError(
      "the model leaves TensorFlow (compilable = False): there is no program "
      "to save"
    )
  predict(*systems, times)  # so that its sizes are known
  program = predict.program(predict.sizes[tuple(systems[0].position.shape)])
  given = arrays(*systems, times)

  def rollout(**inputs):
    # In the order of `arrays`, which `tf.function` does not keep.
    values = (inputs[name] for name in given)
    parts = map_arrays(lambda _: next(values), systems)
    result, _, _ = program.python_function(
      *parts, inputs["times"], tf.constant(0)
    )
    return {
      "position": result.state.position,
      "velocity": result.state.velocity,
    }

  holder = tf.Module()
  holder.model = model  # whose variables are saved
  holder.rollout = tf.function(rollout, jit_compile=True, autograph=False)
  specs = {
    name: tf.TensorSpec(x.shape, x.dtype, name) for name, x in given.items()
  }
  function = holder.rollout.get_concrete_function(**specs)
  temporary = folder.with_name(f".{folder.name}.tmp")
  shutil.rmtree(temporary, ignore_errors=True)
  try:
    tf.saved_model.save(
      holder, str(temporary), signatures={SIGNATURE: function}
    )
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)
  finally:
    shutil.rmtree(temporary, ignore_errors=True)
