"""The page, in a browser."""

import csv
import dataclasses
import json
import math
import pathlib
import shlex
import shutil
import time

import chromium
import numpy as np
import page_fixtures
import pytest
from absl import flags

from nbody_bench import command_line, plugins, recipes, run
from nbody_bench.leaderboard import build, previews, site

pytestmark = pytest.mark.skipif(
  chromium.find() is None,
  reason="needs a browser: no chromium or google-chrome on the PATH",
)

TAB = 9
BOARD = pathlib.Path(build.__file__).parent / "submissions"
ROWS = "[...document.querySelectorAll('#table tbody tr')]"
NAMES = f"{ROWS}.map(row => row.querySelector('.open').textContent)"
SORT = "document.querySelector('#table [aria-sort]:not([aria-sort=none])')"


@pytest.fixture(scope="module")
def data():
  return page_fixtures.page_data(12, previews=3)


@pytest.fixture(scope="module")
def folder(data, tmp_path_factory):
  return site.write(data, tmp_path_factory.mktemp("page")).parent


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
  with chromium.browser(tmp_path_factory.mktemp("profile")) as one:
    one.size(1000, 700)
    yield one


@pytest.fixture
def page(tab, folder):
  """The page of twelve entries; nothing may go wrong in it."""
  address = (folder / "index.html").as_uri()
  if tab.run("location.href.split(/[?#]/)[0]") == address:  # as if opened anew
    tab.run("update(Object.fromEntries(FIELDS.map(field => [field, ''])))")
  else:
    tab.open(address)
  yield tab
  assert tab.complaints() == []
  assert tab.requests() == []


def choose(page, name, value):
  page.run(
    f"(() => {{ const node = byId({name!r}); node.value = {value!r};"
    " node.dispatchEvent(new Event('input', {bubbles: true}));"
    " node.dispatchEvent(new Event('change', {bubbles: true})); })()"
  )


def press_header(page, key):
  page.run(f"document.querySelector('th[data-key=\"{key}\"] button').click()")


def test_sorting_by_header(page, data):
  entries = data["tasks"][0]["entries"]
  key = "energy_error@100"
  press_header(page, key)
  ordered = sorted(
    filter(is_accepted, entries),
    key=lambda e: e["scores"]["energy_error"]["100"]["mean"],
  )
  names = [e["name"] for e in ordered]
  rejected = [e["name"] for e in entries if not is_accepted(e)]
  assert page.run(NAMES) == names + rejected
  assert page.run(f"{SORT}.getAttribute('aria-sort')") == "ascending"
  press_header(page, key)
  assert page.run(NAMES) == names[::-1] + rejected
  assert page.run(f"{SORT}.getAttribute('aria-sort')") == "descending"
  assert page.run(f"{SORT}.dataset.key") == key


def is_accepted(entry):
  return all(found["verdict"] != "reject" for found in entry["findings"])


def test_ranks_ties_and_reasons_are_shown(page, data):
  text = page.run("byId('table').innerText")
  entries = data["tasks"][0]["entries"]
  for entry in entries:
    rank = entry["ranks"].get("rollout_rmse", {}).get("100")
    row = page.run(
      f"{ROWS}.find(row => row.querySelector('.open').textContent === "
      f"{entry['name']!r}).cells[0].innerText"
    )
    if not is_accepted(entry):
      assert row == "rejected"
    elif rank is None:
      assert "unranked: 2 of 3 training seeds" in row
    else:
      first, last = rank
      text_of_rank = str(first) if first == last else f"{first}–{last}"
      ranked = [
        e for e in entries if e["ranks"] and e["division"] == entry["division"]
      ]
      assert row.startswith(f"{text_of_rank} of {len(ranked)}")
  assert "≈a" in text
  for badge in ("solver-grade: redivision", "room for the answers: flag"):
    assert badge in text
  assert "edited numbers: reject" in text
  assert "entered as learned-closed" in text


