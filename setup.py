"""Package metadata; tool settings are in `pyproject.toml`."""

import pathlib
import re

import setuptools

_ROOT = pathlib.Path(__file__).parent
_VERSION = re.search(
  r'__version__ = "(.+)"', (_ROOT / "nbody_bench/__init__.py").read_text()
)[1]

# These folders lie beside the core in a checkout and inside it when installed:
# a top-level package called `datasets` would shadow other people's.
_FOLDERS = ("datasets", "baselines", "leaderboard")
_inner = setuptools.find_namespace_packages(
  include=[p for f in _FOLDERS for p in (f, f"{f}.*")],
  exclude=["leaderboard.submissions*", "baselines.weights*"],
)

setuptools.setup(
  name="nbody_bench",
  version=_VERSION,
  description="A benchmark suite for learned simulators of N-body systems",
  long_description=(_ROOT / "README.md").read_text(),
  long_description_content_type="text/markdown",
  license="Apache-2.0",
  python_requires=">=3.11",
  packages=setuptools.find_packages(include=["nbody_bench", "nbody_bench.*"])
  + [f"nbody_bench.{p}" for p in _inner],
  package_dir={f"nbody_bench.{f}": f for f in _FOLDERS},
  package_data={
    "": ["*.md", "*.bib", "*.txt", "*.json", "*.html", "*.css", "*.js"]
  },
  install_requires=[
    "absl-py",
    "dm-sonnet>=2.0.2",
    "graph-nets>=1.1.0",
    "importlib_resources",  # needed and not declared by TFDS 4.9.10
    "jsonschema",  # submissions are checked against a JSON Schema
    "numba",
    "numpy",
    "scipy",
    "tensorboard",
    "tensorflow>=2.20",
    "tensorflow-datasets>=4.9.10",
    "tqdm",
  ],
  extras_require={
    # `dill` is needed and not declared by `tfds.testing`.
    "test": [
      "apache-beam",
      "ase",  # makes slabs
      "dill",
      "MDAnalysis",  # reads adk
      "matplotlib",
      "mypy",
      "hypothesis",
      "pytest",
      "pytest-xdist",
      "ruff",
      "setuptools>=64",  # builds the wheel that is tested
      "wheel",
    ],
    "ase": ["ase"],  # computes datasets/slabs
    "beam": ["apache-beam"],
    "figures": ["matplotlib"],
    "molecules": ["ase", "tblite"],  # computes datasets/molecules
    "proteins": ["MDAnalysis"],  # reads datasets/adk
  },
  entry_points={"console_scripts": ["nbody-bench = nbody_bench.run:main"]},
)
