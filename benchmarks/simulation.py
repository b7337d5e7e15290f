"""What ground truth costs: pair forces against what the processor can do.

  python benchmarks/simulation.py [--turns=15] [--seconds=0.1] [--whole n20]

All sides take turns; the ratio within each turn is what counts. Rates are of
*ordered pairs*, N (N - 1) for each evaluation of the force on N particles, with
the kicks and drifts of leapfrog inside the clock.

Softened gravity needs a square root and a division for each pair, the slowest
operations of a processor, so a small compiled loop measures how many of both
together it does in a second:

  * bound: one of both for each ordered pair. Newton's third law saves every
    other one, so that up to twice the bound can be reached. Target: 0.8.
  * strict: one of both for each unordered pair. Not to be passed, and reached
    only if nearest images and sums were free.

REBOUND, if it is installed, integrates as many bodies in open space, which is
less work than a periodic box. Target: 8 times the rate of REBOUND 4. Release 5
is 2.5 times as fast as that, and against it the strict bound itself is less
than 8 times on some processors.

At the end trajectories are made by one worker and by two (target: 1.7 times as
fast, if there are two idle cores), and data sets whole, with their extra splits
and label errors, as `--whole` names them (targets: `n20` in a minute, `n100` in
a quarter of an hour on two cores).
"""

import argparse
import functools
import importlib.metadata
import math
import os
import pathlib
import tempfile
import time
from collections.abc import Callable
from typing import NamedTuple

import numba
import numpy as np

from nbody_bench import generation, pair_sums, plugins, preparation
from nbody_bench.bodies import Bodies
from nbody_bench.integrators import INTEGRATORS

_LAW, _SOFTENING = "plummer", 0.2
_SIDE = 8.0
_STEP = 1e-6  # so short that nothing moves while the clock runs
_SIZES = (20, 100, 1000, 10_000)


class _Side(NamedTuple):
  """Something to time.

  Attributes:
    run: does a number of steps.
    work: ordered pairs, or roots and divisions, in a step.
  """

  run: Callable[[int], None]
  work: float


def _bound() -> _Side:
  values = np.ones(1024)  # 8 kB, well within the first cache

  # Without Python's exception for a division by zero, which is a branch.
  @numba.njit(fastmath=True, error_model="numpy")
  def root_and_divide(values, count):
    for _ in range(count):
      for i in range(values.size):
        values[i] = 1.0 / (values[i] * math.sqrt(values[i]))

  return _Side(functools.partial(root_and_divide, values), values.size)


def _bodies(num_particles: int, num_dims: int) -> Bodies:
  """Returns as many random systems as a block holds."""
  rng = np.random.default_rng(0)
  shape = (pair_sums.block_size(num_particles), num_particles)
  return Bodies(
    position=rng.uniform(-_SIDE / 2, _SIDE / 2, (*shape, num_dims)),
    velocity=rng.uniform(-1, 1, (*shape, num_dims)),
    inverse_mass=np.ones(shape),
    strength=np.ones(shape),
    box=np.full((shape[0], num_dims), _SIDE),
    coupling=np.full(shape[0], -2.0),
    length=np.full(shape[0], _SOFTENING),
    field=np.zeros(num_dims),
    magnetic_field=np.zeros(3),
    trap=0.0,
  )


def _ours(num_particles: int, num_dims: int) -> _Side:
  bodies = _bodies(num_particles, num_dims)
  block = pair_sums.Block(_LAW, bodies)

  def run(count):
    block.advance(INTEGRATORS["leapfrog"], _STEP * count, count)

  num_systems = len(bodies.position)
  return _Side(run, num_systems * num_particles * (num_particles - 1))


def _rebound(num_particles: int) -> _Side | None:
  try:
    import rebound
  except ImportError:
    return None
  bodies = _bodies(num_particles, 3)
  simulation = rebound.Simulation()
  simulation.integrator = "leapfrog"
  simulation.gravity = "basic"
  simulation.boundary = simulation.collision = "none"
  simulation.G, simulation.softening, simulation.dt = 2.0, _SOFTENING, _STEP
  for q, v in zip(bodies.position[0], bodies.velocity[0], strict=True):
    simulation.add(m=1.0, x=q[0], y=q[1], z=q[2], vx=v[0], vy=v[1], vz=v[2])
  return _Side(simulation.steps, num_particles * (num_particles - 1))


