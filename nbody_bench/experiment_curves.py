"""Learning curves of an experiment, and errors against time."""

import numpy as np

from nbody_bench import plugins


def learning(plan, results, path):
  """Draws validation errors against minutes of training."""
  from matplotlib.figure import Figure

  shown = [run for run in plan.runs if run.name in results]
  styles = _styles(plan)
  figure = Figure(figsize=(8, 3.4), layout="constrained")
  axes = figure.subplots()
  for run in shown:
    result = results[run.name]
    minutes = result["train_seconds_per_step"] / 60
    # One too short to be validated has none, nor has what is not trained.
    for i, curve in enumerate(filter(None, result["learning"])):
      steps, values = zip(*curve, strict=True)
      axes.semilogy(
        minutes * np.array(steps),
        values,
        marker="." if len(steps) < 20 else None,
        label=run.label if not i else None,
        **styles[run.name],
      )
  axes.set_xlabel("core-minutes of training")
  axes.set_ylabel("error in validation")
  _finish(figure, [axes])
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
  """Draws errors against time, one panel a metric, or for those that agree."""
  from matplotlib.figure import Figure

  shown = [run for run in plan.runs if run.name in results]
  together = _together(metrics, [results[run.name] for run in shown])
  columns = min(4, len(together))
  rows = -(-len(together) // columns)
  size = (4.2 * columns + 2, 3.4 * rows)
  figure = Figure(figsize=size, layout="constrained")
  panels = figure.subplots(rows, columns, squeeze=False).ravel()
  for unused in panels[len(together) :]:
    unused.axis("off")
  styles = _styles(plan)
  for axes, same in zip(panels, together, strict=False):
    for run in shown:
      curves = np.array([c[same[0]] for c in results[run.name]["curves"]])
      steps = np.arange(1, curves.shape[1] + 1)
      style = styles[run.name]
      # A line through one point is invisible.
      marker = "o" if len(steps) == 1 else None
      axes.semilogy(
        steps, curves.mean(0), marker=marker, label=run.label, **style
      )
      low, high = curves.min(0), curves.max(0)
      axes.fill_between(steps, low, high, color=style["c"], alpha=0.2, lw=0)
    axes.set_xlabel("step")
    labels = [plugins.load("metrics", name).METRIC.label for name in same]
    axes.set_title(", ".join(labels))
  _finish(figure, panels[: len(together)])
  figure.savefig(path, dpi=90)


def _together(metrics, results):
  """Returns lists of metrics whose curves are the same, in all results.

  The last frame's error and the mean over frames are one number at each frame.
  """
  lists: list[tuple[list, list[str]]] = []
  for metric in metrics:
    curves = [[c[metric] for c in each["curves"]] for each in results]
    for known, same in lists:
      if known == curves:
        same.append(metric)
        break
    else:
      lists.append((curves, [metric]))
  return [same for _, same in lists]


def _styles(plan):
  """Returns how each run is drawn: ten colours, then dashed ones."""
  return {
    run.name: {"c": f"C{i % 10}", "ls": ("-", "--", ":")[i // 10 % 3]}
    for i, run in enumerate(plan.runs)
  }


def _finish(figure, panels):
  for axes in panels:
    axes.grid(alpha=0.3, which="both")
  handles, labels = panels[0].get_legend_handles_labels()
  # Beside the panels, where it hides nothing.
  figure.legend(handles, labels, loc="outside right upper", fontsize=7)
