"""Figures of trained runs, as papers show them, each a function.

A figure is drawn from the runs of an experiment that are finished, and states
in its caption what was measured on the way.
"""

import pathlib
import textwrap
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np


class Finished(NamedTuple):
  """A finished run.

  Attributes:
    run: a row of the experiment.
    folder: with a folder for each seed.
    seed: the first one.
    data_dir: where TFDS keeps its data.
  """

  run: Any
  folder: pathlib.Path
  seed: int
  data_dir: str | None

  def model(self) -> tuple[Any, Any]:
    """Returns problem and trained model."""
    from nbody_bench import rollouts, simulators, trained, weights

    folder = self.folder / f"seed_{self.seed}"
    found = trained.read(folder, self.data_dir)
    start = self.split("train").given.select(slice(0, 1))
    rollouts.rollout(
      simulators.as_simulator(found.model).predict,
      *(start.frame(0), start.particles, start.domain),
      start.time[1:2] - start.time[0],
    )
    weights.load(folder, found.model)
    return found.problem, found.model

  def split(self, name: str) -> Any:
    """Returns a split of its data, as its task cuts it."""
    from nbody_bench import pipelines, tasks

    task = tasks.make(
      self.run.task, self.run.dataset, self.data_dir, self.run.rollout_steps
    )
    return task.cut(pipelines.load(self.run.dataset, name, self.data_dir))

  def prediction(self, count: int) -> tuple[Any, Any, Any]:
    """Returns the system, true and predicted trajectories, the first few.

    As they lie in the submission, the initial state before them.
    """
    from nbody_bench import pipelines
    from nbody_bench.states import State

    truth = self.split("test").trajectory.select(slice(0, count))
    (path,) = (self.folder / "submission").glob(
      f"predictions/*-seed{self.seed}.npz"
    )
    with np.load(path) as content:
      states = [content[k][:count] for k in ("position", "velocity")]
    length = states[0].shape[1] + 1
    truth = truth.frames(0, length)
    states = [
      np.concatenate([x[:, :1], y], 1)
      for x, y in zip(truth.state, states, strict=True)
    ]
    system = pipelines.problem(self.run.dataset, self.data_dir).system
    return system, truth, truth._replace(state=State(*states))


def draw(plan, record, output, folder, data_dir) -> list[dict[str, Any]]:
  """Draws the figures of an experiment.

  Args:
    plan: the experiment.
    record: of `experiment_records.gather`. A figure of runs that are no longer
      all in `output` stays as it is there.
    output: of its runs.
    folder: to write to.
    data_dir: where TFDS keeps its data.

  Returns:
    `{"file", "caption", "numbers"}` of each; what was measured on the way
    stands in the caption.
  """
  before = {figure["file"]: figure for figure in record["figures"]}
  drawn = []
  for figure in plan.figures:
    path = folder / f"{figure.kind}.png"
    shown = [
      run
      for run in plan.runs
      if run.name in record["runs"]
      and (not figure.runs or run.name in figure.runs)
      and (run.trains or figure.kind not in _OF_WEIGHTS)
    ]
    finished = [
      Finished(run, run.folder(output), seed, data_dir)
      for run in shown
      for seed in _here(run, plan, output)[:1]
    ]
    if shown and len(finished) == len(shown):
      caption, numbers = FIGURES[figure.kind](finished, path)
      drawn.append({"file": path.name, "caption": caption, "numbers": numbers})
    elif path.name in before:
      drawn.append(before[path.name])
  return drawn


def _here(run, plan, output):
  """Returns those seeds of a run whose predictions are at hand."""
  # Experiments import the names of figures from here.
  from nbody_bench import experiment_calls

  made = experiment_calls.finished(run.folder(output))
  return [seed for seed in run.seeds(plan.seeds) if seed in made]


