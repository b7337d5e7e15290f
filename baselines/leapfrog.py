"""The leapfrog integrator with the true law: the board's clock and yardstick.

Kick-drift-kick in float32, compiled like the learned models that it is
compared with, so that cost and error stand on the same scale.
"""

import dataclasses

from nbody_bench import integrators, simulators
from nbody_bench.cards import ModelCard
from nbody_bench.problems import Problem

CARD = ModelCard(
  name="Leapfrog",
  division="classical",
  physics_given=("masses", "charges", "force law", "constants", "boundaries"),
  symmetries=("translation", "permutation", "rotation", "reflection"),
  notes="Kick-drift-kick with equal steps, float32.",
)


@dataclasses.dataclass(frozen=True)
class Config:
  """Settings.

  Attributes:
    num_substeps: integration steps between output times.
  """

  num_substeps: int = 1


# What `tests/conformance_test.py` runs: the loop over sub-steps included.
TESTING = (Config(num_substeps=2),)


class TrueLaw(simulators.ForceSimulator):
  """The true law in an integrator.

  Raises:
    ValueError: if the law is withheld or not known, or its force depends on
      velocity and the integrator is a splitting.
  """

  def __init__(
    self, name: str, problem: Problem, integrator: str, num_substeps: int
  ):
    super().__init__(
      problem.known_law(name).force,
      integrators.INTEGRATORS[integrator],
      num_substeps,
    )


class Simulator(TrueLaw):
  """Leapfrog.

  Raises:
    ValueError: as `TrueLaw`.
  """

  def __init__(self, config: Config, problem: Problem):
    super().__init__("leapfrog", problem, "leapfrog", config.num_substeps)