@pytest.mark.parametrize(
  ("control", "value", "keeps"),
  [
    ("division", "learned-open", lambda e: e["division"] == "learned-open"),
    ("tier", "reproduced", lambda e: e["tier"] == "reproduced"),
    ("symmetry", "translation", lambda e: "translation" in e["symmetries"]),
    ("device", "GPU", lambda e: e["timing"]["device"] == "GPU"),
    ("physics", "(none)", lambda e: not e["physics_given"]),
    ("physics", "force law", lambda e: "force law" in e["physics_given"]),
    ("q", "LEARNED number 7", lambda e: e["name"] == "Learned 7"),
    ("q", "nothing such", lambda e: False),
  ],
)
def test_filters(page, data, control, value, keeps):
  choose(page, control, value)
  kept = {e["name"] for e in data["tasks"][0]["entries"] if keeps(e)}
  if not kept:
    assert page.run(f"{ROWS}[0].textContent") == "No entry passes the filter."
    return
  assert set(page.run(NAMES)) == kept
  assert page.run("byId('count').textContent") == f"{len(kept)} of 12 entries"
  page.run("byId('clear').click()")
  assert len(page.run(NAMES)) == 12


def test_the_address_holds_the_state(page, folder):
  choose(page, "division", "learned-closed")
  press_header(page, "num_parameters")
  choose(page, "by", "momentum_error@20")
  choose(page, "columns", "all")
  choose(page, "theme", "dark")
  seen = page.run("byId('table').innerText"), page.run(NAMES)
  fragment = page.run("location.hash")
  page.open((folder / "index.html").as_uri() + fragment)
  assert (page.run("byId('table').innerText"), page.run(NAMES)) == seen
  assert page.run("byId('division').value") == "learned-closed"
  assert page.run("byId('by').value") == "momentum_error@20"


def test_back_undoes_and_forward_redoes(page):
  start = page.run(NAMES)
  choose(page, "division", "classical")
  choose(page, "task", "nbody_gravity/n20/rollout100")
  page.run("history.back()")
  page.wait("byId('task').value === 'nbody_gravity/n5/rollout100'")
  assert len(page.run(NAMES)) == 4
  page.run("history.back()")
  page.wait(f"{ROWS}.length === 12")
  assert page.run(NAMES) == start
  page.run("history.forward()")
  page.wait(f"{ROWS}.length === 4")


def test_an_address_of_nonsense_shows_the_board(page, folder):
  address = (folder / "index.html").as_uri()
  page.open(
    f"{address}#task=x&model=y&sort=z&by=%00&show=%25E0%25,&weights=a:b,,:"
    "&theme=q&columns=__proto__&division=toString"
  )
  assert page.run("byId('task').value") == "nbody_gravity/n5/rollout100"
  assert page.run(f"{ROWS}[0].textContent") == "No entry passes the filter."


def test_weights_reorder_by_composite(page, data):
  def composites():
    return [float(text.split()[0]) for text in accepted_cells("composite")]

  def accepted_cells(key):
    place = "[...document.querySelectorAll('#table th')].findIndex("
    place += f"th => th.dataset.key === {key!r})"
    rows = f"{ROWS}.filter(row => !row.matches('.rejected'))"
    return page.run(f"{rows}.map(row => row.cells[{place}].innerText)")

  press_header(page, "composite")
  before = composites()
  assert before == sorted(before, reverse=True)
  notes = [text for text in accepted_cells("composite") if "without" in text]
  assert [text.split("\n")[-1] for text in notes] == ["without Local defect"]
  for metric in ("rollout_rmse", "energy_error", "local_defect"):
    choose(page, f"weight-{metric}", "0")
  # Momentum alone is left, on its frozen scale from 1 to 1e-8.
  best = min(
    e["scores"]["momentum_error"]["100"]["mean"]
    for e in data["tasks"][0]["entries"]
    if is_accepted(e)
  )
  assert composites()[0] == pytest.approx(-math.log10(best) / 8, abs=1e-3)
  assert "weights=" in page.run("location.hash")
  page.run("byId('reset-weights').click()")
  assert composites() == before


def test_front_is_of_integrators_alone(page, data):
  labels = page.run("front.line.map(point => point.entry.division)")
  assert set(labels) == {"classical"}
  errors = page.run("front.line.map(point => point.score.mean)")
  assert errors == sorted(errors, reverse=True)
  choose(page, "front-cursor", "3")
  point = page.run("byId('front-text').textContent")
  assert "s a step" in point
  page.run("byId('front-open').click()")
  heading = page.run("byId('model-heading').textContent")
  assert point.startswith(heading)


