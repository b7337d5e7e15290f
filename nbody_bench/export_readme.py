"""The text beside exported programs."""

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


def text(signature) -> str:
  """Returns the README of a folder with this `signature.json`."""
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
