"""No trajectory of one split is one of another split, seen otherwise.

Every simulated data set, by its `smoke` configuration; and planted twins, to
show that they are found.
"""

import itertools
import re

import numpy as np
import pytest
from simulated import NAMES

from nbody_bench import pipelines, simulation, testing
from nbody_bench.solvers import FixedSteps
from nbody_bench.states import State

# Beside these only `test_symmetry` holds twins, of `test`, on purpose.
SPLITS = ("train", "validation", "test", "test_long", "test_energetic")


def load(name, split, data_dir):
  return pipelines.load(f"{name}/smoke", split, data_dir).trajectory


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
  "splits",
  [
    p if "train" in p else pytest.param(p, marks=pytest.mark.slow)
    for p in itertools.combinations(SPLITS, 2)
  ],
)
def test_splits_share_no_solution(name, splits, data_dir):
  one, other = (load(name, split, data_dir) for split in splits)
  system = pipelines.problem(f"{name}/smoke", data_dir).system
  assert len(one.state.position) >= 2
  testing.assert_no_symmetric_pair(one, other, system)


def linear(matrix):
  matrix = np.array(matrix)
  return lambda state: State(*(x @ matrix.T for x in state))


ORDER = np.random.default_rng(0).permutation(20)
# Maps of a state to that of a twin.
TWINS = {
  "copy": lambda state: state,
  "mirror image": linear([[-1, 0], [0, 1]]),
  "mirror image with the same velocities": lambda state: State(
    state.position * [-1, 1], state.velocity
  ),
  "rotation by 90 degrees": linear([[0, -1], [1, 0]]),
  "permutation": lambda state: State(*(x[:, ORDER] for x in state)),
  "translation": lambda state: State(
    np.add(state.position, [3.3, -7.1]), state.velocity
  ),
  "boost": lambda state: State(
    state.position, np.add(state.velocity, [0.4, -0.3])
  ),
  "time reversal": lambda state: State(state.position, -state.velocity),
  "copy in float32": lambda state: State(
    *(x.astype(np.float32).astype(float) for x in state)
  ),
}
TWINS["several at once"] = lambda state: TWINS["rotation by 90 degrees"](
  TWINS["translation"](TWINS["permutation"](TWINS["time reversal"](state)))
)


class Planted:
  """A data set's training split, and what is planted in another one."""

  def __init__(self, name, data_dir):
    self.train = load(name, "train", data_dir)
    self.test = load(name, "test", data_dir)
    self.system = pipelines.problem(f"{name}/smoke", data_dir).system

  def simulated(self, state, particles, num_frames=5):
    """Returns a trajectory of its own from a state, a batch of 1."""
    return simulation.simulate(
      self.system,
      state,
      particles,
      self.test.select(slice(0, 1)).domain,
      times=self.train.time[:num_frames],
      solver=FixedSteps(64),
    ).trajectory

  def start(self, sample, frame):
    """Returns one state of the training split and its particles."""
    one = self.train.select(slice(sample, sample + 1))
    return one.frame(frame), one.particles


# One law with equal sources and one with two signs, 20 particles in the plane.
@pytest.fixture(scope="module", params=["nbody_gravity", "nbody_coulomb"])
def planted(request, data_dir):
  return Planted(request.param, data_dir)


def assert_found(planted, twin, *frames):
  """Asserts that a twin of training trajectory 2 is found, either way round.

  Args:
    planted: the data.
    twin: a batch of 1.
    *frames: pairs (of the training trajectory, of the twin) that coincide; one
      of them is to be named.
  """
  for splits in ((planted.train, twin), (twin, planted.train)):
    with pytest.raises(AssertionError) as raised:
      testing.assert_no_symmetric_pair(*splits, planted.system)
    named = re.findall(r"frame (\d+) of trajectory (\d+)", str(raised.value))
    frame_of = {int(sample): int(frame) for frame, sample in named}
    assert (frame_of[2], frame_of[0]) in frames


@pytest.mark.parametrize("kind", TWINS)
def test_twins_are_found(kind, planted):
  state, particles = planted.start(2, 0)
  if kind in ("permutation", "several at once"):
    particles = type(particles)(
      *(None if x is None else x[:, ORDER] for x in particles)
    )
  twin = planted.simulated(TWINS[kind](state), particles)
  assert_found(planted, twin, (0, 0))


def test_a_twin_from_a_later_frame_is_found(planted):
  assert_found(planted, planted.simulated(*planted.start(2, 7)), (7, 0))


def test_a_twin_that_comes_backwards_into_the_end_is_found(planted):
  """Neither begins in the other: ten frames past the end, then back."""
  onward = planted.simulated(*planted.start(2, -1), num_frames=11)
  back = TWINS["time reversal"](onward.frame(-1))
  twin = planted.simulated(back, onward.particles, num_frames=21)
  assert_found(planted, twin, (40, 10), (30, 20))


def test_flipping_all_charges_makes_a_twin(data_dir):
  planted = Planted("nbody_coulomb", data_dir)
  state, particles = planted.start(2, 0)
  twin = planted.simulated(state, particles._replace(charge=-particles.charge))
  assert_found(planted, twin, (0, 0))


def test_twins_beside_padding_are_found(planted):
  state, particles = testing.pad(*planted.start(2, 0), 3)
  padded = (
    planted.test.select(slice(0, 1))
    .frames(0, 1)
    ._replace(state=State(*(x[:, None] for x in state)), particles=particles)
  )
  assert_found(planted, padded, (0, 0))


@pytest.mark.parametrize("changed", ["position", "velocity", "source"])
def test_half_a_twin_is_none(changed, planted):
  """The same places with other speeds, and so on, are another solution."""
  state, particles = planted.start(2, 0)
  other = planted.test.select(slice(0, 1)).frame(0)
  source = planted.system.source
  if changed == "source":
    values = getattr(particles, source).copy()
    values[0, 0] *= 1.01
    particles = particles._replace(**{source: values})
  else:
    state = state._replace(**{changed: getattr(other, changed)})
  planted_one = planted.simulated(state, particles)
  testing.assert_no_symmetric_pair(planted.train, planted_one, planted.system)
  assert planted_one.state.position.shape == (1, 5, 20, 2)