def test_curves_follow_the_cursor_and_the_choice(page, data):
  titles = page.run(
    "[...document.querySelectorAll('#panels h3')].map(h => h.textContent)"
  )
  assert len(titles) == len(page_fixtures.METRICS) + 1
  assert titles[-1].startswith("Survival")
  choose(page, "cursor", "50")
  shown = page.run("byId('legend').children[0].textContent").rstrip("×")
  entry = next(
    e for e in data["tasks"][0]["entries"] if f"{e['name']} v1" == shown
  )
  value = page.run("document.querySelector('.readout span').textContent")
  assert float(value) == pytest.approx(
    entry["curves"]["rollout_rmse"][49], rel=5e-3
  )
  before = page.run("byId('legend').children.length")
  page.run("byId('legend').children[0].click()")
  assert page.run("byId('legend').children.length") == before - 1
  page.run(f"{ROWS}.at(-1).querySelector('input').click()")
  assert page.run("byId('legend').children.length") == before
  colours = page.run(
    "(() => { const c = document.querySelector('#panels canvas'); const d = "
    "c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
    " return new Set(new Uint32Array(d.buffer)).size; })()"
  )
  assert colours > 50  # lines and bands, not an empty frame


def test_scaling_joins_the_tasks_of_a_data_set(page):
  assert not page.run("byId('scaling-view').hidden")
  assert "∝ N^" in page.run("byId('scaling-key').textContent")
  choose(page, "scaling", "cost")
  assert "∝ N^" in page.run("byId('scaling-key').textContent")


def test_scaling_joins_no_unlike_tasks(tab, tmp_path, data):
  """But for the number that ends the configuration all must agree."""
  board = json.loads(json.dumps(data))
  first = board["tasks"][0]
  other = {"dataset": "nbody_gravity/four", "num_particles": 4}
  long = {"dataset": "nbody_gravity/n40", "name": "long", "num_particles": 40}
  slow = {"dataset": "nbody_gravity/n80", "num_particles": 80}
  slow["times"] = [2 * t for t in first["times"]]
  law = {"dataset": "nbody_coulomb/n160", "num_particles": 160}
  for i, change in enumerate((other, long, slow, law)):
    board["tasks"].append(first | change | {"id": f"{i}/x/rollout100"})
  tab.open(site.write(board, tmp_path).as_uri())
  joined = tab.run("relatedTasks(currentTask()).map(task => task.id)")
  assert joined == [task["id"] for task in data["tasks"]]
  tab.run("update({task: '0/x/rollout100'})")
  assert tab.run("byId('scaling-view').hidden")
  assert tab.complaints() == []


def test_where_no_integrator_is_none_is_spoken_of(tab, tmp_path, data):
  board = json.loads(json.dumps(data))
  for entry in board["tasks"][0]["entries"]:
    entry["division"] = "learned-closed"
  tab.open(site.write(board, tmp_path).as_uri())
  text = tab.run("byId('front-view').innerText")
  assert "s a step" in text
  assert "integrator" not in text
  assert tab.complaints() == []


def test_what_authors_state_is_marked(page):
  assert "marked * is as its authors state" in page.run(
    "document.querySelector('header').innerText"
  )
  choose(page, "columns", "all")
  heads = page.run(
    "[...document.querySelectorAll('#table thead button')]"
    ".map(node => node.textContent)"
  )
  stated = {"Seconds per step", "Time × leapfrog", "Speed-up at equal error"}
  stated |= {"Timed on", "Parameters", "Training steps", "Training seconds"}
  stated |= {"Physics given", "Symmetries", "Authors", "Date"}
  assert {h[:-2] for h in heads if h.endswith("*")} == stated


def test_the_legend_says_what_intervals_and_ranks_are(page):
  legend = page.run("byId('table').nextElementSibling.innerText")
  for part in (
    "over training seeds too where an entry has several",
    "or of all steps up to k",
    "Entries without a rank follow",
  ):
    assert part in " ".join(legend.split()), part


def test_the_page_of_a_model(page, data):
  entry = data["tasks"][0]["entries"][1]
  page.run("document.querySelector('a.open[href*=\"model_1%2F1\"]').click()")
  assert page.run("byId('board').hidden")
  text = page.run("byId('model-view').innerText")
  wanted = [entry["notes"], "seed 2", "8", "A. Author, B. Author", "6,000"]
  wanted += ["n20/rollout100", "num_substeps", "95 % interval", "Claimed"]
  wanted += ["Re-scored", "The board has not run this model"]
  for part in wanted:
    assert part in text, part
  assert page.run("document.title").startswith("Learned 1 v1")
  assert page.run("document.activeElement.id") == "model-heading"
  page.run("history.back()")
  page.wait("!byId('board').hidden")


