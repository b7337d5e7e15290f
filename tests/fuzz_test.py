"""Whatever is handed in or lies on the board: a clean error or a result.

`pytest -m slow tests/fuzz_test.py` looks for ten minutes.
"""

import copy
import hashlib
import io
import json
import pathlib
import shutil
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nbody_bench import run
from nbody_bench.leaderboard import __main__ as leaderboard
from nbody_bench.leaderboard import entries

BOARD = pathlib.Path(entries.__file__).parent / "submissions"
FEW, MANY = 15, 600

# What a parser or a page may stumble over.
NASTY = st.one_of(
  st.none(),
  st.booleans(),
  st.integers(-(2**70), 2**70),
  st.floats(),
  st.text(max_size=20),
  st.sampled_from(
    [
      *("", "\0", "../x", "/etc/passwd", "a/../../b.npz", "{{DATA}}"),
      *("</script><script>alert(1)</script>", "=1+1", "\u202e", "x" * 10**5),
      *("nbody_gravity/smoke/rollout7", "nbody_gravity/none/rollout7"),
      *(1e308, -0.0, 10**400),
    ]
  ),
  st.lists(st.integers(), max_size=3),
  st.dictionaries(st.text(max_size=5), st.integers(), max_size=3),
)


def places(content, path=()):
  """Returns the paths of all values of nested lists and dictionaries."""
  items = (
    content.items()
    if isinstance(content, dict)
    else enumerate(content)
    if isinstance(content, list)
    else ()
  )
  found = [path] if path else []
  for key, value in items:
    found += places(value, (*path, key))
  return found


def changed(data, content):
  """Returns a copy with a few values replaced, removed or added."""
  content = copy.deepcopy(content)
  for _ in range(data.draw(st.integers(1, 3))):
    *way, last = data.draw(st.sampled_from(places(content) or [("x",)]))
    parent = content
    for key in way:
      parent = parent[key]
    action = data.draw(st.sampled_from(["replace", "remove", "add"]))
    if action == "remove" and last != "x":
      del parent[last]
    elif action == "add" and isinstance(parent, dict):
      parent[data.draw(st.text(max_size=8))] = data.draw(NASTY)
    else:
      parent[last] = data.draw(NASTY)
  return content


def broken(data, content):
  """Returns bytes cut, flipped or repeated somewhere."""
  content = bytearray(content)
  for _ in range(data.draw(st.integers(1, 4))):
    place = data.draw(st.integers(0, max(0, len(content) - 1)))
    action = data.draw(st.sampled_from(["flip", "cut", "repeat"]))
    if action == "flip" and content:
      content[place] ^= data.draw(st.integers(1, 255))
    elif action == "cut":
      del content[place:]
    else:
      content[place:place] = content[:place]
  return bytes(content)


def rearranged(data, content):
  """Returns an `.npz` with an array changed in kind, shape or name."""
  with np.load(io.BytesIO(content)) as file:
    arrays = dict(file)
  name = data.draw(st.sampled_from(sorted(arrays)))
  x = arrays[name]
  changes = {
    "dtype": lambda: x.astype(data.draw(st.sampled_from(["f8", "i1", "c8"]))),
    "text": lambda: np.full(x.shape, "x"),
    "flat": lambda: x.reshape(-1),
    "empty": lambda: x[:0],
    "scalar": lambda: np.array(7),
    "nan": lambda: np.full(x.shape, np.nan, np.float32),
    "huge": lambda: np.full(x.shape, 3e38, np.float32),
    "infinite": lambda: np.full(x.shape, -np.inf, np.float32),
  }
  arrays[name] = changes[data.draw(st.sampled_from(sorted(changes)))]()
  if data.draw(st.booleans()):
    arrays[data.draw(st.sampled_from(["x", "../x", "a/b"]))] = np.zeros(3)
  buffer = io.BytesIO()
  np.savez(buffer, **arrays)
  return buffer.getvalue()


@pytest.fixture(scope="module")
def submission(tmp_path_factory, data_dir):
  out = tmp_path_factory.mktemp("honest")
  flags = ["--model=ballistic", "--dataset=nbody_gravity/smoke"]
  flags += ["--timing=none", f"--data_dir={data_dir}", f"--output_dir={out}"]
  assert run.main(["run", *flags]) == 0
  return out / "submission"


