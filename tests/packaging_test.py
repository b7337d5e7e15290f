"""The built wheel works from another folder, without the checkout."""

import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parent.parent


@pytest.mark.slow
def test_wheel_works_elsewhere(tmp_path, data_dir):
  source, site = tmp_path / "source", tmp_path / "site"
  ignore = shutil.ignore_patterns(".*", "demo_output", "build", "*.egg-info")
  shutil.copytree(ROOT, source, ignore=ignore)

  def call(*command, cwd=tmp_path, **environment):
    result = subprocess.run(
      [sys.executable, "-m", *map(str, command)],
      cwd=cwd,
      env=os.environ | environment,
      capture_output=True,
      text=True,
      check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout

  quiet = ("--quiet", "--no-deps", "--disable-pip-version-check")
  call("pip", "wheel", *quiet, "--no-build-isolation", "-w", tmp_path, source)
  (wheel,) = tmp_path.glob("*.whl")
  names = zipfile.ZipFile(wheel).namelist()
  tops = {n.partition("/")[0] for n in names}
  assert {t.partition("-")[0] for t in tops} == {"nbody_bench"}
  for needed in (
    "nbody_bench/datasets/nbody_gravity/README.md",
    "nbody_bench/datasets/nbody_gravity/CITATIONS.bib",
    "nbody_bench/leaderboard/page/index.html",
    "nbody_bench/leaderboard/page/app.js",
    "nbody_bench/leaderboard/page/style.css",
    "nbody_bench/leaderboard/page/vendor/uPlot.iife.min.js",
    "nbody_bench/leaderboard/page/vendor/uPlot-LICENSE.txt",
    "nbody_bench/submission_schema.json",
  ):
    assert needed in names
  assert not [n for n in names if "/submissions/" in n]

  call("pip", "install", *quiet, "--target", site, wheel)
  elsewhere = tmp_path / "elsewhere"
  elsewhere.mkdir()

  def use(*command):
    return call(*command, cwd=elsewhere, PYTHONPATH=str(site))

  where = "import nbody_bench, sys; print(nbody_bench.__file__)"
  (elsewhere / "where.py").write_text(where)
  assert use("where").startswith(str(site))
  data = f"--data_dir={data_dir}"
  flags = ("--model=leapfrog", "--dataset=nbody_gravity/smoke", data)
  assert "Roll-out RMSE @20" in use("nbody_bench.run", *flags, "--output_dir=o")
  board = ("--board=b", data)
  use("nbody_bench.leaderboard", "submit", "o/submission", *board)
  assert "page: file://" in use(
    "nbody_bench.leaderboard", "build", "--out=p", *board
  )
  assert (elsewhere / "p" / "index.html").exists()