@pytest.fixture(scope="module")
def committed(tmp_path_factory):
  """Page data of some of the entries that come with the code."""
  folder = tmp_path_factory.mktemp("board")
  for model in ("ballistic", "delta_gn", "leapfrog"):
    shutil.copytree(BOARD / model / "1", folder / model / "1")
  return build.page_data(folder)


@pytest.fixture(scope="module")
def of_tasks(tmp_path_factory):
  """Page data of an entry of each of some tasks, by task, and the page."""
  folder = tmp_path_factory.mktemp("tasks")
  ids = ("mocap-run-last1", "nbody_charged-published-last5")
  ids += ("nbody_gravity-n20-rollout200", "slabs-emt-forces1")
  for task in (*ids, "molecules-ethanol-uniform5"):
    entry = sorted(BOARD.glob(f"*/*/{task}"))[0]
    shutil.copytree(entry, folder / entry.relative_to(BOARD))
  data = build.page_data(folder)
  return {task["id"]: task for task in data["tasks"]}, site.write(data, folder)


@pytest.mark.parametrize(
  ("task", "steps"),
  [
    ("mocap/run/last1", "1 step, 30.0 frames of 1/120 s after the given state"),
    ("molecules/ethanol/uniform5", "5 steps, 10.0 to 50.0 fs after the given"),
    ("nbody_charged/published/last5", "5 steps, 0.600 to 1.00 after the given"),
    ("nbody_gravity/n20/rollout200", "200 steps, 0.0100 to 2.00 after the"),
    ("slabs/emt/forces1", None),
  ],
)
def test_times_count_from_the_given_state(tab, of_tasks, task, steps):
  data, path = of_tasks
  tab.open(f"{path.as_uri()}#task={task}")
  facts = tab.run("byId('task-facts').textContent")
  if steps is None:
    assert facts.endswith("structures")
    return
  assert steps in facts
  assert "from its given state" in tab.run(
    "byId('task-description').textContent"
  )
  (entry,) = data[task]["entries"]
  assert entry["preview"]["times"][-1] == data[task]["times"][-1]
  assert tab.run("byId('frame-text').textContent") == tab.run(
    "`t = ${timeText(currentTask(), currentTask().times.at(-1))}`"
  )
  if task.endswith("last5"):
    choose(tab, "cursor", "1")
    text = tab.run("byId('cursor-text').textContent")
    assert text == "t = 0.600 (step 1)"
    assert tab.run("curves.panels[0].times") == [0.6, 0.7, 0.8, 0.9, 1]


@pytest.mark.parametrize(
  ("task", "head"),
  [
    ("mocap/run/last1", "F-MSE @1 in (5.64 cm)²"),
    ("molecules/ethanol/uniform5", "A-MSE @5 in Å²"),
    ("nbody_charged/published/last5", "F-MSE @5"),
    ("slabs/emt/forces1", "Force MAE @1 in eV/Å"),
    ("slabs/emt/forces1", "EFwT @1"),
  ],
)
def test_scores_have_units(tab, of_tasks, task, head):
  tab.open(f"{of_tasks[1].as_uri()}#task={task}")
  heads = tab.run(
    "[...document.querySelectorAll('#table thead button')]"
    ".map(node => node.textContent)"
  )
  assert head in heads
  assert tab.run("toLatex(visibleEntries(), rowsShown.columns)").isascii()


def test_what_checks_can_see_is_said(tab, of_tasks):
  for task in of_tasks[0]:
    tab.open(f"{of_tasks[1].as_uri()}#task={task}")
    text = tab.run("byId('task-checks').textContent")
    word = "rests on its authors' word until the entry is marked reproduced"
    assert (word in text) == ("rollout" not in task)
    assert "Arrays offered for download: 0 of 1 entries." in text
  tab.run("update({model: keyOf(currentTask().entries[0])})")
  assert "not offered for download" in tab.run("byId('model').innerText")


def test_the_fixtures_have_the_shape_of_a_board(data, committed):
  def shape(value):
    return set(value) if isinstance(value, dict) else None

  assert shape(data) == shape(committed)
  task, own = committed["tasks"][0], data["tasks"][0]
  assert shape(own) == shape(task)
  assert shape(own["metrics"][0]) == shape(task["metrics"][0])
  for entry in task["entries"]:
    assert shape(own["entries"][0]) == shape(entry)
    assert shape(own["entries"][0]["timing"]) == shape(entry["timing"])
  arrays = {
    "time": np.arange(3.0),
    "leapfrog": np.zeros((3, 4, 2)),
    "box": np.full((2, 2), np.inf),
    **dict.fromkeys(("trajectory_id", "seed"), np.arange(2)),
    **dict.fromkeys(("prediction", "truth"), np.zeros((2, 3, 4, 2))),
  }
  preview = previews.page_data(arrays, task["times"])
  mine = own["entries"][0]["preview"]
  assert shape(mine) == shape(preview)
  assert shape(mine["worst"][0]) == shape(preview["worst"][0])


