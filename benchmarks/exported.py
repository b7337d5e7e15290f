"""An exported model in JAX: does it agree with TensorFlow, and how fast is it.

  python benchmarks/exported.py --dir=OUT [--repeats=10] [--train_steps=8]

OUT is what `python -m nbody_bench.export` wrote. Needs NumPy and JAX alone, and
runs on JAX's default device. Both programs are given the stored inputs, and
what they return is compared with what TensorFlow returned; then they are timed,
training with the updated variables fed back. `--flops` adds the operations that
XLA counts, and their rate beside that of a matrix product.

Agreement is judged by the change that a program makes to its state: the norm of
the difference over the norm of the change, in the roll-out after one step (a
graph that is built from the state turns rounding into jumps later), in training
over all variables after all steps. Tolerance: 0.01, which TF32 keeps.
"""

import argparse
import json
import pathlib
import statistics
import sys
import time

import jax
import numpy as np

# The interfaces in `Program` that load and run HLO are private to JAX.
_TRIED = "0.10.2"
_WARM_UP = 2


class Program:
  """An exported program on a device.

  Attributes:
    signature: its entry in signature.json.
    seconds: that compilation took.
  """

  def __init__(self, folder: pathlib.Path, signature: dict, device):
    """Compiles the program.

    Raises:
      RuntimeError: if this version of JAX has other private interfaces.
    """
    self.signature, self._device = signature, device
    content = (folder / signature["file"]).read_bytes()
    began = time.perf_counter()
    try:
      from jax._src.interpreters import mlir
      from jax._src.lib import xla_client
      from jaxlib import _jax
      from jaxlib.mlir import ir

      self._computation = xla_client.XlaComputation(content)
      with mlir.make_ir_context():
        module = ir.Module.parse(
          _jax.mlir.xla_computation_to_mlir_module(self._computation)
        )
        self._executable = device.client.compile_and_load(
          module,
          xla_client.DeviceList((device,)),
          xla_client.CompileOptions(),
        )
    except (ImportError, AttributeError, TypeError) as error:
      raise RuntimeError(_other_version(error)) from error
    self.seconds = time.perf_counter() - began

  def flops(self) -> float:
    """Returns what XLA counts: loop bodies once, so those of one step.

    Raises:
      RuntimeError: as the constructor.
    """
    try:
      from jaxlib import _jax

      costs = _jax.hlo_module_cost_analysis(
        self._device.client, self._computation.get_hlo_module()
      )
      return costs["flops"]
    except (ImportError, AttributeError, TypeError, KeyError) as error:
      raise RuntimeError(_other_version(error)) from error

  def place(self, values: list) -> list:
    """Returns copies of the inputs on the device."""
    return [jax.device_put(np.array(x), self._device) for x in values]

  def __call__(self, inputs: list) -> list:
    """Returns the outputs; inputs that are updated are used up."""
    results = self._executable.execute_sharded(inputs)
    return [x[0] for x in results.disassemble_into_single_device_arrays()]

  def fed_back(self, inputs: list, outputs: list) -> list:
    """Returns the inputs of the next call."""
    inputs = list(inputs)
    for entry, value in zip(self.signature["outputs"], outputs, strict=True):
      if entry["updates"] is not None:
        inputs[entry["updates"]] = value
    return inputs


def _other_version(error):
  return (
    f"JAX {jax.__version__} has other private interfaces than JAX {_TRIED}, "
    f"with which this was tried ({error}); pip install jax=={_TRIED}"
  )


class Example:
  """The stored inputs and outputs of one program, by name and in order."""

  def __init__(self, folder: pathlib.Path, name: str, signature: dict):
    stored = np.load(folder / "example.npz")
    weights = np.load(folder / "weights.npz")
    self.inputs = {
      x["name"]: weights[x["weights"]]
      if x["weights"]
      else stored[f"{name}/in/{x['name']}"]
      for x in signature["inputs"]
    }
    self.outputs = {
      x["name"]: stored[f"{name}/out/{x['name']}"] for x in signature["outputs"]
    }


def rollout_difference(example: Example, results: dict) -> tuple[float, float]:
  """Returns the difference after one step, and the largest of all steps.

  Positions by minimum image. The first is relative to the change in that step,
  the second in the units of the data.
  """
  box = example.inputs["domain.box"][:, None, None]
  difference, change, largest = 0.0, 0.0, 0.0
  for name, period in (("position", box), ("velocity", np.inf)):
    key = f"state.{name}"
    expected, start = example.outputs[key], example.inputs[key][:, None]
    apart = _apart(results[key], expected, period)
    difference += np.sum(apart[:, 0] ** 2)
    change += np.sum(_apart(expected[:, :1], start, period) ** 2)
    largest = max(largest, float(np.max(np.abs(apart))))
  return float(np.sqrt(difference / change)), largest


