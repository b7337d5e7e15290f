"""Data sets that are read from files, or computed by other programs.

The files are made up here, in the form of the published ones.
"""

import dataclasses
import importlib.util
import pathlib
import re
import shutil
import sys
import tempfile
import types

import numpy as np
import pytest
import scipy.spatial.transform
import tensorflow_datasets as tfds

from nbody_bench import (
  acclaim,
  evaluation,
  generation,
  mocap,
  molecular_dynamics,
  molecules,
  molecules_ase,
  observed,
  pipelines,
  plugins,
  prepare,
  run,
  tasks,
  testing,
  validation,
)
from nbody_bench.md17 import Published
from nbody_bench.molecular_dynamics import Dynamics
from nbody_bench.states import Domain, Particles, State
from nbody_bench.systems import System

RUN = {"train": (1, 2, 5, 6, 10), "validation": (0, 4, 9), "test": (3, 7, 8)}
PARENTS = np.array([0, *range(4), 0, *range(5, 10), *range(10, 29)])
NUM_ATOMS = 9  # ethanol
SPECIES = np.array([6, 6, 8, *[1] * 6])

HAVE_TBLITE = all(importlib.util.find_spec(n) for n in ("ase", "tblite"))
needs_tblite = pytest.mark.skipif(
  not HAVE_TBLITE, reason="needs ase and tblite"
)


def smooth(rng, num_frames, *shape):
  """A random path `[num_frames, *shape]` that does not repeat."""
  phase, rate = rng.uniform(0, 6, shape), rng.uniform(0.05, 0.2, shape)
  time = np.arange(num_frames).reshape(-1, *[1] * len(shape))
  return np.sin(phase + rate * time) + 0.01 * time


def mocap_arrays():
  rng = np.random.default_rng(0)
  arrays = {"bones": np.stack([np.arange(1, 31), PARENTS], 1)}
  for split, trials in RUN.items():
    for k in trials:
      path = smooth(rng, 126 + k, 31, 3)
      arrays[f"trial_{k}"] = path.astype(np.float32)
      arrays[f"start_{split}_{k}"] = rng.permutation(90)[:80].astype(np.int32)
  return arrays


def md17_arrays(num_frames=24_000):
  rng = np.random.default_rng(1)
  rest = np.concatenate([np.eye(3), 5 * rng.normal(size=(NUM_ATOMS - 3, 3))])
  # 1.5, 1.3 and 2 apart: two bonds.
  rest[:3] = [[0, 0, 0], [1.5, 0, 0], [0, 1.3, 0]]
  moved = 0.02 * smooth(rng, num_frames, NUM_ATOMS, 3)
  return {"R": rest + moved - moved[0], "z": SPECIES}


def write_files(folder):
  np.savez(folder / "mocap_run.npz", **mocap_arrays())
  np.savez(folder / "md17_ethanol.npz", **md17_arrays())


@pytest.fixture(scope="module")
def files(tmp_path_factory):
  folder = tmp_path_factory.mktemp("manual")
  write_files(folder)
  return folder


@pytest.fixture(scope="module")
def prepared(files, tmp_path_factory):
  """A folder with the smoke configurations, made by the command."""
  folder = str(tmp_path_factory.mktemp("observed"))
  flags = [f"--data_dir={folder}", f"--manual_dir={files}", "--validate"]
  data = "--dataset=mocap/smoke,md17/smoke"
  assert prepare.main(["prepare", data, *flags]) == 0
  return folder


class _Case(tfds.testing.DatasetBuilderTestCase):
  BUILDER_CONFIG_NAMES_TO_TEST = ["smoke"]  # noqa: RUF012
  SPLITS = {"train": 4, "validation": 2, "test": 2}  # noqa: RUF012

  @classmethod
  def setUpClass(cls):
    cls.EXAMPLE_DIR = tempfile.mkdtemp()
    write_files(pathlib.Path(cls.EXAMPLE_DIR))
    super().setUpClass()

  @classmethod
  def tearDownClass(cls):
    super().tearDownClass()
    shutil.rmtree(cls.EXAMPLE_DIR)


@pytest.mark.slow
class MocapCase(_Case):
  DATASET_CLASS = plugins.load("datasets", "mocap").Builder


@pytest.mark.slow
class MD17Case(_Case):
  DATASET_CLASS = plugins.load("datasets", "md17").Builder


@needs_tblite
class MoleculesCase(_Case):
  DATASET_CLASS = plugins.load("datasets", "molecules").Builder


del _Case  # pytest would run it for itself