def test_rejected_entries_look_it_and_are_last(page, data):
  [rejected] = [e for e in data["tasks"][0]["entries"] if not is_accepted(e)]
  for key in ("rank", "name", "num_parameters", "date"):
    for _ in range(2):
      press_header(page, key)
      assert page.run(NAMES)[-1] == rejected["name"]
  link = "document.querySelector('tr.rejected .open')"
  line = page.run(f"getComputedStyle({link}).textDecorationLine")
  assert line == "line-through"
  keys = page.run("front.points.map(point => point.entry.key)")
  assert len(keys) == 11
  assert rejected["key"] not in keys
  assert rejected["key"] not in page.run("shown().map(s => s.entry.key)")


@pytest.mark.parametrize("index", [5, 7, 9])
def test_findings_are_told_in_full(page, data, index):
  [found] = data["tasks"][0]["entries"][index]["findings"]
  page.run(f"update({{model: 'model_{index}/1'}})")
  text = page.run("document.querySelector('.findings').innerText")
  for part in found.values():
    assert part in text
  page.run("update({model: ''})")
  badge = "[...document.querySelectorAll('#table .badge')].find(node => "
  badge += f"node.textContent.startsWith({found['kind']!r}))"
  assert page.run(f"{badge}.title") == found["reason"]


def test_tiers_are_explained(page):
  legend = page.run("byId('verdicts').textContent")
  for tier in ("claimed", "re-scored", "reproduced"):
    assert tier in legend
  badge = "[...document.querySelectorAll('#table .badge.good')]"
  title = f"{badge}.find(node => node.textContent === 'reproduced').title"
  assert "run the uploaded models itself" in page.run(title)
  page.run("update({model: 'model_0/1'})")
  text = page.run("byId('model-view').innerText")
  assert "Run again by the board" in text
  for part in ("2.50e-6", "1.2 %", "4.50e-4, a batch of 16"):
    assert part in text, part


def test_a_metric_that_an_entry_lacks(page, data):
  old = data["tasks"][0]["entries"][8]
  assert "local_defect" not in old["scores"]
  press_header(page, "local_defect@100")
  assert page.run(NAMES)[-2] == old["name"]  # before the rejected one
  press_header(page, "local_defect@100")
  assert page.run(NAMES)[-2] == old["name"]
  assert page.run("toCsv(visibleEntries(), rowsShown.columns).length") > 0
  assert page.run("toLatex(visibleEntries(), rowsShown.columns).length") > 0
  page.run("update({model: 'model_8/1', show: 'model_8%2F1,model_1%2F1'})")
  panels = page.run(
    "[...document.querySelectorAll('#panels > div')].map(d => d.innerText)"
  )
  [defect] = [text for text in panels if text.startswith("Local defect")]
  assert "–" in defect
  page.run("update({show: 'model_8%2F1'})")
  panels = page.run("byId('panels').innerText")
  assert panels.count("None of the models drawn was scored by this.") == 1


def test_local_defect_has_a_curve_with_a_band(page):
  title = "curves.panels.find(p => p.title === 'Local defect')"
  drawn = page.run("shown().map(s => s.entry.scores)")
  known = sum("local_defect" in scores for scores in drawn)
  assert known >= 4
  assert page.run(f"{title}.lines.length") == len(drawn)
  assert page.run(f"{title}.plot.bands.length") == known


@pytest.fixture(scope="module")
def real(tmp_path_factory, committed):
  """The page of entries that come with the code, and their data."""
  return site.write(committed, tmp_path_factory.mktemp("real")), committed


def command_of(tab, model):
  tab.run(f"update({{model: {model!r}}})")
  return tab.run("byId('command')?.textContent")


