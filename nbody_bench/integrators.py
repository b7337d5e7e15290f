"""Integrators as data: splittings and Runge-Kutta tableaus.

A splitting alternates kicks (velocity by the force) and drifts (position by the
velocity), each with its share of the step; it is symplectic where the force
follows from the positions alone. A Runge-Kutta method is a tableau. Each kind
has one stepper for tensors (and NumPy arrays); the compiled float64 loops of
`pair_sums` and `runge_kutta` read the same rows.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from scipy.integrate import DOP853

from nbody_bench.states import Domain, State

# A state and the acceleration there, which the next step needs first.
Carry = tuple[State, Any]
Acceleration = Callable[[State], Any]


@dataclasses.dataclass(frozen=True)
class Splitting:
  """A splitting `kick, drift, kick, drift, ..., kick`.

  Attributes:
    order: of the global error in the step.
    kicks: shares of the step, one more than `drifts`.
    drifts: shares of the step.
  """

  symplectic: ClassVar[bool] = True

  order: int
  kicks: tuple[float, ...]
  drifts: tuple[float, ...]

  def __post_init__(self):
    if len(self.kicks) != len(self.drifts) + 1:
      raise ValueError(
        f"a splitting has one kick more than drifts; {len(self.kicks)} kicks "
        f"and {len(self.drifts)} drifts given (a first or last kick may be 0)"
      )

  def step(
    self, acceleration: Acceleration, domain: Domain, carry: Carry, step
  ) -> Carry:
    """Returns the state one step later and the acceleration there."""
    (position, velocity), pull = carry
    for stage, drift in enumerate(self.drifts):
      # One evaluation a drift: the last kick's force is the next step's first.
      velocity = velocity + self.kicks[stage] * step * pull
      position = domain.wrap(position + drift * step * velocity)
      pull = acceleration(State(position, velocity))
    velocity = velocity + self.kicks[-1] * step * pull
    return State(position, velocity), pull


@dataclasses.dataclass(frozen=True)
class RungeKutta:
  """An explicit Runge-Kutta method for q' = v, v' = a(q, v).

  Attributes:
    order: of the global error in the step.
    stages: row i holds the weights of the slopes 0..i-1 in stage i; the first
      row is empty.
    weights: of the slopes in the step.
    error_weights: rows of weights of the slopes, the one at the end of the step
      included, whose sums estimate the error; empty for a method of fixed
      steps.
  """

  symplectic: ClassVar[bool] = False

  order: int
  stages: tuple[tuple[float, ...], ...]
  weights: tuple[float, ...]
  error_weights: tuple[tuple[float, ...], ...] = ()

  def __post_init__(self):
    lengths = [len(row) for row in self.stages]
    if lengths != list(range(len(self.weights))):
      raise ValueError(
        f"{len(self.weights)} weights need stages of 0, 1, 2, ... numbers; "
        f"{lengths} given"
      )

  def step(
    self, acceleration: Acceleration, domain: Domain, carry: Carry, step
  ) -> Carry:
    """Returns the state one step later and the acceleration there."""
    state, pull = carry
    end = self.advance(
      lambda s: State(s.velocity, acceleration(s)),
      domain,
      state,
      step,
      first=State(state.velocity, pull),
    )
    return end, acceleration(end)

  def advance(
    self,
    derivative: Callable[[State], State],
    domain: Domain,
    state: State,
    step,
    first: State | None = None,
  ) -> State:
    """Returns the state one step later, whatever the equation of motion.

    Args:
      derivative: maps a state to its time derivative; the second field may be
        momenta as well as velocities.
      domain: that the end lies in; stages may leave it.
      state: at the start.
      step: of time.
      first: the derivative at the start, where it is known.
    """
    slopes = [derivative(state) if first is None else first]

    def moved(shares):
      return State(
        *(
          x
          + step
          * sum(
            share * slope
            for share, slope in zip(shares, each, strict=True)
            if share
          )
          for x, each in zip(state, zip(*slopes, strict=True), strict=True)
        )
      )

    for row in self.stages[1:]:
      slopes.append(derivative(moved(row)))
    position, velocity = moved(self.weights)
    return State(domain.wrap(position), velocity)


Integrator = Splitting | RungeKutta


def _composed(lengths: tuple[float, ...]) -> dict[str, tuple[float, ...]]:
  """Returns kicks and drifts of leapfrogs of these lengths one by one."""
  pairs = zip((0.0, *lengths), (*lengths, 0.0), strict=True)
  return {"kicks": tuple((a + b) / 2 for a, b in pairs), "drifts": lengths}


# Yoshida, Phys. Lett. A 150 (1990) 262: symmetric products of leapfrogs. Order
# 4 has one solution of this form; order 6 is his solution A.
_TRIPLE = 1 / (2 - 2 ** (1 / 3))
_YOSHIDA_4 = (_TRIPLE, 1 - 2 * _TRIPLE, _TRIPLE)
_OUTER = (0.784513610477560, 0.235573213359357, -1.17767998417887)
_YOSHIDA_6 = (*_OUTER, 1 - 2 * sum(_OUTER), *reversed(_OUTER))

INTEGRATORS: Mapping[str, Integrator] = {
  "symplectic_euler": Splitting(order=1, kicks=(1.0, 0.0), drifts=(1.0,)),
  # Kick-drift-kick, so that stored positions and velocities belong to the same
  # time.
  "leapfrog": Splitting(order=2, kicks=(0.5, 0.5), drifts=(1.0,)),
  # Forest and Ruth, Physica D 43 (1990) 105: the lengths of `yoshida4`, with
  # the drifts outside, which costs an evaluation less than it seems: no force
  # is needed where the kick is 0.
  "forest_ruth": Splitting(
    order=4,
    kicks=(0.0, *_YOSHIDA_4, 0.0),
    drifts=_composed(_YOSHIDA_4)["kicks"],
  ),
  "yoshida4": Splitting(order=4, **_composed(_YOSHIDA_4)),
  "yoshida6": Splitting(order=6, **_composed(_YOSHIDA_6)),
  "euler": RungeKutta(order=1, stages=((),), weights=(1.0,)),
  "rk4": RungeKutta(
    order=4,
    stages=((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)),
    weights=(1 / 6, 1 / 3, 1 / 3, 1 / 6),
  ),
  # Dormand and Prince, order 8 with error estimates of order 5 and 3 (Hairer,
  # Norsett and Wanner, Solving Ordinary Differential Equations I).
  "dop853": RungeKutta(
    order=8,
    stages=tuple(
      tuple(row[:i].tolist()) for i, row in enumerate(DOP853.A[:12])
    ),
    weights=tuple(DOP853.B.tolist()),
    error_weights=(tuple(DOP853.E5.tolist()), tuple(DOP853.E3.tolist())),
  ),
}
