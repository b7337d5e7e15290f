"""Assembles the page, one file that works from a folder, and its data files.

Everything is inlined: the page fetches nothing and its policy forbids it to.
Scripts and styles are allowed by their hashes, so no text of an entry can ever
run, whatever becomes of it.
"""

import base64
import csv
import hashlib
import io
import json
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from nbody_bench.files import replace_bytes, replace_json

_FOLDER = pathlib.Path(__file__).parent / "page"
# In this order: each uses what those before it define.
_SCRIPTS = (
  "vendor/uPlot.iife.min.js",
  "tools.js",
  "data.js",
  "state.js",
  "composite.js",
  "verdicts.js",
  "columns.js",
  "filters.js",
  "table.js",
  "charts.js",
  "curves.js",
  "front.js",
  "scaling.js",
  "motion.js",
  "player.js",
  "reproduce.js",
  "model.js",
  "export.js",
  "app.js",
)
_STYLES = ("vendor/uPlot.min.css", "style.css")
# Looked at for few entries at a time; kept apart and parsed when needed, so
# that a board of hundreds of entries opens at once.
_DETAILS = ("curves", "bands", "survival", "preview")
# The same for many entries of a task: kept once.
_SHARED = ("times", "truth", "leapfrog")
_CURVE_DIGITS = 4
_CSV_FIELDS = (
  *("task", "key", "version", "division", "tier", "metric", "step"),
  *("mean", "std", "low", "high", "rank_first", "rank_last", "unranked"),
)


def write(data: Mapping[str, Any], out: pathlib.Path) -> pathlib.Path:
  """Writes `index.html` and `api/v1/`.

  Args:
    data: as `build.page_data` gives it: plain, without NaN.
    out: folder, created if missing.

  Returns:
    The page's path.

  Raises:
    ValueError: if a number of `data` is not finite.
  """
  path = out / "index.html"
  replace_bytes(path, page(data).encode())
  _write_api(data, out / "api" / "v1")
  return path


def page(data: Mapping[str, Any]) -> str:
  """Returns the page's text.

  Raises:
    ValueError: if a number of `data` is not finite.
  """
  styles = [_read(name) for name in _STYLES]
  scripts = [_read(name) for name in _SCRIPTS]
  policy = (
    "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
    f"script-src {_hashes(scripts)}; style-src {_hashes(styles)}"
  )
  board, blocks = _apart(data)
  parts = {
    "POLICY": policy,
    "STYLES": "\n".join(f"<style>{s}</style>" for s in styles),
    "SCRIPTS": "\n".join(f"<script>{s}</script>" for s in scripts),
    "DATA": "\n".join(
      f'<script type="application/json" id="{name}">{_json(value)}</script>'
      for name, value in {"board-data": board, **blocks}.items()
    ),
  }
  # In one pass: nothing is looked for in what was put in.
  return re.sub(
    r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _read("index.html")
  )


def _read(name):
  return (_FOLDER / name).read_text(encoding="utf-8")


def _hashes(texts):
  digests = (hashlib.sha256(t.encode()).digest() for t in texts)
  return " ".join(f"'sha256-{base64.b64encode(d).decode()}'" for d in digests)


def _json(value):
  text = json.dumps(value, allow_nan=False, separators=(",", ":"))
  # Inside a script element only `<` can end it; as an escape it cannot.
  return text.replace("<", "\\u003c")


def _apart(data):
  """Returns the data without details, and {id: block} of the details."""
  blocks: dict[str, Any] = {}
  known: dict[str, str] = {}

  def once(value):
    text = json.dumps(value, allow_nan=False)
    if text not in known:
      known[text] = f"shared-{len(known)}"
      blocks[known[text]] = value
    return known[text]

  def rollout(value):
    return {
      k: once(v)
      if k in _SHARED and isinstance(v, list)
      else rollouts(v)
      if k == "worst"
      else v
      for k, v in value.items()
    }

  def rollouts(value):
    if isinstance(value, list):
      return [rollouts(v) for v in value]
    return rollout(value) if isinstance(value, Mapping) else value

  def entry(value):
    name = f"detail-{len(blocks)}"
    detail = {k: _rounded(value.get(k)) for k in _DETAILS if k != "preview"}
    blocks[name] = detail
    detail["preview"] = rollouts(value.get("preview"))
    rest = {k: v for k, v in value.items() if k not in _DETAILS}
    return {
      **rest,
      "detail": name,
      "has_preview": bool(detail["preview"]),
    }

  tasks = [
    {**task, "entries": [entry(e) for e in task["entries"]]}
    for task in data["tasks"]
  ]
  return {**data, "tasks": tasks}, blocks


def _rounded(value):
  """Returns nested numbers with as many digits as a chart can show."""
  if isinstance(value, Mapping):
    return {k: _rounded(v) for k, v in value.items()}
  if isinstance(value, list):
    return [_rounded(v) for v in value]
  if isinstance(value, float):
    return float(f"{value:.{_CURVE_DIGITS}g}")
  return value


def _write_api(data, folder):
  """Writes `board.json`, and of each task all but the roll-outs, and a CSV."""
  listed = []
  for task in data["tasks"]:
    name = re.sub(r"[^\w.-]+", "-", task["id"]).lstrip(".")
    entries = [
      {k: v for k, v in e.items() if k != "preview"} for e in task["entries"]
    ]
    replace_json(folder / f"{name}.json", {**task, "entries": entries})
    replace_bytes(folder / f"{name}.csv", _csv(task).encode())
    facts = {k: v for k, v in task.items() if k not in ("entries", "metrics")}
    facts["metrics"] = [m["name"] for m in task["metrics"]]
    files = {"json": f"{name}.json", "csv": f"{name}.csv"}
    listed.append({**facts, "num_entries": len(entries), "files": files})
  replace_json(folder / "board.json", {**data, "tasks": listed})


def _csv(task):
  file = io.StringIO()
  writer = csv.DictWriter(file, _CSV_FIELDS, quoting=csv.QUOTE_ALL)
  writer.writeheader()
  for row in _rows(task):
    writer.writerow({k: _cell(v) for k, v in row.items()})
  return file.getvalue()


def _rows(task) -> Iterator[dict[str, Any]]:
  for entry in task["entries"]:
    same = {k: entry.get(k) for k in ("key", "version", "division", "tier")}
    same |= {"task": task["id"], "unranked": entry.get("unranked")}
    for metric, steps in (entry.get("scores") or {}).items():
      for step, score in steps.items():
        ranks = (entry.get("ranks") or {}).get(metric) or {}
        first, last = ranks.get(step) or (None, None)
        numbers = {
          k: (score or {}).get(k) for k in ("mean", "std", "low", "high")
        }
        at = {"metric": metric, "step": step}
        yield {
          **(same | at | numbers),
          **{"rank_first": first, "rank_last": last},
        }


def _cell(value):
  # A leading sign of operation would make a spreadsheet run the text.
  if isinstance(value, str) and re.match(r"[=+\-@\t\r]", value):
    return f"'{value}"
  return value