@pytest.mark.parametrize("key", ["delta_gn", "leapfrog"])
def test_the_command_to_reproduce_is_understood(tab, real, key):
  path, board = real
  task, entry = next(
    (task, entry)
    for task in board["tasks"]
    for entry in task["entries"]
    if entry["key"] == key
  )
  tab.open(path.as_uri())
  tab.run(f"update({{task: {task['id']!r}}})")
  command = command_of(tab, f"{key}/{entry['version']}")
  python, *argv = shlex.split(command)
  assert [python, *argv[:2]] == ["python", "-m", "nbody_bench.run"]
  values = flags.FlagValues()
  run.define(values, argv[1:])
  assert values(argv[1:]) == ["nbody_bench.run"]
  assert values.model == key
  task_id = f"{values.dataset}/{values.task}{values.rollout_steps[-1]}"
  assert task_id == task["id"]
  assert list(map(int, values.rollout_steps)) == task["report_steps"]
  assert list(map(int, values.seeds)) == entry["seeds"]
  plugin = plugins.load_model(key)
  config = command_line.from_flags(values, "config", plugin.config)
  assert json.loads(json.dumps(dataclasses.asdict(config))) == entry["config"]
  if not entry["train_steps"]:
    assert "train_steps" not in command  # nothing is trained
    return
  assert "checkpoint" not in command  # the last one, as usual
  recipe = entry["recipe"]
  given = {k: values[k].value for k in ("train_steps", "batch_size")}
  made = command_line.from_flags(values, "recipe", recipes.Recipe, **given)
  made = json.loads(json.dumps(dataclasses.asdict(made)))
  assert {k: made[k] for k in recipe} == recipe
  assert tab.complaints() == []


def test_flags_of_all_kinds_and_text_for_a_shell(tab, tmp_path, data):
  board = json.loads(json.dumps(data))
  texts = ["a b", "it's", "$(id)", "`id`", "a;b", "x&", "", "é", '"']
  entry = board["tasks"][0]["entries"][0]
  entry["config"] = {f"t{i}": text for i, text in enumerate(texts)}
  entry["config"] |= {"yes": True, "no": False, "some": [1, 2], "none": []}
  entry |= {"num_parameters": 1, "version": "2", "started_from": "a run"}
  entry |= {"checkpoint": "best", "validate_every": 500}
  refused = [{"a": "new\nline"}, {"a": "\x1b[201~"}, {"a b": 1}, {"a": [[]]}]
  for i, config in enumerate(refused, 1):
    board["tasks"][0]["entries"][i]["config"] = config
  board["tasks"][0]["entries"][5]["recipe"] = None
  tab.open(site.write(board, tmp_path).as_uri())
  found = shlex.split(command_of(tab, "model_0/2"))
  for i, text in enumerate(texts):
    assert f"--config.t{i}={text}" in found
  for flag in ("yes", "some=1,2", "none="):
    assert f"--config.{flag}" in found
  assert "--noconfig.no" in found
  assert "--version=2" in found
  assert "--start_from=DIR" in found
  assert "--checkpoint=best" in found
  assert "--validate_every=500" in found
  assert "--recipe.learning_rate=1e-7" in found
  assert "--recipe.boundaries=200000,400000" in found
  for i in range(1, 6):
    assert command_of(tab, f"model_{i}/1") is None
  assert tab.complaints() == []


def test_the_command_is_copied(page):
  command = command_of(page, "model_1/1")
  page.run(
    "addEventListener('copy', () => window.copied = String(getSelection()))"
  )
  page.call(
    "Runtime.evaluate", expression="byId('copy').click()", userGesture=True
  )
  status = "byId('copy').nextSibling.textContent"
  page.wait(f"{status} === 'Copied.'")
  assert page.run("window.copied") == command
  # Where neither way works, it is at least selected.
  page.run(
    "document.execCommand = () => false;"
    " navigator.clipboard.writeText = () => Promise.reject()"
  )
  page.run("byId('copy').click()")
  page.wait(f"{status}.startsWith('Selected')")
  assert page.run("String(getSelection())") == command


def test_worst_roll_outs_play_from_their_table(page):
  page.run("update({model: 'model_1/1'})")
  assert page.run("byId('no-leapfrog').hidden")
  page.run(
    "document.querySelector('[aria-label=\"Play trajectory 7\"]').click()"
  )
  assert page.run("byId('rollout').value") == "1"
  assert page.run("byId('play').textContent") == "Pause"
  assert "first trajectory alone" in page.run("byId('no-leapfrog').textContent")
  page.run("byId('play').click()")


def test_a_model_without_roll_outs_says_so(page):
  page.run("update({model: 'model_4/1'})")
  assert page.run("byId('stage').hidden")
  assert not page.run("byId('no-preview').hidden")