OBSERVED = ("mocap", "md17", "molecules")


def builder(name, config, data_dir="/nonexistent"):
  return plugins.load("datasets", name).Builder(
    config=config, data_dir=data_dir
  )


@pytest.mark.parametrize("name", OBSERVED)
def test_every_configuration_is_sound(name):
  for config in builder(name, "smoke").BUILDER_CONFIGS:
    metadata = config.metadata()
    first, length = metadata["jump"]
    for size in metadata["splits"].values():
      assert size["num_particles"] == config.num_particles
      assert first + length == size["num_frames"] - 1
    assert not System(**metadata["system"]).is_known
    built = builder(name, config.name)
    assert set(built.info.features) >= {"position", "bonds", "label_error"}


def test_the_unknown_law_says_nothing():
  system = System(law="unknown", coupling=0.0)
  state = State(*np.random.default_rng(0).normal(size=(2, 1, 4, 3)))
  inputs = state, Particles(np.ones((1, 4))), Domain(np.full((1, 3), np.inf))
  assert not system.is_known
  assert System(law="harmonic", coupling=1.0).is_known
  assert not system.symmetries
  assert not system.conserves_momentum
  inputs = testing.to_tensors(inputs)
  assert not np.any(system.force(*inputs))
  assert not np.any(system.potential_energy(*inputs))


def test_what_a_model_gets_of_the_motion(prepared, files):
  arrays = np.load(files / "mocap_run.npz")
  split = pipelines.load("mocap/smoke", "test", prepared)
  start = arrays["start_test_3"][1]
  path = arrays["trial_3"].astype(float)
  position, velocity = split.trajectory.state
  assert position.shape == (2, 31, 31, 3)
  np.testing.assert_array_equal(position[1], path[start : start + 31])
  np.testing.assert_array_equal(
    velocity[1], np.diff(path[start : start + 32], axis=0)
  )
  particles = split.given.particles
  np.testing.assert_array_equal(particles.bonds[1], arrays["bones"])
  assert (particles.mass == 1).all()
  assert particles.species is None
  np.testing.assert_array_equal(split.trajectory.time, np.arange(31))
  assert np.isinf(split.trajectory.domain.box).all()
  assert np.isnan(split.label_error).all()


def test_a_step_without_a_rest_still_has_a_scale(prepared):
  """One frame's difference explains one frame's step fully."""
  stated = pipelines.problem("mocap/smoke", prepared).statistics
  position, velocity = pipelines.load(
    "mocap/smoke", "train", prepared
  ).trajectory.state
  np.testing.assert_allclose(
    np.diff(position, axis=1), velocity[:, :-1], atol=1e-12
  )
  change = np.sqrt(np.mean(np.diff(velocity, axis=1) ** 2))
  assert stated["velocity_increment_std"] == pytest.approx(change)
  assert stated["position_increment_std"] == pytest.approx(change / 2)


def test_validation_says_nothing_of_forces(prepared):
  built = tfds.builder("mocap/smoke", data_dir=prepared)
  assert validation.validate(built) == []
  # Even of these few published windows two share a frame.
  built = tfds.builder("md17/smoke", data_dir=prepared)
  (finding,) = validation.validate(built)
  assert finding.severity == "warning"
  assert "has at frame 2 the state of validation" in finding.message


def test_only_what_means_something_is_measured(prepared):
  task = tasks.make("rollout", "mocap/smoke", prepared)
  assert task.metrics == ("rollout_rmse", "time_to_failure")
  assert task.num_steps == 30
  jump = tasks.make("uniform", "mocap/smoke", prepared)
  assert jump.frames == (0, 6, 12, 18, 24, 30)
  assert tasks.make("uniform", "md17/smoke", prepared, (8,)).num_steps == 8
  split = pipelines.load("mocap/smoke", "test", prepared)
  system = pipelines.problem("mocap/smoke", prepared).system
  assert evaluation.floor(task, split, system) == {}
  score = evaluation.score(
    task,
    State(*(x[:, 1:] for x in split.trajectory.state)),
    split,
    system,
  )
  assert score["metrics"]["rollout_rmse"]["at"]["30"] == 0


@pytest.mark.parametrize(
  "model", ["ballistic", pytest.param("egnn", marks=pytest.mark.slow)]
)
def test_models_run_on_it(model, prepared, tmp_path, capsys):
  flags = [
    *("run", f"--model={model}", "--dataset=mocap/smoke", "--task=uniform"),
    *("--train_steps=2", "--batch_size=2", "--timing=none", "--seeds=0"),
    *(f"--data_dir={prepared}", f"--output_dir={tmp_path / 'out'}"),
  ]
  assert run.main(flags) == 0
  assert re.search(r"F-MSE @5 +[\d.e+]+ +-\n", capsys.readouterr().out)


