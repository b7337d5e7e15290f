"""The page over all experiments: what papers claim, and what came out here."""

import pathlib

from nbody_bench import experiment_records, experiment_report, experiments
from nbody_bench.files import replace_bytes

FILE = "README.md"

_HEAD = """# Experiments

What papers claim, what came out here, and how far each experiment has got:
models of those it names, seeds, and core-minutes of training. The pages have
tables, published values beside ours, curves, and the command that goes on. This
page is written by `python -m nbody_bench.experiment`.

| experiment | models | seeds | core-minutes |
| --- | --- | --- | --- |
"""


def write(folder: pathlib.Path) -> pathlib.Path:
  """Writes the page and returns its path.

  Args:
    folder: of the experiments.
  """
  path = folder / FILE
  replace_bytes(path, text(folder).encode())
  return path


def text(folder: pathlib.Path) -> str:
  """Returns the page; see `write`."""
  plans = [experiments.read(folder, name) for name in experiments.names(folder)]
  rows, sections = "", ""
  for plan in sorted(plans, key=lambda p: (not p.paper, p.paper, p.name)):
    # Nothing new is looked for: there are no runs beside the record.
    own = folder / plan.name
    found = experiment_records.gather(plan, own, own)["runs"]
    # Rows of another experiment may be there before this one has a page.
    has_page = (own / experiment_report.FILE).is_file()
    page = experiment_report.FILE if has_page else experiments.FILE
    link = f"[{plan.title}]({plan.name}/{page})"
    rows += f"| {link} | {_progress(plan, found)} |\n"
    if has_page:
      paper = f" ([Paper]({plan.paper}).)" if plan.paper else ""
      sections += f"\n## {plan.title}\n\n{plan.claim}{paper}\n\n"
      sections += f"{plan.findings or '**Seen.** No more than the table.'}\n"
  return _HEAD + rows + sections


def _progress(plan, found):
  """Returns three cells: models, seeds and core-minutes."""
  rows = list(found.values())
  # What is not trained has one seed.
  seeds = [len(row["seeds"]) for row in rows if row["training"]["steps"]]
  if plan.counts_steps:
    minutes = "a number of steps"
  else:
    told = [row["core_minutes"] for row in rows]
    minutes = _range([each for each in told if each is not None])
    minutes += f" of {plan.core_minutes:g}"
  return (
    f"{len(rows)} of {len(plan.runs)} | {_range(seeds)} of {len(plan.seeds)} | "
    f"{minutes}"
  )


def _range(values):
  ends = sorted({min(values, default=0), max(values, default=0)})
  return " to ".join(f"{value:g}" for value in ends)
