"""What an experiment takes: told before it starts, and while it runs."""

from collections.abc import Mapping, Sequence

from nbody_bench.experiment_calls import Place, finished
from nbody_bench.experiments import Run


def trainings(place: Place, jobs: Sequence[Run]) -> dict[str, int]:
  """Returns how many seeds are still to be trained, by the name of the run.

  Args:
    place: where it is done.
    jobs: the runs that are asked for; those whose weights they begin with are
      looked at too.
  """
  by_name = {run.name: run for run in place.plan.runs}
  counts: dict[str, int] = {}
  ahead = list(jobs)
  while ahead:
    run = ahead.pop()
    if run.same_as or not run.trains:
      continue
    there = finished(run.folder(place.output))
    counts[run.name] = len(set(place.plan.seeds) - there)
    if run.start_from and not place.kept(run):
      ahead.append(by_name[run.start_from])
  return {name: count for name, count in counts.items() if count}


def text(place: Place, counts: Mapping[str, int], num_workers: int) -> str:
  """Returns one line that says what is to be trained, and what it takes.

  Args:
    place: where it is done.
    counts: of `trainings`.
    num_workers: at a time.
  """
  plan = place.plan
  fixed = {run.name for run in plan.runs if run.train_steps}
  timed = [n for name, n in counts.items() if name not in fixed]
  stepped = [n for name, n in counts.items() if name in fixed]
  parts = []
  if timed:
    hours = sum(timed) * plan.core_minutes / 60
    parts.append(
      f"{_seeds(timed)} x {plan.core_minutes:g} core-minutes: about "
      f"{round(hours, 2):g} core-hours on {_of(num_workers, 'worker')}"
    )
  if stepped:
    parts.append(f"{_seeds(stepped)} of as many steps as they say")
  if not parts:
    return "nothing is left to train"
  return "; ".join(parts) + "; trials and roll-outs come on top"


def left(minutes: float, made: int, ahead: int) -> str:
  """Returns in words how long the rest takes, "" if nothing was made yet.

  Args:
    minutes: of this session.
    made: trainings in it.
    ahead: trainings that are left.
  """
  return f"; about {minutes / made * ahead:.0f} min left" if made > 0 else ""


def _seeds(counts):
  """Returns in words how many trainings there are."""
  runs = _of(len(counts), "run")
  if len(set(counts)) > 1:
    return f"{sum(counts)} trainings of {runs}"
  return f"{runs} x {_of(counts[0], 'seed')}"


def _of(count, what):
  return f"{count} {what}{'s' * (count != 1)}"
