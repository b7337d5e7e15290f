"""Systems as plain float64 arrays: what the compiled loops work on."""

from typing import NamedTuple

import numpy as np


class Bodies(NamedTuple):
  """A batch of systems under one pair law, and its constants.

  Attributes:
    position: `[B, N, D]`.
    velocity: `[B, N, D]`.
    inverse_mass: `[B, N]`, zero for padding.
    strength: `[B, N]` source strengths, zero for padding.
    box: `[B, D]` sides, infinite where open.
    coupling: `[B]`, the k of `systems`.
    length: `[B]`, the length that the pair law reads: a softening or a rest
      length.
    field: `[D]`, a constant force on each particle.
    magnetic_field: `[3]`, B in the force s v x B on a particle of source
      strength s; zero unless D = 3.
    trap: k in the force -k q on each particle.
  """

  position: np.ndarray
  velocity: np.ndarray
  inverse_mass: np.ndarray
  strength: np.ndarray
  box: np.ndarray
  coupling: np.ndarray
  length: np.ndarray
  field: np.ndarray
  magnetic_field: np.ndarray
  trap: float

  def select(self, samples: slice) -> "Bodies":
    """Returns the systems of the batch picked by a slice."""
    shared = ("field", "magnetic_field", "trap")
    return self._replace(
      **{k: getattr(self, k)[samples] for k in self._fields if k not in shared}
    )
