"""Checks of motion: velocities by the positions, their changes by the law.

And of forces, where they are in the data. Lags, factors and signs that explain
a difference are named.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from nbody_bench import stored
from nbody_bench.findings import Fault, worsts
from nbody_bench.states import State
from nbody_bench.validation_batches import SAME, SAME_STEP, Batch, Facts

# A median over fewer samples than this says nothing.
_MIN_SAMPLES = 8
# Typical differences larger than this part are not the frames' doing.
_UNLIKE = 0.1
# An explanation is believed if it leaves this part of the difference.
_EXPLAINED = 0.1


def velocities(facts: Facts, batch: Batch) -> Iterator[Fault]:
  """Velocities against differences of positions, for lags and units."""
  if batch.is_noisy or batch.examples["position"].shape[1] < 5:
    return
  if not facts.system.is_known:
    return  # observed velocities are differences of positions
  step = facts.time_step
  q = np.moveaxis(stored.unwrapped(batch.truth.trajectory), 1, 0)
  v = np.moveaxis(batch.examples["velocity"], 1, 0)[2:-2]
  mass = np.broadcast_to(batch.examples["mass"], v.shape[:-1])
  central = (q[3:-1] - q[1:-3]) / (2 * step)
  # Fourth order, the second derivative likewise.
  rate = (4 * central - (q[4:] - q[:-4]) / (4 * step)) / 3
  around = 16 * (q[3:-1] + q[1:-3]) - q[4:] - q[:-4] - 30 * q[2:-2]
  pull = around / (12 * step**2)
  moving = _norm(rate) > 0
  resolved = moving & (_norm(rate - central) < 0.1 * _norm(rate))
  if resolved.sum() < max(_MIN_SAMPLES, 0.5 * moving.sum()):
    if moving.any():
      yield _unresolved("velocities were not compared with positions")
    return
  sample = _Sample(v[resolved], rate[resolved])
  if sample.relative < SAME_STEP:
    return
  jumps = np.diff(q, axis=0) / step
  sides = (jumps[1:-2][resolved], jumps[2:-1][resolved])
  lag = _lag(sample, sides, pull[resolved], step)
  if lag:
    share = abs(lag) / step
    yield Fault(
      None,
      share,
      f"velocities {'lag behind' if lag > 0 else 'are ahead of'} positions by "
      f"{abs(lag):.3g}, that is {share:.3g} of a time step; store both at the "
      "same time (a leapfrog scheme: complete the kick first)",
      "error" if share > 0.1 else "warning",
    )
  elif sample.relative > _UNLIKE:
    how = sample.in_words(mass[resolved], "mass times", "change its unit")
    yield Fault(
      None,
      sample.relative,
      f"velocity differs by {100 * sample.relative:.0f} % (median) from the "
      f"rate at which the position changes; {how}",
    )


def accelerations(facts: Facts, batch: Batch) -> Iterator[Fault]:
  """Changes of velocity against what the law says, for units and signs."""
  trajectory, step = batch.truth.trajectory, facts.time_step
  _, num_frames, num_particles, _ = trajectory.state.position.shape
  if batch.is_noisy or num_frames < 3:
    return
  count = min(max(16, 2**20 // num_particles**2), num_frames - 2)
  middle = np.linspace(1, num_frames - 2, count).round().astype(int)
  frames = np.concatenate([middle - 1, middle, middle + 1])
  some = trajectory._replace(
    time=trajectory.time[frames],
    state=State(*(x[:, frames] for x in trajectory.state)),
  )
  before, at, after = np.split(
    some.at_each_frame(facts.system.acceleration), 3, 1
  )
  first, _, last = np.split(some.state.velocity, 3, 1)
  expected = step / 3 * (before + 4 * at + after)
  coarse = step / 2 * (before + 2 * at + after)
  pulled = _norm(expected) > 0
  resolved = pulled & (_norm(expected - coarse) < 0.1 * _norm(expected))
  if resolved.sum() < max(_MIN_SAMPLES, 0.5 * pulled.sum()):
    if pulled.any():
      yield _unresolved("changes of velocity were not compared with the law")
    return
  sample = _Sample((last - first)[resolved], expected[resolved])
  if sample.relative > _UNLIKE:
    mass = trajectory.particles.mass[:, None]
    how = sample.in_words(
      np.broadcast_to(mass, resolved.shape)[resolved],
      "mass times",
      "check the sign and size of the coupling, the source strengths and the "
      "units of time and length",
    )
    yield Fault(
      None,
      sample.relative,
      f"velocities change by {100 * sample.relative:.0f} % (median) other than "
      f"metadata['system'] says; {how}",
    )


def forces(facts: Facts, batch: Batch) -> Iterator[Fault]:
  """Forces of structures against what the law says."""
  trajectory = batch.truth.trajectory
  if not facts.static or not facts.system.is_known:
    return
  stored_force = batch.examples["force"]
  force = trajectory.at_each_frame(facts.system.force)
  scale = np.max(np.abs(force), (1, 2, 3), keepdims=True)
  difference = np.abs(stored_force - force)
  for row, excess, place in worsts(difference, SAME * scale):
    yield Fault(
      row,
      excess,
      f"force[{', '.join(map(str, place))}] is "
      f"{stored_force[row][place]:.12g}, but metadata['system'] gives "
      f"{force[row][place]:.12g}; store system.force of the same float64 "
      "positions, on atoms that are held too",
    )


def _norm(x):
  return np.sqrt(np.sum(x**2, -1))


def _unresolved(what):
  return Fault(
    None,
    0,
    f"{what}: more than half of the motion is too fast for frames this far "
    "apart; store more frames if you can",
    "warning",
  )


class _Sample(NamedTuple):
  """Vectors `[S, D]` that are stored, and what they should be."""

  found: np.ndarray
  wanted: np.ndarray

  @property
  def relative(self) -> float:
    difference = _norm(self.found - self.wanted) / _norm(self.wanted)
    return float(np.median(difference))

  def times(self, factor) -> "_Sample":
    return self._replace(wanted=np.reshape(factor, (-1, 1)) * self.wanted)

  def in_words(self, weight: np.ndarray, weighted: str, mend: str) -> str:
    """Returns which factor there is between what is and what should be."""
    limit = _EXPLAINED * self.relative
    if self.times(weight).relative < limit:
      return f"it is {weighted} that; divide by the mass"
    if self.times(1 / weight).relative < limit:
      return "it is that divided by the mass once more than it should be"
    along = np.sum(self.found * self.wanted, -1)
    factor = float(np.median(along / np.sum(self.wanted**2, -1)))
    if self.times(factor).relative < limit:
      return f"it is {factor:.4g} times that; {mend}"
    return f"no constant factor explains it; {mend}"


def _lag(sample, sides, pull, step):
  """Returns the time by which velocities are late, 0 if they are not.

  Half a frame is found by one-sided differences, which then fit better; a small
  lag by regression of what is left on the acceleration.
  """

  def typical(x):
    return np.median(_norm(x))

  left = sample.found - sample.wanted
  limit = _EXPLAINED * typical(left)
  for sign, side in zip((1, -1), sides, strict=True):
    if typical(sample.found - side) < limit:
      return sign * 0.5 * step
  strong = _norm(pull) >= max(typical(pull), np.finfo(float).tiny)
  if not strong.any():
    return 0.0
  late = -np.sum(left * pull, -1)[strong] / np.sum(pull**2, -1)[strong]
  lag = float(np.median(late))
  scatter = np.median(np.abs(late - lag))
  return lag if abs(lag) > max(1e-3 * step, 4 * scatter) else 0.0
