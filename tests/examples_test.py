"""The examples, and what `--model=path/to/file.py:ClassName` accepts."""

import json
import pathlib
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from nbody_bench import plugins, run, simulators, tasks, testing, training
from nbody_bench.recipes import Recipe

EXAMPLES = pathlib.Path(__file__).parents[1] / "examples"
KERAS = f"{EXAMPLES / 'keras_model.py'}:PairNetwork"
MULTI_FRAME = f"{EXAMPLES / 'multi_frame_simulator.py'}:Taylor"


def run_model(model, folder, data_dir, *more):
  return run.main(
    [
      "run",
      f"--model={model}",
      "--dataset=nbody_gravity/smoke",
      f"--data_dir={data_dir}",
      f"--output_dir={folder}",
      "--timing=none",
      *more,
    ]
  )


def losses(folder):
  lines = (folder / "seed_0" / "metrics.jsonl").read_text().splitlines()
  logged = [json.loads(x) for x in lines]
  return [x["train_loss"] for x in logged if "train_loss" in x]


@pytest.mark.parametrize(
  ("model", "key", "flags"),
  [
    (KERAS, "PairNetwork", ["--config.width=8"]),
    (MULTI_FRAME, "Taylor", ["--recipe.learning_rate=0.05"]),
  ],
  ids=["keras", "multi_frame"],
)
def test_an_example_trains_and_is_scored(
  model, key, flags, data_dir, tmp_path, capsys
):
  flags = [*flags, "--train_steps=200", "--batch_size=8"]
  assert run_model(model, tmp_path, data_dir, *flags) == 0
  first, last = losses(tmp_path)
  assert last < 0.9 * first
  scores = json.loads((tmp_path / "seed_0" / "scores.json").read_text())
  assert sorted(scores["metrics"]) == sorted(tasks.METRICS)
  assert 0 < scores["metrics"]["rollout_rmse"]["at"]["20"] < 1
  submission = json.loads((tmp_path / "submission/submission.json").read_text())
  assert submission["model_key"] == key
  assert submission["training"]["steps"] == 200
  assert key in capsys.readouterr().out


def test_examples_give_their_command():
  files = sorted(EXAMPLES.glob("*.py"))
  models = [KERAS, MULTI_FRAME]
  readme = (EXAMPLES / "README.md").read_text()
  assert len(files) == len(models) + 1
  for path in files:
    text = path.read_text()
    if path.name == "relax_with_ase.py":  # which uses models
      assert f"  python examples/{path.name}\n" in text
      continue
    name = re.search(rf"--model=examples/{path.name}:(\w+)", text)[1]
    assert f"{path}:{name}" in models
    assert f"--model=examples/{path.name}:{name} " in readme
    assert plugins.load_model(f"{path}:{name}").key == name


@pytest.mark.parametrize(
  "model", [KERAS, MULTI_FRAME], ids=["keras", "multi_frame"]
)
def test_padding_changes_nothing_in_an_example(model):
  plugin = plugins.load_model(model)
  built = plugin.build(plugin.config(), testing.problem())
  if plugin.key == "Taylor":
    built.coupling.assign(1.0)
  state, particles, domain = testing.random_system()
  padded = testing.pad(state, particles, 3)
  time = tf.constant([0.1])
  predict = simulators.as_simulator(built).predict
  one, other = (
    predict(*testing.to_tensors((*x, domain)), time).state
    for x in ((state, particles), padded)
  )
  for x, y in zip(one, other, strict=True):
    np.testing.assert_allclose(x, y[:, :, :5], atol=1e-5)


def train_keras(directory, steps, model=None):
  plugin = plugins.load_model(KERAS)
  model = model or plugin.build(plugin.config(width=4), testing.problem())
  data = testing.trajectory(num_frames=4)
  training.loss_function(model)(testing.to_tensors(data.frames(0, 2)))
  training.train(
    model,
    Recipe(train_steps=steps, batch_size=4),
    data,
    lambda: {"loss": 1.0},
    directory,
    seed=0,
  )
  return [v.numpy() for v in model.trainable_variables]


def test_a_keras_model_is_saved_and_restored(tmp_path):
  trained = train_keras(tmp_path, 3)
  restored = train_keras(tmp_path, 3)  # another start, no step left
  elsewhere = train_keras(tmp_path / "new", 3)
  for one, other in zip(trained, restored, strict=True):
    np.testing.assert_array_equal(one, other)
  assert any(np.any(x != y) for x, y in zip(trained, elsewhere, strict=True))


