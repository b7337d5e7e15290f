"""The page of an experiment: table, learning curves, errors against time."""

import json
import pathlib
from typing import Any

import numpy as np

from nbody_bench import evaluation, plugins
from nbody_bench.experiments import Experiment
from nbody_bench.files import replace_bytes, replace_json

_HEAD = """# {title}

{claim}

{budget}; mean and standard deviation over seeds {seeds}. {printed}Made by

```bash
python -m nbody_bench.experiment {name}
```

"""


def write(
  plan: Experiment, output: pathlib.Path, folder: pathlib.Path
) -> pathlib.Path:
  """Writes `RESULTS.md`, `results.json` and the figures; returns the page.

  Args:
    plan: the experiment.
    output: of its runs; those that are not finished are left out.
    folder: to write to.
  """
  results = {
    run.name: result
    for run in plan.runs
    if (result := _read(output / run.name)) is not None
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
  )
  text = head + _table(plan, results)
  missing = [run.label for run in plan.runs if run.name not in results]
  if missing:
    text += f"\nNot finished: {'; '.join(missing)}.\n"
  if results:
    _figures(plan, results, folder)
    text += "\n![Learning curves](learning.png)\n\n![Errors](errors.png)\n"
  replace_json(folder / "results.json", results)
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


def _read(folder) -> dict[str, Any] | None:
  """Returns numbers and curves of a finished run."""
  path = folder / "submission" / "submission.json"
  if not path.is_file():
    return None
  submission = json.loads(path.read_text())
  seeds = [p["seed"] for p in submission["predictions"]]
  timing = submission.get("timing") or {}
  learning, scores = [], []
  for seed in seeds:
    lines = (folder / f"seed_{seed}" / "metrics.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    found = [
      (e["step"], v)
      for e in entries
      for k, v in e.items()
      if k.startswith("rollout_rmse")
    ]
    learning.append(found)
    path = folder / f"seed_{seed}" / "scores.json"
    scores.append(json.loads(path.read_text()))
  training = submission["training"]
  return {
    "training": training,
    "train_seconds_per_step": training.get("seconds_per_step")
    # Of a run whose first seed was there before.
    or training["seconds"] / training["steps"],
    "seeds": seeds,
    "ms_per_step": 1e3 * timing["seconds_per_step"] if timing else None,
    "learning": learning,
    "scores": evaluation.over_seeds(scores),
    "curves": [
      {k: v["curve"] for k, v in s["metrics"].items()} for s in scores
    ],
  }


def _table(plan, results):
  labels = [plugins.load("metrics", m).METRIC.label for m in plan.metrics]
  columns = ["model", "seeds", "steps", "core-minutes", "learning rate"]
  columns += [f"{label}, ours" for label in labels] + ["published"]
  columns += ["ms a training step", "ms a roll-out step"]
  rows = [columns, ["---"] * len(columns)]
  for run in plan.runs:
    if run.name not in results:
      continue
    result = results[run.name]
    training, last = result["training"], str(max(run.rollout_steps))
    minutes = training["steps"] * result["train_seconds_per_step"] / 60
    row = [run.label, str(len(result["seeds"])), f"{training['steps']:,}"]
    row.append(f"{minutes:.3g}")
    row.append(f"{training['recipe']['learning_rate']:g}")
    for metric in plan.metrics:
      claim = result["scores"][metric]["at"][last]
      spread = f" ± {claim['std']:.1g}" if claim["std"] is not None else ""
      row.append(f"{claim['mean']:.3g}{spread} (@{last})")
    row.append("; ".join(f"{k} {v}" for k, v in run.published.items()) or "-")
    row.append(f"{1e3 * result['train_seconds_per_step']:.3g}")
    row.append(f"{result['ms_per_step']:.3g}" if result["ms_per_step"] else "-")
    rows.append(row)
  return "".join("| " + " | ".join(row) + " |\n" for row in rows)


def _figures(plan, results, folder):
  from matplotlib.figure import Figure

  shown = [run for run in plan.runs if run.name in results]
  colours = {run.name: f"C{i % 10}" for i, run in enumerate(shown)}
  figure = Figure(figsize=(6, 3.4), layout="constrained")
  axes = figure.subplots()
  for run in shown:
    result = results[run.name]
    minutes = result["train_seconds_per_step"] / 60
    for i, curve in enumerate(result["learning"]):
      steps, values = zip(*curve, strict=True)
      axes.semilogy(
        minutes * np.array(steps),
        values,
        color=colours[run.name],
        label=run.label if not i else None,
      )
  axes.set_xlabel("core-minutes of training")
  axes.set_ylabel("validation roll-out RMSE")
  _finish(axes)
  figure.savefig(folder / "learning.png", dpi=90)

  figure = Figure(figsize=(4.2 * len(plan.metrics), 3.4), layout="constrained")
  for axes, metric in zip(
    np.atleast_1d(figure.subplots(1, len(plan.metrics))),
    plan.metrics,
    strict=True,
  ):
    for run in shown:
      curves = np.array([c[metric] for c in results[run.name]["curves"]])
      steps = np.arange(1, curves.shape[1] + 1)
      colour = colours[run.name]
      axes.semilogy(steps, curves.mean(0), color=colour, label=run.label)
      low, high = curves.min(0), curves.max(0)
      axes.fill_between(steps, low, high, color=colour, alpha=0.2, lw=0)
    axes.set_xlabel("step")
    axes.set_title(plugins.load("metrics", metric).METRIC.label)
    _finish(axes)
  figure.savefig(folder / "errors.png", dpi=90)


def _finish(axes):
  axes.grid(alpha=0.3, which="both")
  axes.legend(fontsize=7)
