"""AFbT: how near relaxed structures are to being at rest in truth."""

import numpy as np

from nbody_bench.metrics import Metric
from nbody_bench.metrics.adwt import share_above
from nbody_bench.metrics.force_mae import free_atoms

_THRESHOLDS = np.arange(10, 401) / 1000  # eV / Angstrom


def share_of_force(prediction, truth, system):
  """Returns the share of thresholds above the largest true force, `[B, T]`.

  The force on a free atom of the predicted structure; 0 where that is not
  finite.

  Raises:
    ValueError: if the true law is not known.
  """
  if not system.is_known:
    raise ValueError(
      "AFbT needs the true forces of the predicted structures, and the law of "
      "these data is not known; leave the metric out"
    )
  finite = np.isfinite(prediction.state.position).all((2, 3))
  # The law is asked only about structures that are there.
  position = np.where(
    finite[..., None, None],
    prediction.state.position,
    truth.state.position[:, :1],
  )
  asked = prediction._replace(
    state=prediction.state._replace(
      position=position, velocity=np.zeros_like(position)
    )
  )
  size = np.linalg.norm(asked.at_each_frame(system.force), axis=-1)
  free = free_atoms(truth.particles)[:, None]
  largest = np.max(np.where(free, size, 0.0), -1)
  return np.where(finite, share_above(largest, _THRESHOLDS), 0.0)


METRIC = Metric(
  label="AFbT (0.01-0.4)",
  description=(
    "Mean over structures of the share of thresholds 0.01, 0.011, ... 0.4 "
    "eV/Angstrom above the largest force, by the true law, on a free atom of "
    "the predicted relaxed structure (after Chanussot et al. 2021)."
  ),
  function=share_of_force,
  cap=1.0,
  better="higher",
  kind="relaxation",
)
