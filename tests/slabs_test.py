"""Adsorbates on slabs: what is drawn, relaxed, stored; restarts; faults."""

import collections
import dataclasses
import functools
import importlib.util
import pathlib
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

from nbody_bench import (
  effective_medium,
  elements,
  generation,
  inspect,
  jobs,
  periodic_pairs,
  pipelines,
  plugins,
  prepare,
  slab_relaxations,
  slabs,
  slabs_ase,
  stored,
  structures,
  tasks,
  validation,
)
from nbody_bench.slab_relaxations import SPLITS
from nbody_bench.states import ADSORBATE, FIXED, SURFACE, Domain
from nbody_bench.systems import System

needs_ase = pytest.mark.skipif(
  importlib.util.find_spec("ase") is None, reason="needs ase"
)
SMALL = slabs.Settings(sizes={"fcc111": ((3, 3, 3),), "fcc100": ((3, 3, 3),)})
SLAB = np.array([True, True, False])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
  """A folder with the smoke configuration, made by the command."""
  folder = str(tmp_path_factory.mktemp("slabs"))
  flags = [f"--data_dir={folder}", "--num_workers=1", "--validate"]
  assert prepare.main(["prepare", "--dataset=slabs/smoke", *flags]) == 0
  return folder


@functools.cache
def examples(data, split):
  builder = tfds.builder("slabs/smoke", data_dir=data)
  return list(tfds.as_numpy(builder.as_dataset(split=split)))


@pytest.mark.slow
@needs_ase
class SlabsCase(tfds.testing.DatasetBuilderTestCase):
  DATASET_CLASS = plugins.load("datasets", "slabs").Builder
  BUILDER_CONFIG_NAMES_TO_TEST = ["smoke"]  # noqa: RUF012
  EXAMPLE_DIR = str(pathlib.Path(__file__).parent)
  SPLITS = {  # noqa: RUF012
    k: 1 if v.ends_alone else 16 if k == "train" else 4
    for k, v in SPLITS.items()
  }


def drawn(seed, **kind):
  rng = np.random.default_rng(seed)
  kind = {"unseen_catalyst": False, "unseen_adsorbate": False} | kind
  return slabs.draw(rng, slabs.Settings(), **kind)


@needs_ase
@pytest.mark.parametrize("unseen_catalyst", [False, True])
@pytest.mark.parametrize("unseen_adsorbate", [False, True])
def test_what_is_drawn(unseen_catalyst, unseen_adsorbate):
  new = {elements.NUMBERS[m] for m in slabs.METALS[1]}
  old = {elements.NUMBERS[m] for m in slabs.METALS[0]}
  formulas = [
    collections.Counter(slabs_ase.molecule(name)[0].tolist())
    for name in slabs.ADSORBATES[unseen_adsorbate]
  ]
  kinds = set()
  for seed in range(40):
    atoms = drawn(
      seed, unseen_catalyst=unseen_catalyst, unseen_adsorbate=unseen_adsorbate
    )
    on, top, below = (atoms.tag == t for t in (ADSORBATE, SURFACE, FIXED))
    metals = set(atoms.numbers[~on].tolist())
    assert metals <= old | new
    assert bool(metals & new) == unseen_catalyst
    assert collections.Counter(atoms.numbers[on].tolist()) in formulas
    assert 28 <= len(atoms.numbers) <= 70
    height = atoms.position[:, 2]
    assert height[top].max() == pytest.approx(0)
    assert height[below].max() < height[top].min() - 0.5
    assert len(np.unique(height[top].round(6))) == 2
    assert len(np.unique(height[below].round(6))) >= 1
    pairs = periodic_pairs.within(atoms.position, atoms.cell, SLAB, 4.0)
    across = on[pairs.first] & ~on[pairs.second]
    reach = elements.RADII[atoms.numbers]
    share = pairs.distance / (reach[pairs.first] + reach[pairs.second])
    assert 0.9 <= share[across].min() <= 1.2
    kinds.add(len(metals))
  assert kinds == {1, 2}


