"""What the documents say is run as it is written."""

import doctest
import importlib
import importlib.util
import pathlib
import pkgutil
import re
import shlex
import shutil

import pytest

import nbody_bench
from nbody_bench import doctor, export, inspect, prepare, run
from nbody_bench.leaderboard import __main__ as leaderboard

ROOT = pathlib.Path(__file__).parent.parent
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "examples/README.md")
MAINS = {
  "nbody_bench.run": run.main,
  "nbody_bench.prepare": prepare.main,
  "nbody_bench.inspect": inspect.main,
  "nbody_bench.export": export.main,
  "nbody_bench.leaderboard": leaderboard.main,
  "nbody_bench.doctor": doctor.main,
}


def blocks(document, language):
  text = (ROOT / document).read_text()
  return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def commands(document):
  text = "\n".join(blocks(document, "bash")).replace("\\\n", " ")
  lines = (line.partition("#")[0].strip() for line in text.splitlines())
  return [x for x in lines if x.startswith("python ")]


def test_the_model_in_contributing_is_the_one_that_is_tested():
  (model,) = blocks("CONTRIBUTING.md", "python")
  path = ROOT / "tests" / "data" / "linear_drag.py"
  assert model == path.read_text()


def test_the_documents_have_commands():
  assert len(commands("README.md")) >= 6
  assert all(commands(d) for d in DOCUMENTS)


@pytest.mark.filterwarnings("ignore:some particles have more than")
@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_run_as_written(document, tmp_path, monkeypatch, data_dir):
  """On the smoke data, with few steps, in the order of the document."""
  monkeypatch.chdir(tmp_path)
  shutil.copytree(ROOT / "examples", tmp_path / "examples")
  shutil.copy(ROOT / "tests/data/linear_drag.py", tmp_path / "my_model.py")
  for command in commands(document):
    _, _, name, *arguments = shlex.split(command)
    if "slabs" in command and not importlib.util.find_spec("ase"):
      continue  # an extra, without which these data cannot be made
    arguments = [re.sub(r"/(n\d+|emt)\b", "/smoke", a) for a in arguments]
    if name not in ("nbody_bench.doctor",):
      arguments.append(f"--data_dir={data_dir}")
    if name == "nbody_bench.leaderboard":
      arguments.append("--board=board")
    if name == "nbody_bench.run":
      arguments += ["--train_steps=2", "--batch_size=2", "--timing=none"]
      arguments += ["--seeds=0", "--recipe.warmup_steps=0"]
    assert MAINS[name]([name, *arguments]) == 0, command


def test_python_of_the_readme_runs(monkeypatch, data_dir):
  monkeypatch.setenv("TFDS_DATA_DIR", data_dir)
  (code,) = blocks("README.md", "python")
  names = {}
  exec(
    code.replace('split="train"', f'split="train", data_dir={data_dir!r}'),
    names,
  )
  assert len(list(names["trajectories"])) == 4


def test_links_of_the_documents_lead_somewhere():
  for document in DOCUMENTS:
    text = (ROOT / document).read_text()
    for target in re.findall(r"\]\(([^)#]+)\)", text):
      if not target.startswith("https://"):
        assert ((ROOT / document).parent / target).exists(), target


def test_examples_in_docstrings():
  package = pathlib.Path(nbody_bench.__file__).parent
  tried = 0
  for module in pkgutil.iter_modules([str(package)]):
    loaded = importlib.import_module(f"nbody_bench.{module.name}")
    result = doctest.testmod(loaded)
    assert result.failed == 0, module.name
    tried += result.attempted
  assert tried >= 5
