"""The reader of OC20, on small archives made up here in its form."""

import lzma
import pathlib
import pickle
import re
import shutil
import tempfile
import zlib

import numpy as np
import pytest
import tensorflow_datasets as tfds

from nbody_bench import (
  elements,
  extended_xyz,
  oc20,
  pipelines,
  plugins,
  prepare,
  validation,
)
from nbody_bench.states import Domain

CELL = np.array([[9.0, 0, 0], [-4.0, 8.0, 0], [1.0, 2.0, 30.0]])  # oblique
PROPERTIES = "species:S:1:pos:R:3:move_mask:L:1:tags:I:1:forces:R:3"
ARCHIVES = (
  *("s2ef_train_200K", "s2ef_val_id", "s2ef_val_ood_ads"),
  *("s2ef_val_ood_cat", "s2ef_val_ood_both"),
)


def entry(seed):
  """Random atoms: numbers, places, tags, forces and the energy."""
  rng = np.random.default_rng(seed)
  count = 6 + seed % 3
  symbols = rng.choice(["Cu", "Bi", "O", "H"], count)
  place = rng.random((count, 3)) @ CELL
  tag = np.arange(count) % 3
  return symbols, place, tag, rng.normal(size=(count, 3)), -100.5 - seed


def text_of(symbols, place, tag, force, energy):
  lattice = " ".join(map(str, CELL.ravel()))
  lines = [
    str(len(symbols)),
    f'Lattice="{lattice}" Properties={PROPERTIES} energy={energy} '
    f'free_energy={energy - 1} pbc="T T T"',
  ]
  for s, x, t, f in zip(symbols, place, tag, force, strict=True):
    numbers = " ".join(f"{v:.8f}" for v in (*x, *f))
    x, f = numbers.split()[:3], numbers.split()[3:]
    lines.append(f"{s} {' '.join(x)} {'T' if t else 'F'} {t} {' '.join(f)}")
  return "\n".join(lines) + "\n"


def write_archive(folder, first, compressed):
  """Two files of six structures each; returns ids in their order."""
  folder.mkdir(parents=True)
  ids = []
  for number in (10, 2):  # as numbers, not as texts
    seeds = range(first + 6 * number, first + 6 * number + 6)
    xyz = "".join(text_of(*entry(s)) for s in seeds)
    rows = "".join(f"random{s},frame{s % 7},{-90.25}\n" for s in seeds)
    for ending, text in (("extxyz", xyz), ("txt", rows)):
      if compressed:
        path = folder / f"{number}.{ending}.xz"
        path.write_bytes(lzma.compress(text.encode()))
      else:
        (folder / f"{number}.{ending}").write_text(text)
    ids = [*seeds, *ids]
  return ids


def write_archives(folder):
  return {
    name: write_archive(folder / name / name, 1000 * k, k % 2 == 0)
    for k, name in enumerate(ARCHIVES)
  }


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
  folder = tmp_path_factory.mktemp("oc20")
  return folder, write_archives(folder)


@pytest.mark.slow
class OC20Case(tfds.testing.DatasetBuilderTestCase):
  DATASET_CLASS = plugins.load("datasets", "oc20").Builder
  BUILDER_CONFIG_NAMES_TO_TEST = ["smoke"]  # noqa: RUF012
  SPLITS = {  # noqa: RUF012
    **dict.fromkeys(("validation", "test", "test_unseen_adsorbate"), 2),
    **dict.fromkeys(("test_unseen_catalyst", "test_unseen_both"), 2),
    "train": 8,
  }

  @classmethod
  def setUpClass(cls):
    cls.EXAMPLE_DIR = tempfile.mkdtemp()
    write_archives(pathlib.Path(cls.EXAMPLE_DIR))
    super().setUpClass()

  @classmethod
  def tearDownClass(cls):
    super().tearDownClass()
    shutil.rmtree(cls.EXAMPLE_DIR)


@pytest.fixture(scope="module")
def prepared(archives, tmp_path_factory):
  folder = str(tmp_path_factory.mktemp("data"))
  flags = [f"--data_dir={folder}", f"--manual_dir={archives[0]}", "--validate"]
  assert prepare.main(["prepare", "--dataset=oc20/smoke", *flags]) == 0
  return folder