@needs_ase
def test_drawn_slabs_are_crystals():
  """Twelve nearest neighbours inside; the distance that of the mean metal."""
  counts = set()
  for seed in range(10):
    atoms = drawn(seed)
    on = atoms.tag == ADSORBATE
    metal, numbers = atoms.position[~on], atoms.numbers[~on]
    constant = np.mean(effective_medium.lattice_constants(numbers))
    pairs = periodic_pairs.within(
      metal, atoms.cell, SLAB, 1.1 * constant / np.sqrt(2)
    )
    strain = pairs.distance / (constant / np.sqrt(2))
    assert np.ptp(strain) < 1e-9
    assert abs(strain[0] - 1) <= 0.03
    counts.add(int(np.bincount(pairs.first).max()))
    side = np.linalg.norm(atoms.cell[:2], axis=1)
    assert side.min() > effective_medium.CUTOFF
  assert counts <= {11, 12}
  assert 12 in counts


@needs_ase
def test_adsorbates_of_training_are_not_held_out():
  known, held_out = map(set, slabs.ADSORBATES)
  assert not known & held_out
  assert {"H", "C", "N", "O"} <= known  # no element is new
  for name in known | held_out:
    numbers, position = slabs_ase.molecule(name)
    assert set(numbers.tolist()) <= {1, 6, 7, 8}
    np.testing.assert_allclose(position.mean(0), 0, atol=1e-12)


@needs_ase
def test_rotations_are_rotations():
  turn = slabs._rotation(np.random.default_rng(0))
  np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
  assert np.linalg.det(turn) == pytest.approx(1)


@pytest.fixture(scope="module")
def made():
  return slab_relaxations.make(SMALL, "train", 0)


@needs_ase
def test_structures_of_a_relaxation(made):
  assert made.position.shape == (8, len(made.numbers), 3)
  origins = np.bincount(made.origin, minlength=3).tolist()
  assert origins == [4, 3, 1]
  held = made.tag == FIXED
  assert not np.any(made.position[:, held] - made.position[:1, held])
  for k in range(8):
    energy, force = effective_medium.evaluate(
      made.position[k], made.numbers, made.cell, SLAB
    )
    assert made.energy[k] == pytest.approx(energy, rel=1e-12)
    np.testing.assert_allclose(made.force[k], force, atol=1e-11)
  assert len(np.unique(made.energy)) == 8
  # Frames are downhill of each other, disturbed ones uphill of theirs.
  frames = made.origin == structures.RELAXATION
  order = np.argsort(made.fid[frames])
  assert np.all(np.diff(made.energy[frames][order]) < 0.1)
  assert np.abs(made.force[:, ~held]).max() <= SMALL.max_force


@needs_ase
def test_displacements_are_as_large_as_stated():
  atoms = drawn(0)
  rng = np.random.default_rng(0)
  sizes = []
  for _ in range(50):
    moved = slab_relaxations._displaced(rng, SMALL, atoms, atoms.position)
    moved = moved - atoms.position
    assert not np.any(moved[~atoms.is_free])
    sizes.append(np.std(moved[atoms.is_free]))
  assert min(sizes) > 0.03
  assert max(sizes) < 0.25
  assert np.mean(sizes) == pytest.approx(0.125, rel=0.15)


@needs_ase
def test_dynamics_are_as_hot_as_stated():
  """From rest, half of the kinetic energy becomes potential."""
  atoms = drawn(4)
  frames = slabs_ase.relax(
    atoms.position,
    atoms.numbers,
    atoms.cell,
    atoms.is_free,
    tolerance=0.05,
    num_steps=150,
    max_step=0.04,
  )
  rest = frames.position[-1]
  cold = dataclasses.replace(SMALL, temperature=(0.0, 0.0))
  still = slab_relaxations._after_dynamics(
    np.random.default_rng(0), cold, atoms, rest
  )
  assert np.abs(still - rest).max() < 0.1
  hot = slab_relaxations._after_dynamics(
    np.random.default_rng(0), SMALL, atoms, rest
  )
  assert not np.any((hot - rest)[~atoms.is_free])
  rise = atoms.at(hot)[0] - frames.energy[-1]
  degrees = 3 * atoms.is_free.sum()
  low, high = (0.5 * 8.617e-5 * t * degrees for t in (300, 1000))
  assert 0.1 * low < rise < 1.2 * high


