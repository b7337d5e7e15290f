"""Tables of scores as plain text."""

from collections.abc import Mapping
from typing import Any

from nbody_bench import evaluation


def scores(
  title: str, entries: Mapping[str, Any], floor: Mapping[str, Any]
) -> str:
  """Returns a table with one row for each metric and step.

  Args:
    title: printed above.
    entries: `evaluation.over_seeds` of each model, by name; "-" where one
      lacks what another has.
    floor: of `evaluation.floor`.
  """
  rows = [["", *entries, "label error"]]
  for name, k in _scored(entries.values()):
    cells = [_cell(e, name, k) for e in entries.values()]
    label = f"{evaluation.metric(name).label} @{k}"
    rows.append([label, *cells, floor_of(floor, name, k)])
  return f"{title}\n{align(rows)}"


def _scored(entries):
  """Returns every metric and step that any entry has, in order, once."""
  # The steps of a metric together, also where a later entry has more of them.
  steps: dict[str, dict[str, None]] = {}
  for entry in entries:
    for name, score in entry.items():
      steps.setdefault(name, {}).update(dict.fromkeys(score["at"]))
  return [(name, k) for name, ks in steps.items() for k in ks]


def _cell(entry, name, k):
  value = entry.get(name, {}).get("at", {}).get(k)
  return spread(value) if value else "-"


def floor_of(floor: Mapping[str, Any], name: str, k: str) -> str:
  """Returns a metric's floor as text, "-" where it has none."""
  return f"{floor[name]['at'][k]:.3g}" if name in floor else "-"


def clock(timing: Mapping[str, Any]) -> str:
  """Returns a timing in a few lines."""
  text = (
    f"{timing['seconds_per_step'] * 1e3:.3g} ms a step at batch 1, "
    f"{timing['relative_to_leapfrog']:.3g} x leapfrog"
  )
  if timing["indicative"]:
    text += " (indicative)"
  if timing["noisy"]:
    text += " (noisy)"
  rival = timing["equal_error"] or {}
  if rival.get("speed_up"):
    text += (
      f"\n{rival['speed_up']:.3g} x as fast as {rival['integrator']} at equal "
      f"error ({rival['frames_per_step']} frames a step, "
      f"{rival['steps_per_frame']} steps a frame)"
    )
  return "\n".join([text, *(f"TIMING FAULT: {f}" for f in timing["faults"])])


def structures(timing: Mapping[str, Any]) -> str:
  """Returns the time of `structure_timing.measure` in one line."""
  return (
    f"{timing['seconds_per_1000_structures']:.3g} s for 1000 structures, "
    f"{timing['batch']} at a time"
  )


def symmetry(errors: Mapping[str, float]) -> str:
  """Returns the errors of `equivariance.measure` in one line."""
  each = ", ".join(f"{k} {v:.2g}" for k, v in errors.items())
  return f"equivariance error: {each}"


def spread(value: Mapping[str, Any]) -> str:
  """Returns mean and, if there is one, standard deviation."""
  if value["std"] is None:
    return f"{value['mean']:.4g}"
  return f"{value['mean']:.4g} ± {value['std']:.2g}"


def align(rows: list[list[str]]) -> str:
  """Returns rows with columns padded to one width, the first to the left."""
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  lines = []
  for first, *others in rows:
    cells = [first.ljust(widths[0])]
    cells += [c.rjust(w) for c, w in zip(others, widths[1:], strict=True)]
    lines.append("  ".join(cells).rstrip())
  return "\n".join(lines)
