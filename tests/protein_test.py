"""The protein, read from files made up here in the form of the published."""

import itertools
import re
import shutil
import sys
import warnings

import numpy as np
import pytest
import tensorflow_datasets as tfds

from nbody_bench import (
  geometry,
  pipelines,
  plugins,
  prepare,
  run,
  testing,
  validation,
)

MDAnalysis = pytest.importorskip("MDAnalysis")

NUM_RESIDUES, NUM_FRAMES = 214, 96
TOPOLOGY, TRAJECTORY = "adk4AKE.psf", "1ake_007-nowater-core-dt240ps.dcd"
# Name, charge and mass; those with a hydrogen or a side chain are left out.
ATOMS = (
  ("N", -0.47, 14.007),
  ("HN", 0.31, 1.008),
  ("CA", 0.07, 12.011),
  ("CB", -0.27, 12.011),
  ("C", 0.51, 12.011),
  ("O", -0.51, 15.999),
)
HEAVY = [
  k for k, (name, *_) in enumerate(ATOMS) if name in {"N", "CA", "C", "O"}
]


def topology(num_residues):
  """A PSF; the last oxygen has the name that it has at a chain's end."""
  lines = []
  for residue in range(1, num_residues + 1):
    for name, charge, mass in ATOMS:
      end = name == "O" and residue == num_residues
      name = "OT1" if end else name
      lines.append(
        f"{len(lines) + 1:8d} 4AKE {residue:<4d} ALA  {name:<4s} {name[0]:<4s}"
        f" {charge:10.6f} {mass:13.4f} {0:11d}\n"
      )
  parts = ("NBOND: bonds", "NTHETA: angles", "NPHI: dihedrals")
  parts = "".join(f"\n{0:8d} !{part}\n\n" for part in parts)
  return (
    f"PSF\n\n{1:8d} !NTITLE\n REMARKS made up\n\n{len(lines):8d} !NATOM\n"
    + ("".join(lines) + parts)
  )


def path(num_frames=NUM_FRAMES):
  """Positions `[T, n, 3]` of all atoms: a chain that trembles."""
  rng = np.random.default_rng(0)
  rest = np.cumsum(3 * rng.normal(size=(NUM_RESIDUES * len(ATOMS), 3)), 0)
  return (rest + 0.3 * rng.normal(size=(num_frames, *rest.shape))).astype("f4")


def write(folder, positions):
  (folder / TOPOLOGY).write_text(topology(NUM_RESIDUES))
  count = positions.shape[1]
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    with MDAnalysis.Writer(str(folder / TRAJECTORY), count) as writer:
      universe = MDAnalysis.Universe.empty(count, trajectory=True)
      for frame in positions:
        universe.atoms.positions = frame
        writer.write(universe.atoms)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
  folder = tmp_path_factory.mktemp("protein")
  write(folder, path())
  return folder


@pytest.fixture(scope="module")
def prepared(files, tmp_path_factory):
  folder = str(tmp_path_factory.mktemp("data"))
  flags = [f"--data_dir={folder}", f"--manual_dir={files}"]
  assert prepare.main(["prepare", "--dataset=adk/smoke", *flags]) == 0
  return folder


def test_every_configuration_is_sound():
  builder = plugins.load("datasets", "adk").Builder
  for config in builder.BUILDER_CONFIGS:
    metadata = config.metadata()
    first, length = metadata["jump"]
    for size in metadata["splits"].values():
      assert first + length == size["num_frames"] - 1
    assert metadata["contact_radius"] == 8
  # As many windows as the published 4187 frames have room for.
  sizes = builder.BUILDER_CONFIGS[0].splits
  ends = [int(part * 4187) for part in (0, 0.6, 0.8, 1)]
  assert [s.num_trajectories for s in sizes.values()] == [
    b - a - 16 for a, b in itertools.pairwise(ends)
  ]


def test_the_backbone_is_what_is_read(prepared):
  backbone = [r * len(ATOMS) + k for r in range(NUM_RESIDUES) for k in HEAVY][
    :-1
  ]
  expected = path()[:, backbone].astype(float)
  starts = {"train": 0, "validation": 57, "test": 76}
  for name, start in starts.items():
    split = pipelines.load("adk/smoke", name, prepared)
    position, velocity = split.trajectory.state
    for k in range(2):
      frames = np.arange(start + k, start + k + 16)
      np.testing.assert_array_equal(position[k], expected[frames])
      np.testing.assert_array_equal(
        velocity[k], expected[frames + 1] - expected[frames]
      )
  particles = split.given.particles
  np.testing.assert_allclose(
    particles.charge[0, :4], [-0.47, 0.07, 0.51, -0.51]
  )
  assert particles.mass[0, 0] == 14.007
  assert particles.bonds is None
  built = tfds.builder("adk/smoke", data_dir=prepared)
  assert validation.validate(built) == []


