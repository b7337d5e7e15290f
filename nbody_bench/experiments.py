"""Experiments as data: `experiments/<name>/experiment.toml`.

    title = "Five springs"
    paper = "https://arxiv.org/abs/2004.13688"
    dataset = "nbody_spring/five"
    rollout_steps = [40]
    metrics = ["rollout_rmse", "energy_error"]
    core_minutes = 20
    seeds = [0, 1, 2]
    learning_rates = [1e-3, 3e-3, 3e-4]
    pilot_steps = 1000

    [[runs]]
    name = "vign_order_4"
    label = "VIGN, order 4"
    model = "vign"
    config = {integrator = "rk4"}
    recipe = {batch_size = 40}
    published = {rollout_rmse = "0.1"}

    [[evaluations]]
    name = "ten"
    label = "Twice as many bodies"
    dataset = "nbody_spring/ten"
    rollout_steps = [40]
    metrics = ["energy_error"]
    runs = ["vign_order_4"]

    [[figures]]
    kind = "pair_potential"
    runs = ["vign_order_4"]

Each run is trained with each seed for the same core-minutes. Its learning rate
is the best of `learning_rates` after `pilot_steps`, or as many as a tenth of
the budget allows; how long they take tells how many steps fit. One with
`start_from` begins with the weights of an earlier row, whose minutes come on
top of its own, and may try `learning_rates` of its own: those trained on want
smaller ones. Where the row is not trained here its weights in
`baselines/weights/<experiment>/` serve, if they are of the same budget.
`dataset`, `task`, `rollout_steps` and `checkpoint` may also be given for a
single run. One with `train_steps` makes as many, with the learning rate of its
recipe, whatever they take: a published training, or as many for each model.
A model with no variables, such as `ballistic`, stands beside the others as a
yardstick: it is rolled out once, as it is.
`as_published` is what a run is where the published setting is asked for
(`published`): steps, `config` and `recipe`, and nothing of its other settings.
Each evaluation rolls trained runs out on another task or data set, and each
figure draws them: a function of `experiment_figures.FIGURES`.
"""

import dataclasses
import math
import pathlib
import re
import tomllib
from typing import Any

from nbody_bench import plugins
from nbody_bench.experiment_figures import FIGURES
from nbody_bench.tasks import TASKS

FILE = "experiment.toml"


@dataclasses.dataclass(frozen=True)
class Run:
  """One row of the table; fields as in the file.

  Attributes:
    name: of its folder, and the version of its submission.
    label: as shown.
    model: as `nbody_bench.run --model` takes it.
    config: settings of the model.
    recipe: settings of the training.
    dataset: `name/config`.
    rollout_steps: that are scored.
    published: values as printed in the paper, by metric.
    task: as `nbody_bench.run --task` takes it, and
    checkpoint: as `--checkpoint`.
    train_steps: in place of what fits in the core-minutes.
    start_from: an earlier run whose weights it begins with; empty for new ones.
    learning_rates: in place of the experiment's.
    same_as: `experiment/run` whose training this row shows again; the file
      gives `name`, `label` and `published` beside it, all else is taken from
      there. Empty for a training of its own.
    as_published: `train_steps`, `config` and `recipe` of the published setting;
      empty where there is none.
  """

  name: str
  label: str
  model: str
  dataset: str
  rollout_steps: tuple[int, ...]
  config: dict[str, Any] = dataclasses.field(default_factory=dict)
  recipe: dict[str, Any] = dataclasses.field(default_factory=dict)
  published: dict[str, str] = dataclasses.field(default_factory=dict)
  task: str = "rollout"
  checkpoint: str = "last"
  train_steps: int | None = None
  start_from: str = ""
  learning_rates: tuple[float, ...] = ()
  same_as: str = ""
  as_published: dict[str, Any] = dataclasses.field(default_factory=dict)

  def __post_init__(self):
    """Refuses settings that nobody would read."""
    allowed = {"train_steps", "config", "recipe"}
    unknown = sorted(set(self.as_published) - allowed)
    if unknown or (
      self.as_published and "train_steps" not in self.as_published
    ):
      raise ValueError(
        f"run {self.name!r}: as_published has {sorted(self.as_published)}; "
        f"train_steps must be there, and of {sorted(allowed)} any"
      )

  @property
  def trains(self) -> bool:
    """Whether its model is of a class that has variables."""
    model = plugins.load_model(self.model)
    return hasattr(model.simulator, "trainable_variables")

  def seeds(self, asked: tuple[int, ...]) -> tuple[int, ...]:
    """Returns those it is made with: one where all would be the same."""
    return asked if self.trains else (0,)

  def folder(self, output: pathlib.Path) -> pathlib.Path:
    """Returns where it is, `output` being that of its experiment."""
    return output.parent / self.same_as if self.same_as else output / self.name


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """Another task for trained runs; fields as in the file.

  Attributes:
    name: of its folders.
    label: as shown.
    rollout_steps: that are scored; the last one is shown.
    metrics: of its table.
    task: as `nbody_bench.run --task` takes it.
    dataset: `name/config`; empty for that of each run.
    runs: names; empty for all.
    timing: as `nbody_bench.run --timing` takes it.
    config: settings that differ from those of training, as `nbody_bench.run`
      takes them with trained weights: integrator and sub-steps.
  """

  name: str
  label: str
  rollout_steps: tuple[int, ...]
  metrics: tuple[str, ...]
  task: str = "rollout"
  dataset: str = ""
  runs: tuple[str, ...] = ()
  timing: str = "none"
  config: dict[str, Any] = dataclasses.field(default_factory=dict)

  def of(self, run: Run) -> Run:
    """Returns the run as it is evaluated here."""
    return dataclasses.replace(
      run,
      dataset=self.dataset or run.dataset,
      task=self.task,
      rollout_steps=self.rollout_steps,
      config=run.config | self.config,
    )

  def repeats(self, run: Run, metrics: tuple[str, ...]) -> bool:
    """Returns whether the run itself, so scored, says all of this."""
    return self.of(run) == run and set(self.metrics) <= set(metrics)