@pytest.mark.parametrize("config", ["run", "walk"])
def test_the_published_training_set_comes_first(config):
  """Of each trial the first windows, then the others of each."""
  config = builder("mocap", config).builder_config
  rng = np.random.default_rng(3)
  numbers = [k for v in config.trials.values() for k in v]
  assert sorted(numbers) == list(range(len(numbers)))
  trials = {k: rng.normal(size=(340, 31, 3)) for k in numbers}
  starts = {
    split: {k: rng.permutation(300)[: config.num_starts] for k in v}
    for split, v in config.trials.items()
  }
  found = mocap.windows(
    mocap.Recordings(np.zeros((30, 2), int), trials, starts),
    31,
    config.num_first,
  )
  for split, windows in found.items():
    assert len(windows.position) == config.splits[split].num_trajectories
  train, first = config.trials["train"], config.num_first
  for place, trial, which in (
    (0, train[0], 0),
    (first - 1, train[0], first - 1),
    (first, train[1], 0),
    (first * len(train), train[0], first),
    (-1, train[-1], -1),
  ):
    start = starts["train"][trial][which]
    np.testing.assert_array_equal(
      found["train"].position[place], trials[trial][start : start + 31]
    )


@pytest.mark.parametrize(
  ("dataset", "message"),
  [
    (
      "mocap/run",
      r"mocap/run is made from mocap_run.npz, which is not in .*nothing: it "
      r"comes from the CMU .* --dataset=mocap/run --manual_dir=FOLDER$",
    ),
    ("mocap/walk", r"made from 35\.asf, which is not in"),
    ("md17/aspirin", r"md17_aspirin.npz, which is not in .*sgdml.org"),
    ("md17/benzene", r"md17_benzene_old.npz or md17_benzene2017.npz, which"),
  ],
)
@pytest.mark.parametrize("there", ["nothing", "something else"])
def test_files_that_are_not_there(dataset, message, there, tmp_path, capsys):
  folder = tmp_path / "nothing"
  if there != "nothing":
    folder.mkdir()
    (folder / "other.txt").touch()
  flags = (f"--data_dir={tmp_path}", f"--manual_dir={folder}")
  assert prepare.main(["prepare", f"--dataset={dataset}", *flags]) == 2
  error = capsys.readouterr().err
  assert error.count("\n") == 1
  assert re.search(message, error.strip()), error
  assert not list(tmp_path.glob("*/*/1.0.0"))


def truncated(path):
  path.write_bytes(path.read_bytes()[:1000])


def overwritten(path):
  content = bytearray(path.read_bytes())
  content[400:4000] = bytes(3600)
  path.write_bytes(content)


def changed(**arrays):
  def change(path):
    content = dict(np.load(path)) | arrays
    np.savez(path, **{k: x for k, x in content.items() if x is not None})

  return change


@pytest.mark.parametrize(
  ("dataset", "change", "message"),
  [
    ("mocap/smoke", truncated, "mocap_run.npz is not the file it should be"),
    ("mocap/smoke", overwritten, "mocap_run.npz is not the file it should be"),
    ("mocap/smoke", changed(trial_4=None), "there is no array 'trial_4'"),
    (
      "mocap/smoke",
      changed(trial_4=np.zeros((126, 30, 3))),
      r"'trial_4' has shape \[126, 30, 3\], not \[any, 31, 3\]",
    ),
    (
      "mocap/smoke",
      changed(trial_4=np.full((126, 31, 3), np.nan)),
      "'trial_4' holds something else than numbers",
    ),
    ("mocap/smoke", changed(trial_4=np.zeros((100, 31, 3))), "trial 4: frames"),
    (
      "mocap/smoke",
      changed(bones=np.full((30, 2), 31)),
      "names joint 31, and there are 31",
    ),
    ("md17/smoke", truncated, "md17_ethanol.npz is not the file it should be"),
    ("md17/smoke", changed(z=SPECIES[1:]), "'R' has 9 atoms and 'z' 8"),
    ("md17/smoke", changed(z=SPECIES + 80), r"atomic numbers \[81, 86, 88\]"),
    (
      "md17/smoke",
      changed(R=np.zeros((50, 9, 3))),
      "its 50 frames are too few",
    ),
    ("md17/ethanol", changed(), "24000 frames make 399 training starts, and"),
  ],
)
def test_files_that_are_something_else(
  dataset, change, message, files, tmp_path, capsys
):
  name = "mocap_run.npz" if "mocap" in dataset else "md17_ethanol.npz"
  manual = tmp_path / "manual"
  manual.mkdir()
  shutil.copy(files / name, manual)
  change(manual / name)
  flags = (f"--data_dir={tmp_path}", f"--manual_dir={manual}")
  assert prepare.main(["prepare", f"--dataset={dataset}", *flags]) == 2
  error = capsys.readouterr().err
  assert error.count("\n") == 1
  assert re.search(message, error), error


