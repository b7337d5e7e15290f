"""TFN: Tensor Field Network, convolutions with steerable kernels.

Thomas et al. (2018), for charged bodies in the setting of Satorras, Hoogeboom
and Welling (2021), who compare with it: charges and velocities go through three
convolutions with norm nonlinearities, features of degrees 0 and 1 with 16
channels each, and a fourth to the vector that is added to the position. What
it predicts is the position one frame on.
"""

import dataclasses

from nbody_bench import geometry, jumps, se3_kernels, se3_layers
from nbody_bench.cards import ModelCard
from nbody_bench.problems import Problem
from nbody_bench.recipes import Recipe

CARD = ModelCard(
  name="TFN",
  paper="https://arxiv.org/abs/1802.08219",
  division="learned-closed",
  physics_given=("masses", "charges", "stiffnesses", "boundaries"),
  symmetries=("permutation", "rotation", "translation"),
)
RECIPE = Recipe(
  train_steps=300_000, batch_size=100, learning_rate=1e-3, schedule="constant"
)


@dataclasses.dataclass(frozen=True)
class Config:
  """Settings; the defaults are the published ones.

  Attributes:
    num_layers: convolutions, the last one included.
    num_degrees: of the features between them, from 0 on.
    channels: of each degree.
    radial_width: of the hidden layers of the radial networks.
  """

  num_layers: int = 4
  num_degrees: int = 2
  channels: int = 16
  radial_width: int = 32

  def __post_init__(self):
    for name, least in (
      ("num_layers", 1),
      ("num_degrees", 2),
      # Layer normalisation leaves nothing of one number.
      ("channels", 2),
      ("radial_width", 2),
    ):
      if getattr(self, name) < least:
        raise ValueError(
          f"{name} is {getattr(self, name)}; it must be >= {least}"
        )


# Deeper, with random weights, a roll-out magnifies what rounding does.
TESTING = (
  Config(num_layers=2, channels=4, radial_width=8),
  Config(num_layers=2, num_degrees=3, channels=2, radial_width=4),
)


class Simulator(jumps.JumpSimulator):
  """TFN."""

  def __init__(self, config: Config, problem: Problem):
    super().__init__(name="tfn")
    self._config = config
    self._problem = problem
    widths = dict.fromkeys(range(config.num_degrees), config.channels)
    self._blocks = [
      (
        se3_layers.Convolution(
          widths, config.radial_width, name=f"convolution_{i}"
        ),
        se3_layers.NormNonlinearity(linear=True, name=f"norm_{i}"),
      )
      for i in range(config.num_layers - 1)
    ]
    self._last = se3_layers.Convolution(
      {1: 1}, config.radial_width, name="last"
    )

  def jump(self, state, particles, domain):
    """See base class."""
    edges = geometry.edges(self._problem, state.position, particles)
    apart = geometry.displacement(state.position, edges, domain)
    basis = se3_kernels.edge_basis(
      geometry.in_space(apart), edges, self._config.num_degrees
    )
    features = se3_layers.inputs(self._problem, state, particles)
    for convolution, norm in self._blocks:
      features = norm(convolution(features, basis))
    (shift,) = self._last(features, basis).values()
    return state.position + shift[:, :, : state.position.shape[-1], 0]
