"""Learning curves of an experiment, and errors against time."""

import numpy as np

from nbody_bench import plugins


def learning(plan, results, path):
  """Draws validation errors against minutes of training."""
  from matplotlib.figure import Figure

  shown = [run for run in plan.runs if run.name in results]
  colours = {run.name: f"C{i % 10}" for i, run in enumerate(plan.runs)}
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
        marker="." if len(steps) < 20 else None,
        color=colours[run.name],
        label=run.label if not i else None,
      )
  axes.set_xlabel("core-minutes of training")
  axes.set_ylabel("error in validation")
  _finish(axes)
  figure.savefig(path, dpi=90)


def over_time(results):
  """Returns whether any run has errors of more steps than one."""
  return any(
    len(curve) > 1
    for result in results.values()
    for curves in result["curves"]
    for curve in curves.values()
  )


def errors(plan, metrics, results, path):
  """Draws errors against time, one panel a metric."""
  from matplotlib.figure import Figure

  columns = min(4, len(metrics))
  rows = -(-len(metrics) // columns)
  figure = Figure(figsize=(4.2 * columns, 3.4 * rows), layout="constrained")
  panels = figure.subplots(rows, columns, squeeze=False).ravel()
  for unused in panels[len(metrics) :]:
    unused.axis("off")
  colours = {run.name: f"C{i % 10}" for i, run in enumerate(plan.runs)}
  shown = [run for run in plan.runs if run.name in results]
  for axes, metric in zip(panels, metrics, strict=False):
    for run in shown:
      curves = np.array([c[metric] for c in results[run.name]["curves"]])
      steps = np.arange(1, curves.shape[1] + 1)
      colour = colours[run.name]
      # A line through one point is invisible.
      marker = "o" if len(steps) == 1 else None
      axes.semilogy(
        steps, curves.mean(0), marker=marker, c=colour, label=run.label
      )
      low, high = curves.min(0), curves.max(0)
      axes.fill_between(steps, low, high, color=colour, alpha=0.2, lw=0)
    axes.set_xlabel("step")
    axes.set_title(plugins.load("metrics", metric).METRIC.label)
    _finish(axes)
  figure.savefig(path, dpi=90)


def _finish(axes):
  axes.grid(alpha=0.3, which="both")
  axes.legend(fontsize=7)