# Frames of the published trajectories, sizes of the published splits and the
# last start frame in them.
PUBLISHED = {
  "aspirin": (211_762, 19_176, 9588, 201_759),
  "benzene": (627_983, 60_798, 30_399, 617_981),
  "ethanol": (555_092, 53_509, 26_754, 545_088),
  "malonaldehyde": (993_237, 97_323, 48_661, 983_228),
  "naphthalene": (326_245, 30_624, 15_312, 316_240),
  "salicylic": (320_231, 30_023, 15_011, 310_225),
  "toluene": (442_790, 42_278, 21_139, 432_786),
  "uracil": (133_770, 11_376, 5688, 123_764),
}


@pytest.mark.parametrize("molecule", PUBLISHED)
def test_start_frames_are_the_published_ones(molecule):
  num_frames, train, others, last = PUBLISHED[molecule]
  published = builder("md17", molecule).builder_config.published
  starts = published.starts(num_frames)
  sizes = {k: len(v) for k, v in starts.items()}
  assert sizes == {"train": train, "validation": others, "test": others}
  every = np.concatenate(list(starts.values()))
  assert len(set(every.tolist())) == len(every)
  assert every.max() == last
  assert every.min() >= 10_000
  with pytest.raises(ValueError, match=f"trajectory makes {train}"):
    published.starts(100_000)  # as in the revised data


def test_start_frames_are_drawn_as_published():
  """The published program, told anew: two flags and three draws."""
  rng = np.random.RandomState(100)
  total = 160 - 1 - 20
  train = rng.choice(np.arange(total), 13, replace=False)
  rest = [i for i in range(total) if i not in set(train.tolist())]
  second = rng.choice(rest, 6, replace=False)
  rest = [i for i in rest if i not in set(second.tolist())]
  third = rng.choice(rest, 6, replace=False)
  found = Published(margin=10, offsets=(0, 4, 8)).starts(160)
  for name, expected in zip(
    ("train", "validation", "test"), (train, second, third), strict=True
  ):
    np.testing.assert_array_equal(found[name], expected + 10)


def test_heavy_atoms_of_published_dynamics(prepared, files):
  arrays = np.load(files / "md17_ethanol.npz")
  split = pipelines.load("md17/smoke", "train", prepared)
  start = Published().starts(24_000)["train"][2]
  frames = start + 375 * np.arange(9)
  position, velocity = split.trajectory.state
  path = arrays["R"][:, :3]
  np.testing.assert_array_equal(position[2], path[frames])
  np.testing.assert_array_equal(velocity[2], path[frames + 1] - path[frames])
  particles = split.given.particles
  np.testing.assert_array_equal(particles.species[2], [6, 6, 8])
  np.testing.assert_array_equal(particles.mass[2], [12.011, 12.011, 15.999])
  np.testing.assert_array_equal(particles.bonds[2], [[0, 1], [0, 2]])
  np.testing.assert_array_equal(split.trajectory.time, 375 * np.arange(9))
  (example, *_) = tfds.as_numpy(
    tfds.load("md17/smoke", split="train", data_dir=prepared)
  )
  np.testing.assert_allclose(
    example["momentum"],
    np.tensordot([12.011, 12.011, 15.999], velocity[0], (0, 1)),
  )
  assert np.isnan(example["energy"]).all()


@pytest.mark.parametrize("overlap", ["across splits", "within splits"])
def test_splits_that_share_frames(overlap, tmp_path, monkeypatch):
  """A fault, unless the data set says that it is as published."""
  np.savez(tmp_path / "md17_ethanol.npz", **md17_arrays(80))
  built = builder("md17", "smoke", tmp_path / "data")
  published = Published(
    margin=10, shares=(0.5, 0.25, 0.25), offsets=tuple(range(9))
  )
  monkeypatch.setattr(built.builder_config, "published", published)
  monkeypatch.setattr(built.builder_config, "time_step", 1.0)
  monkeypatch.setattr(built.builder_config, "overlap", overlap)
  built = builder("md17", "smoke", tmp_path / "data")
  built.download_and_prepare(
    download_config=tfds.download.DownloadConfig(manual_dir=tmp_path)
  )
  findings = validation.validate(built)
  assert findings
  severity = "warning" if overlap == "across splits" else "error"
  for finding in findings:
    assert finding.severity == severity
    assert "has at frame" in finding.message


