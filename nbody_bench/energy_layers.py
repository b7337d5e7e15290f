"""Small parts that networks of energies have in common."""

import sonnet as snt
import tensorflow as tf

from nbody_bench import elements
from nbody_bench.arrays import Array
from nbody_bench.forces import Inputs


def linear(width: int, name: str, with_bias: bool = True) -> snt.Linear:
  """Returns a linear layer with Glorot's uniform weights and zero biases."""
  draw = snt.initializers.VarianceScaling(1.0, "fan_avg", "uniform")
  return snt.Linear(width, with_bias, w_init=draw, name=name)


class NodeEmbedding(snt.Module):
  """What a particle is, as a vector.

  Of an atom a row of a table, by atomic number; of a body in space a linear map
  of mass and charge.
  """

  def __init__(
    self,
    width: int,
    num_elements: int,
    draw: snt.initializers.Initializer,
    name: str = "embedding",
  ):
    """Makes the embedding.

    Args:
      width: of the vectors.
      num_elements: rows of the table, the first one for what is no atom.
      draw: initializer of the table.
      name: of the module.
    """
    super().__init__(name=name)
    self._width, self._num_elements, self._draw = width, num_elements, draw

  @snt.once
  def _initialize(self, of_atoms, dtype):
    if of_atoms:
      shape = [self._num_elements, self._width]
      self.table = tf.Variable(self._draw(shape, dtype), name="table")
    else:
      self.linear = linear(self._width, "linear")

  def __call__(self, inputs: Inputs) -> Array:
    """Returns `[rows, width]`."""
    of_atoms = inputs.features.shape[-1] == elements.FEATURES.shape[1]
    self._initialize(of_atoms, inputs.features.dtype)
    if not of_atoms:
      return self.linear(inputs.features)
    # Not gathered: the gradient of that is sparse, which XLA cannot apply.
    one_hot = tf.one_hot(
      inputs.species, self._num_elements, dtype=self.table.dtype
    )
    return one_hot @ self.table
