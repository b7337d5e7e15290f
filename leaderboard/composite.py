"""One number from all metrics of a task, for a quick look.

Subscores are 1 at a metric's best value, 0 at its worst and logarithmic in
between. Both are constants of a release (`scales.json`), in the units of the
metric: taken from the entries, they would let one entry move all others. The
page computes the same and lets the weights be changed.
"""

import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

SCALES: Mapping[str, Mapping[str, float]] = json.loads(
  (pathlib.Path(__file__).parent / "scales.json").read_text()
)


def subscore(name: str, value: float) -> float:
  """Returns 0 to 1 for a metric's value.

  Raises:
    KeyError: if the metric has no scale.
  """
  best, worst = SCALES[name]["best"], SCALES[name]["worst"]
  if value <= 0:
    return float(best < worst)
  share = math.log(worst / value) / math.log(worst / best)
  return min(1.0, max(0.0, share))


def composite(scores: Mapping[str, Any]) -> float | None:
  """Returns the weighted mean of the subscores at the last step.

  Over the metrics that are there: an entry from before one was added must not
  fall because of those that have it. Tables say what it is without.

  Args:
    scores: `{metric: {"at": {k: {"mean"}}}}`, k in order.

  Returns:
    0 to 1, or None if none of the metrics has a scale.
  """
  names = [name for name in scores if name in SCALES]
  total = sum(SCALES[name]["weight"] for name in names)
  if not total:
    return None
  return sum(
    SCALES[name]["weight"] * subscore(name, _last(scores[name])) / total
    for name in names
  )


def _last(score):
  return list(score["at"].values())[-1]["mean"]
