"""Each fault is put into a sound data set, and has to be found and named."""

import copy
import functools
import os
import pathlib
import re
import subprocess
import sys
import types

import numpy as np
import pytest
import simulated
import tensorflow_datasets as tfds

from nbody_bench import simulation, statistics, stored, validation
from nbody_bench.dataset_configs import NBodyConfig, sizes
from nbody_bench.solvers import FixedSteps
from nbody_bench.states import Domain, Particles, State
from nbody_bench.systems import System

SYSTEM = System(law="plummer", coupling=2.0, softening=0.3, source="charge")
STEP = 0.05
CONFIG = NBodyConfig(
  name="tiny",
  system=SYSTEM,
  initial=None,
  num_particles=4,
  time_step=STEP,
  splits=sizes(4, 2, 2, num_frames=21, extra=0),
  solver=FixedSteps(32),
  max_energy_drift=1e-3,
)


def simulate(seed, num_trajectories, num_frames=21):
  rng = np.random.default_rng(seed)
  shape = (num_trajectories, 4)
  return simulation.simulate(
    SYSTEM,
    State(rng.uniform(-3.5, 3.5, (*shape, 2)), rng.uniform(-1, 1, (*shape, 2))),
    Particles(rng.uniform(0.5, 1.5, shape), rng.choice([-1.0, 1.0], shape)),
    Domain(np.full((num_trajectories, 2), 7.0)),
    times=STEP * np.arange(num_frames),
    solver=CONFIG.solver,
  )


def examples_of(truth):
  trajectory = truth.trajectory
  return [
    {
      "trajectory_id": np.int64(k),
      "time": trajectory.time.copy(),
      "position": trajectory.state.position[k].copy(),
      "velocity": trajectory.state.velocity[k].copy(),
      "mass": trajectory.particles.mass[k].copy(),
      "charge": trajectory.particles.charge[k].copy(),
      "box": trajectory.domain.box[k].copy(),
      "energy": truth.energy[k].copy(),
      "momentum": truth.momentum[k].copy(),
      "label_error": truth.label_error[k].copy(),
    }
    for k in range(len(truth.energy))
  ]


class Data:
  """Examples and metadata, to be spoiled."""

  def __init__(self):
    made = {
      split: simulate(seed, size.num_trajectories)
      for seed, (split, size) in enumerate(CONFIG.splits.items())
    }
    self.splits = {k: examples_of(v) for k, v in made.items()}
    self.metadata = CONFIG.metadata()
    self.metadata["statistics"] = statistics.compute([made["train"].trajectory])
    self.dtype = {}  # of features, where they are not what they should be

  def features(self):
    example = self.splits["train"][0]
    return {
      k: tfds.features.Tensor(
        shape=(None,) * np.ndim(x) if k != "box" else (2,),
        dtype=self.dtype.get(k, np.asarray(x).dtype),
        encoding="bytes" if np.ndim(x) else "none",
      )
      for k, x in example.items()
    }


@pytest.fixture(scope="module")
def sound():
  return Data()


@pytest.fixture
def data(sound):
  return copy.deepcopy(sound)


@pytest.fixture
def found(data, monkeypatch):
  """A function that validates the data, without writing them."""

  def read(builder, split):
    yield from stored.batches(builder.examples[split], 2**26)

  def call():
    monkeypatch.setattr(stored, "read", read)
    splits = {
      k: types.SimpleNamespace(num_examples=len(v))
      for k, v in data.splits.items()
    }
    info = types.SimpleNamespace(
      metadata=data.metadata, features=data.features(), splits=splits
    )
    builder = types.SimpleNamespace(
      info=info,
      is_prepared=lambda: True,
      examples=data.splits,
      builder_config=None,
    )
    return [str(f) for f in validation.validate(builder)]

  return call


def test_sound_data_have_no_findings(found):
  assert found() == []


def unwrapped(example):
  q = example["position"]
  steps = np.diff(q, axis=0)
  steps -= 7.0 * np.round(steps / 7.0)
  return np.concatenate([q[:1], q[0] + np.cumsum(steps, 0)])


def all_examples(data):
  return [e for examples in data.splits.values() for e in examples]