def test_structures_are_those_of_the_files(archives, prepared):
  split = pipelines.load("oc20/smoke", "train", prepared)
  ids = archives[1]["s2ef_train_200K"][:8]
  assert ids[0] == 12  # of file 2, which comes before file 10
  trajectory = split.trajectory
  np.testing.assert_array_equal(
    trajectory.domain.box[0], np.linalg.norm(CELL, axis=1)
  )
  for k, seed in enumerate(ids):
    symbols, place, tag, force, energy = entry(seed)
    count = len(symbols)
    real = trajectory.particles.mask[k] > 0
    assert real.sum() == count
    np.testing.assert_array_equal(
      trajectory.particles.species[k, :count],
      [elements.NUMBERS[s] for s in symbols],
    )
    np.testing.assert_array_equal(trajectory.particles.tag[k, :count], tag)
    np.testing.assert_allclose(trajectory.force[k, 0, :count], force, atol=1e-8)
    # Adsorption energies: less the reference.
    assert trajectory.potential_energy[k, 0] == pytest.approx(energy + 90.25)
    found = trajectory.state.position[k, 0, :count]
    moved = (found - place) @ np.linalg.inv(CELL)
    np.testing.assert_allclose(moved, moved.round(), atol=1e-7)
    assert np.abs(found @ np.linalg.inv(CELL)).max() <= 0.5 + 1e-9
  assert np.isnan(split.label_error).all()
  assert not np.any(trajectory.state.velocity)


def test_what_else_the_examples_tell(archives, prepared):
  builder = tfds.builder("oc20/smoke", data_dir=prepared)
  examples = list(tfds.as_numpy(builder.as_dataset(split="train")))
  ids = archives[1]["s2ef_train_200K"][:8]
  assert [int(e["sid"]) for e in examples] == ids
  assert [int(e["fid"]) for e in examples] == [s % 7 for s in ids]
  np.testing.assert_array_equal(examples[0]["cell"], CELL)
  metadata = builder.info.metadata
  assert metadata["num_particles"] == 8
  assert metadata["splits"]["train"] == {
    "num_trajectories": 8,
    "num_frames": 1,
    "num_particles": 8,
  }
  free = [e["force"][0, e["tag"] > 0].ravel() for e in examples]
  found = metadata["statistics"]
  assert found["force_std"] == pytest.approx(
    np.sqrt(np.mean(np.concatenate(free) ** 2))
  )
  assert found["force_mean_abs"] == pytest.approx(
    np.mean(np.abs(np.concatenate(free)))
  )
  energies = [e["potential_energy"][0] for e in examples]
  assert found["energy_mean"] == pytest.approx(np.mean(energies))
  assert found["energy_std"] == pytest.approx(np.std(energies))
  assert found["velocity_std"] == found["position_increment_std"] == 1


def test_validation_and_test_share_no_system(prepared):
  builder = tfds.builder("oc20/smoke", data_dir=prepared)
  ids = {
    split: {
      int(e["sid"]) for e in tfds.as_numpy(builder.as_dataset(split=split))
    }
    for split in ("validation", "test")
  }
  assert not ids["validation"] & ids["test"]
  for sid in ids["validation"] | ids["test"]:
    is_low = zlib.crc32(str(sid).encode()) < 2**31
    assert (sid in ids["validation"]) == is_low
  assert validation.validate(builder) == []


def test_displacements_in_the_oblique_cell(prepared):
  domain = pipelines.load("oc20/smoke", "test", prepared).trajectory.domain
  domain = Domain(domain.box[:1], domain.cell[:1])
  step = np.array([[[0.3, -0.2, 0.4]]])
  found = domain.displacement(step * 0, step + CELL[0] - 2 * CELL[1] + CELL[2])
  np.testing.assert_allclose(found, step, atol=1e-12)


def one(tmp_path, text, rows="random1,frame2,-1.0\n"):
  (tmp_path / "0.extxyz").write_text(text)
  (tmp_path / "0.txt").write_text(rows)
  part = oc20.Part((tmp_path.name,), None)
  return list(oc20.structures([tmp_path / "0.extxyz"], part))


GOOD = text_of(*entry(1))

