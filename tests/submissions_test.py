"""What a valid submission is, and the message for each way it can be wrong."""

import dataclasses
import io
import json
import os
import re
import zipfile

import numpy as np
import pytest

from nbody_bench import files, submission_files, submissions, tasks
from nbody_bench.cards import ModelCard
from nbody_bench.states import State
from nbody_bench.submissions import SubmissionError

TASK = tasks.Task(
  dataset="nbody_gravity/smoke",
  version="1.0.0",
  split="test",
  num_trajectories=2,
  num_steps=3,
  report_steps=(2, 3),
)
IDS = np.array([0, 1])
FILE = "predictions/test-seed0.npz"


@pytest.fixture
def submission(tmp_path):
  rng = np.random.default_rng(0)
  state = State(*rng.normal(size=(2, 2, 3, 4, 2)).astype(np.float32))
  submission_files.write_predictions(tmp_path / FILE, IDS, state, "motion")
  return submissions.write(
    tmp_path,
    model_key="my_model",
    version="1",
    card=ModelCard(name="My model"),
    task=TASK,
    config={"widths": (3, 4)},
    training={
      "num_parameters": 7,
      "steps": 2,
      "seconds": 0.1,
      "device": "CPU",
    },
    equivariance=None,
    timing=None,
    structure_timing=None,
    seeds=(0,),
    claims={"rollout_rmse": {"at": {"3": {"mean": 1.0, "std": None}}}},
  )


def read(submission):
  return submission_files.read_predictions(
    submission, TASK, submission.content["predictions"][0], IDS, (4, 2)
  )


def arrays_of(submission):
  with np.load(submission.directory / FILE) as file:
    return dict(file)


def replace_file(submission, content):
  """Puts other bytes in place, with their hash: a forgery in good order."""
  path = submission.directory / FILE
  path.write_bytes(content)
  entry = submission.content["predictions"][0]
  entry["bytes"] = len(content)
  entry["sha256"] = files.sha256(path)


def replace_arrays(submission, save=np.savez, **changes):
  arrays = arrays_of(submission) | changes
  buffer = io.BytesIO()
  save(buffer, **{k: v for k, v in arrays.items() if v is not None})
  replace_file(submission, buffer.getvalue())


def test_written_submission_reads_back(submission):
  loaded = submissions.load(submission.directory)
  assert loaded.content == submission.content
  assert loaded.key == "my_model/1/nbody_gravity-smoke-rollout3"
  assert loaded.content["config"] == {"widths": [3, 4]}
  expected = arrays_of(submission)
  np.testing.assert_array_equal(read(loaded).position, expected["position"])


def test_divergence_is_declared_and_kept(submission):
  arrays = arrays_of(submission)
  arrays["velocity"][1, 2, 0, 0] = np.inf
  state = State(arrays["position"], arrays["velocity"])
  path = submission.directory / FILE
  submission_files.write_predictions(path, IDS, state, "motion")
  np.testing.assert_array_equal(arrays_of(submission)["diverged_at"], [-1, 2])
  replace_file(submission, path.read_bytes())
  assert np.isinf(read(submission).velocity[1, 2, 0, 0])


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (lambda c: c.update(wings=2), r"top level: .*'wings' was unexpected"),
    (lambda c: c.pop("task"), r"top level: 'task' is a required property"),
    (
      lambda c: c["card"].update(paper="javascript:alert(1)"),
      r"card\.paper: .* does not match",
    ),
    (
      lambda c: c["predictions"][0].update(file="../../etc/passwd.npz"),
      r"predictions\.0\.file: .* does not match",
    ),
    (
      lambda c: c["predictions"][0].update(file="/etc/passwd.npz"),
      r"predictions\.0\.file: .* does not match",
    ),
    (lambda c: c.update(model_key=".."), r"model_key: "),
    (lambda c: c.update(version="a/b"), r"version: .* does not match"),
    (lambda c: c.update(model_key="new\n"), r"model_key: .* does not match"),
    (lambda c: c.update(model_key=".git"), r"model_key: .* does not match"),
    (lambda c: c.update(date="2026-02-30"), r"date: 2026-02-30 is no date"),
    (lambda c: c.update(metric_version=99), r"metric_version: 99, but scores"),
    (lambda c: c.update(task="a/b/rollout040"), r"task: .* does not match"),
    (
      lambda c: c["training"].update(seconds=10**400),
      r"training\.seconds: 1000",
    ),
    (
      lambda c: c.update(timing={"environment": "x"}),
      r"timing.environment: 'x' is not of type 'object'",
    ),
    (
      lambda c: c["predictions"].append(c["predictions"][0] | {"seed": 1}),
      r"predictions: file predictions/test-seed0.npz is there twice",
    ),
    (
      lambda c: c["claims"]["rollout_rmse"]["3"].update(mean="low"),
      r"claims\.rollout_rmse\.3\.mean: 'low' is not of type 'number'",
    ),
    (
      lambda c: c["training"].update(steps=-1),
      r"training\.steps: -1 is less than the minimum of 0",
    ),
  ],
)
def test_faults_in_the_json_are_named_by_path(submission, change, message):
  change(submission.content)
  path = submission.directory / "submission.json"
  path.write_text(json.dumps(submission.content))
  with pytest.raises(SubmissionError, match=message):
    submissions.load(submission.directory)


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("{", "is not valid JSON"),
    ('{"schema": NaN}', "NaN is not a finite number"),
    ('{"schema": 1e999}', "1e999 is not a finite number"),
    ("[" * 100_000, "is not valid JSON"),
    (" " * 2**20 + "{}", "is larger than"),
  ],
)
def test_unreadable_json(tmp_path, text, message):
  (tmp_path / "submission.json").write_text(text)
  with pytest.raises(SubmissionError, match=message):
    submissions.load(tmp_path)


