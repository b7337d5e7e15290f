"""What a check is given: a batch of examples, and what the metadata say."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from nbody_bench import stored
from nbody_bench.findings import Fault
from nbody_bench.simulation import GroundTruth
from nbody_bench.systems import System
from nbody_bench.validation_structure import BOUNDS, layout

# Stored and computed energies, and times, agree within these.
SAME = 1e-9
SAME_STEP = 1e-6


class Facts(NamedTuple):
  """What the metadata say."""

  system: System
  time_step: float
  first_time: float
  num_dims: int
  noise: float
  layout: Mapping[str, str]  # see `validation_structure.layout`
  splits: Mapping[str, Mapping[str, int]]
  statistics: Mapping[str, float]
  bounds: Mapping[str, float | None]
  overlap: str  # see `observed.ObservedConfig`
  static: bool  # see `structures.StructuresConfig`

  @classmethod
  def of(cls, metadata: Mapping[str, Any]) -> "Facts":
    """Returns them from metadata in which nothing is missing."""
    derived = ("system", "layout", "bounds", "overlap", "static")
    return cls(
      system=System(**metadata["system"]),
      layout=layout(metadata),
      overlap=metadata.get("overlap", "none"),
      static=metadata.get("static", False),
      bounds={k.removeprefix("max_"): metadata[k] for k in BOUNDS},
      **{f: metadata[f] for f in cls._fields if f not in derived},
    )


class Batch(NamedTuple):
  """Examples of one split, all of one shape."""

  split: str
  first: int  # place of the first one in the split
  examples: stored.Examples
  is_noisy: bool

  @property
  def truth(self) -> GroundTruth:
    """The examples as trajectories; see `stored.truth`."""
    return stored.truth(self.examples)

  def select(self, rows: np.ndarray) -> "Batch":
    """Returns the examples in these rows."""
    return self._replace(
      examples={k: x[rows] for k, x in self.examples.items()}
    )


Check = Callable[[Facts, Batch], Iterator[Fault]]