def test_which_loss_a_keras_model_is_trained_on():
  class Flight(keras.Model):
    def call(self, state, particles, domain, time_step):
      velocity = state.velocity + 1.0
      return state._replace(
        position=domain.wrap(state.position + time_step * state.velocity),
        velocity=velocity,
      )

  class WithLoss(Flight):
    def loss(self, window):
      del window
      return tf.constant(7.0)

  window = testing.to_tensors(testing.trajectory(num_frames=2))
  compiled = Flight()
  compiled.compile(loss=keras.losses.MeanSquaredError())
  # Velocities are off by 1: two of the four coordinates.
  for model, expected in ((Flight(), 0.5), (compiled, 0.5), (WithLoss(), 7.0)):
    loss = training.loss_function(model)(window)
    assert float(loss) == pytest.approx(expected, rel=1e-4)


def write(tmp_path, text):
  path = tmp_path / "my_model.py"
  path.write_text(text)
  return path


TWO_CLASSES = """
class Config: pass
class Falling:
  def predict(self, state, particles, domain, times): ...
class Rising(Falling): pass
"""


@pytest.mark.parametrize(
  ("text", "suffix", "message"),
  [
    (
      TWO_CLASSES,
      ":Fallen",
      r"'Fallen' is not in the models of \S+my_model.py. Did you mean "
      "'Falling'. There are: Falling, Rising. Name one as --model=path",
    ),
    (TWO_CLASSES, "", "'Simulator' is not in the models of .*: Falling, Ris"),
    (TWO_CLASSES, ":Config", "'Config' is not in the models of"),
    (TWO_CLASSES, ":", "'' is not in the models of"),
    ("x = 1", ":Model", "my_model.py' defines no class Model with a method"),
    ("\ndef f(:\n", ":M", r"\S+my_model.py, line 2: SyntaxError: invalid sy"),
    (
      "import os\nimport torchh",
      ":M",
      r"my_model.py, line 2: ModuleNotFoundError: No module named 'torchh'$",
    ),
    (
      "def f():\n  return undefined\nf()",
      ":M",
      r"my_model.py, line 2: NameError: name 'undefined' is not defined$",
    ),
  ],
)
def test_what_is_wrong_with_a_file_is_said_in_one_line(
  text, suffix, message, data_dir, tmp_path, capsys
):
  path = write(tmp_path, text)
  assert run_model(f"{path}{suffix}", tmp_path / "out", data_dir) == 2
  error = capsys.readouterr().err
  assert error.startswith("error: ")
  assert error.count("\n") == 1
  assert re.search(message, error.strip()), error
  assert not (tmp_path / "out").exists()


def test_a_mistake_in_an_imported_file_is_placed_there(tmp_path, monkeypatch):
  (tmp_path / "my_layers.py").write_text("x = 1\ny = = 2\n")
  monkeypatch.syspath_prepend(tmp_path)
  path = write(tmp_path, "import my_layers\nclass M: ...\n")
  with pytest.raises(ValueError, match=r"my_layers.py, line 2: SyntaxError"):
    plugins.load_model(f"{path}:M")


def test_a_file_is_executed_once_until_it_is_edited(tmp_path):
  path = write(tmp_path, TWO_CLASSES)
  first = plugins.load_model(f"{path}:Falling").simulator
  assert plugins.load_model(f"{path}:Falling").simulator is first
  path.write_text(TWO_CLASSES + "class New(Falling): pass\n")
  assert plugins.load_model(f"{path}:New").key == "New"


def test_with_and_without_config(tmp_path):
  text = """
from __future__ import annotations
import dataclasses
class Simulator:
  def __init__(self, *arguments):
    self.arguments = arguments
  def predict(self, state, particles, domain, times): ...
"""
  plain = plugins.load_model(str(write(tmp_path, text)))
  assert plain.key == "my_model"
  assert plain.build(plain.config(), "problem").arguments == ()
  text += "@dataclasses.dataclass\nclass Config:\n  width: int = 3\n"
  path = write(tmp_path, text)
  model = plugins.load_model(str(path))
  config = model.config()
  assert model.build(config, "problem").arguments == (config, "problem")


def test_a_constructor_that_fails_keeps_its_traceback(data_dir, tmp_path):
  text = "class M:\n  def __init__(self): raise RuntimeError('mine')\n"
  text += "  def predict(self, state, particles, domain, times): ...\n"
  with pytest.raises(RuntimeError, match="mine"):
    run_model(f"{write(tmp_path, text)}:M", tmp_path / "out", data_dir)
