"""Relative energy error, with the true Hamiltonian."""

import numpy as np

from nbody_bench.metrics import Metric


def relative_energy_change(prediction, truth, system):
  """Returns |H(prediction) - H(0)| / |H(0)|, `[B, T]`."""
  energy = prediction.at_each_frame(system.hamiltonian)
  start = truth.frames(0, 1).at_each_frame(system.hamiltonian)
  return np.abs(energy - start) / np.abs(start)


METRIC = Metric(
  label="Energy error",
  description=(
    "Mean over trajectories of |H(k) - H(0)| / |H(0)| at step k, H of the true "
    "law (Martinkus et al. 2021, section 4.2; with the absolute value of their "
    "code)."
  ),
  function=relative_energy_change,
  cap=100.0,
  # The labels' own drift.
  floor=lambda truth, label_error, system: relative_energy_change(
    truth, truth, system
  ),
)
