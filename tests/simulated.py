"""The data sets that are simulated, as against observed.

Only these can be made from nothing: `observed_data_test.py` has the others.
"""

from nbody_bench import plugins
from nbody_bench.dataset_builder import NBodyDatasetBuilder

NAMES = [
  name
  for name in plugins.names("datasets")
  if issubclass(plugins.load("datasets", name).Builder, NBodyDatasetBuilder)
]
