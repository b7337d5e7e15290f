"""What is wrong with a `submission.json`, by its schema and beyond."""

import dataclasses
import datetime
import json
import math
import statistics
from importlib import resources
from typing import Any

import jsonschema

from nbody_bench.cards import ModelCard
from nbody_bench.metrics import METRIC_VERSION


def faults(content: Any) -> list[str]:
  """Returns every fault of a file's content, with its dotted path, sorted."""
  return sorted(_faults(_schema(), content) or _beyond_schema(content))


def faults_of_names(model_key: str, version: str, card: ModelCard) -> list[str]:
  """Returns those of what a model says of itself, before it is trained."""
  schema = _schema()
  parts = {
    "model_key": model_key,
    "version": version,
    "card": json.loads(json.dumps(dataclasses.asdict(card))),
  }
  names = {k: schema["properties"][k] for k in parts}
  return sorted(_faults({"properties": names, "$defs": schema["$defs"]}, parts))


def _schema():
  text = (resources.files("nbody_bench") / "submission_schema.json").read_text()
  return json.loads(text)


def _faults(schema, content):
  return [
    f"{'.'.join(map(str, e.absolute_path)) or 'top level'}: {e.message[:300]}"
    for e in jsonschema.Draft202012Validator(schema).iter_errors(content)
  ]


def _beyond_schema(content):
  """Returns the faults that a schema cannot express."""
  found = []
  for name in ("seed", "file", "sha256"):
    values = [p[name] for p in content["predictions"]]
    twice = sorted({str(v) for v in values if values.count(v) > 1})
    if twice:
      found.append(
        f"predictions: {name} {', '.join(twice)} is there twice; each seed "
        "is a training run of its own (what is not trained has one)"
      )
  try:
    if datetime.date.fromisoformat(content["date"]).year > 2100:
      raise ValueError
  except ValueError:
    found.append(f"date: {content['date']} is no date")
  if content["metric_version"] != METRIC_VERSION:
    found.append(
      f"metric_version: {content['metric_version']}, but scores are of version "
      f"{METRIC_VERSION} here; claim them anew with this version"
    )
  return found + _of_timing(content.get("timing"), content["task"])


def _of_timing(timing, task):
  """Returns the faults of times that do not follow from their own samples."""
  if timing is None:
    return []
  found = []
  num_steps = timing["num_steps"]
  if not task.endswith(str(num_steps)):
    found.append(f"timing.num_steps: is {num_steps}, and the task is {task}")
  seconds = statistics.median(timing["samples_seconds"])
  leapfrog = statistics.median(timing["leapfrog_samples_seconds"])
  told = {
    "rollout_seconds": timing["rollout_seconds"],
    "seconds_per_step": timing["seconds_per_step"] * num_steps,
    "relative_to_leapfrog": timing["relative_to_leapfrog"] * leapfrog,
  }
  equal = timing.get("equal_error") or {}
  if speed_up := equal.get("speed_up"):
    told["equal_error.speed_up"] = equal.get("seconds", 0) / speed_up
  return found + [
    f"timing.{name}: is not what the samples give, whose median is "
    f"{seconds:.3g} s"
    for name, value in told.items()
    if not math.isclose(value, seconds, rel_tol=1e-6)
  ]