ASF = """# made up
:version 1.10
:name VICON
:units
  mass 1.0
  length 0.45
  angle deg
:documentation
   none
:root
   order TX TY TZ RX RY RZ
   axis XYZ
   position 0 0 0
   orientation 0 0 0
:bonedata
"""
BONE = """  begin
     id {id}
     name {name}
     direction {direction}
     length {length}
     axis {axis} XYZ
{dof}  end
"""


def write_skeleton(path, bones, hierarchy):
  text = ASF
  for k, (name, direction, length, axis, dof) in enumerate(bones):
    limits = f"     dof {dof}\n     limits (-160 20)\n     (-70 70)\n"
    text += BONE.format(
      id=k + 1,
      name=name,
      direction=" ".join(map(str, direction)),
      length=length,
      axis=" ".join(map(str, axis)),
      dof=limits if dof else "",
    )
  lines = "\n".join(f"    {line}" for line in hierarchy)
  path.write_text(f"{text}:hierarchy\n  begin\n{lines}\n  end\n")


def write_motion(path, frames):
  text = "#!OML:ASF\n:FULLY-SPECIFIED\n:DEGREES\n"
  for k, frame in enumerate(frames):
    text += f"{k + 1}\n"
    for name, values in frame.items():
      text += f"{name} {' '.join(f'{v:.17g}' for v in values)}\n"
  path.write_text(text)


def turn(angles):
  """Rotation of angles about fixed axes, x first, in degrees."""
  return scipy.spatial.transform.Rotation.from_euler(
    "xyz", angles, degrees=True
  ).as_matrix()


@pytest.fixture
def arm(tmp_path):
  """Two bones in a row, the second listed first, and a fixed one."""
  bones = [
    ("lower", (0, -1, 0), 2.0, (10, 20, 30), "rx rz"),
    ("upper", (0.6, 0, 0.8), 3.0, (-40, 50, 60), "rx ry rz"),
    ("fixed", (0, 1, 0), 0.5, (0, 0, 90), ""),
  ]
  path = tmp_path / "arm.asf"
  write_skeleton(path, bones, ["root upper fixed", "upper lower"])
  return path


def test_joints_of_an_arm(arm, tmp_path):
  rng = np.random.default_rng(0)
  frames = [
    {
      "root": [1, 2, 3, *rng.uniform(-180, 180, 3)],
      "upper": rng.uniform(-180, 180, 3),
      "lower": rng.uniform(-180, 180, 2),
    }
    for _ in range(4)
  ]
  write_motion(tmp_path / "arm.amc", frames)
  skeleton = acclaim.read_skeleton(arm)
  motion = acclaim.read_motion(tmp_path / "arm.amc", skeleton)
  found = acclaim.joint_positions(skeleton, motion)
  assert found.shape == (4, 4, 3)
  np.testing.assert_array_equal(skeleton.pairs, [[1, 2], [2, 0], [3, 0]])
  for frame, joints in zip(frames, found, strict=True):
    root = turn(frame["root"][3:])
    frame_upper, frame_lower = turn((-40, 50, 60)), turn((10, 20, 30))
    upper = root @ frame_upper @ turn(frame["upper"]) @ frame_upper.T
    angles = frame["lower"][0], 0, frame["lower"][1]
    lower = upper @ frame_lower @ turn(angles) @ frame_lower.T
    end = np.array([1, 2, 3]) + upper @ [1.8, 0, 2.4]
    np.testing.assert_allclose(joints[0], [1, 2, 3])
    np.testing.assert_allclose(joints[2], end, atol=1e-12)
    np.testing.assert_allclose(joints[1], end + lower @ [0, -2, 0], atol=1e-12)
    np.testing.assert_allclose(joints[3], [1, 2, 3] + root @ [0, 0.5, 0])