# What is done to a good file, and what is said of it.
FAULTS = {
  "cut short": (GOOD[:-80], "structure 0: atom 6 has .* columns, not 9"),
  "half a line": (GOOD[:-20], "atom 6 has 8 columns|could not convert"),
  "no number": (GOOD.replace("7\n", "x\n", 1), "invalid literal for int"),
  "too many atoms": (
    GOOD.replace("7\n", "99999999\n", 1),
    "99999999 atoms, and 1 to 10000 are expected",
  ),
  "no atoms": (GOOD.replace("7\n", "-7\n", 1), "-7 atoms, and 1 to"),
  "no tags": (
    GOOD.replace("tags:I:1", "other:I:1"),
    "structure 0: 'tags' is missing",
  ),
  "no energy": (GOOD.replace(" energy=", " e="), "'energy' is missing"),
  "no lattice": (GOOD.replace("Lattice", "Box"), "'Lattice' is missing"),
  "short lattice": (GOOD.replace('"9.0 ', '"', 1), "cannot reshape"),
  "flat": (GOOD.replace("30.0", "0.0", 1), "the cell .* is flat"),
  "no boundaries": (GOOD.replace("T T T", "T X T"), "pbc is 'T X T', not"),
  "nan": (
    re.sub(r"energy=\S+", "energy=nan", GOOD, count=1),
    "energy holds something else than finite numbers",
  ),
  "strange element": (GOOD.replace("\nCu ", "\nXx "), "'Xx' is no element"),
  "strange tag": (
    re.sub(r" T 2 ", " T 9 ", GOOD),
    r"tags \[0, 1, 9\] are not all 0, 1 or 2",
  ),
  "endless line": ("7" * 10**6, "a line has 10000 characters or more"),
  "columns": (GOOD.replace("pos:R:3", "pos:R:2"), "pos has not 3 columns"),
  "binary": ("\x00\x01" * 50, "invalid literal for int"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_damaged_files(fault, tmp_path):
  text, message = FAULTS[fault]
  assert text != GOOD
  with pytest.raises(ValueError, match=message) as raised:
    one(tmp_path, text)
  said = str(raised.value)
  assert said.startswith(f"{tmp_path / '0.extxyz'} is not the file it should")
  assert said.endswith("; get it anew")
  assert "\n" not in said


@pytest.mark.parametrize(
  ("rows", "message"),
  [
    ("", "beside it is '', not system_id,frame_number,reference_energy"),
    ("random1,frame2\n", "beside it is 'random1,frame2', not"),
    ("1,2,-3.0\n", "beside it is '1,2,-3.0', not"),
    ("random1,frame2,x\n", "could not convert string to float: 'x'"),
    ("random1,frame2,nan\n", "a reference energy is nan"),
    ("random1,frame2,1.0\n" * 2, "0.txt tells of more structures"),
  ],
)
def test_damaged_lines_beside_them(rows, message, tmp_path):
  with pytest.raises(ValueError, match=message):
    one(tmp_path, GOOD, rows)


def test_a_good_file_is_read(tmp_path):
  (structure,) = one(tmp_path, GOOD + "\n")
  assert structure.sid == 1
  assert structure.potential_energy.tolist() == [-101.5 + 1]
  one_more = one(tmp_path, GOOD.replace("T T T", "T T F"))
  assert np.isinf(one_more[0].box[2])


def test_compressed_files_that_are_cut(tmp_path):
  content = lzma.compress(GOOD.encode())
  (tmp_path / "0.extxyz.xz").write_bytes(content[:-40])
  (tmp_path / "0.txt").write_text("random1,frame2,-1.0\n")
  part = oc20.Part((), None)
  for damaged in (content[:-40], content[:10], b"", b"not compressed"):
    (tmp_path / "0.extxyz.xz").write_bytes(damaged)
    with pytest.raises(ValueError, match="is not the file it should be"):
      assert list(oc20.structures([tmp_path / "0.extxyz.xz"], part))


def test_without_the_lines_beside(tmp_path):
  (tmp_path / "0.extxyz").write_text(GOOD)
  with pytest.raises(ValueError, match=r"comes with 0.txt or 0.txt.xz, which"):
    list(oc20.structures([tmp_path / "0.extxyz"], oc20.Part((), None)))


def test_many_structures_are_read_one_by_one(tmp_path):
  """The second is not looked at until it is asked for."""
  with (tmp_path / "two.extxyz").open("w+") as file:
    file.write(GOOD + "nonsense\n")
    file.seek(0)
    entries = extended_xyz.read(file)
    assert next(entries).energy == -101.5
    with pytest.raises(ValueError, match="structure 1: invalid literal"):
      next(entries)


def said_by_prepare(folder, data_dir, capsys):
  flags = [f"--data_dir={data_dir}", f"--manual_dir={folder}"]
  assert prepare.main(["prepare", "--dataset=oc20/smoke", *flags]) == 2
  error = capsys.readouterr().err
  assert error.count("\n") == 1
  return error


def test_without_the_archives(tmp_path, capsys):
  (tmp_path / "empty").mkdir()
  for folder in (tmp_path / "empty", tmp_path / "nowhere"):
    error = said_by_prepare(folder, tmp_path / "data", capsys)
    assert "s2ef_train_200K/*.extxyz[.xz], which is not in" in error
    assert "--dataset=oc20/smoke --manual_dir=FOLDER" in error


def test_pickles_are_not_read(tmp_path, capsys):
  ran = tmp_path / "ran"
  folder = tmp_path / "s2ef_train_200K"
  folder.mkdir()

  class Hostile:
    def __reduce__(self):
      return (pathlib.Path.touch, (ran,))

  (folder / "data.0000.lmdb").write_bytes(pickle.dumps(Hostile()))
  error = said_by_prepare(tmp_path, tmp_path / "data", capsys)
  assert "data.0000.lmdb is an LMDB file: it holds pickles" in error
  assert "get the archive s2ef_train_200K.tar" in error
  assert not ran.exists()


def test_an_archive_without_test_structures(archives, tmp_path, capsys):
  folder = tmp_path / "manual"
  shutil.copytree(archives[0], folder)
  shutil.rmtree(folder / "s2ef_val_id")
  error = said_by_prepare(folder, tmp_path / "data", capsys)
  assert "s2ef_val_id/*.extxyz[.xz], which is not in" in error
