"""Submitted models: what they may hold, where they run, what they must give."""

import json
import pathlib
import shutil
import sys

import numpy as np
import pytest
import tensorflow as tf

from nbody_bench import (
  plugins,
  rollouts,
  run,
  saved_model,
  simulators,
  submission_files,
  submissions,
  testing,
)
from nbody_bench.leaderboard import __main__ as leaderboard
from nbody_bench.leaderboard import cases, model_scan, reproduce, sandbox
from nbody_bench.submissions import SubmissionError

needs_shelter = pytest.mark.skipif(
  not sandbox.is_available(), reason="needs Linux namespaces"
)
LIMITS = sandbox.Limits(seconds=120)


def save(name, folder):
  """Writes a model with its smallest settings; returns its arguments too."""
  plugin = plugins.load_model(name)
  module = plugins.load("baselines", name)
  config = getattr(module, "TESTING", (plugin.config(),))[0]
  model = plugin.build(config, testing.problem())
  systems = testing.to_tensors(testing.random_system(2, 6))
  times = tf.constant([0.01, 0.02])
  predict = rollouts.Compiled(simulators.as_simulator(model))
  saved_model.write(folder, model, predict, systems, times)
  return predict, systems, times


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
  folder = tmp_path_factory.mktemp("saved") / "model"
  save("delta_gn", folder)
  return folder


def test_what_computes_is_taken(honest):
  model_scan.check(honest)


@pytest.mark.slow
@pytest.mark.parametrize("name", plugins.names("baselines"))
def test_every_baseline_is_taken_and_gives_the_same(name, tmp_path):
  predict, systems, times = save(name, tmp_path / "model")
  model_scan.check(tmp_path / "model")
  loaded = tf.saved_model.load(str(tmp_path / "model"))
  given = saved_model.arrays(*systems, times)
  found = loaded.signatures[saved_model.SIGNATURE](**given)
  expected = predict(*systems, times).state
  for name, value in expected._asdict().items():
    np.testing.assert_array_equal(value, found[name])


def hostile(operation, folder):
  """A SavedModel whose signature does more than compute."""

  def predict(position):
    return {"position": operation(position)}

  holder = tf.Module()
  holder.predict = tf.function(
    predict, input_signature=[tf.TensorSpec([2, 6, 2], name="position")]
  )
  signature = holder.predict.get_concrete_function()
  tf.saved_model.save(holder, str(folder), {saved_model.SIGNATURE: signature})


def reads(x):
  tf.io.read_file("/etc/passwd")
  return x + tf.strings.to_number("1")


def writes(x):
  tf.io.write_file("/tmp/written", "x")
  return x


def calls_python(x):
  return tf.numpy_function(lambda y: y, [x], tf.float32)


def prints(x):
  tf.print(x)
  return x


@pytest.mark.parametrize(
  ("operation", "named"),
  [
    (reads, "ReadFile"),
    (writes, "WriteFile"),
    (calls_python, "PyFunc"),
    (prints, "PrintV2"),
  ],
)
def test_what_does_more_than_compute_is_refused(operation, named, tmp_path):
  hostile(operation, tmp_path / "model")
  with pytest.raises(SubmissionError, match=rf"operations .*{named}.* not all"):
    model_scan.check(tmp_path / "model")


def test_a_function_may_not_have_the_name_of_an_operation(honest, tmp_path):
  from tensorflow.core.protobuf import saved_model_pb2

  shutil.copytree(honest, tmp_path / "model")
  path = tmp_path / "model" / "saved_model.pb"
  content = saved_model_pb2.SavedModel.FromString(path.read_bytes())
  graph = content.meta_graphs[0].graph_def
  graph.library.function[0].signature.name = "ReadFile"
  graph.node.add(name="hidden", op="ReadFile")
  path.write_bytes(content.SerializeToString())
  with pytest.raises(SubmissionError, match="names of operations, ReadFile"):
    model_scan.check(tmp_path / "model")


@pytest.mark.parametrize(
  ("spoil", "message"),
  [
    (lambda f: (f / "saved_model.pb").unlink(), "there is no saved_model.pb"),
    (lambda f: (f / "saved_model.pb").write_bytes(b"\xff" * 99), "cannot be"),
    (lambda f: (f / "run.py").write_text(""), "run.py does not belong there"),
    (lambda f: (f / "more").symlink_to("/etc"), "more does not belong there"),
  ],
)
def test_files_that_make_no_model_are_refused(spoil, message, honest, tmp_path):
  shutil.copytree(honest, tmp_path / "model")
  spoil(tmp_path / "model")
  with pytest.raises(SubmissionError, match=message):
    model_scan.check(tmp_path / "model")


def python(code):
  return [sys.executable, "-I", "-c", code]