def test_a_bone_that_turns_by_a_right_angle(arm, tmp_path):
  """By hand: about z of its own frame, which is that of space."""
  bones = [("arm", (1, 0, 0), 2.0, (0, 0, 0), "rz")]
  write_skeleton(arm, bones, ["root arm"])
  write_motion(
    tmp_path / "arm.amc",
    [
      {"root": [0] * 6, "arm": [90]},
      {"root": [5, 0, 0, 90, 0, 0], "arm": [90]},
    ],
  )
  skeleton = acclaim.read_skeleton(arm)
  motion = acclaim.read_motion(tmp_path / "arm.amc", skeleton)
  found = acclaim.joint_positions(skeleton, motion)[:, 1]
  np.testing.assert_allclose(found, [[0, 2, 0], [5, 0, 2]], atol=1e-12)


@pytest.mark.parametrize(
  ("lines", "message"),
  [
    (["1", "root 0 0 0 0 0 0"], "frame 1 .*upper is missing, or|lower is miss"),
    (["1", "root 0 0 0"], "frame 1 .*root has 3 numbers"),
    (["1", "leg 0"], "frame 1 .*KeyError: 'leg'"),
    (["1", "root 0 0 0 0 0 x"], "could not convert string to float: 'x'"),
    ([], "there are no frames"),
  ],
)
def test_motions_that_cannot_be_read(lines, message, arm, tmp_path):
  path = tmp_path / "arm.amc"
  path.write_text("\n".join([":DEGREES", *lines]))
  with pytest.raises(ValueError, match=message) as raised:
    acclaim.read_motion(path, acclaim.read_skeleton(arm))
  assert str(raised.value).startswith(f"{path} is no AMC file")


def test_a_skeleton_that_cannot_be_read(arm):
  arm.write_text(arm.read_text().replace("length 3.0", "length long"))
  with pytest.raises(ValueError, match=r"arm.asf is no ASF file that can be"):
    acclaim.read_skeleton(arm)
  arm.write_bytes(bytes(range(256)))
  with pytest.raises(ValueError, match=r"arm.asf is no ASF file that can be"):
    acclaim.read_skeleton(arm)


@pytest.fixture
def walks(tmp_path):
  """Subject 35 as a stick of 30 bones that turns at its root."""
  names = [f"bone{k}" for k in range(30)]
  bones = [
    (name, (0, 1, 0), 0.5, (0, 0, 0), "rx" if k == 0 else "")
    for k, name in enumerate(names)
  ]
  chain = [f"{a} {b}" for a, b in zip(["root", *names], names, strict=False)]
  folder = tmp_path / "subjects" / "35"
  folder.mkdir(parents=True)
  write_skeleton(folder / "35.asf", bones, chain)
  for name in builder("mocap", "walk").builder_config.amc:
    trial = int(name[3:5])
    write_motion(
      folder / name,
      [
        {"root": [t, trial, 0, 0, 0, 0], "bone0": [t]}
        for t in range(335 + trial)
      ],
    )
  return tmp_path


def test_walks(walks):
  built = builder("mocap", "walk")
  manager = types.SimpleNamespace(manual_dir=walks)
  found = built.windows(manager)
  sizes = {k: len(v.position) for k, v in found.items()}
  assert sizes == {"train": 1100, "validation": 600, "test": 600}
  # Along x the frame, along y the number of the file: 01 to 16 and 28 to 34.
  root = found["train"].position[:, 0, 0]
  order = (20, 1, 17, 13, 14, 9, 4, 2, 7, 5, 16)
  numbers = [*range(1, 17), *range(28, 35)]
  expected = np.repeat([numbers[k] for k in order], 18)
  np.testing.assert_array_equal(root[:198, 1], expected)
  for k in order:
    starts = root[root[:, 1] == numbers[k], 0]
    assert len(set(starts.tolist())) == 100
    assert starts.min() >= 0
    assert starts.max() < 300
  again = built.windows(manager)
  np.testing.assert_array_equal(again["test"].position, found["test"].position)
  end = found["test"].position[:, :, -1] - found["test"].position[:, :, 0]
  np.testing.assert_allclose(np.linalg.norm(end, axis=-1), 15.0)
  (walks / "subjects/35/35_07.amc").unlink()
  with pytest.raises(ValueError, match=r"made from 35_07.amc, which is not in"):
    built.windows(manager)


def test_trials_that_are_too_short():
  with pytest.raises(
    ValueError, match="trial 2 has 130 frames, too few for 100"
  ):
    mocap.draw_starts({1: 400, 2: 130}, 100, among=300, horizon=30, seed=0)


