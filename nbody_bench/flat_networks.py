"""Networks of all coordinates at once, for a fixed number of particles."""

from collections.abc import Callable, Sequence

import sonnet as snt
import tensorflow as tf

from nbody_bench import increments
from nbody_bench.arrays import Array
from nbody_bench.problems import Problem
from nbody_bench.states import Particles


class FlatNetwork(snt.Module):
  """A multilayer perceptron of `[B, N D]` coordinates.

  It knows particles by their place: trained on N of them, it has no inputs for
  another number, nor a way to leave out padding.
  """

  def __init__(
    self,
    network: Callable[[Array], Array],
    problem: Problem,
    constants: bool = False,
    name: str = "flat",
  ):
    """Makes the network.

    Args:
      network: maps `[B, F]` to `[B, G]`.
      problem: what the model is told.
      constants: whether masses and the like are inputs too, after the
        coordinates.
      name: of the module.
    """
    super().__init__(name=name)
    self._network = network
    self._problem = problem
    self._constants = constants
    self._num_particles: int | None = None

  def __call__(self, coordinates: Sequence[Array], particles: Particles):
    """Returns `[B, G]` of coordinates `[B, N, D]` each.

    Raises:
      ValueError: for another number of particles than at the first call, or
        for padding.
    """
    batch, n, _ = coordinates[0].shape
    if self._num_particles is None:
      self._num_particles = n
    if n != self._num_particles or particles.mask is not None:
      padding = "" if particles.mask is None else ", some of them padding"
      raise ValueError(
        f"this network has inputs for {self._num_particles} particles, and is "
        f"given {n}{padding}; train it on that number, or take a model on "
        "graphs or pairs (ogn, hogn, vign, mclnn, lgnn)"
      )
    if self._constants:
      coordinates = [
        *coordinates,
        increments.constants(self._problem, particles),
      ]
    return self._network(
      tf.concat([tf.reshape(x, [batch, -1]) for x in coordinates], 1)
    )


def squareplus(x: Array) -> Array:
  """Returns (x + sqrt(x^2 + 4)) / 2, a softplus without exponentials."""
  return 0.5 * (x + tf.sqrt(x * x + 4.0))


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
  "relu": tf.nn.relu,
  "softplus": tf.nn.softplus,
  "squareplus": squareplus,
  "tanh": tf.nn.tanh,
}


def layers(
  widths: Sequence[int], num_outputs: int, activation: str, final_bias: bool
) -> snt.Sequential:
  """Returns linear layers, the last without activation.

  Weights are orthogonal, biases 0 (Greydanus, Dzamba and Yosinski 2019).

  Raises:
    ValueError: for widths below 1 or an activation that is not known.
  """
  if activation not in ACTIVATIONS:
    raise ValueError(
      f"activation is {activation!r}; choose one of "
      f"{', '.join(sorted(ACTIVATIONS))}"
    )
  if not widths or min(widths) < 1:
    raise ValueError(f"all widths must be >= 1, got {tuple(widths)}")
  draw = snt.initializers.Orthogonal()
  result = []
  for i, width in enumerate(widths):
    result.append(snt.Linear(width, w_init=draw, name=f"linear_{i}"))
    result.append(ACTIVATIONS[activation])
  result.append(
    snt.Linear(
      num_outputs, final_bias, w_init=draw, name=f"linear_{len(widths)}"
    )
  )
  return snt.Sequential(result)
