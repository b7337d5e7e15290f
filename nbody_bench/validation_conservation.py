"""Checks of energies and momenta, and of the bounds of their drift."""

from collections.abc import Iterator

import numpy as np

from nbody_bench import simulation
from nbody_bench.findings import Fault, worsts
from nbody_bench.validation_batches import SAME, Batch, Facts


def energies(facts: Facts, batch: Batch) -> Iterator[Fault]:
  """Energies are those of the states beside them."""
  if batch.is_noisy or not facts.system.is_known:
    return  # those of the states before noise; nobody knows them
  system, stored = facts.system, batch.truth
  kinetic = stored.trajectory.at_each_frame(system.kinetic_energy)
  potential = stored.trajectory.at_each_frame(system.potential_energy)
  scale = kinetic + np.abs(potential)
  difference = np.abs(stored.energy - kinetic - potential)
  for row, excess, (t,) in worsts(difference, SAME * scale):
    hint = _combination(stored.energy[row], kinetic[row], potential[row])
    yield Fault(
      row,
      excess,
      f"energy[{t}] is {stored.energy[row, t]:.12g}, but the stored state has "
      f"T + U = {kinetic[row, t] + potential[row, t]:.12g} under "
      f"metadata['system']{hint}; store "
      "system.hamiltonian of the same float64 states, or correct the constants",
    )


def _combination(stored, kinetic, potential):
  """Says which sum of T and U was stored, such as U with each pair twice."""
  terms = np.stack([kinetic, potential], -1)
  if not np.isfinite(terms).all():
    return ""
  fit, *_ = np.linalg.lstsq(terms, stored, rcond=None)
  if np.abs(terms @ fit - stored).max() > SAME * np.abs(terms).max():
    return ""
  return f" (what is stored is {fit[0]:.4g} T + {fit[1]:.4g} U)"


def momenta(facts: Facts, batch: Batch) -> Iterator[Fault]:
  """Momenta are those of the states beside them."""
  if batch.is_noisy:
    return
  stored = batch.truth
  _, velocity = stored.trajectory.state
  mass = stored.trajectory.particles.mass[:, None, :, None]
  momentum = stored.trajectory.at_each_frame(facts.system.momentum)
  scale = np.sum(mass * np.abs(velocity), (2, 3))[..., None]
  difference = np.abs(stored.momentum - momentum)
  for row, excess, place in worsts(difference, SAME * scale):
    yield Fault(
      row,
      excess,
      f"momentum[{place[0]}, {place[1]}] is "
      f"{stored.momentum[row][place]:.12g}, but the stored masses and "
      f"velocities give {momentum[row][place]:.12g}; store system.momentum of "
      "the same float64 states",
    )


def bounds(facts: Facts, batch: Batch) -> Iterator[Fault]:
  """What drifts stays within the bounds that the metadata state."""
  for name, drift in drifts(facts, batch).items():
    bound = facts.bounds[name]
    if bound is None:
      continue
    for row in np.flatnonzero(~(drift <= bound)):
      yield Fault(
        int(row),
        drift[row] / bound,
        f"{name} is {drift[row]:.3g}, over the bound max_{name} = {bound:.3g} "
        "that the metadata state; use a finer solver or state a wider bound",
      )


def drifts(facts: Facts, batch: Batch) -> dict[str, np.ndarray]:
  """Returns what the bounds are of, `[B]` each; see `simulation.drifts`."""
  found = simulation.drifts(facts.system, batch.truth)
  if batch.is_noisy:
    found.pop("angular_momentum_drift", None)
  if batch.split == "test_long":
    del found["label_error"]  # chaos leaves no bound there
  return found