@pytest.mark.parametrize("num_frames", [5000, 120])
def test_stretches_of_time(num_frames):
  horizon, counts = (
    (10, (2000, 400, 400)) if num_frames > 120 else (4, (4, 2, 2))
  )
  names = ("train", "validation", "test")
  starts = molecular_dynamics.split_by_time(
    num_frames, horizon, dict(zip(names, counts, strict=True)), seed=0
  )
  shown = {k: (v.min(), v.max() + horizon) for k, v in starts.items()}
  assert [len(set(v.tolist())) for v in starts.values()] == list(counts)
  assert shown["train"][1] < 0.8 * num_frames
  assert shown["validation"][0] - shown["train"][1] > horizon
  assert shown["test"][0] - shown["validation"][1] > horizon
  assert shown["test"][1] < num_frames
  few = molecular_dynamics.split_by_time(num_frames, horizon, {"train": 4}, 0)
  few = few["train"]
  assert np.any(np.diff(few) < 0)  # not the beginning of it
  with pytest.raises(ValueError, match="481 are wanted"):
    molecular_dynamics.split_by_time(
      num_frames, horizon, dict.fromkeys(names, 481), 0
    )


def test_bonds_are_of_near_atoms():
  position = np.array([[0, 0, 0], [1.59, 0, 0], [0, 1.61, 0], [1.6, 1.6, 0]])
  assert molecules.bonds(position).tolist() == [[0, 1]]


def test_restart_points_are_between_records():
  with pytest.raises(ValueError, match="save_every 25 is no multiple"):
    Dynamics("ethanol", save_every=25)
  assert Dynamics("ethanol").num_frames == 5000


def test_without_what_computes_molecules(monkeypatch, tmp_path, capsys):
  monkeypatch.setitem(sys.modules, "ase", None)
  monkeypatch.setitem(sys.modules, "ase.md.langevin", None)
  flags = ("--dataset=molecules/smoke", f"--data_dir={tmp_path}")
  assert prepare.main(["prepare", *flags]) == 2
  error = capsys.readouterr().err
  assert error.count("\n") == 1
  assert 'pip install "nbody_bench[molecules]"' in error


BRIEF = Dynamics(
  "ethanol", num_steps=60, warm_up_steps=10, record_every=1, save_every=20
)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
  return molecular_dynamics.run(BRIEF, tmp_path_factory.mktemp("dynamics"))


@needs_tblite
def test_velocities_and_forces_belong_to_the_motion(tmp_path):
  """Per step: v = dq/dt; m dv/dt = F where there is no thermostat."""
  free = dataclasses.replace(BRIEF, friction=0.0)
  recorded = molecular_dynamics.run(free, tmp_path)
  assert recorded.position.shape == (60, 9, 3)
  step = 2 * BRIEF.time_step
  rate = (recorded.position[2:] - recorded.position[:-2]) / step
  error = np.abs(rate - recorded.velocity[1:-1])
  assert error.max() < 0.05 * np.abs(recorded.velocity).max()
  pull = (recorded.velocity[2:] - recorded.velocity[:-2]) / step
  force = pull * recorded.mass[:, None] * 103.642697  # u A / fs^2 in eV / A
  typical = np.sqrt(np.mean(recorded.force**2))
  assert np.sqrt(np.mean((force - recorded.force[1:-1]) ** 2)) < 0.1 * typical
  kinetic = (
    0.5
    * 103.642697
    * np.einsum("n,tnd->t", recorded.mass, recorded.velocity**2)
  )
  np.testing.assert_allclose(recorded.kinetic_energy, kinetic, rtol=1e-6)
  total = recorded.kinetic_energy + recorded.potential_energy
  assert np.ptp(total) < 0.05 * np.ptp(recorded.potential_energy)


@needs_tblite
def test_the_molecule_is_ethanol(recorded):
  assert sorted(recorded.numbers.tolist()) == [1] * 6 + [6, 6, 8]
  degree = np.bincount(recorded.bonds.ravel(), minlength=9)
  carbons = degree[recorded.numbers == 6]
  assert carbons.tolist() == [4, 4]
  assert degree[recorded.numbers == 8].tolist() == [2]
  assert np.all(degree[recorded.numbers == 1] == 1)
  momentum = np.einsum("n,tnd->td", recorded.mass, recorded.velocity)
  assert np.abs(momentum).max() < 1e-9


@needs_tblite
def test_aspirin_is_aspirin():
  atoms = molecules_ase.molecule(molecules_ase.load(), "aspirin")
  assert str(atoms.symbols.formula.format("hill")) == "C9H8O4"
  tied = molecules.bonds(atoms.get_positions())
  degree = np.bincount(tied.ravel(), minlength=21)
  assert len(tied) == 21
  assert sorted(degree[atoms.numbers == 8].tolist()) == [1, 1, 2, 2]
  assert sorted(degree[atoms.numbers == 6].tolist()) == [3] * 8 + [4]