def test_the_player_moves_and_stops(page):
  page.run("update({model: 'model_1/1'})")
  assert page.run("byId('stages').children.length") == 2  # leapfrog beside it
  pixels = "document.querySelector('#stages canvas').toDataURL()"
  choose(page, "frame", "0")
  first = page.run(pixels)
  choose(page, "speed", "4")
  page.run("byId('play').click()")
  assert page.run("byId('play').textContent") == "Pause"
  page.wait("player.frame >= 2")
  page.run("byId('play').click()")
  frame = page.run("player.frame")
  assert page.run(pixels) != first
  time.sleep(0.2)
  assert page.run("player.frame") == frame
  assert "RMSE" in page.run("byId('stages').innerText")
  choose(page, "rollout", "1")
  assert "trajectory 7" in page.run(
    "byId('rollout').selectedOptions[0].textContent"
  )


def test_export(page, data, tmp_path):
  page.call(
    "Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path)
  )
  choose(page, "division", "learned-open")
  names = page.run(NAMES)
  for kind in ("csv", "json", "tex"):
    page.run(f"document.querySelector('[data-export={kind}]').click()")
    path = tmp_path / f"nbody_gravity-n5-rollout100.{kind}"
    for _ in range(200):
      if path.exists() and path.stat().st_size:
        break
      time.sleep(0.02)
  rows = list(csv.DictReader((tmp_path / path.with_suffix(".csv").name).open()))
  assert [row["name"] for row in rows] == names
  exported = json.loads(path.with_suffix(".json").read_text())["entries"]
  assert [e["name"] for e in exported] == names
  means = {e["name"]: e["scores"] for e in data["tasks"][0]["entries"]}
  for row, entry in zip(rows, exported, strict=True):
    score = means[row["name"]]["energy_error"]["100"]
    assert float(row["energy_error@100"]) == pytest.approx(score["mean"])
    assert entry["scores"]["energy_error"]["100"] == pytest.approx(score)
  table = path.read_text()
  lines = [line for line in table.splitlines() if line.endswith(r"\\")]
  assert len(lines) == 1 + len(names)
  assert len({line.count("&") for line in lines}) == 1
  assert r"\begin{tabular}" in table


def test_every_control_is_reached_by_keyboard(page):
  reachable = page.run(
    "[...document.querySelectorAll('button, select, input, a[href], summary')]"
    ".filter(node => node.checkVisibility() && !node.disabled).length"
  )
  page.run(
    "document.body.addEventListener('focusin', event => {"
    " const style = getComputedStyle(event.target);"
    " (window.met ??= new Map()).set(event.target, style.outlineStyle); });"
    " byId('theme').focus()"
  )
  for _ in range(2 * reachable):
    page.key("Tab", TAB)
    if page.run("document.activeElement === document.body"):
      break
  met = page.run(
    "[...met.keys()].filter(node => "
    "node.matches('button, select, input, a[href], summary')).length"
  )
  assert met == reachable
  assert page.run("[...met.values()].every(style => style !== 'none')")


def test_a_header_is_pressed_by_keyboard_and_keeps_the_focus(page):
  page.run("document.querySelector('th[data-key=name] button').focus()")
  page.key("Enter", 13, "\r")
  assert page.run("location.hash").startswith("#sort=name")
  assert page.run("document.activeElement.textContent") == "Model"
  page.key(" ", 32, " ")
  assert page.run(f"{SORT}.getAttribute('aria-sort')") == "descending"


@pytest.mark.parametrize("model", ["", "model_5/1"])
def test_a_phone_needs_no_sideways_scrolling(page, model):
  page.size(375, 812, mobile=True)
  try:
    page.run(f"update({{model: {model!r}, columns: 'all'}})")
    assert page.run("innerWidth") == 375
    assert page.run("document.documentElement.scrollWidth") <= 375
    wide = page.run(
      "[...document.querySelectorAll('main *')].filter(node => "
      "node.checkVisibility() && !node.closest('.scroll, pre, .u-wrap') &&"
      " node.getBoundingClientRect().right > 376).map(node => node.outerHTML)"
    )
    assert wide == []
  finally:
    page.size(1000, 700)