def _rates(
  sides: dict[str, _Side], turns: int, seconds: float
) -> dict[str, np.ndarray]:
  """Returns work a second of one core, `[turns]` for each side."""
  counts = {}
  for name, side in sides.items():
    side.run(1)  # compiles
    side.run(1)
    began = time.process_time()
    side.run(1)
    spent = max(time.process_time() - began, 1e-6)
    counts[name] = max(1, round(seconds / spent))
  rates = {name: np.zeros(turns) for name in sides}
  for turn in range(turns):
    for name, side in sides.items():
      # Of the process: another one on the same core is none of our business.
      began = time.process_time()
      side.run(counts[name])
      spent = time.process_time() - began
      rates[name][turn] = counts[name] * side.work / spent
  return rates


def _summary(values: np.ndarray, digits: int = 2) -> str:
  """Returns the median and the middle half."""
  low, median, high = np.percentile(values, (25, 50, 75))
  return f"{median:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def generation_time(config: str, num_blocks: int, num_workers: int) -> float:
  """Returns the seconds that blocks of a data set take, second run included.

  Args:
    config: of `nbody_gravity`.
    num_blocks: of its training split.
    num_workers: threads; the loops release the lock of the interpreter.
  """
  builder = plugins.load("datasets", "nbody_gravity").Builder(
    config=config, data_dir="/nonexistent"
  )
  blocks = builder.blocks("train")[:num_blocks]
  with tempfile.TemporaryDirectory() as folder:
    began = time.perf_counter()
    made = generation.in_order(
      lambda block, tick: builder.simulate(block.split, block.indices, tick),
      blocks,
      generation.Store(pathlib.Path(folder)),
      num_workers,
      config,
    )
    assert sum(len(block.indices) for block, _ in made) > 0
    return time.perf_counter() - began


def whole_time(config: str) -> float:
  """Returns the seconds that a whole data set takes, written to disk."""
  with tempfile.TemporaryDirectory() as folder:
    began = time.perf_counter()
    preparation.prepare(f"nbody_gravity/{config}", folder)
    return time.perf_counter() - began


def main() -> None:
  """Prints the tables."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--turns", type=int, default=15)
  parser.add_argument(
    "--seconds", type=float, default=0.1, help="of each side in one turn"
  )
  parser.add_argument(
    "--whole",
    nargs="*",
    default=["n20"],
    help="configurations of nbody_gravity to make whole",
  )
  options = parser.parse_args()
  sides = {"bound": _bound()}
  for num_dims in (2, 3):
    for n in _SIZES:
      sides[f"{num_dims}-D, N = {n}"] = _ours(n, num_dims)
  for n in (100, 1000):
    side = _rebound(n)
    if side is not None:
      sides[f"REBOUND, N = {n}"] = side
  rates = _rates(sides, options.turns, options.seconds)

  print("medians (middle half); rates in 1e9 ordered pairs a second, one core")
  print(f"square roots with divisions: {_summary(rates['bound'] / 1e9)}")
  print(f"{'':18}{'rate':20}{'/ bound':20}/ strict")
  for name in list(rates)[1:]:
    ratio = rates[name] / rates["bound"]
    print(
      f"{name:18}{_summary(rates[name] / 1e9, 3):20}"
      f"{_summary(ratio):20}{_summary(ratio / 2)}"
    )
  for n in (100, 1000):
    other = rates.get(f"REBOUND, N = {n}")
    against = (
      "REBOUND is not installed"
      if other is None
      else f"{_summary(rates[f'3-D, N = {n}'] / other, 1)} times REBOUND "
      + importlib.metadata.version("rebound")
    )
    print(f"3-D, N = {n}: {against}")

  for config, num_blocks in (("n20", 8), ("n1000", 2)):
    generation_time(config, 1, 1)  # compiles
    speedup = [
      generation_time(config, num_blocks, 1)
      / generation_time(config, num_blocks, 2)
      for _ in range(3)
    ]
    print(
      f"{config}: {_summary(np.array(speedup))} times as fast with two workers "
      f"({os.cpu_count()} cores, load {os.getloadavg()[0]:.1f})",
      flush=True,
    )
  for config in options.whole:
    print(
      f"nbody_gravity/{config} whole: {whole_time(config):.0f} s", flush=True
    )


if __name__ == "__main__":
  main()