def measure(data):
  """Stores the energy and momentum of the velocities that there are."""
  for split in data.splits.values():
    some = {k: np.stack([e[k] for e in split]) for k in split[0]}
    trajectory = stored.truth(some).trajectory
    energy = trajectory.at_each_frame(SYSTEM.hamiltonian)
    momentum = trajectory.at_each_frame(SYSTEM.momentum)
    for e, *values in zip(split, energy, momentum, strict=True):
      e["energy"], e["momentum"] = values


def leave_bounds(data):
  for key in ("max_energy_drift", "max_momentum_drift"):
    data.metadata[key] = 1e9


def change_velocity(data, change):
  for e in all_examples(data):
    e["velocity"] = change(e)
  measure(data)
  leave_bounds(data)
  data.metadata["statistics"] = statistics.compute(
    [
      stored.truth(
        {k: np.stack([e[k] for e in data.splits["train"]]) for k in e}
      ).trajectory
    ]
  )


def lagging(example, shift):
  q = unwrapped(example)
  v = np.diff(q, axis=0) / STEP
  at = np.clip(np.arange(len(q)) + shift, 0, len(v) - 1)
  return v[at]


def late(example, lag):
  before = example["velocity"][:-1]
  between = np.diff(example["velocity"], axis=0) / STEP
  return np.concatenate([before[:1], before + (STEP - lag) * between])


def put(split, index, name, place, value):
  def change(data):
    data.splits[split][index][name][place] = value

  return change


def drop(name):
  def change(data):
    for e in all_examples(data):
      del e[name]

  return change


def set_metadata(key, value):
  def change(data):
    data.metadata[key] = value

  return change


def without(key):
  return lambda data: data.metadata.pop(key)


def shorten(data):
  example = data.splits["train"][2]
  for name in ("time", "position", "velocity", "energy", "momentum"):
    example[name] = example[name][:-3]
  example["label_error"] = example["label_error"][:-3]


def swap(data):
  data.splits["validation"].reverse()


def repeat_time(data):
  data.splits["test"][1]["time"][7] = data.splits["test"][1]["time"][6]


def other_steps(data):
  data.splits["train"][3]["time"] *= 1.5


def round_off(data):
  for e in all_examples(data):
    e["position"] = e["position"].astype(np.float32).astype(np.float64)


def from_zero(data):
  for e in data.splits["train"]:
    e["position"] = (e["position"] + 3.5) % 7.0


def pairs_twice(data):
  for split in data.splits.values():
    some = {k: np.stack([e[k] for e in split]) for k in split[0]}
    trajectory = stored.truth(some).trajectory
    kinetic = trajectory.at_each_frame(SYSTEM.kinetic_energy)
    for e, t in zip(split, kinetic, strict=True):
      e["energy"] = t + 2 * (e["energy"] - t)
  leave_bounds(data)


def no_label_error(data):
  data.splits["test"][0]["label_error"][:] = 0


def drifting(data):
  mean = data.splits["train"][1]
  mean["velocity"][10:] *= 1.01
  measure(data)


def within_a_split(data):
  data.splits["train"][3] = data.splits["train"][1] | {"trajectory_id": 3}
  measure_statistics(data)


def across_splits(data):
  data.splits["test"][0] = data.splits["train"][1] | {"trajectory_id": 0}


def measure_statistics(data):
  train = data.splits["train"]
  some = {k: np.stack([e[k] for e in train]) for k in train[0]}
  data.metadata["statistics"] = statistics.compute(
    [stored.truth(some).trajectory]
  )


def overlapping(data, splits):
  """Windows of one long trajectory, the second from the middle of the first."""
  (path,) = examples_of(simulate(9, 1, 31))
  timed = ("position", "velocity", "energy", "momentum", "label_error")
  for index, (split, start) in enumerate(zip(splits, (0, 10), strict=True)):
    window = {k: path[k][start : start + 21] for k in timed}
    data.splits[split][index].update(window)
    for k in ("mass", "charge"):
      data.splits[split][index][k] = path[k]
  measure_statistics(data)


def stray_mass(data):
  change_velocity(
    data,
    lambda e: (
      e["velocity"][:1]
      + e["mass"][:, None] * (e["velocity"] - e["velocity"][:1])
    ),
  )