def test_dark_by_the_system_and_by_the_switch(page):
  def brightness():
    colour = page.run("getComputedStyle(document.body).backgroundColor")
    return sum(int(x) for x in colour[4:-1].split(","))

  def system(scheme):
    feature = {"name": "prefers-color-scheme", "value": scheme}
    page.call("Emulation.setEmulatedMedia", features=[feature])

  system("light")
  assert brightness() > 600
  system("dark")
  assert brightness() < 150
  choose(page, "theme", "light")
  assert brightness() > 600
  system("light")
  choose(page, "theme", "dark")
  assert brightness() < 150


def test_the_policy_forbids_all_network(page):
  for attempt in ("http://127.0.0.1:9/x", "data:,x"):
    failed = page.run(f"fetch({attempt!r}).then(() => '', e => e.name)")
    assert failed == "TypeError"
  injected = page.run(
    "(() => { const s = document.createElement('script');"
    " s.textContent = 'window.injected = 1'; document.body.append(s);"
    " return window.injected === undefined; })()"
  )
  assert injected
  assert page.complaints()  # each attempt is reported
  page.events.clear()


@pytest.mark.parametrize(
  ("num_entries", "change"),
  [
    (0, dict),
    (1, dict),
    (2, page_fixtures.hostile),
    (2, page_fixtures.without_numbers),
    (2, page_fixtures.bare),
  ],
)
def test_any_board(tab, tmp_path, num_entries, change):
  board = change(page_fixtures.page_data(num_entries, sizes=(3,)))
  tab.open(site.write(board, tmp_path).as_uri())
  for entry in ("", "model_0/1", board_key(board)):
    tab.run(f"update({{model: {json.dumps(entry)}, columns: 'all'}})")
  if num_entries:
    tab.run("update({model: ''})")
    tab.run("toLatex(visibleEntries(), rowsShown.columns)")
    tab.run("toCsv(visibleEntries(), rowsShown.columns)")
    assert tab.run(f"{ROWS}.length") == num_entries
  if change is page_fixtures.hostile:
    assert tab.run("document.title").endswith(page_fixtures.HOSTILE)
    assert tab.run("document.images.length") == 0
    if num_entries:
      assert page_fixtures.HOSTILE in tab.run("byId('table').innerText")
  assert tab.complaints() == []
  assert tab.requests() == []


def board_key(board):
  entries = board["tasks"][0]["entries"] if board["tasks"] else []
  return f"{entries[0]['key']}/{entries[0]['version']}" if entries else "x"


def test_a_task_without_entries(tab, tmp_path):
  board = page_fixtures.page_data(1)
  empty, most = board["tasks"][0], board["tasks"][1]
  empty["entries"] = []
  page = site.write(board, tmp_path).as_uri()
  tab.open(f"{page}#task={empty['id']}")
  assert tab.run(f"{ROWS}[0].textContent") == "No entry yet."
  # Who asks for none is shown one that has entries.
  tab.open(page)
  assert tab.run("currentTask().id") == most["id"]
  assert tab.complaints() == []


def test_the_api_holds_what_the_page_shows(folder, data):
  api = folder / "api" / "v1"
  board = json.loads((api / "board.json").read_text())
  assert [t["id"] for t in board["tasks"]] == [t["id"] for t in data["tasks"]]
  for listed, task in zip(board["tasks"], data["tasks"], strict=True):
    kept = json.loads((api / listed["files"]["json"]).read_text())
    assert kept["entries"][0]["scores"] == task["entries"][0]["scores"]
    assert "preview" not in kept["entries"][0]
    with (api / listed["files"]["csv"]).open() as file:
      rows = list(csv.DictReader(file))
    scores = sum(len(entry["scores"]) for entry in task["entries"])
    assert len(rows) == scores * len(page_fixtures.REPORT_STEPS)


def test_numbers_that_are_none_are_refused(tmp_path, data):
  broken = {**data, "metric_version": float("nan")}
  with pytest.raises(ValueError, match="JSON compliant"):
    site.write(broken, tmp_path)
  assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_five_hundred_entries_open_at_once(tab, tmp_path):
  path = site.write(page_fixtures.page_data(500, sizes=(20,)), tmp_path)
  tab.open(path.as_uri())
  loaded = tab.run("performance.getEntriesByType('navigation')[0].duration")
  assert loaded < 10_000
  assert tab.run(f"{ROWS}.length") == 500
  begin = time.monotonic()
  press_header(tab, "energy_error@100")
  choose(tab, "q", "model_49")
  assert tab.run(f"{ROWS}.length") == 11
  assert time.monotonic() - begin < 5
  assert tab.complaints() == []