def train_difference(example: Example, results: dict) -> tuple[float, float]:
  """Returns the relative difference of the model's update, and the largest.

  The first over all the model's variables, the second of losses, norms and all
  variables, each as a part of its largest entry.
  """
  difference, change, largest = 0.0, 0.0, 0.0
  for name, expected in example.outputs.items():
    apart = _apart(results[name], expected, np.inf)
    if name.startswith("model/"):
      difference += np.sum(apart**2)
      change += np.sum(_apart(expected, example.inputs[name], np.inf) ** 2)
    if expected.dtype.kind == "f":
      size = np.max(np.abs(expected))
      largest = max(largest, float(np.max(np.abs(apart)) / (size or 1)))
  return float(np.sqrt(difference / change)), largest


def _apart(one, other, period):
  """Returns `one - other` by minimum image; two NaN are the same."""
  with np.errstate(invalid="ignore"):
    apart = one.astype(np.float64) - other
    periodic = np.broadcast_to(period, apart.shape)
    side = np.where(np.isfinite(periodic), periodic, 1)
    shift = np.where(np.isfinite(periodic), side * np.round(apart / side), 0)
    return np.where(np.isnan(one) & np.isnan(other), 0, apart - shift)


def seconds_a_call(program: Program, inputs: list, calls: int) -> float:
  """Returns the time of a call, the updates of one fed to the next."""
  began = time.perf_counter()
  for _ in range(calls):
    outputs = program(inputs)
    inputs[:] = program.fed_back(inputs, outputs)
  jax.block_until_ready(outputs)
  return (time.perf_counter() - began) / calls


def matmul_rate(device) -> float:
  """Returns operations a second of a product of float32 matrices."""
  size = 1024 if device.platform == "cpu" else 8192
  x = jax.device_put(np.ones((size, size), np.float32), device)
  multiply = jax.jit(lambda x: x @ x)
  multiply(x).block_until_ready()
  seconds = []
  for _ in range(10):
    began = time.perf_counter()
    multiply(x).block_until_ready()
    seconds.append(time.perf_counter() - began)
  return 2 * size**3 / statistics.median(seconds)


def measure(name, folder, signature, device, options) -> bool:
  """Prints the lines of one program; returns whether it agrees."""
  example = Example(folder, name, signature)
  program = Program(folder, signature, device)
  inputs = program.place(list(example.inputs.values()))
  outputs = program(inputs)
  results = dict(zip(example.outputs, map(np.asarray, outputs), strict=True))
  compare = rollout_difference if name == "rollout" else train_difference
  relative, largest = compare(example, results)
  done = int(results["done"]) == signature["steps"]
  agrees = done and relative <= options.tolerance
  print(
    f"{name}: {'agrees' if agrees else 'DISAGREES'} with TensorFlow: "
    f"{relative:.2g} of the change (tolerance {options.tolerance:g}), largest "
    f"difference {largest:.2g}; compiled in {program.seconds:.1f} s"
  )
  if not done:
    print(f"{name}: only {results['done']} of {signature['steps']} steps done")
  inputs = program.fed_back(inputs, outputs)
  calls = 1
  if name == "train_step":
    calls = -(-options.train_steps // signature["steps"])
  for _ in range(_WARM_UP):
    seconds_a_call(program, inputs, 1)
  milliseconds = [
    1e3 * seconds_a_call(program, inputs, calls) / signature["steps"]
    for _ in range(options.repeats)
  ]
  median = statistics.median(milliseconds)
  print(
    f"{name}: {median:.4g} ms a step (median of {options.repeats}, "
    f"{min(milliseconds):.4g} to {max(milliseconds):.4g}), "
    f"{signature['steps']} steps a call"
  )
  if options.flops:
    flops, best = program.flops(), matmul_rate(device)
    rate = flops / median * 1e3
    print(
      f"{name}: {flops:.4g} operations a step, {rate / 1e9:.4g} "
      f"GFLOP/s, {rate / best:.2%} of a matrix product ({best / 1e9:.4g})"
    )
  return agrees


def main() -> int:
  """Entry point; returns the exit code."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--dir", type=pathlib.Path, required=True)
  parser.add_argument("--repeats", type=int, default=10, help="samples of each")
  parser.add_argument(
    "--train_steps", type=int, default=8, help="optimiser steps in a sample"
  )
  parser.add_argument("--tolerance", type=float, default=0.01)
  parser.add_argument("--flops", action="store_true")
  options = parser.parse_args()
  # The optimiser counts its steps in int64.
  jax.config.update("jax_enable_x64", True)
  try:
    path = options.dir / "signature.json"
    if not path.is_file():
      raise ValueError(
        f"{path} is missing; --dir is a folder that nbody_bench.export wrote"
      )
    signature = json.loads(path.read_text())
    if signature["format"] != 1:
      raise ValueError(
        f"{options.dir} has format {signature['format']}, and this reads 1; "
        "export again"
      )
    device = jax.devices()[0]
    print(
      f"{signature['model']}, trained on {signature['dataset']}; JAX "
      f"{jax.__version__} on {device.device_kind} ({device.platform})"
    )
    agree = [
      measure(name, options.dir, program, device, options)
      for name, program in signature["programs"].items()
    ]
  except (OSError, ValueError, RuntimeError) as error:
    print(f"error: {error}", file=sys.stderr)
    return 2
  return 0 if all(agree) else 1


if __name__ == "__main__":
  sys.exit(main())
