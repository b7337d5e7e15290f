"""Units of scores and times, by metric and data set.

What is not listed has none: shares, relative errors, norms that join positions
and velocities, and data sets in simulation units.
"""

_QUANTITIES = {
  "average_mse": "length²",
  "final_mse": "length²",
  "force_mae": "force",
  "time_to_failure": "time",
}
_ATOMS = {"length²": "Å²", "time": "fs", "force": "eV/Å"}
_UNITS: dict[str, dict[str, str]] = {
  "adk": {"length²": "Å²", "time": "frames of 240 ps"},
  "md17": {"length²": "Å²", "time": "frames of 0.5 fs"},
  "mocap": {"length²": "(5.64 cm)²", "time": "frames of 1/120 s"},
  "molecules": _ATOMS,
  "oc20": _ATOMS,
  "slabs": _ATOMS,
}


def of_metric(name: str, dataset: str) -> str:
  """Returns the unit of a metric on a data set, empty if it has none."""
  return _of(_QUANTITIES.get(name, ""), dataset)


def of_time(dataset: str) -> str:
  """Returns the unit of time of a data set, empty if it has none."""
  return _of("time", dataset)


def _of(quantity, dataset):
  return _UNITS.get(dataset.partition("/")[0], {}).get(quantity, "")
