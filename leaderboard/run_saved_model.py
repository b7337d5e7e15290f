"""Calls a SavedModel on arrays from standard input; see `sandbox`.

On its own: nothing of this package is imported, so that nothing of it can be
relied on by what is run.
"""

import io
import os
import sys
import time

import numpy as np


def main() -> None:
  """Reads inputs from standard input, writes outputs to standard output."""
  # What libraries print must not mix with the arrays.
  out = os.fdopen(os.dup(1), "wb")
  os.dup2(2, 1)
  with np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False) as file:
    inputs = dict(file)
  import tensorflow as tf

  predict = tf.saved_model.load(sys.argv[1]).signatures["predict"]
  times = tf.constant(inputs.pop("times"))
  count = len(inputs["position"])
  parts, seconds = [], []
  for i in (0, *range(count)):  # the first one twice: it compiles
    tensors = {name: tf.constant(x[i]) for name, x in inputs.items()}
    began = time.perf_counter()
    parts.append(
      {k: x.numpy() for k, x in predict(times=times, **tensors).items()}
    )
    seconds.append(time.perf_counter() - began)
  outputs = {k: np.stack([p[k] for p in parts[1:]]) for k in parts[0]}
  arrays = io.BytesIO()
  np.savez(arrays, **outputs, seconds=np.array(seconds[1:]))  # type: ignore[arg-type]
  out.write(arrays.getvalue())
  out.flush()


if __name__ == "__main__":
  main()