def pair_potential(finished, path):
  """Learned and true V(r), and by how much they differ."""
  figure, panels = _panels(finished)
  numbers = {}
  for axes, one in zip(panels, finished, strict=True):
    problem, model = one.model()
    data = one.split("train").trajectory
    seen = np.quantile(distances(data), [0.01, 0.99])
    r = np.linspace(0.8 * seen[0], 1.3 * seen[1], 400)
    inside = (seen[0] <= r) & (r <= seen[1])
    learned, true = (x(r) for x in potentials(problem, model, data))
    shift = np.median((true - learned)[inside])
    error = np.ptp((true - learned)[inside]) / 2 / np.ptp(true[inside])
    numbers[one.run.name] = float(error)
    axes.plot(r, true, "k", lw=3, alpha=0.3, label="true")
    axes.plot(r, learned + shift, label="learned")
    axes.axvspan(*seen, color="C1", alpha=0.1, label="1-99 % of training")
    axes.set_xlabel("r")
    axes.set_ylabel("V(r)")
    axes.legend(fontsize=7)
  figure.savefig(path, dpi=90)
  worst = ", ".join(f"{k} {100 * v:.2g} %" for k, v in numbers.items())
  return (
    "Learned pair potential, shifted by a constant. Largest difference within "
    f"1-99 % of the distances in training, of the range of V there: {worst}.",
    numbers,
  )


def distances(data) -> np.ndarray:
  """Returns the distances of all pairs in all frames."""
  q = data.state.position
  i, j = np.triu_indices(q.shape[2], 1)
  return np.linalg.norm(q[:, :, i] - q[:, :, j], axis=-1).ravel()


def potentials(problem, model, data) -> Iterator[Callable]:
  """Yields learned and true V(r) of the first two bodies of the data."""
  from nbody_bench import testing
  from nbody_bench.states import Domain, Particles, State

  two = {
    k: None if x is None else x[:1, :2]
    for k, x in data.particles._asdict().items()
  }

  def arranged(r):
    position = np.zeros((len(r), 2, data.state.position.shape[-1]))
    position[:, 1, 0] = r
    many = {
      k: None if x is None else np.repeat(x, len(r), 0) for k, x in two.items()
    }
    box = np.full((len(r), position.shape[-1]), np.inf)
    return State(position, 0 * position), Particles(**many), Domain(box)

  def learned(r):
    state, particles, domain = testing.to_tensors(arranged(r))
    structure = model.structure(state, particles, domain)
    value = model.potential(structure, state.position, particles, domain)
    return value.numpy().astype(float)

  yield learned
  yield lambda r: problem.system.potential_energy(*arranged(r))


def forces(finished, path):
  """Predicted against true force components, on the test split."""
  from nbody_bench import testing
  from nbody_bench.states import State, map_arrays

  figure, panels = _panels(finished)
  numbers = {}
  for axes, one in zip(panels, finished, strict=True):
    problem, model = one.model()
    data = one.split("test").trajectory.frames(0, 20)
    frames = data.state.position.shape[1]
    state = State(*(x.reshape(-1, *x.shape[2:]) for x in data.state))
    rest = map_arrays(
      lambda x, n=frames: np.repeat(x, n, 0), (data.particles, data.domain)
    )
    true = problem.system.force(state, *rest)
    told = testing.to_tensors((state, *rest))
    rates = model.derivative(model.structure(*told), *told)
    mass = rest[0].mass[..., None]
    found = mass * rates.velocity.numpy()
    error = np.sqrt(np.mean((found - true) ** 2) / np.mean(true**2))
    numbers[one.run.name] = float(error)
    axes.plot(true.ravel(), found.ravel(), ".", ms=2)
    axes.axline((0, 0), slope=1, color="k", lw=0.5)
    axes.set_xlabel("true force")
    axes.set_ylabel("predicted force")
  figure.savefig(path, dpi=90)
  each = ", ".join(f"{k} {v:.2g}" for k, v in numbers.items())
  return (
    "Force components on the test split; root-mean-square error over "
    f"root-mean-square force: {each}.",
    numbers,
  )


