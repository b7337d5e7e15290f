"""A benchmark suite for learned simulators of N-body systems.

Importing this package makes its data sets known to TensorFlow Datasets:
`tfds.load("nbody_gravity/n20")`. TensorFlow itself is not imported here.
"""

import pathlib

__version__ = "0.1.0"

_PACKAGE = pathlib.Path(__file__).resolve().parent
# In a checkout `datasets/`, `baselines/` and `leaderboard/` lie beside this
# folder; an installed copy holds them inside it (`package_dir` in setup.py).
if not (_PACKAGE / "datasets").is_dir():
  __path__.append(str(_PACKAGE.parent))

from nbody_bench import plugins as plugins
from nbody_bench.states import Domain as Domain
from nbody_bench.states import Particles as Particles
from nbody_bench.states import State as State
from nbody_bench.states import Trajectory as Trajectory
from nbody_bench.systems import System as System

# So that `tfds.load` finds their names.
plugins.register_datasets()
