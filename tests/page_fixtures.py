"""Page data of any number of entries, plain and synthetic."""

import numpy as np

HOSTILE = "</script><script>document.title='run'</script><img src=x onerror=1>"
METRICS = ("rollout_rmse", "energy_error", "momentum_error", "local_defect")
REPORT_STEPS = (20, 100)
# Indices, modulo 11, of entries with a finding and of one from before the last
# metric was added.
_FINDINGS = {
  5: ("solver-grade", "redivision", "As good as a solver"),
  7: ("room for the answers", "flag", "Its parameters could be a table"),
  9: ("edited numbers", "reject", "Claims differ from the arrays"),
}
_OLD = 8
_DIVISIONS = ("classical", "learned-closed", "learned-open")


def page_data(num_entries, *, sizes=(5, 20), previews=None, seed=0):
  """Returns what `build.page_data` gives, of a board with so many entries.

  Args:
    num_entries: of each task; 0 for an empty board.
    sizes: numbers of particles, a task for each.
    previews: how many entries of a task have roll-outs; default all.
    seed: of everything random.
  """
  rng = np.random.default_rng(seed)
  return {
    "title": "nbody_bench leaderboard",
    "version": "0.1.0",
    "metric_version": 1,
    "generated": "2025-01-31",
    "scales": {
      "rollout_rmse": {"best": 1e-6, "worst": 1.0, "weight": 2},
      "energy_error": {"best": 1e-8, "worst": 1.0, "weight": 1},
      "momentum_error": {"best": 1e-8, "worst": 1.0, "weight": 1},
      "local_defect": {"best": 1e-6, "worst": 1.0, "weight": 1},
    },
    "tasks": [_task(n, num_entries, previews, rng) for n in sizes]
    if num_entries
    else [],
  }


def _task(num_particles, num_entries, previews, rng):
  ks = [str(k) for k in REPORT_STEPS]
  entries = [_entry(i, rng) for i in range(num_entries)]
  truth = _motion(num_particles, rng)
  for i, entry in enumerate(entries):
    if previews is None or i < previews:
      entry["preview"] = _preview(truth, entry, rng)
  for metric in METRICS:
    for k in ks:
      _rank(entries, metric, k)
  return {
    "id": f"nbody_gravity/n{num_particles}/rollout100",
    "description": "Predict 100 steps of the first 50 trajectories.",
    "checks": "Honesty checks compare every step with the law.",
    "dataset": f"nbody_gravity/n{num_particles}",
    "name": "rollout",
    "num_trajectories": 50,
    "num_particles": num_particles,
    "times": (0.01 * np.arange(1, REPORT_STEPS[-1] + 1)).round(9).tolist(),
    "time_unit": "",
    "horizon": REPORT_STEPS[-1],
    "report_steps": list(REPORT_STEPS),
    "kind": "motion",
    "metrics": [
      {
        "name": name,
        "label": name.replace("_", " ").capitalize(),
        "unit": "",
        "better": "lower",
        "cap": 100.0,
        "description": f"Of {name}, as published.",
      }
      for name in METRICS
    ],
    "floor": {"rollout_rmse": dict.fromkeys(ks, 1e-6)},
    "floor_curves": {"rollout_rmse": [1e-6] * REPORT_STEPS[-1]},
    "smallest_difference": {m: dict.fromkeys(ks, 0.042) for m in METRICS},
    "entries": entries,
  }