def rollouts(finished, path):
  """Paths of one test trajectory: truth thin, prediction coloured."""
  figure, panels = _panels(finished)
  for axes, one in zip(panels, finished, strict=True):
    _, truth, found = one.prediction(1)
    flat = truth.state.position.shape[-1] == 1
    for trajectory, style in ((truth, "k-"), (found, "C0--")):
      q, v = (x[0] for x in trajectory.state)
      x, y = (q[..., 0], v[..., 0]) if flat else (q[..., 0], q[..., 1])
      axes.plot(x, y, style, lw=0.8)
    axes.set_xlabel("q" if flat else "x")
    axes.set_ylabel("v" if flat else "y")
    reach = 1.3 * np.abs(truth.state.position[..., :2]).max()
    axes.set_xlim(-reach, reach)
    if not flat:
      axes.set_ylim(-reach, reach)
  figure.savefig(path, dpi=90)
  return "The first test trajectory: truth (black) and roll-outs (dashed).", {}


def energy(finished, path):
  """Energy of a few test trajectories against time."""
  figure, panels = _panels(finished)
  for axes, one in zip(panels, finished, strict=True):
    system, truth, found = one.prediction(3)
    time = truth.time - truth.time[0]
    for trajectory, style in ((truth, "k-"), (found, "C0--")):
      values = trajectory.at_each_frame(system.hamiltonian)
      axes.plot(time, values.T, style, lw=0.8)
      if style == "k-":
        low, high = values.min(), values.max()
        margin = 0.5 * (high - low) + 0.1 * abs(high)
        axes.set_ylim(low - margin, high + margin)
    axes.set_xlabel("time")
    axes.set_ylabel("energy")
  figure.savefig(path, dpi=90)
  return (
    "True energy along three test trajectories: of the truth (black) and of "
    "roll-outs (dashed).",
    {},
  )


def learned_energy(finished, path):
  """The energy that a potential has, along its own roll-out."""
  from nbody_bench import testing
  from nbody_bench.dynamics import kinetic_energy

  figure, panels = _panels(finished)
  numbers = {}
  for axes, one in zip(panels, finished, strict=True):
    _, model = one.model()
    _, _, found = one.prediction(3)

    def value(state, particles, domain, model=model):
      told = testing.to_tensors((state, particles, domain))
      structure = model.structure(*told)
      energy = model.potential(structure, told[0].position, *told[1:])
      return (energy + kinetic_energy(told[0].velocity, told[1])).numpy()

    values = np.stack(
      [found.select(slice(i, i + 1)).at_each_frame(value)[0] for i in range(3)]
    )
    values -= values[:, :1]
    kinetic = found.at_each_frame(
      lambda s, p, _: 0.5 * np.sum(p.mass[..., None] * s.velocity**2, (1, 2))
    )
    steps = np.abs(np.diff(values, axis=1)) / kinetic.mean()
    numbers[one.run.name] = {
      "largest": float(np.abs(values).max() / kinetic.mean()),
      "jump": float(np.quantile(steps, 0.99)),
    }
    axes.plot(found.time - found.time[0], values.T, lw=0.8)
    axes.set_xlabel("time")
    axes.set_ylabel("learned energy, change")
  figure.savefig(path, dpi=90)
  each = "; ".join(
    f"{k} {v['largest']:.2g}, {v['jump']:.2g}" for k, v in numbers.items()
  )
  return (
    "Learned energy along roll-outs. Largest change, and 99 % quantile of the "
    f"change in one step, over the mean kinetic energy: {each}.",
    numbers,
  )


FIGURES: Mapping[str, Callable] = {
  "pair_potential": pair_potential,
  "forces": forces,
  "rollouts": rollouts,
  "energy": energy,
  "learned_energy": learned_energy,
}
# These ask a trained model; the others show its predictions.
_OF_WEIGHTS = ("pair_potential", "forces", "learned_energy")


def _panels(finished):
  from matplotlib.figure import Figure

  columns = min(4, len(finished))
  rows = -(-len(finished) // columns)
  figure = Figure(figsize=(3 * columns, 2.7 * rows), layout="constrained")
  panels = figure.subplots(rows, columns, squeeze=False).ravel()
  for axes, one in zip(panels, finished, strict=False):
    axes.set_title(textwrap.fill(one.run.label, 30), fontsize=8)
  for unused in panels[len(finished) :]:
    unused.axis("off")
  return figure, panels[: len(finished)]