@needs_tblite
def test_a_run_that_was_broken_off_comes_to_the_same_bytes(
  recorded, tmp_path, monkeypatch
):
  asked = []

  def stop():
    asked.append(1)
    if len(asked) == 45:  # 10 steps of warm-up, 20, and 15 of the next 20
      raise KeyboardInterrupt

  with monkeypatch.context() as patch:
    patch.setattr(generation, "stop_if_requested", stop)
    with pytest.raises(KeyboardInterrupt):
      molecular_dynamics.run(BRIEF, tmp_path)
  kept = sorted(p.name for p in tmp_path.iterdir())
  assert kept == ["part-00000.npz", "part-00001.npz"]
  # A part that is not whole is computed again.
  (tmp_path / kept[1]).write_bytes((tmp_path / kept[1]).read_bytes()[:200])
  again = molecular_dynamics.run(BRIEF, tmp_path)
  for name in recorded._fields:
    one, other = getattr(recorded, name), getattr(again, name)
    assert one.tobytes() == other.tobytes(), name
  assert len(list(tmp_path.iterdir())) == 4
  # Nothing is computed when all is there.
  monkeypatch.setattr(molecular_dynamics, "_advance", None)
  read = molecular_dynamics.run(BRIEF, tmp_path)
  assert read.position.tobytes() == recorded.position.tobytes()


@needs_tblite
def test_dynamics_of_our_own_as_a_data_set(tmp_path, capsys):
  flags = ("--dataset=molecules/smoke", f"--data_dir={tmp_path}", "--validate")
  assert prepare.main(["prepare", *flags]) == 0
  assert "no findings" in capsys.readouterr().out
  assert not list(tmp_path.glob("molecules/smoke/.dynamics*"))
  data = tfds.load("molecules/smoke", split="test", data_dir=tmp_path)
  examples = list(tfds.as_numpy(data))
  split = pipelines.load("molecules/smoke", "test", str(tmp_path))
  assert split.trajectory.state.position.shape == (2, 5, 9, 3)
  np.testing.assert_allclose(split.trajectory.time, 2.5 * np.arange(5))
  for example in examples:
    mass, velocity = example["mass"], example["velocity"]
    kinetic = 0.5 * 103.642697 * np.einsum("n,tnd->t", mass, velocity**2)
    np.testing.assert_allclose(
      example["energy"], example["potential_energy"] + kinetic, rtol=1e-6
    )
    assert example["force"].shape == (5, 9, 3)
    assert sorted(example["species"].tolist()) == [1] * 6 + [6, 6, 8]
    assert example["bonds"].shape == (8, 2)


def test_windows_of_dynamics_hold_each_array_under_its_name():
  rng = np.random.default_rng(0)
  recorded = molecular_dynamics.Run(
    position=rng.normal(size=(9, 2, 3)),
    velocity=rng.normal(size=(9, 2, 3)),
    force=rng.normal(size=(9, 2, 3)),
    potential_energy=rng.normal(size=9),
    kinetic_energy=rng.normal(size=9),
    numbers=np.array([8, 1]),
    mass=np.array([16.0, 1.0]),
    bonds=np.array([[0, 1]]),
  )
  starts = {"train": np.array([0, 5]), "test": np.array([2])}
  windows = molecular_dynamics.run_windows(recorded, starts, horizon=3)
  assert windows.keys() == starts.keys()
  for split, frames in starts.items():
    found = windows[split]
    for k, first in enumerate(frames):
      at = slice(first, first + 4)
      for name in ("position", "velocity", "force", "potential_energy"):
        np.testing.assert_array_equal(
          getattr(found, name)[k], getattr(recorded, name)[at]
        )
      np.testing.assert_array_equal(
        found.energy[k],
        recorded.kinetic_energy[at] + recorded.potential_energy[at],
      )
    np.testing.assert_array_equal(found.mass, recorded.mass)
    np.testing.assert_array_equal(found.bonds, recorded.bonds)
    np.testing.assert_array_equal(found.species, recorded.numbers)
    assert found.charge is None


def test_a_split_with_too_little_in_it(files, tmp_path, monkeypatch):
  built = builder("mocap", "smoke", tmp_path)
  few = observed.Windows(
    np.zeros((3, 31, 31, 3)), np.zeros((3, 31, 31, 3)), np.ones(31)
  )
  monkeypatch.setattr(built, "windows", lambda manager: dict.fromkeys(RUN, few))
  with pytest.raises(ValueError, match="there is less data than it takes"):
    built.download_and_prepare()
