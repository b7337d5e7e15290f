"""The same record files, whichever way TensorFlow Datasets writes them."""

import bisect

from tensorflow_datasets.core import writer


class CanonicalWriter(writer.ExampleWriter):
  """Writes records whose bytes depend on the example alone.

  Protobuf orders the entries of a map otherwise in every process.
  """

  def write(self, path, examples):
    """See base class."""
    import tensorflow as tf

    def canonical(record):
      example = tf.train.Example.FromString(record)
      return example.SerializeToString(deterministic=True)

    return super().write(path, ((k, canonical(v)) for k, v in examples))


def beam_keys(num_examples: int, num_shards: int | None = None) -> list[int]:
  """Returns increasing keys with which Beam makes the shards of a local run.

  TFDS cuts examples 0..n-1 into S shards at round(n s / S) locally; on Beam an
  example is in shard floor(key S / largest key). S is a power of two, 1024 at
  most below 0.9 TiB a split, or given.
  """
  most = num_shards or 1024
  cuts = [round(num_examples * s / most) for s in range(1, most + 1)]
  keys = [
    bisect.bisect_right(cuts, k) * num_examples + k for k in range(num_examples)
  ]
  keys[-1] = most * num_examples
  return keys