@dataclasses.dataclass(frozen=True)
class Figure:
  """A figure of trained runs; fields as in the file.

  Attributes:
    kind: a row of `experiment_figures.FIGURES`.
    runs: names; empty for all.
  """

  kind: str
  runs: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Experiment:
  """One experiment; fields as in the file.

  Attributes:
    name: of its folder.
    title: of its page.
    paper: https address.
    claim: what the paper says, in words.
    findings: what came out, likewise.
    metrics: of the table.
    core_minutes: of training, for each run and seed.
    seeds: of each run.
    learning_rates: to choose from; a single one is taken untried, and that of
      the recipe if there is none.
    runs: rows of the table.
    evaluations: more tables.
    figures: beside learning curves and errors.
    pilot_steps: of each of the learning rates before the choice, at most.
    published_seeds: of each run in the published setting.
  """

  name: str
  title: str
  metrics: tuple[str, ...]
  core_minutes: float
  seeds: tuple[int, ...]
  runs: tuple[Run, ...]
  evaluations: tuple[Evaluation, ...] = ()
  figures: tuple[Figure, ...] = ()
  pilot_steps: int = 1000
  paper: str = ""
  claim: str = ""
  findings: str = ""
  learning_rates: tuple[float, ...] = ()
  published_seeds: tuple[int, ...] = (0,)

  @property
  def counts_steps(self) -> bool:
    """Whether runs make as many steps as they say, not what fits in minutes.

    Its own ones: those of another experiment are as they were made there. What
    has nothing to train takes neither.
    """
    own = [run for run in self.runs if run.trains and not run.same_as]
    own = own or [run for run in self.runs if run.trains]
    return all(run.train_steps for run in own)


def published(plan: Experiment) -> Experiment:
  """Returns an experiment in the published setting, under a name of its own.

  Raises:
    ValueError: if none of its runs states that setting.
  """
  runs = tuple(
    dataclasses.replace(
      run,
      same_as=run.same_as.replace("/", "_published/"),
      **{"config": {}, "recipe": {}} | run.as_published,
    )
    for run in plan.runs
    if run.as_published
  )
  if not runs:
    raise ValueError(f"{plan.name}: no run has as_published")
  return dataclasses.replace(
    plan,
    name=f"{plan.name}_published",
    title=f"{plan.title}, as published",
    findings="",
    runs=runs,
    seeds=plan.published_seeds,
  )


def is_score(name: str) -> bool:
  """Returns whether a number in a run's log is the error of a prediction."""
  return name.startswith(("rollout_rmse", "final_mse", "force_mae"))


def names(folder: pathlib.Path) -> list[str]:
  """Returns the experiments in a folder, sorted."""
  return sorted(p.parent.name for p in folder.glob(f"*/{FILE}"))