def test_contacts_are_who_is_near(prepared):
  problem = pipelines.problem("adk/smoke", prepared)
  split = pipelines.load("adk/smoke", "test", prepared)
  state, particles = testing.to_tensors(
    (split.trajectory.frame(0), split.given.particles)
  )
  edges = geometry.edges(problem, state.position, particles)
  x = split.trajectory.state.position[:, 0]
  apart = np.linalg.norm(x[:, :, None] - x[:, None], axis=-1)
  near = (apart < 8) & ~np.eye(x.shape[1], dtype=bool)
  found = np.zeros(near.shape)
  there = edges.mask.numpy()[..., 0] > 0
  sample, receiver, _ = np.nonzero(there)
  place = sample, receiver, edges.neighbours.senders.numpy()[there]
  found[place] = edges.features.numpy()[there][:, 0]
  assert len(sample) == near.sum()
  np.testing.assert_allclose(found, np.where(near, apart, 0), rtol=1e-6)
  told = geometry.scalars(problem, state, particles)
  assert told.shape[-1] == 2
  assert np.max(np.abs(told[..., 1])) == 1


@pytest.mark.parametrize(
  "model", ["mpnn", pytest.param("eghn", marks=pytest.mark.slow)]
)
def test_models_run_on_it(model, prepared, tmp_path, capsys):
  flags = [
    *("run", f"--model={model}", "--dataset=adk/smoke", "--task=uniform"),
    *("--train_steps=1", "--batch_size=1", "--timing=none", "--seeds=0"),
    *("--rollout_steps=1", "--config.width=8"),
    *(f"--data_dir={prepared}", f"--output_dir={tmp_path / 'out'}"),
  ]
  assert run.main(flags) == 0
  assert re.search(r"F-MSE @1 +[\d.e+]+ +-\n", capsys.readouterr().out)


def _damaged(name, content):
  def change(folder):
    (folder / name).write_bytes(content)

  return change


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (_damaged(TOPOLOGY, b"no PSF\n"), f"{TOPOLOGY} is not the file it should"),
    (
      _damaged(TRAJECTORY, b"no DCD"),
      f"{TRAJECTORY} is not the file it should",
    ),
    (
      lambda folder: write(folder, path()[:, :600]),
      f"{TRAJECTORY} is not the file it should",
    ),
    (
      lambda folder: write(folder, path(70)),
      "of its 70 frames 14 are of validation, and a window needs 17",
    ),
    (
      lambda folder: write(folder, np.full_like(path(2), np.nan)),
      "a position is no finite number",
    ),
    (
      lambda folder: (folder / TRAJECTORY).unlink(),
      rf"is made from {TRAJECTORY}, which is not in .*figshare",
    ),
  ],
)
def test_files_that_are_something_else(
  change, message, files, tmp_path, capsys
):
  manual = tmp_path / "manual"
  shutil.copytree(files, manual)
  change(manual)
  flags = (f"--data_dir={tmp_path}", f"--manual_dir={manual}")
  assert prepare.main(["prepare", "--dataset=adk/smoke", *flags]) == 2
  error = capsys.readouterr().err
  assert error.count("\n") == 1
  assert re.search(message, error), error


def test_the_whole_needs_the_whole(files, tmp_path, capsys):
  flags = (f"--data_dir={tmp_path}", f"--manual_dir={files}")
  assert prepare.main(["prepare", "--dataset=adk/equilibrium", *flags]) == 2
  assert "states [2496, 16, 855, 3]" in capsys.readouterr().err


def test_without_the_library(files, tmp_path, monkeypatch, capsys):
  monkeypatch.setitem(sys.modules, "MDAnalysis", None)
  flags = (f"--data_dir={tmp_path}", f"--manual_dir={files}")
  assert prepare.main(["prepare", "--dataset=adk/smoke", *flags]) == 2
  assert 'pip install "nbody_bench[proteins]"' in capsys.readouterr().err