def call(*arguments):
  """Returns the exit code; what is no clean error is raised."""
  return leaderboard.main(["leaderboard", *map(str, arguments)])


def folder_of(tmp_path_factory, source):
  folder = tmp_path_factory.mktemp("fuzzed") / "x"
  shutil.copytree(source, folder)
  return folder


def often(num_examples):
  """Settings of a look; a short one sees the same each time."""
  return settings(
    max_examples=num_examples,
    deadline=None,
    database=None,
    derandomize=num_examples == FEW,
    suppress_health_check=list(HealthCheck),
  )


def look_at_submissions(num_examples, submission, tmp_path_factory, data_dir):
  content = json.loads((submission / "submission.json").read_text())
  (entry,) = content["predictions"]
  arrays = (submission / entry["file"]).read_bytes()

  @often(num_examples)
  @given(st.data())
  def look(data):
    folder = folder_of(tmp_path_factory, submission)
    path = folder / "submission.json"
    kind = data.draw(st.sampled_from(["json", "text", "bytes", "npz", "zip"]))
    if kind == "json":
      path.write_text(json.dumps(changed(data, content)))
    elif kind == "text":
      path.write_bytes(broken(data, path.read_bytes()))
    elif kind in ("bytes", "npz"):
      spoilt = (broken if kind == "bytes" else rearranged)(data, arrays)
      (folder / entry["file"]).write_bytes(spoilt)
      if data.draw(st.booleans()):  # the forger knows what a hash is
        of_it = {
          "bytes": len(spoilt),
          "sha256": hashlib.sha256(spoilt).hexdigest(),
        }
        changes = {"predictions": [entry | of_it]}
        path.write_text(json.dumps(content | changes))
    target = folder
    if kind == "zip":
      buffer = io.BytesIO()
      with zipfile.ZipFile(buffer, "w") as archive:
        archive.write(path, "submission.json")
      target = folder.with_suffix(".zip")
      target.write_bytes(broken(data, buffer.getvalue()))
    board = folder / "board"
    code = call(
      "validate", target, f"--data_dir={data_dir}", f"--board={board}"
    )
    assert code in (0, 1, 2)
    assert not board.exists()
    shutil.rmtree(folder.parent)

  look()


def look_at_boards(num_examples, tmp_path_factory):
  names = ["submission.json", "scores.json"]
  arrays = ["values.npz", "preview.npz", "fingerprint.npz"]

  @often(num_examples)
  @given(st.data())
  def look(data):
    board = tmp_path_factory.mktemp("fuzzed") / "x"
    for model in ("ballistic", "delta_gn"):
      shutil.copytree(BOARD / model, board / model)
    folder = data.draw(st.sampled_from(entries.folders(board)))
    name = data.draw(st.sampled_from([*names, *arrays]))
    path = folder / name
    old = path.read_bytes()
    if name in arrays:
      how = data.draw(st.sampled_from([broken, rearranged]))
      path.write_bytes(how(data, old))
    elif data.draw(st.booleans()):
      path.write_bytes(broken(data, old))
    else:
      path.write_text(json.dumps(changed(data, json.loads(old))))
    out = board.parent / "page"
    code = call("build", f"--board={board}", f"--out={out}")
    assert code in (0, 2)
    # A page is there whole, or not at all.
    assert (code == 0) == (out / "index.html").exists()
    shutil.rmtree(board.parent)

  look()


def test_submissions(submission, tmp_path_factory, data_dir):
  look_at_submissions(FEW, submission, tmp_path_factory, data_dir)


def test_boards(tmp_path_factory):
  look_at_boards(FEW, tmp_path_factory)


@pytest.mark.slow
def test_many_submissions(submission, tmp_path_factory, data_dir):
  look_at_submissions(MANY, submission, tmp_path_factory, data_dir)


@pytest.mark.slow
def test_many_boards(tmp_path_factory):
  look_at_boards(MANY, tmp_path_factory)
