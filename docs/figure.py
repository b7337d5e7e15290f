"""Draws the figure of the README: `python docs/figure.py BOARD`."""

import json
import pathlib
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

_TASK = "nbody_gravity-n20-rollout200"
_NAMES = {
  "ballistic": ("Ballistic", "#d55e00"),
  "delta_gn": ("DeltaGN", "#0072b2"),
  "leapfrog": ("Leapfrog, one step a frame", "#009e73"),
}


def main(board: pathlib.Path) -> None:
  """Writes `figure.png` beside this file."""
  figure, (left, right) = plt.subplots(
    1, 2, figsize=(9, 4), width_ratios=(1, 1.25), layout="constrained"
  )
  _roll_out(left, np.load(board / "delta_gn/1" / _TASK / "preview.npz"))
  for name, (label, colour) in _NAMES.items():
    path = board / name / "1" / _TASK / "scores.json"
    scores = json.loads(path.read_text())
    curve = scores["scores"]["rollout_rmse"]["curve"]
    time = scores["task"]["times"]
    right.semilogy(time, curve, color=colour, label=label)
  floor = scores["floor"]["rollout_rmse"]["curve"]
  right.semilogy(time, floor, "--", color="0.5", label="label error")
  right.set(xlabel="time", ylabel="RMSE of the state at that time")
  figure.legend(loc="outside upper right", ncols=4, frameon=False)
  figure.savefig(pathlib.Path(__file__).parent / "figure.png", dpi=130)


def _roll_out(axes, preview):
  truth, prediction = preview["truth"], preview["prediction"]
  side = preview["box"][0]
  for paths, style in ((truth, "0.7"), (prediction, "#0072b2")):
    for path in np.moveaxis(paths, 1, 0):
      jumps = np.abs(np.diff(path, axis=0)).max(1) > side / 2
      broken = np.insert(path, np.flatnonzero(jumps) + 1, np.nan, axis=0)
      axes.plot(*broken.T, color=style, linewidth=1 if style == "0.7" else 0.6)
  axes.scatter(*truth[-1].T, s=45, facecolor="none", edgecolor="0.3")
  axes.scatter(*prediction[-1].T, s=10, color="#0072b2")
  axes.set(
    xlim=(-side / 2, side / 2),
    ylim=(-side / 2, side / 2),
    aspect="equal",
    xlabel="x",
    ylabel="y",
    title=f"t = {preview['time'][-1]:g}",
  )


if __name__ == "__main__":
  main(pathlib.Path(sys.argv[1]))
