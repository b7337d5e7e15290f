"""Classical integrators with the true law, at any number of steps a frame.

They draw the front of cost and error that a learned model has to beat. In
float32, compiled like the learned models. The front is that of `leapfrog`,
which is the clock, Yoshida's splittings and Runge-Kutta: where a force is not
smooth, as at half the side of a periodic box, high order is no use and small
steps are.
"""

import dataclasses

from nbody_bench import integrators, plugins
from nbody_bench.baselines import leapfrog
from nbody_bench.cards import ModelCard
from nbody_bench.problems import Problem

CARD = ModelCard(
  name="Classical integrator",
  division="classical",
  physics_given=("masses", "charges", "force law", "constants", "boundaries"),
  symmetries=("translation", "permutation", "rotation", "reflection"),
  notes="The true law with equal steps, float32.",
)


@dataclasses.dataclass(frozen=True)
class Config:
  """Settings.

  Attributes:
    integrator: a row of `integrators.INTEGRATORS`.
    num_substeps: integration steps between output times.
  """

  integrator: str = "rk4"
  num_substeps: int = 1


# One of each kind.
TESTING = (Config(), Config("yoshida4", num_substeps=2))


class Simulator(leapfrog.TrueLaw):
  """An integrator.

  Raises:
    ValueError: if there is no such integrator, the law is withheld or not
      known, or its force depends on velocity and the integrator is a splitting.
  """

  def __init__(self, config: Config, problem: Problem):
    if config.integrator not in integrators.INTEGRATORS:
      raise ValueError(
        plugins.unknown(
          "integrators", config.integrator, list(integrators.INTEGRATORS)
        )
      )
    super().__init__(
      config.integrator, problem, config.integrator, config.num_substeps
    )
