"""Integrators as data.

A splitting alternates kicks (velocity by the force) and drifts (position by the
velocity), each with its share of the step. Leapfrog comes in several forms;
ours is kick-drift-kick, so that stored positions and velocities belong to the
same time. `pair_sums.advance` runs these rows in float64 for ground truth,
`simulators.ForceSimulator` on tensors.
"""

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Integrator:
  """A splitting `kick, drift, kick, drift, ..., kick`.

  Attributes:
    order: of the global error in the step.
    kicks: shares of the step, one more than `drifts`.
    drifts: shares of the step.
  """

  order: int
  kicks: tuple[float, ...]
  drifts: tuple[float, ...]

  def __post_init__(self):
    if len(self.kicks) != len(self.drifts) + 1:
      raise ValueError(
        f"a splitting has one kick more than drifts; {len(self.kicks)} kicks "
        f"and {len(self.drifts)} drifts given (a first or last kick may be 0)"
      )


# Yoshida, Phys. Lett. A 150 (1990): three leapfrogs of these lengths.
_YOSHIDA = 1 / (2 - 2 ** (1 / 3))
_YOSHIDA_4 = (_YOSHIDA, 1 - 2 * _YOSHIDA, _YOSHIDA)

INTEGRATORS: Mapping[str, Integrator] = {
  "leapfrog": Integrator(order=2, kicks=(0.5, 0.5), drifts=(1.0,)),
  "yoshida4": Integrator(
    order=4,
    kicks=(
      _YOSHIDA_4[0] / 2,
      (_YOSHIDA_4[0] + _YOSHIDA_4[1]) / 2,
      (_YOSHIDA_4[1] + _YOSHIDA_4[2]) / 2,
      _YOSHIDA_4[2] / 2,
    ),
    drifts=_YOSHIDA_4,
  ),
}