@needs_ase
def test_ends_of_a_relaxation():
  made = slab_relaxations.make(SMALL, "relaxation_unseen_both", 0)
  assert made.position.shape[0] == 2
  free = made.tag != FIXED
  assert made.fid[0] == 0
  assert 0 < made.fid[1] <= SMALL.num_steps
  largest = np.linalg.norm(made.force[:, free], axis=-1).max(-1)
  assert largest[1] < 0.01 < largest[0]
  assert made.energy[1] < made.energy[0]
  assert made.label_error[0] == 0
  assert 0 < made.label_error[1] <= SMALL.max_label_error
  # It ends where a stricter relaxation of our own making ends, within that.
  end = slabs_ase.relax(
    made.position[1],
    made.numbers,
    made.cell,
    free,
    tolerance=0.001,
    num_steps=1000,
    max_step=0.04,
  )
  moved = (end.position[-1] - made.position[1])[free]
  error = np.sqrt(np.mean(np.sum(moved**2, -1)))
  assert made.label_error[1] == pytest.approx(error)
  steps = np.linalg.norm(np.diff(end.position, axis=0), axis=-1)
  assert steps.max() <= 0.04 + 1e-9


@needs_ase
def test_the_same_number_gives_the_same_bytes(made):
  again = slab_relaxations.make(SMALL, "train", 0)
  other = slab_relaxations.make(SMALL, "validation", 0)
  reseeded = slab_relaxations.make(
    dataclasses.replace(SMALL, seed=1), "train", 0
  )
  for name in made._fields:
    one = getattr(made, name)
    assert one.tobytes() == getattr(again, name).tobytes(), name
  assert made.position.tobytes() != other.position.tobytes()
  assert made.position.tobytes() != reseeded.position.tobytes()


@needs_ase
def test_settings_that_nothing_fulfils(monkeypatch):
  monkeypatch.setattr(slab_relaxations, "_MAX_ATTEMPTS", 3)
  strict = dataclasses.replace(SMALL, max_force=1e-9)
  with pytest.raises(ValueError, match=r"3 draws gave no relaxation for 'tr"):
    slab_relaxations.make(strict, "train", 0)


@needs_ase
def test_what_flies_away_is_noticed():
  atoms = drawn(0)
  assert not atoms.has_flown(atoms.position)
  far = atoms.position + 9.0 * np.outer(atoms.tag == ADSORBATE, [0, 0, 1])
  alone = np.sum(atoms.tag == ADSORBATE) == 1
  assert atoms.has_flown(far) == alone
  far = atoms.position.copy()
  far[-1] += [0, 0, 9]
  assert atoms.has_flown(far)


@needs_ase
def test_no_relaxation_is_in_two_splits(data):
  seen = {}
  for split in SPLITS:
    for example in examples(data, split):
      assert seen.setdefault(int(example["sid"]), split) == split
  assert len(seen) == 4 + 9


@needs_ase
def test_splits_hold_what_they_say(data):
  held_out = [
    sorted(slabs_ase.molecule(n)[0].tolist()) for n in slabs.ADSORBATES[1]
  ]
  for split, kind in SPLITS.items():
    for example in examples(data, split):
      on = example["tag"] == ADSORBATE
      is_new = sorted(example["species"][on].tolist()) in held_out
      assert is_new == kind.unseen_adsorbate
      metals = set(example["species"][~on].tolist())
      assert bool(metals & {13, 28}) == kind.unseen_catalyst
      frames = 2 if kind.ends_alone else 1
      assert example["position"].shape == (frames, len(on), 3)


@needs_ase
def test_examples_are_what_the_contract_says(data):
  for example in examples(data, "train") + examples(data, "relaxation"):
    count, frames = len(example["mass"]), len(example["time"])
    np.testing.assert_array_equal(
      example["mass"], elements.MASSES[example["species"]]
    )
    np.testing.assert_array_equal(example["time"], np.arange(frames))
    assert not np.any(example["velocity"])
    assert not np.any(example["momentum"])
    np.testing.assert_array_equal(
      example["energy"], example["potential_energy"]
    )
    assert example["force"].shape == (frames, count, 3)
    assert np.isinf(example["box"]).tolist() == [False, False, True]
    np.testing.assert_allclose(
      example["box"][:2], np.linalg.norm(example["cell"][:2], axis=1)
    )
    share = example["position"] @ np.linalg.inv(example["cell"])
    assert np.abs(share[..., :2]).max() <= 0.5 + 1e-9
    assert set(example["tag"].tolist()) == {FIXED, SURFACE, ADSORBATE}
  (first,) = examples(data, "relaxation")
  assert first["label_error"][0] == 0 < first["label_error"][1]