def read(folder: pathlib.Path, name: str) -> Experiment:
  """Returns an experiment.

  Raises:
    ValueError: naming the file, what is wrong, and what is allowed.
  """
  path = folder / name / FILE
  if not path.is_file():
    raise ValueError(plugins.unknown("experiments", name, names(folder)))
  try:
    content = _content(folder, name)
    content["runs"] = [
      _taken(folder, row) if "same_as" in row else row for row in _rows(content)
    ]
    for key in _COMMON:
      content.pop(key, None)
    for key, kind in _PARTS.items():
      content[key] = [
        _made(kind, f"{key.removesuffix('s')} {i + 1}", row)
        for i, row in enumerate(content.get(key, []))
      ]
    result = _made(Experiment, "it", {**content, "name": name})
    _check(result)
  except (ValueError, TypeError) as error:
    raise ValueError(f"{path}: {error}") from None
  return result


def _content(folder, name):
  """Returns what the file says, and what it takes from the one it is like."""
  content = tomllib.loads((folder / name / FILE).read_text())
  if "like" not in content:
    return content
  like = content.pop("like")
  if like not in names(folder):
    raise ValueError(plugins.unknown("experiments", like, names(folder)))
  other = tomllib.loads((folder / like / FILE).read_text())
  if "like" in other:
    raise ValueError(f"like = {like!r}: that one is like {other['like']!r}")
  other.pop("findings", None)
  return other | content


def _rows(content):
  """Returns the runs of a file, each with what it says of all of them."""
  common = {k: content[k] for k in _COMMON if k in content}
  return [
    row if "same_as" in row else common | row for row in content.get("runs", [])
  ]


def _taken(folder, row):
  """Returns a run with all that it has from the one it is the same as."""
  extra = sorted(set(row) - {"name", "label", "published", "same_as"})
  if extra:
    raise ValueError(
      f"run {row.get('name')!r} is the same as {row['same_as']!r} and has "
      f"{', '.join(extra)}; take that out, it is that of the other"
    )
  experiment, _, name = str(row["same_as"]).partition("/")
  if experiment not in names(folder):
    raise ValueError(plugins.unknown("experiments", experiment, names(folder)))
  own = {
    other.get("name", ""): other
    for other in _rows(_content(folder, experiment))
    if "same_as" not in other
  }
  if name not in own:
    what = f"the runs that {experiment} trains"
    raise ValueError(plugins.unknown(what, name, list(own)))
  return own[name] | row


# Said of each run, or once for all.
_COMMON = ("dataset", "task", "rollout_steps", "checkpoint")
_PARTS = {"runs": Run, "evaluations": Evaluation, "figures": Figure}


def _made(kind, what, values):
  fields = {f.name: f for f in dataclasses.fields(kind)}
  unknown = sorted(set(values) - set(fields))
  if unknown:
    raise ValueError(
      f"{what} has {', '.join(unknown)}; it may have {', '.join(fields)}"
    )
  needed = [
    k
    for k, f in fields.items()
    if f.default is dataclasses.MISSING
    and f.default_factory is dataclasses.MISSING
  ]
  missing = sorted(set(needed) - set(values))
  if missing:
    raise ValueError(f"{what} lacks {', '.join(missing)}")
  return kind(
    **{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
  )


def _check(experiment):
  if not experiment.runs or not experiment.seeds or not experiment.metrics:
    raise ValueError("runs, seeds and metrics must not be empty")
  if not 0 < experiment.core_minutes < math.inf or experiment.pilot_steps < 1:
    raise ValueError(
      f"core_minutes = {experiment.core_minutes} and pilot_steps = "
      f"{experiment.pilot_steps} must be positive numbers"
    )
  found = [run.name for run in experiment.runs]
  for name in found:
    if found.count(name) > 1 or not re.fullmatch(r"\w{1,40}", name):
      raise ValueError(
        f"run {name!r}: names are of letters, digits and _, each once"
      )
  for i, run in enumerate(experiment.runs):
    if run.start_from and run.start_from not in found[:i]:
      raise ValueError(
        f"run {run.name!r} starts from {run.start_from!r}; it must be one of "
        f"the runs before it: {', '.join(found[:i])}"
      )
    plugins.load_model(run.model)
    plugins.check_dataset(run.dataset)
  for part in (*experiment.evaluations, *experiment.figures):
    for name in part.runs:
      if name not in found:
        raise ValueError(plugins.unknown("the runs", name, found))
  for part in (*experiment.runs, *experiment.evaluations):
    if part.task not in TASKS:
      raise ValueError(plugins.unknown("tasks", part.task, list(TASKS)))
  for figure in experiment.figures:
    if figure.kind not in FIGURES:
      raise ValueError(plugins.unknown("figures", figure.kind, list(FIGURES)))
  for part in (experiment, *experiment.evaluations):
    for metric in part.metrics:
      plugins.load("metrics", metric)