def test_missing_folder(tmp_path):
  with pytest.raises(SubmissionError, match=r"no file .*give the folder"):
    submissions.load(tmp_path / "nothing")


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"position": np.zeros((2, 3, 999, 2), np.float32)}, "position unpacks to"),
    (
      {"position": np.zeros((2, 4, 3, 2), np.float32)},
      r"position is float32 of shape \(2, 4, 3, 2\); expected",
    ),
    ({"position": np.zeros((2, 3, 4, 2), np.int32)}, "position is int32"),
    ({"velocity": None}, "holds the arrays .* expected exactly"),
    ({"extra": np.zeros(1)}, "holds the arrays .*'extra'"),
    ({"trajectory_id": np.array([1, 0])}, "trajectory_id is not that of"),
    ({"step": np.array([1, 2, 4], np.int32)}, r"step is not 1\.\.3"),
    (
      {"position": np.full((2, 3, 4, 2), np.nan, np.float32)},
      "diverged_at is not the index of the first NaN",
    ),
    ({"diverged_at": np.array([0, -1], np.int32)}, "diverged_at is not"),
  ],
)
def test_wrong_arrays(submission, changes, message):
  replace_arrays(submission, **changes)
  with pytest.raises(SubmissionError, match=f"test-seed0.npz: {message}"):
    read(submission)


def test_changed_file(submission):
  path = submission.directory / FILE
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 1
  path.write_bytes(content)
  with pytest.raises(SubmissionError, match="SHA-256 differs"):
    read(submission)


def test_truncated_file(submission):
  content = (submission.directory / FILE).read_bytes()
  replace_file(submission, content[: len(content) // 2])
  with pytest.raises(SubmissionError, match=r"cannot be read as \.npz"):
    read(submission)


def test_pickled_objects_are_refused(submission):
  class Bomb:
    def __reduce__(self):
      return (os.mkdir, (str(submission.directory / "exploded"),))

  bomb = np.array([Bomb()] * 2, dtype=object)
  shape = arrays_of(submission)["trajectory_id"].nbytes
  buffer = io.BytesIO()
  np.lib.format.write_array(buffer, bomb, allow_pickle=True)
  replace_npy(submission, "trajectory_id", buffer.getvalue())
  with pytest.raises(SubmissionError, match="Object arrays cannot be loaded"):
    read(submission)
  assert shape
  assert not (submission.directory / "exploded").exists()


def test_zip_bomb_is_refused_before_it_is_unpacked(submission):
  replace_npy(submission, "position", b"\0" * 10**8, zipfile.ZIP_DEFLATED)
  assert (submission.directory / FILE).stat().st_size < 10**6
  with pytest.raises(SubmissionError, match="unpacks to 100000000 bytes"):
    read(submission)


def replace_npy(submission, name, content, compression=zipfile.ZIP_STORED):
  source = zipfile.ZipFile(submission.directory / FILE)
  buffer = io.BytesIO()
  with zipfile.ZipFile(buffer, "w", compression) as target:
    for item in source.namelist():
      data = content if item == f"{name}.npy" else source.read(item)
      target.writestr(item, data)
  replace_file(submission, buffer.getvalue())


def test_links_are_not_followed(submission, tmp_path_factory):
  outside = tmp_path_factory.mktemp("outside") / "secret.npz"
  path = submission.directory / FILE
  path.rename(outside)
  path.symlink_to(outside)
  with pytest.raises(SubmissionError, match="links are not followed"):
    read(submission)


def test_linked_folders_are_not_followed(submission, tmp_path_factory):
  outside = tmp_path_factory.mktemp("outside") / "predictions"
  folder = submission.directory / "predictions"
  folder.rename(outside)
  folder.symlink_to(outside)
  with pytest.raises(SubmissionError, match="no such file inside"):
    read(submission)


def test_messages_stay_in_one_line(submission):
  replace_file(submission, b"no zip\n" * 3)
  with pytest.raises(SubmissionError) as error:
    read(submission)
  assert not re.search(r"\n", str(error.value))


def test_accelerations_are_data_where_forces_are_asked_for():
  told = ModelCard(name="My model", physics_given=("accelerations",))
  assert told.for_task("forces").division == "learned-closed"
  assert told.for_task("relaxation").division == "learned-closed"
  assert told.for_task("motion").division == "learned-open"
  plain = ModelCard(name="My model")
  assert plain.for_task("motion") == plain
  classical = dataclasses.replace(told, division="classical")
  assert classical.for_task("motion") == classical
  assert plain.for_task("motion", "states") == plain
  for objective in ("accelerations", "derivatives"):
    assert plain.for_task("motion", objective) == told.for_task("motion")
