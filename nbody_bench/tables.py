"""Tables of scores as plain text."""

from collections.abc import Mapping
from typing import Any

from nbody_bench import evaluation
from nbody_bench.tasks import Task


def scores(
  task: Task, entries: Mapping[str, Any], floor: Mapping[str, Any]
) -> str:
  """Returns a table with one row for each metric and step.

  Args:
    task: names metrics and steps.
    entries: `evaluation.over_seeds` of each model, by name.
    floor: of `evaluation.floor`.
  """
  rows = [["", *entries, "label error"]]
  for name in task.metrics:
    metric = evaluation.metric(name)
    for k in map(str, task.report_steps):
      cells = [spread(e[name]["at"][k]) for e in entries.values()]
      rows.append(
        [f"{metric.label} @{k}", *cells, f"{floor[name]['at'][k]:.3g}"]
      )
  return f"{task.id}\n{align(rows)}"


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
    cells += [
      c.rjust(w) for c, w in zip(others, widths[1:], strict=True)
    ]
    lines.append("  ".join(cells).rstrip())
  return "\n".join(lines)
