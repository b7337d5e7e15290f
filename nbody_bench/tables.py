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
    entries: `evaluation.over_seeds` of each model, by name.
    floor: of `evaluation.floor`.
  """
  rows = [["", *entries, "label error"]]
  for name, value in floor.items():
    for k, number in value["at"].items():
      cells = [spread(e[name]["at"][k]) for e in entries.values()]
      label = evaluation.metric(name).label
      rows.append([f"{label} @{k}", *cells, f"{number:.3g}"])
  return f"{title}\n{align(rows)}"


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
