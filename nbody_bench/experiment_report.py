"""The page of an experiment: tables, and what is drawn beside them."""

import pathlib
from collections.abc import Mapping
from typing import Any

from nbody_bench import experiment_curves, experiment_records, plugins
from nbody_bench.experiments import Experiment
from nbody_bench.files import replace_bytes, replace_json

FILE = "RESULTS.md"

_HEAD = """# {title}

{claim}

{budget}; mean and standard deviation over seeds. {printed}Made by

```bash
python -m nbody_bench.experiment {name} --core_minutes={minutes:g} \\
  --seeds={seeds}
```

"""

# Columns that are shown where a run has them.
_LAST = {
  "ms_per_step": "ms a roll-out step",
  "seconds_per_1000_structures": "s for 1000 structures",
  "rotation_instability": "rotation instability",
}


def write(
  plan: Experiment, record: Mapping[str, Any], folder: pathlib.Path
) -> pathlib.Path:
  """Writes `RESULTS.md`, `results.json` and two figures; returns the page.

  Args:
    plan: the experiment.
    record: of `experiment_records.gather`.
    folder: to write to.
  """
  results, others = record["runs"], record["evaluations"]
  text = _head(plan, results) + _table(plan, results)
  for task in plan.evaluations:
    if others[task.name]:
      text += f"\n## {task.label}\n\n"
      text += _second_table(plan, task, others[task.name])
  if plan.findings:
    text += f"\n{plan.findings}\n"
  missing = [run.label for run in plan.runs if run.name not in results]
  if missing:
    text += f"\nNot finished: {'; '.join(missing)}.\n"
  if results:
    text += "\n## Figures\n"
  if any(any(row["learning"]) for row in results.values()):
    experiment_curves.learning(plan, results, folder / "learning.png")
    text += "\n![Learning curves](learning.png)\n"
  if experiment_curves.over_time(results):
    experiment_curves.errors(plan, plan.metrics, results, folder / "errors.png")
    text += "\n![Errors](errors.png)\n"
  for task in plan.evaluations:
    found = others[task.name]
    if experiment_curves.over_time(found):
      path = folder / f"{task.name}.png"
      experiment_curves.errors(plan, task.metrics, found, path)
      text += f"\n![{task.label}]({path.name})\n\n{task.label}.\n"
  for figure in record["figures"]:
    caption = figure["caption"]
    text += f"\n![{caption}]({figure['file']})\n\n{caption}\n"
  replace_json(folder / experiment_records.FILE, record)
  page = folder / FILE
  replace_bytes(page, text.encode())
  return page


def _head(plan, results):
  trained = [r for r in results.values() if r["training"]["steps"]]
  found = sorted({s for r in trained for s in r["seeds"]})
  seeds = ",".join(map(str, found or plan.seeds))
  return _HEAD.format(
    title=plan.title,
    claim=plan.claim,
    budget=_budget(plan, results),
    printed=f"Published values: [the paper]({plan.paper}). "
    if plan.paper
    else "",
    name=plan.name,
    minutes=_minutes(plan, results)[-1],
    seeds=seeds,
  )


def _minutes(plan, results):
  """Returns the budgets of the rows, from the least to the most."""
  found = {r["core_minutes"] for r in results.values()} - {None}
  return sorted(found) or [plan.core_minutes]


def _budget(plan, results):
  if plan.counts_steps:
    return "Every run makes as many steps as it says here"
  rates = ", ".join(f"{x:g}" for x in plan.learning_rates)
  choice = f", learning rate {rates}" if rates else ""
  if len(plan.learning_rates) > 1:
    choice = f", the learning rate the best of {rates} after up to "
    choice += f"{plan.pilot_steps:,} steps"
  own = [
    f"{run.label}: of {', '.join(f'{x:g}' for x in run.learning_rates)}"
    for run in plan.runs
    if run.learning_rates
  ]
  choice += f" ({'; '.join(own)})" if own else ""
  minutes = " or ".join(f"{m:g}" for m in _minutes(plan, results))
  return f"{minutes} core-minutes of training for each run and seed{choice}"


def _table(plan, results):
  labels = [_label(metric) for metric in plan.metrics]
  columns = ["model", "seeds", "steps", "core-minutes", "learning rate"]
  columns += [f"{label}, ours" for label in labels] + ["published"]
  last_columns = [c for c in _LAST if any(r[c] for r in results.values())]
  columns += ["ms a training step", *(_LAST[c] for c in last_columns)]
  rows = [columns, ["---"] * len(columns)]
  for run in plan.runs:
    if run.name not in results:
      continue
    result = results[run.name]
    *training, milliseconds = _training(result)
    row = [run.label, str(len(result["seeds"])), *training]
    for metric in plan.metrics:
      row.append(_score(result, metric, run.rollout_steps))
    row.append("; ".join(f"{k} {v}" for k, v in run.published.items()) or "-")
    row.append(milliseconds)
    rows.append([*row, *(_number(result[c]) for c in last_columns)])
  rows += _of_labels(plan.metrics, results, before=5, columns=len(columns))
  return "".join("| " + " | ".join(row) + " |\n" for row in rows)


def _training(result):
  """Returns cells: steps, minutes, learning rate, milliseconds a step."""
  training, seconds = result["training"], result["train_seconds_per_step"]
  if not training["steps"]:
    return ["-"] * 4
  return [
    f"{training['steps']:,}",
    f"{training['steps'] * seconds / 60:.3g}",
    f"{training['recipe']['learning_rate']:g}",
    f"{1e3 * seconds:.3g}",
  ]


def _second_table(plan, task, results):
  labels = [_label(metric) for metric in task.metrics]
  more = [c for c in _LAST if any(r[c] for r in results.values())]
  rows = [["model", "seeds", *labels, *(_LAST[c] for c in more)]]
  rows.append(["---"] * len(rows[0]))
  for run in plan.runs:
    if run.name in results:
      result = results[run.name]
      row = [run.label, str(len(result["seeds"]))]
      row += [_score(result, m, task.rollout_steps) for m in task.metrics]
      rows.append([*row, *(_number(result[c]) for c in more)])
  rows += _of_labels(task.metrics, results, before=2, columns=len(rows[0]))
  return "".join("| " + " | ".join(row) + " |\n" for row in rows)


def _of_labels(metrics, results, before, columns):
  """Returns a row a data set: what the error of its labels alone gives."""
  floors = {r["settings"]["dataset"]: r["floor"] for r in results.values()}
  rows = []
  for dataset, floor in floors.items():
    if not floor:
      continue
    cells = [
      ", ".join(f"{v:.3g} (@{step})" for step, v in floor.get(m, {}).items())
      for m in metrics
    ]
    row = [f"*the labels of {dataset}*", *["-"] * (before - 1)]
    row += [cell or "-" for cell in cells]
    rows.append(row + ["-"] * (columns - len(row)))
  return rows


def _number(value):
  return "-" if value is None else f"{value:.3g}"


def _score(result, metric, steps):
  """Returns the score after each number of steps."""
  texts = []
  scores = experiment_records.over_seeds(result)[metric]
  for step in sorted(steps):
    claim = scores["at"][str(step)]
    spread = (
      f" ± {_one_digit(claim['std'])}" if claim["std"] is not None else ""
    )
    texts.append(f"{claim['mean']:.3g}{spread} (@{step})")
  return ", ".join(texts)


def _one_digit(value):
  """Returns ten as 10, where `.1g` has 1e+01."""
  return f"{float(f'{value:.1g}'):g}"


def _label(metric):
  return plugins.load("metrics", metric).METRIC.label
