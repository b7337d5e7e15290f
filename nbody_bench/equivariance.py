"""How far a simulator is from commuting with the symmetries of space."""

from typing import Any

import numpy as np

from nbody_bench import rollouts, twins
from nbody_bench.states import State, Trajectory, map_arrays
from nbody_bench.systems import SYMMETRIES, System

_SYSTEMS = 16  # and as many random transformations of each kind
_CAP = 1e6  # what a prediction that is not finite counts as
_KINDS = ("rotation", "reflection", "translation")


def measure(
  predict: Any, data: Trajectory, time: float, seed: int = 0
) -> dict[str, float]:
  """Returns mean |f(R x) - R f(x)| / |f(x)| over random R, by kind.

  One prediction to one time. The norm is over the positions of all particles,
  counted from their mean, and the mean over systems; zero but for rounding
  where a simulator is equivariant. In a periodic box rotations are quarter
  turns.

  Args:
    predict: as `simulators.Simulator.predict`, or a compiled one.
    data: `[B, T, N, D]` NumPy arrays, whose first frames are the states x.
    time: of the prediction.
    seed: of the transformations.
  """
  data = data.select(slice(0, _SYSTEMS)).frames(0, 1)
  expected = _predict(predict, data, time)
  rng = np.random.default_rng(seed)
  result = {}
  for kind in _KINDS:
    if data.state.position.shape[-1] == 1 and kind == "rotation":
      continue
    changes = [_draw(rng, kind, box) for box in data.domain.box]
    moved = _each(changes, data)
    result[kind] = _error(
      _predict(predict, moved, time), _each(changes, expected)
    )
  order = rng.permutation(data.state.position.shape[2])
  if len(order) > 1:
    shuffled = _reordered(data, order)
    result["permutation"] = _error(
      _predict(predict, shuffled, time), _reordered(expected, order)
    )
  return result


def _predict(predict, data, time):
  states = rollouts.rollout(
    predict,
    *(data.frame(0), data.particles, data.domain),
    np.array([time]),
    rollouts.batch_size(data),
  ).state
  # At time 0, for a transformation is one of space here.
  return data._replace(state=states)


def _draw(rng, kind, box):
  """Returns a transformation of one kind."""
  if kind == "reflection":
    matrix = np.diag([-1.0, *np.ones(len(box) - 1)])
    return twins.identity(len(box))._replace(rotation=matrix)
  # Only the symmetries of space are asked for, not those of a law.
  free = System(law="harmonic", coupling=1.0)
  assert set(free.symmetries) == set(SYMMETRIES)
  drawn = twins.draw(rng, free, box)
  if kind == "translation":
    return twins.identity(len(box))._replace(translation=drawn.translation)
  while np.linalg.det(drawn.rotation) < 0 or np.allclose(
    drawn.rotation, np.eye(len(box))
  ):
    drawn = twins.draw(rng, free, box)
  return twins.identity(len(box))._replace(rotation=drawn.rotation)


def _each(changes, data):
  parts = [
    change(data.select(slice(i, i + 1))).state
    for i, change in enumerate(changes)
  ]
  state = State(*(np.concatenate(x) for x in zip(*parts, strict=True)))
  return data._replace(state=state)


def _reordered(data, order):
  particles = data.particles
  bonds = particles.bonds
  if bonds is not None:
    place = np.argsort(order)
    bonds = place[bonds.astype(int)]
  kept = particles._replace(
    bonds=None, coupling=None, softening=None, history=None
  )
  moved = map_arrays(lambda x: x[:, order], kept)._replace(
    bonds=bonds,
    coupling=particles.coupling,
    softening=particles.softening,
    history=map_arrays(lambda x: x[:, :, order], particles.history),
  )
  return data._replace(
    state=State(*(x[:, :, order] for x in data.state)), particles=moved
  )


def _error(found, expected):
  q = expected.state.position[:, 0]
  apart = expected.domain.displacement(q, found.state.position[:, 0])
  centre = q - q.mean(1, keepdims=True)
  size = np.sqrt(np.sum(centre**2, (1, 2)))
  if q.shape[1] == 1:
    size = np.sqrt(np.sum(q**2, (1, 2)))
  errors = np.sqrt(np.sum(apart**2, (1, 2))) / size
  return float(np.mean(np.where(errors < _CAP, errors, _CAP)))