@needs_shelter
@pytest.mark.parametrize(
  ("code", "message"),
  [
    ("import socket; socket.create_connection(('127.0.0.1', 1))", "could not"),
    ("import socket; socket.create_connection(('1.1.1.1', 53))", "unreachable"),
    ("open('/tmp/.written', 'w')", "Read-only file system"),
    ("import pathlib; (pathlib.Path.cwd() / 'x').write_text('')", "Read-only"),
    ("x = bytearray(2**31)", "MemoryError"),
    ("import time; time.sleep(60)", "did not end in 5 s"),
    ("raise SystemExit(3)", "exit code 3"),
  ],
)
def test_what_is_shut_in_reaches_nothing(code, message):
  limits = sandbox.Limits(seconds=5, memory_bytes=2**30)
  with pytest.raises(SubmissionError, match=message):
    sandbox.isolated(python(code), b"", limits)


@needs_shelter
def test_what_is_shut_in_sees_nobody(monkeypatch):
  monkeypatch.setenv("SECRET", "token")
  code = """
import os
print(sorted(p for p in os.listdir('/proc') if p.isdigit()), os.environ)
"""
  found = sandbox.isolated(python(code), b"", LIMITS).decode()
  assert found.startswith("['1']")
  assert "token" not in found


@pytest.fixture(scope="module")
def submitted(tmp_path_factory, data_dir):
  out = tmp_path_factory.mktemp("submitted")
  flags = ["--model=delta_gn", "--dataset=nbody_gravity/smoke", "--timing=none"]
  flags += [f"--data_dir={data_dir}", f"--output_dir={out}", "--save_models"]
  flags += ["--train_steps=4"]
  assert run.main(["run", *flags]) == 0
  return submissions.load(out / "submission")


@needs_shelter
@pytest.mark.slow
def test_a_model_gives_what_was_submitted(submitted, data_dir):
  case = cases.read(submitted, data_dir)
  found = reproduce.reproduce(case, LIMITS)
  assert found["first_step"] < 1e-4
  assert found["scores"] < 1e-3
  assert found["seconds_per_step"] > 0
  better = case.truth.trajectory.state.position[:, 1 : case.task.num_steps + 1]
  (uploaded,) = case.predictions
  forged = uploaded._replace(position=better.astype(np.float32))
  with pytest.raises(SubmissionError, match="seed 0 gives other first step"):
    reproduce.reproduce(case._replace(predictions=(forged,)), LIMITS)


@pytest.mark.slow
def test_a_changed_model_is_not_taken(submitted, tmp_path):
  (entry,) = submitted.content["models"]
  folder = pathlib.Path(shutil.copytree(submitted.directory, tmp_path / "x"))
  copy = submissions.load(folder)
  assert submission_files.checked_model(copy, entry) == folder / entry["folder"]
  (folder / entry["folder"] / "fingerprint.pb").write_bytes(b"")
  with pytest.raises(SubmissionError, match="are not those of"):
    submission_files.checked_model(copy, entry)
  content = json.loads((folder / "submission.json").read_text())
  content["models"][0]["folder"] = "../elsewhere"
  with pytest.raises(SubmissionError, match=r"models\.0\.folder"):
    submissions.check_schema(content)


@needs_shelter
@pytest.mark.slow
def test_it_is_entered_as_reproduced(submitted, tmp_path, data_dir):
  flags = [f"--board={tmp_path / 'board'}", f"--data_dir={data_dir}"]
  folder = str(submitted.directory)
  enter = ["leaderboard", "submit", folder, "--reproduce", *flags]
  assert leaderboard.main(enter) == 0
  build = ["leaderboard", "build", f"--out={tmp_path / 'page'}", *flags]
  assert leaderboard.main(build) == 0
  name = submitted.content["task"].replace("/", "-")
  page = json.loads((tmp_path / f"page/api/v1/{name}.json").read_text())
  (entry,) = page["entries"]
  assert entry["tier"] == "reproduced"
  assert 0 < entry["reproduced"]["seconds_per_step"] < 1


@needs_shelter
def test_without_models_nothing_is_entered(tmp_path, data_dir, capsys):
  out = tmp_path / "run"
  flags = ["--model=ballistic", "--dataset=nbody_gravity/smoke"]
  flags += ["--timing=none", f"--data_dir={data_dir}", f"--output_dir={out}"]
  assert run.main(["run", *flags]) == 0
  board = [f"--board={tmp_path / 'board'}", f"--data_dir={data_dir}"]
  enter = ["leaderboard", "submit", str(out / "submission"), "--reproduce"]
  assert leaderboard.main([*enter, *board]) == 2
  assert "models: none for seed 0; run with --save" in capsys.readouterr().err
  assert not list((tmp_path / "board").rglob("*.json"))
