import json
import re
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

from nbody_bench import (
  figures,
  findings,
  inspect,
  simulation,
  stored,
  validation_structure,
)
from nbody_bench.states import Domain, Particles, State, Trajectory
from nbody_bench.systems import System


def run(dataset, data_dir, *flags):
  return inspect.main(["inspect", dataset, f"--data_dir={data_dir}", *flags])


def row(text, quantity, split):
  """The numbers of a split below the heading of a quantity."""
  _, _, below = text.partition(f"\n{quantity}")
  found = re.search(rf"\n  {split} +(\S+) +(\S+) +(\S+)", below)
  return [float(x) for x in found.groups()]


@pytest.mark.parametrize("name", ["nbody_gravity", "nbody_charged"])
def test_what_is_shown(name, data_dir, tmp_path, capsys, monkeypatch):
  is_open = name == "nbody_charged"
  if is_open:  # one figure is enough
    monkeypatch.setattr(figures, "draw", lambda *arguments: None)
  assert run(f"{name}/smoke", data_dir, f"--output_dir={tmp_path}") == 0
  text = capsys.readouterr().out
  builder = tfds.builder(f"{name}/smoke", data_dir=data_dir)
  info = builder.info
  assert text.startswith(info.full_name)
  assert "**Equation" in text
  assert f"datasets/{name}/README.md" in text
  assert f"{info.dataset_size / 1e6:.1f} MB in {builder.data_dir}" in text
  assert re.search(r"\ntrain +4 +41 +\d+\n", text)
  assert re.search(r"\ntest_long +2 +101 +\d+\n", text)
  std = info.metadata["statistics"]["velocity_std"]
  assert re.search(rf"velocity_std +{std:.4g}\n", text)
  truth = stored.truth(next(stored.read(builder, "train")))
  system = System(**info.metadata["system"])
  drifts = simulation.drifts(system, truth)
  drifts["label_error"] = truth.label_error.max(1)
  for key, quantity in (
    ("energy_drift", "energy drift"),
    ("momentum_drift", "momentum drift"),
    ("label_error", "label error, worst frame"),
  ):
    expected = np.quantile(drifts[key], [0.5, 0.95, 1])
    np.testing.assert_allclose(
      row(text, quantity, "train"), expected, rtol=0.06
    )
  last = np.quantile(truth.label_error[:, -1], [0.5, 0.95, 1])
  shown = row(text, "label error, last frame", "train")
  np.testing.assert_allclose(shown, last, rtol=0.06)
  assert is_open == ("angular momentum drift    not conserved" not in text)
  assert is_open or (
    (tmp_path / f"{name}_smoke.png").read_bytes()[1:4] == b"PNG"
  )
  described = json.loads((tmp_path / "croissant.json").read_text())
  assert described["name"] == f"{name}_smoke"


def test_only_so_many_trajectories_are_measured(
  data_dir, tmp_path, monkeypatch
):
  monkeypatch.setattr(stored, "MAX_FIRST", 3)
  builder = tfds.builder("nbody_spring/smoke", data_dir=data_dir)
  text = "\n".join(inspect.measured(builder))
  assert "train: measured on the first 3 of 4 trajectories" in text
  assert "test: measured" not in text
  # Drawn is also what lies behind them.
  figures.draw(builder, "train", 3, tmp_path / "figure.png")
  assert (tmp_path / "figure.png").exists()


def test_without_matplotlib(data_dir, tmp_path, capsys, monkeypatch):
  monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
  assert run("nbody_spring/smoke", data_dir, f"--output_dir={tmp_path}") == 0
  error = capsys.readouterr().err
  assert error.count("\n") == 1
  assert 'pip install "nbody_bench[figures]"' in error
  assert [p.name for p in tmp_path.iterdir()] == ["croissant.json"]


@pytest.mark.parametrize(
  ("dataset", "flags", "message"),
  [
    (
      "nbody_gravity/n20",
      (),
      "n20 is not prepared in .*; run python -m nbody_",
    ),
    ("nbody_gravty/n20", (), "Did you mean 'nbody_gravity'"),
    ("nbody_gravity/smok", (), "configurations. Did you mean 'smoke'"),
    ("nbody_gravity/smoke", ("--split=tets",), "Did you mean 'test'"),
    ("nbody_gravity/smoke", ("--trajectory=2",), "holds 2: 0 to 1$"),
    ("nbody_gravity/smoke", ("more",), "one data set is inspected at a time"),
  ],
)
def test_mistakes_are_said_in_one_line(
  dataset, flags, message, data_dir, tmp_path, capsys
):
  flags = (*flags, f"--output_dir={tmp_path / 'out'}")
  assert run(dataset, data_dir, *flags) == 2
  error = capsys.readouterr().err
  assert error.count("\n") == 1
  assert re.search(message, error.strip()), error
  assert not (tmp_path / "out").exists()


def test_data_that_lack_something(data_dir, tmp_path, capsys, monkeypatch):
  fault = findings.Finding("error", "features", "'mass' is missing")
  monkeypatch.setattr(
    validation_structure, "structure", lambda builder: [fault] * 2
  )
  assert run("nbody_spring/smoke", data_dir, f"--output_dir={tmp_path}") == 2
  assert capsys.readouterr().err == (
    "error: features: 'mass' is missing (2 errors; python -m "
    "nbody_bench.prepare --validate lists them)\n"
  )


def axes():
  figure = pytest.importorskip("matplotlib.figure")
  return figure.Figure().subplots()


def flight(num_particles, num_dims, side=np.inf):
  """Bodies that move one length a frame along x, through the border."""
  start = np.zeros((1, 1, num_particles, num_dims))
  position = start + np.arange(5.0)[:, None, None] * np.eye(num_dims)[0]
  domain = Domain(np.full((1, num_dims), side))
  state = State(domain.wrap(position), np.ones_like(position))
  particles = Particles(np.ones((1, num_particles)))
  return Trajectory(np.arange(5.0), state, particles, domain)


@pytest.mark.parametrize("num_dims", [1, 2, 3])
def test_paths_do_not_jump_at_a_border(num_dims):
  panel = axes()
  figures.draw_space(panel, flight(3, num_dims, side=6.0))
  x, y = panel.lines[0].get_data()
  np.testing.assert_allclose(y if num_dims == 1 else x, np.arange(5.0))
  assert ("projection" in panel.get_title()) == (num_dims == 3)
  assert "periodic" in panel.get_title()


def test_many_particles_are_thinned_out(monkeypatch):
  monkeypatch.setattr(figures, "MAX_PATHS", 4)
  panel = axes()
  figures.draw_space(panel, flight(12, 2))
  assert len(panel.lines) == 4
  assert "4 of 12 particles" in panel.get_title()


def test_distances_are_of_pairs_by_minimum_image():
  position = np.array([[[-2.5, 0.0], [2.5, 0.0], [0.0, 0.0]]])
  near = Domain(np.full((1, 2), 6.0))
  np.testing.assert_allclose(
    sorted(figures.distances(position, near)), [1, 2.5, 2.5]
  )
  np.testing.assert_allclose(figures.distances(position[:, :1], near), [2.5])
