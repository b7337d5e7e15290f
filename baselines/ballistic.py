"""Ballistic flight, x + v t: what any learned model has to beat."""

import dataclasses

from nbody_bench import simulators
from nbody_bench.cards import ModelCard
from nbody_bench.problems import Problem
from nbody_bench.states import State

CARD = ModelCard(
  name="Ballistic",
  division="classical",
  physics_given=("boundaries",),
  symmetries=("translation", "permutation", "rotation", "reflection"),
  notes="No interactions: the error of predicting nothing but inertia.",
)


@dataclasses.dataclass(frozen=True)
class Config:
  """There is nothing to set."""


def step(state, particles, domain, time_step):
  """Returns the state after a free flight of `time_step`."""
  del particles
  return State(
    domain.wrap(state.position + time_step * state.velocity), state.velocity
  )


class Simulator(simulators.StepSimulator):
  """Free flight."""

  def __init__(self, config: Config, problem: Problem):
    del config, problem
    super().__init__(step)
