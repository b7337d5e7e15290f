"""A `Problem`: what a model is told about a data set before it sees data."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from nbody_bench.systems import System


@dataclasses.dataclass(frozen=True)
class Problem:
  """Facts from a data set's metadata.

  Attributes:
    dataset: name with configuration and version.
    system: the true law. Classical methods use it, metrics do; a model that
      does declares it in its card (`physics_given`).
    time_step: time between frames.
    num_dims: D.
    statistics: see `statistics.compute`.
    num_context_frames: given at once, the state to start from being the last;
      see `Particles.history`.
    withheld: fields of `Particles` that differ between trajectories and are not
      told: `system` alone does not know the law then.
    force_unit: of the forces that come with motion, where they do, in units of
      mass times length over time squared.
    contact_radius: nearer than which particles act on each other, as far as
      models are told, where nobody knows the law and nothing is bonded; in open
      space.
  """

  dataset: str
  system: System
  time_step: float
  num_dims: int
  statistics: Mapping[str, float]
  num_context_frames: int = 1
  withheld: tuple[str, ...] = ()
  force_unit: float | None = None
  contact_radius: float | None = None

  def known_law(
    self, name: str, instead: str = "use a model that learns it"
  ) -> System:
    """Returns the law, which `name` needs.

    Args:
      name: of a model or objective.
      instead: what to use where there is none, for the message.

    Raises:
      ValueError: if the law is withheld or not known.
    """
    if self.withheld:
      raise ValueError(
        f"{name} needs the law, of which {self.dataset} withholds "
        f"{', '.join(self.withheld)}; {instead}"
      )
    if not self.system.is_known:
      raise ValueError(
        f"{name} needs the law, and nobody knows that of {self.dataset}; "
        f"{instead}"
      )
    return self.system

  @classmethod
  def from_metadata(cls, dataset: str, metadata: Mapping[str, Any]):
    """Returns the problem of a prepared data set.

    Raises:
      ValueError: naming the keys that the metadata lack.
    """
    needed = (
      "system",
      "time_step",
      "num_dims",
      "statistics",
      "num_context_frames",
      "withheld",
    )
    missing = [k for k in needed if k not in (metadata or {})]
    if missing:
      raise ValueError(
        f"the metadata of {dataset!r} lack {', '.join(missing)}; build it on "
        "nbody_bench.dataset_builder.NBodyDatasetBuilder, or prepare it anew"
      )
    return cls(
      dataset=dataset,
      system=System(**metadata["system"]),
      time_step=metadata["time_step"],
      num_dims=metadata["num_dims"],
      statistics=dict(metadata["statistics"]),
      num_context_frames=metadata["num_context_frames"],
      withheld=tuple(metadata["withheld"]),
      force_unit=metadata.get("force_unit"),
      contact_radius=metadata.get("contact_radius"),
    )