@needs_ase
def test_the_law_gives_the_stored_forces(data):
  split = pipelines.load("slabs/smoke", "test_unseen_both", data)
  problem = pipelines.problem("slabs/smoke", data)
  assert problem.system == System(law="emt", coupling=1.0)
  trajectory = split.trajectory
  force = trajectory.at_each_frame(problem.system.force)
  np.testing.assert_allclose(force, trajectory.force, atol=1e-10)
  np.testing.assert_allclose(
    trajectory.at_each_frame(problem.system.potential_energy),
    trajectory.potential_energy,
  )


@needs_ase
def test_statistics_and_sizes(data):
  train = examples(data, "train")
  free = [e["force"][:, e["tag"] > 0].ravel() for e in train]
  energies = [e["energy"][0] for e in train]
  found = pipelines.problem("slabs/smoke", data).statistics
  force = np.concatenate(free)
  expected = {
    "force_std": np.sqrt(np.mean(force**2)),
    "force_mean_abs": np.mean(np.abs(force)),
    "energy_mean": np.mean(energies),
    "energy_std": np.std(energies),
    "velocity_std": 1,
    "position_increment_std": 1,
    "velocity_increment_std": 1,
  }
  assert found == pytest.approx(expected)
  metadata = tfds.builder("slabs/smoke", data_dir=data).info.metadata
  largest = max(
    len(e["mass"]) for split in SPLITS for e in examples(data, split)
  )
  assert metadata["num_particles"] == largest
  assert set(metadata["software"]) == {"ase"}
  assert metadata["splits"]["relaxation"]["num_frames"] == 2
  assert metadata["splits"]["train"]["num_trajectories"] == 16


@needs_ase
def test_the_first_structures_are_of_different_relaxations(data):
  first = [int(e["sid"]) for e in examples(data, "train")[:4]]
  assert first == [0, 1, 2, 3]


@needs_ase
def test_there_is_no_motion_to_roll_out(data):
  with pytest.raises(ValueError, match="take --task=forces or"):
    tasks.make("rollout", "slabs/smoke", data)


def smoke(folder):
  return plugins.load("datasets", "slabs").Builder(
    config="smoke", data_dir=folder
  )


def contents(folder):
  files = sorted(pathlib.Path(folder).glob("slabs/smoke/1.0.0/*tfrecord*"))
  return {p.name: p.read_bytes() for p in files}


@needs_ase
@pytest.mark.slow
def test_a_generation_that_was_broken_off_comes_to_the_same_bytes(
  data, tmp_path, monkeypatch
):
  asked = []

  def stop():
    asked.append(1)
    if len(asked) == 6:
      raise KeyboardInterrupt

  with monkeypatch.context() as patch:
    patch.setattr(generation, "stop_if_requested", stop)
    with pytest.raises(KeyboardInterrupt):
      smoke(tmp_path).download_and_prepare()
  (kept,) = tmp_path.glob("slabs/smoke/.relaxations-*")
  files = sorted(kept.iterdir())
  assert len(files) == 6
  assert not list(tmp_path.glob("slabs/smoke/1.0.0"))
  # One that is not whole is computed again, the others are not.
  files[0].write_bytes(files[0].read_bytes()[:300])
  computed = []
  make = slab_relaxations.make

  def count(*arguments):
    computed.append(arguments[1:])
    return make(*arguments)

  monkeypatch.setattr(slab_relaxations, "make", count)
  smoke(tmp_path).download_and_prepare()
  assert len(computed) == 13 - 5
  assert contents(tmp_path) == contents(data)
  assert len(contents(data)) == 10
  assert not kept.exists()


@needs_ase
@pytest.mark.slow
def test_processes_make_the_same_bytes(data, tmp_path, capsys):
  flags = [f"--data_dir={tmp_path}", "--num_workers=2"]
  assert prepare.main(["prepare", "--dataset=slabs/smoke", *flags]) == 0
  assert contents(tmp_path) == contents(data)
  assert "13/13" in capsys.readouterr().err


def test_settings_have_their_own_folder(tmp_path, monkeypatch):
  folders = set()
  for settings in (SMALL, dataclasses.replace(SMALL, seed=1), slabs.Settings()):
    builder = smoke(tmp_path)
    monkeypatch.setattr(builder.builder_config, "settings", settings)
    builder.info.metadata["software"] = {"ase": "1"}
    folders.add(builder._folder_name())
  assert len(folders) == 3