def _entry(index, rng):
  division = _DIVISIONS[index % 3]
  classical = division == "classical"
  level = 10.0 ** rng.uniform(-6, -3) if classical else 10 ** rng.uniform(-3, 0)
  seeds = [0] if classical else [0, 1, 2][: 2 if index % 7 == 4 else 3]
  growth = np.exp(np.linspace(-3, 0, REPORT_STEPS[-1]))
  metrics = METRICS[:-1] if index % 11 == _OLD else METRICS
  curves = {m: (level * growth * rng.uniform(0.5, 2)).tolist() for m in metrics}
  scores = {
    m: {str(k): _score(c[k - 1]) for k in REPORT_STEPS}
    for m, c in curves.items()
  }
  findings = [
    {"kind": kind, "verdict": verdict, "reason": reason}
    for i, (kind, verdict, reason) in _FINDINGS.items()
    if index % 11 == i
  ]
  verdict = findings[0]["verdict"] if findings else None
  unranked = "2 of 3 training seeds" if len(seeds) == 2 else None
  if verdict == "reject":
    unranked = f"rejected: {findings[0]['reason']}"
  survival = np.clip(1.5 - 20 * level * growth, 0, 1)
  return {
    "key": f"model_{index}",
    "name": f"{division.split('-')[0].capitalize()} {index}",
    "version": "1",
    "authors": ["A. Author", "B. Author"],
    "division": division,
    "claimed_division": "learned-closed"
    if verdict == "redivision"
    else division,
    "tier": "re-scored" if index % 5 else "reproduced",
    "reproduced": None
    if index % 5
    else {
      "first_step": 2.5e-6,
      "scores": 0.0123,
      "seconds_per_step": 4.5e-4,
      "batch": 16,
    },
    "date": f"2025-01-{1 + index % 28:02d}",
    "code": "https://example.org/code",
    "paper": None,
    "notes": f"Entry number {index}.",
    "num_parameters": 0 if classical else 1000 * (index + 1),
    "seeds": seeds,
    "train_steps": 0 if classical else 6000,
    "train_seconds": 0.0 if classical else 123.4,
    "config": {"num_substeps": 2**index, "normalize": bool(index % 2)}
    if index < 9
    else {},
    "recipe": {
      "train_steps": 6000,
      "batch_size": 16,
      "learning_rate": 1e-7,
      "schedule": "cosine",
      "boundaries": [200_000, 400_000],
    },
    "started_from": None,
    "checkpoint": "last",
    "validate_every": 500,
    "physics_given": ["masses", "force law"] if classical else [],
    "symmetries": ["translation"] if index % 2 else [],
    "scores": scores,
    "ranks": {},
    "unranked": unranked,
    "ties": {},
    "at_floor": {
      m: {str(k): level < 3e-6 for k in REPORT_STEPS} for m in metrics
    },
    "claimed": {
      m: {k: dict(s) for k, s in v.items()} for m, v in scores.items()
    },
    "agrees": True,
    "findings": findings,
    "curves": curves,
    "bands": {
      m: [[v / 2 for v in c], [v * 2 for v in c]] for m, c in curves.items()
    },
    "survival": survival.tolist(),
    "timing_faults": ["a state is answered faster"] if index == 3 else [],
    "timing": {
      "seconds_per_step": float(3e-5 / level**0.25 * rng.uniform(0.7, 1.4)),
      "relative_to_leapfrog": float(rng.uniform(0.5, 50)),
      "speed_up": float(rng.uniform(0.1, 10)),
      "speed_up_over": "leapfrog",
      "indicative": index % 2 == 0,
      "batch": 16,
      "device": "CPU" if index % 3 else "GPU",
    },
    "equivariance": {"rotation": 1e-6, "translation": None},
    "diverged": index % 4,
    "worst": [
      {"trajectory_id": 7 + i, "seed": 0, "value": level * (9 - i)}
      for i in range(5)
    ],
    "preview": None,
    "per_seed": {
      m: {k: [s["mean"] * (1 + 0.1 * j) for j in seeds] for k, s in v.items()}
      for m, v in scores.items()
    },
    "arrays": [],
  }


def _score(value):
  return {
    "mean": value,
    "std": 0.05 * value,
    "low": 0.8 * value,
    "high": 1.25 * value,
  }


def _rank(entries, metric, k):
  """Ranks by overlap of intervals, within a division."""

  def score(entry):
    return entry["scores"][metric][k]

  group = 0
  for division in _DIVISIONS:
    mine = [
      e
      for e in entries
      if e["division"] == division
      and not e["unranked"]
      and metric in e["scores"]
    ]
    mine.sort(key=lambda e: score(e)["mean"])
    edge = -1.0
    for entry in mine:
      better = sum(score(e)["high"] < score(entry)["low"] for e in mine)
      worse = sum(score(e)["low"] > score(entry)["high"] for e in mine)
      if score(entry)["low"] > edge:
        group, edge = group + 1, score(entry)["high"]
      entry["ranks"].setdefault(metric, {})[k] = [1 + better, len(mine) - worse]
      entry["ties"].setdefault(metric, {})[k] = group


def _motion(num_particles, rng, frames=51):
  angles = rng.uniform(0, 2 * np.pi, num_particles)
  radii = rng.uniform(0.3, 1.5, num_particles)
  angles = angles + np.linspace(0, 2, frames)[:, None] / radii**1.5
  return radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def _preview(truth, entry, rng):
  level = entry["scores"]["rollout_rmse"][str(REPORT_STEPS[-1])]["mean"]
  drift = np.linspace(0, 1, len(truth))[:, None, None]

  def guess(scale):
    noise = rng.normal(size=truth.shape[1:])
    return np.round(truth + scale * drift * noise, 4).tolist()

  def rollout(trajectory_id, scale):
    return {
      "trajectory_id": trajectory_id,
      "seed": 0,
      "box": [None, None],
      "truth": np.round(truth, 4).tolist(),
      "prediction": guess(scale),
    }

  return {
    **rollout(0, level),
    "times": np.round(np.linspace(0, 1, len(truth)), 4).tolist(),
    "leapfrog": guess(0.05),
    "worst": [rollout(7, 5 * level)],
  }


def without_numbers(value):
  """Returns page data with null for each number that may be missing."""
  if isinstance(value, dict):
    optional = ("num_parameters", "train_steps", "diverged", "batch")
    return {
      k: None if k in optional else without_numbers(v) for k, v in value.items()
    }
  if isinstance(value, list):
    return [without_numbers(v) for v in value]
  return None if isinstance(value, float) else value


def bare(value):
  """Returns page data whose entries have nothing but names and seeds."""
  kept = ("key", "name", "version", "seeds")
  tasks = [
    {
      **task,
      "entries": [
        {k: v if k in kept else None for k, v in entry.items()}
        for entry in task["entries"]
      ],
    }
    for task in value["tasks"]
  ]
  return {**value, "scales": None, "tasks": tasks}


def hostile(value):
  """Returns page data with a script in every text but those that are ids."""
  fixed = ("better", "kind", "id", "dataset", "date")
  if isinstance(value, dict):
    return {
      k: v if k in fixed and isinstance(v, str) else hostile(v)
      for k, v in value.items()
    }
  if isinstance(value, list):
    return [hostile(v) for v in value]
  return f"{value}{HOSTILE}" if isinstance(value, str) else value