def coupling(value):
  return set_metadata("system", SYSTEM.to_dict() | {"coupling": value})


WRONG_ENERGY = r"error: \w+ trajectory \d: energy\[\d+\] is .* but the stored"
UNLIKE_LAW = r"error: \w+: velocities change by \d+ % .* than metadata\['sy"
UNLIKE_RATE = r"error: \w+: velocity differs by \d+ % \(median\) from the rate"
SKIPPED = r"warning: the examples: were not looked at; mend the errors above"
OVER = r"error: \w+ trajectory \d: \w+_drift is .*, over the bound"

# What is done to sound data, and all that is found.
FAULTS = {
  "no time step": (
    without("time_step"),
    [r"error: metadata: 'time_step' is missing; pass it in tfds", SKIPPED],
  ),
  "no solver": (
    without("solver"),
    [r"warning: metadata: 'solver' is missing: nobody knows how"],
  ),
  "unknown law": (
    set_metadata("system", {"law": "yukava", "coupling": 1.0}),
    [r"'system' is not a nbody_bench.System \(law 'yukava' is not", SKIPPED],
  ),
  "unknown constant": (
    set_metadata("system", {"G": 1.0}),
    [r"error: metadata: 'system' is not .*whose fields are law, co", SKIPPED],
  ),
  "negative step": (
    set_metadata("time_step", -0.1),
    [r"error: metadata: time_step is -0.1; it must be a positive", SKIPPED],
  ),
  "statistics zero": (
    set_metadata("statistics", {"velocity_std": 0.0}),
    [r"statistics\['\w+'\] is (0.0|None); models divide by it", SKIPPED],
  ),
  "statistics of others": (
    lambda data: data.metadata["statistics"].update(velocity_std=0.3),
    [r"error: metadata: statistics\['velocity_std'\] is 0.3, but the train"],
  ),
  "no charge": (
    drop("charge"),
    [r"error: features: 'charge' is missing; it must be float64 of", SKIPPED],
  ),
  "float32": (
    lambda data: data.dtype.update(mass=np.float32),
    [r"error: features: 'mass' is float32 of shape \[any\]; it mus", SKIPPED],
  ),
  "no test split": (
    lambda data: data.splits.pop("test"),
    [r"error: splits: there is no 'test', only train, validation;", SKIPPED],
  ),
  "too few": (
    lambda data: data.splits["train"].pop(),
    [r"error: train: holds 3 trajectories, but the metadata state 4", SKIPPED],
  ),
  "shorter": (
    shorten,
    [r"train trajectory 2: time has shape \[18\]; for 21 frames of 4 part"],
  ),
  "order": (
    swap,
    [r"validation trajectory 1: trajectory_id is 1 in place 0; .* \(so it is"],
  ),
  "not finite": (
    put("test", 1, "velocity", (5, 3, 0), np.nan),
    [r"error: test trajectory 1: velocity\[5, 3, 0\] is nan; every number"],
  ),
  "time stands": (
    repeat_time,
    [r"error: test trajectory 1: time goes from 0.3 at frame 6 to 0.3, whi"],
  ),
  "other steps": (
    other_steps,
    [r"train trajectory 3: time goes from 0 at frame 0 to 0.075; times must"],
  ),
  "later start": (
    set_metadata("first_time", 0.1),
    [r"time begins at 0, but metadata\['first_time'\] is 0.1; .* \(so it is"],
  ),
  "negative mass": (
    put("train", 1, "mass", 2, -1.0),
    [r"error: train trajectory 1: mass\[2\] is -1; it must be positive$"],
  ),
  "flat box": (
    put("train", 1, "box", 0, 0.0),
    [r"train trajectory 1: box\[0\] is 0; it must be positive; infinite whe"],
  ),
  "rounded": (
    round_off,
    [
      r"\w+ trajectory 0: position holds float32 numbers: .* \(so",
      WRONG_ENERGY,
    ],
  ),
  "box from zero": (
    from_zero,
    [
      r"error: train trajectory \d: position\[\d+, \d, \d\] is 6.\d+, outside "
      r"the periodic box \[-3.5, 3.5\); they seem to lie in \[0, L\)"
    ],
  ),
  "out of the box": (
    put("test", 0, "position", (4, 1, 0), 9.0),
    [
      r"test trajectory 0: position\[4, 1, 0\] is 9, .*; wrap them with Domain",
      WRONG_ENERGY,
    ],
  ),
  "pairs twice": (
    pairs_twice,
    [WRONG_ENERGY + r".*\(what is stored is 1 T \+ 2 U\)"],
  ),
  "momentum": (
    put("train", 0, "momentum", (3, 1), 0.25),
    [r"error: train trajectory 0: momentum\[3, 1\] is 0.25, but the st", OVER],
  ),
  "negative label error": (
    put("train", 0, "label_error", 3, -0.001),
    [r"error: train trajectory 0: label_error\[3\] is -0.001; a distance"],
  ),
  "no label error": (
    no_label_error,
    [r"warning: test trajectory 0: label_error is 0 at every frame: there"],
  ),
  "bound on labels": (
    put("validation", 1, "label_error", 20, 0.5),
    [
      r"validation trajectory 1: label_error is 0.5, over the bound "
      r"max_label_error = 0.01 that the metadata state; use a finer solver"
    ],
  ),
  "drift": (drifting, [OVER]),
  "no bound": (
    set_metadata("max_label_error", None),
    [r"warning: metadata: max_label_error is None: nothing is promised; the "],
  ),
  "half a step late": (
    lambda data: change_velocity(data, lambda e: lagging(e, -1)),
    [
      r"error: \w+: velocities lag behind positions by 0.025, that is 0.5 of "
      r"a time step; store both at the same time"
    ],
  ),
  "half a step early": (
    lambda data: change_velocity(data, lambda e: lagging(e, 0)),
    [r"error: \w+: velocities are ahead of positions by 0.025, that is 0.5 of"],
  ),
  "slightly late": (
    lambda data: change_velocity(data, lambda e: late(e, 0.02 * STEP)),
    [r"warning: \w+: velocities lag behind positions by 0.00\d+, that is 0.02"],
  ),
  "displacement": (
    lambda data: change_velocity(data, lambda e: STEP * e["velocity"]),
    [UNLIKE_RATE + r".*; it is 0.05 times that; change its unit", UNLIKE_LAW],
  ),
  "momentum for velocity": (
    lambda data: change_velocity(
      data, lambda e: e["mass"][:, None] * e["velocity"]
    ),
    [UNLIKE_RATE + r".*; it is mass times that", UNLIKE_LAW + ".*mass times"],
  ),
  "sign": (
    coupling(-2.0),
    [WRONG_ENERGY + r".*1 T \+ -1 U", UNLIKE_LAW + r".*it is -1 times that"],
  ),
  "half the coupling": (
    coupling(1.0),
    [WRONG_ENERGY + r".*1 T \+ 2 U", UNLIKE_LAW + r".*it is 2 times that"],
  ),
  "force for acceleration": (
    stray_mass,
    [UNLIKE_LAW + r".*; it is mass times that; divide by the mass", "."],
  ),
  "twice in a split": (
    within_a_split,
    [
      r"error: train trajectory 3: has at frame 0 the state of train "
      r"trajectory 1 at frame 0; draw each trajectory anew"
    ],
  ),
  "in two splits": (
    across_splits,
    [r"error: test trajectory 0: has at frame 0 the state of train traject"],
  ),
  "windows in two splits": (
    functools.partial(overlapping, splits=("train", "test")),
    [r"error: test trajectory 1: has at frame 0 the state of train traject"],
  ),
  "windows in a split": (
    functools.partial(overlapping, splits=("train", "train")),
    [r"warning: train trajectory 1: has at frame 0 the state of train tra"],
  ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_and_nothing_else(name, data, found):
  spoil, expected = FAULTS[name]
  spoil(data)
  findings = found()
  for text in expected:
    assert any(re.search(text, f) for f in findings), findings
  for finding in findings:
    assert any(re.search(text, finding) for text in expected), finding


def test_noise_belongs_to_the_training_split(data, found):
  rng = np.random.default_rng(0)
  for e in data.splits["train"]:
    e["velocity"] += rng.normal(0, 0.1, e["velocity"].shape)
  measure_statistics(data)
  assert any(re.search(WRONG_ENERGY, f) for f in found())
  data.metadata["noise"] = 0.1
  assert found() == []


def test_twins_are_no_duplicates(data, found):
  data.splits["test_symmetry"] = copy.deepcopy(data.splits["test"])
  stated = data.metadata["splits"]
  stated["test_symmetry"] = stated["test"]
  assert found() == []
  data.splits["test_other"] = data.splits.pop("test_symmetry")
  stated["test_other"] = stated["test"]
  (finding,) = found()
  assert "test_other trajectory 0: has at frame 0 the state of test" in finding
  assert "(so have 1 more)" in finding


def test_the_same_start_counts_more_than_an_overlap(data, found):
  overlapping(data, ("train", "train"))
  data.splits["train"][3] = data.splits["train"][2] | {"trajectory_id": 3}
  measure_statistics(data)
  (finding,) = found()
  assert finding.startswith("error: train trajectory 3: has at frame 0 the ")
  assert "train trajectory 2 at frame 0 (so have 1 more)" in finding


def test_frames_too_far_apart_are_said_to_be(data, found):
  for e in all_examples(data):
    for k in ("time", "position", "velocity", "energy", "momentum"):
      e[k] = e[k][::10]
    e["label_error"] = e["label_error"][::10]
    e["time"] = np.arange(3) * 0.5
  for split in data.metadata["splits"].values():
    split["num_frames"] = 3
  data.metadata["time_step"] = 0.5
  measure_statistics(data)
  findings = found()
  assert findings
  for finding in findings:
    assert re.match(
      r"warning: \w+: changes of velocity were not compared", finding
    )


@pytest.mark.parametrize("name", simulated.NAMES)
def test_shipped_data_are_sound(name, data_dir):
  builder = tfds.builder(f"{name}/smoke", data_dir=data_dir)
  assert validation.validate(builder) == []


def test_data_that_are_not_there(tmp_path):
  builder = tfds.builder("nbody_gravity/smoke", data_dir=tmp_path)
  with pytest.raises(
    ValueError,
    match=r"nbody_gravity/smoke is not prepared in .*; run python -m "
    rf"nbody_bench.prepare --dataset=nbody_gravity/smoke --data_dir={tmp_path}",
  ):
    validation.validate(builder)


class Handmade(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """Data of one's own whose floats a TFRecord rounds."""

  VERSION = tfds.core.Version("1.0.0")
  data = None

  def _info(self):
    return tfds.core.DatasetInfo(
      builder=self,
      description="Handmade.",
      features=tfds.features.FeaturesDict(
        {
          k: tfds.features.Tensor(shape=np.shape(x), dtype=np.asarray(x).dtype)
          for k, x in self.data.splits["train"][0].items()
        }
      ),
      disable_shuffling=True,
      metadata=tfds.core.MetadataDict(self.data.metadata),
    )

  def _split_generators(self, dl_manager):
    del dl_manager
    return {k: enumerate(v) for k, v in self.data.splits.items()}

  def _generate_examples(self):
    raise NotImplementedError


def test_floats_of_a_tfrecord_are_too_short(data, tmp_path):
  Handmade.data = data
  builder = Handmade(data_dir=tmp_path)
  builder.download_and_prepare()
  findings = [str(f) for f in validation.validate(builder)]
  assert any("position holds float32 numbers" in f for f in findings)


@pytest.mark.slow
@pytest.mark.parametrize("config", ["smoke", "dust_smoke"])
def test_a_system_of_ones_own(config, tmp_path):
  """The worked example: own law, own fields, made and found without faults."""
  root = pathlib.Path(__file__).parents[1]
  result = subprocess.run(
    [
      *(sys.executable, "-m", "nbody_bench.prepare", "--validate"),
      *(f"--dataset=ion_trap/{config}", f"--data_dir={tmp_path}"),
    ],
    cwd=root,
    env=os.environ | {"NBODY_BENCH_PLUGINS": "examples/custom_system"},
    capture_output=True,
    text=True,
    check=False,
  )
  assert result.returncode == 0, result.stderr
  assert f"ion_trap/{config}/1.0.0: no findings" in result.stdout
