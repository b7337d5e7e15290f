"""The page of an experiment: tables, and what is drawn beside them."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

from nbody_bench import evaluation, experiment_curves, plugins
from nbody_bench.experiment_figures import Drawn
from nbody_bench.experiments import Experiment, is_score
from nbody_bench.files import replace_bytes, replace_json

_HEAD = """# {title}

{claim}

{budget}; mean and standard deviation over seeds {seeds}. {printed}Made by

```bash
python -m nbody_bench.experiment {name} --core_minutes={minutes:g} \\
  --seeds={seed_flag}
```

"""

# Columns that are shown where a run has them.
_LAST = {
  "ms_per_step": "ms a roll-out step",
  "seconds_per_1000_structures": "s for 1000 structures",
  "rotation_instability": "rotation instability",
}


def write(
  plan: Experiment,
  output: pathlib.Path,
  folder: pathlib.Path,
  drawn: Sequence[Drawn] = (),
) -> pathlib.Path:
  """Writes `RESULTS.md`, `results.json` and two figures; returns the page.

  Args:
    plan: the experiment.
    output: of its runs; those that are not finished are left out.
    folder: to write to.
    drawn: the other figures.
  """
  results = {
    run.name: result
    for run in plan.runs
    if (result := _read(run.folder(output), plan.metrics)) is not None
  }
  others = {
    e.name: {
      run.name: result
      for run in plan.runs
      if (
        result := _read(run.folder(output) / f"evaluation_{e.name}", e.metrics)
      )
    }
    for e in plan.evaluations
  }
  head = _HEAD.format(
    title=plan.title,
    claim=plan.claim,
    budget=_budget(plan),
    seeds=", ".join(map(str, plan.seeds)),
    printed=f"Published values: [the paper]({plan.paper}). "
    if plan.paper
    else "",
    name=plan.name,
    minutes=plan.core_minutes,
    seed_flag=",".join(map(str, plan.seeds)),
  )
  text = head + _table(plan, results)
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
    experiment_curves.learning(plan, results, folder / "learning.png")
    experiment_curves.errors(plan, plan.metrics, results, folder / "errors.png")
    text += "\n## Figures\n\n![Learning curves](learning.png)\n\n"
    text += "![Errors](errors.png)\n"
  for task in plan.evaluations:
    if found := others[task.name]:
      path = folder / f"{task.name}.png"
      experiment_curves.errors(plan, task.metrics, found, path)
      text += f"\n![{task.label}]({path.name})\n\n{task.label}.\n"
  for figure in drawn:
    text += f"\n![{figure.caption}]({figure.file})\n\n{figure.caption}\n"
  numbers = {pathlib.Path(d.file).stem: d.numbers for d in drawn if d.numbers}
  replace_json(
    folder / "results.json",
    {"runs": results, "evaluations": others, "figures": numbers},
  )
  page = folder / "RESULTS.md"
  replace_bytes(page, text.encode())
  return page


def _budget(plan):
  if all(run.train_steps for run in plan.runs):
    return "Every run is trained for the published number of steps"
  rates = ", ".join(f"{x:g}" for x in plan.learning_rates)
  choice = (
    f", the learning rate the best of {rates} after {plan.pilot_steps:,} steps"
    if rates
    else ""
  )
  return (
    f"{plan.core_minutes:g} core-minutes of training for each run and "
    f"seed{choice}"
  )


def _rounded(x):
  return float(f"{x:.4g}")


def _read(folder, metrics) -> dict[str, Any] | None:
  """Returns numbers and curves of a finished run, None if it has not."""
  path = folder / "submission" / "submission.json"
  if not path.is_file():
    return None
  submission = json.loads(path.read_text())
  seeds = [p["seed"] for p in submission["predictions"]]
  timing = submission.get("timing") or {}
  learning, scores = [], []
  for seed in seeds:
    log = folder / f"seed_{seed}" / "metrics.jsonl"
    lines = log.read_text().splitlines() if log.is_file() else []
    entries = [json.loads(line) for line in lines]
    found = [
      (e["step"], v) for e in entries for k, v in e.items() if is_score(k)
    ]
    learning.append(found)
    path = folder / f"seed_{seed}" / "scores.json"
    scores.append(json.loads(path.read_text()))
  training = submission["training"]
  return {
    "training": training,
    "train_seconds_per_step": training.get("seconds_per_step")
    # Of a run whose first seed was there before.
    or training["seconds"] / max(1, training["steps"]),
    "seeds": seeds,
    "ms_per_step": 1e3 * timing["seconds_per_step"] if timing else None,
    **_of_structures(submission),
    "learning": learning,
    "scores": {
      k: {"at": v["at"]}
      for k, v in evaluation.over_seeds(scores).items()
      if k in metrics
    },
    "curves": [
      {k: [_rounded(x) for x in s["metrics"][k]["curve"]] for k in metrics}
      for s in scores
    ],
  }


def _of_structures(submission):
  """Returns what only models of forces have, None for others."""
  timing = submission.get("structure_timing") or {}
  symmetry = submission.get("equivariance") or {}
  return {
    "seconds_per_1000_structures": timing.get("seconds_per_1000_structures"),
    "rotation_instability": symmetry.get("rotation_instability"),
  }


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
    training = result["training"]
    minutes = training["steps"] * result["train_seconds_per_step"] / 60
    row = [run.label, str(len(result["seeds"])), f"{training['steps']:,}"]
    row.append(f"{minutes:.3g}")
    row.append(f"{training['recipe']['learning_rate']:g}")
    for metric in plan.metrics:
      row.append(_score(result, metric, run.rollout_steps))
    row.append("; ".join(f"{k} {v}" for k, v in run.published.items()) or "-")
    row.append(f"{1e3 * result['train_seconds_per_step']:.3g}")
    rows.append([*row, *(_number(result[c]) for c in last_columns)])
  return "".join("| " + " | ".join(row) + " |\n" for row in rows)


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
  return "".join("| " + " | ".join(row) + " |\n" for row in rows)


def _number(value):
  return "-" if value is None else f"{value:.3g}"


def _score(result, metric, steps):
  """Returns the score after each number of steps."""
  texts = []
  for step in sorted(steps):
    claim = result["scores"][metric]["at"][str(step)]
    spread = f" ± {claim['std']:.1g}" if claim["std"] is not None else ""
    texts.append(f"{claim['mean']:.3g}{spread} (@{step})")
  return ", ".join(texts)


def _label(metric):
  return plugins.load("metrics", metric).METRIC.label
