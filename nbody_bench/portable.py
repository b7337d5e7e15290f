"""Programs in a form that other runtimes than TensorFlow compile."""

from collections.abc import Mapping
from typing import Any, NamedTuple

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


class Program(NamedTuple):
  """A `tf.function`, and one call of it that found enough room."""

  function: Any
  arguments: dict[str, Any]
  results: dict[str, Any]
  sizes: dict[str, int]
  steps: int


def lowered(program: Program, variables: Mapping[str, Any]):
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
  arguments = list(named(program.arguments))
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


def named(structure) -> dict[str, Any]:
  """Returns the arrays of nested (named) tuples, by dotted names, in order."""
  result: dict[str, Any] = {}
  for name, value in structure.items():
    if hasattr(value, "_asdict"):
      inner = named(value._asdict())
      result |= {f"{name}.{k}": v for k, v in inner.items()}
    elif value is not None:
      result[name] = value
  return result