def test_without_ase(monkeypatch, tmp_path, capsys):
  for name in ("ase", "ase.build"):
    monkeypatch.setitem(sys.modules, name, None)
  flags = ("--dataset=slabs/smoke", f"--data_dir={tmp_path}")
  assert prepare.main(["prepare", *flags]) == 2
  error = capsys.readouterr().err
  assert error.count("\n") == 1
  assert 'pip install "nbody_bench[ase]"' in error


@needs_ase
def test_stored_data_are_sound(data):
  builder = tfds.builder("slabs/smoke", data_dir=data)
  assert validation.validate(builder) == []


def spoiled(data, monkeypatch, change):
  """Returns the findings after `change(split, example)`."""
  read = stored.read

  def spoil(builder, split, *arguments):
    for batch in read(builder, split, *arguments):
      batch = {k: x.copy() for k, x in batch.items()}
      change(split, batch)
      yield batch

  monkeypatch.setattr(stored, "read", spoil)
  builder = tfds.builder("slabs/smoke", data_dir=data)
  return [str(f) for f in validation.validate(builder)]


def held_atoms_without_forces(split, batch):
  if split == "test":
    batch["force"][:, :, batch["tag"][0] == FIXED] = 0


def outside(split, batch):
  if split == "test":
    batch["position"][0, 0, 0] += 2 * batch["cell"][0, 1]


def other_energy(split, batch):
  if split == "test":
    batch["energy"] += 1


def other_labels(split, batch):
  if split == "train":
    batch["potential_energy"] *= 2


@needs_ase
@pytest.mark.parametrize(
  ("change", "message"),
  [
    (held_atoms_without_forces, "force[0, "),
    (outside, "outside the cell about the origin"),
    (other_energy, "but the stored state has T + U"),
    (other_labels, "statistics['energy_"),
  ],
)
def test_faults_are_found(change, message, data, monkeypatch):
  findings = spoiled(data, monkeypatch, change)
  assert findings
  for finding in findings:
    assert finding.startswith("error: ")
    assert message in finding


@needs_ase
def test_inspection(data, tmp_path, capsys):
  flags = ["slabs/smoke", f"--data_dir={data}", f"--output_dir={tmp_path}"]
  assert inspect.main(["inspect", *flags]) == 0
  shown = capsys.readouterr().out
  assert "law         emt (coupling=1.0" in shown
  assert "energy drift" not in shown
  assert "label error, last frame" in shown


def test_jobs_in_this_process(tmp_path):
  done = []

  def work(value):
    done.append(value)
    return {"twice": np.array(2 * value)}

  todo = [jobs.Job(f"job-{k}", (k,)) for k in range(3)]
  jobs.run(work, todo[:2], tmp_path, 1, "test")
  jobs.run(work, todo, tmp_path, 1, "test")
  assert done == [0, 1, 2]
  assert [int(jobs.load(tmp_path, j.name)["twice"]) for j in todo] == [0, 2, 4]
  assert jobs.load(tmp_path, "other") is None


@pytest.mark.slow
def test_jobs_in_processes(tmp_path, monkeypatch):
  work = functools.partial(dict, found=np.arange(2))  # other processes know it
  todo = [jobs.Job(f"job-{k}", ()) for k in range(200)]

  def stop():
    raise KeyboardInterrupt

  with monkeypatch.context() as patch:
    patch.setattr(generation, "stop_if_requested", stop)
    with pytest.raises(KeyboardInterrupt):
      jobs.run(work, todo, tmp_path, 2, "test")
  assert 0 < len(list(tmp_path.iterdir())) < 100
  jobs.run(work, todo[:20], tmp_path, 2, "test")
  for job in todo[:20]:
    np.testing.assert_array_equal(
      jobs.load(tmp_path, job.name)["found"], [0, 1]
    )


def test_positions_are_wrapped():
  cell = np.array([[7.0, 0, 0], [3.0, 6.0, 0], [0, 0, 1.0]])
  domain = Domain(np.array([[7.0, np.sqrt(45), np.inf]]), cell[None])
  far = np.array([[[3.6, 0.1, 40.0], [0, 0, 0]]])
  found = domain.wrap(far)
  np.testing.assert_allclose(found[0, 0], [-3.4, 0.1, 40.0])
