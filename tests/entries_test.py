"""Files that come from outside: packed, fetched, or proposed as entries."""

import contextlib
import hashlib
import io
import json
import pathlib
import shutil
import socket
import stat
import zipfile

import numpy as np
import pytest

from nbody_bench.leaderboard import (
  build,
  entries,
  entry_checks,
  fetching,
  unpacking,
)
from nbody_bench.submission_files import MAX_FILE_BYTES
from nbody_bench.submissions import Submission, SubmissionError

BOARD = pathlib.Path(entries.__file__).parent / "submissions"
(MODEL, *_) = sorted(p.name for p in BOARD.iterdir() if p.is_dir())


# Packed.


def packed(path, *members):
  with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
    for info, content in members:
      archive.writestr(info, content)
  return path


def a_link(name, target):
  info = zipfile.ZipInfo(name)
  info.external_attr = (stat.S_IFLNK | 0o777) << 16
  return info, target


def test_a_folder_is_taken_as_it_is(tmp_path):
  with unpacking.folder_of(tmp_path) as folder:
    assert folder == tmp_path


@pytest.mark.parametrize("around", ["", "submission/"])
def test_a_zip_is_unpacked_and_gone_afterwards(around, tmp_path):
  path = packed(
    tmp_path / "x.zip",
    (f"{around}submission.json", "{}"),
    (f"{around}predictions/a.npz", "a"),
  )
  with unpacking.folder_of(path) as folder:
    assert (folder / "submission.json").read_text() == "{}"
    assert (folder / "predictions" / "a.npz").read_text() == "a"
  assert not folder.exists()
  assert [p.name for p in tmp_path.iterdir()] == ["x.zip"]


@pytest.mark.parametrize(
  ("members", "message"),
  [
    ([("../evil", "x")], "leads elsewhere"),
    ([("a/../../evil", "x")], "leads elsewhere"),
    ([("/tmp/evil", "x")], "leads elsewhere"),
    ([("a\\..\\evil", "x")], "leads elsewhere"),
    ([a_link("a", "/etc/passwd")], "is a link"),
    ([("a", "x")] * 2, "there twice"),
    ([(f"{i}", "") for i in range(2001)], "has 2001 files"),
    ([("a", b"\0" * (MAX_FILE_BYTES + 1))], "at most .* a file"),
  ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_hostile_zip_is_refused(members, message, tmp_path):
  path = packed(tmp_path / "x.zip", *members)
  with (
    pytest.raises(SubmissionError, match=message),
    unpacking.folder_of(path),
  ):
    pass
  assert [p.name for p in tmp_path.iterdir()] == ["x.zip"]


def test_a_zip_that_lies_about_its_size_is_refused(tmp_path):
  path = packed(tmp_path / "x.zip", ("a", b"\0" * 100_000))
  content = bytearray(path.read_bytes())
  for place in (22, content.rindex(b"PK\x01\x02") + 24):
    content[place : place + 4] = (10).to_bytes(4, "little")
  path.write_bytes(content)
  with pytest.raises(SubmissionError), unpacking.folder_of(path):
    pass


def test_what_is_no_zip_is_refused(tmp_path):
  (tmp_path / "x.zip").write_bytes(b"PK\x03\x04 and nothing")
  with (
    pytest.raises(SubmissionError, match="cannot be unpacked"),
    unpacking.folder_of(tmp_path / "x.zip"),
  ):
    pass


# Fetched.

CONTENT = b"arrays" * 100


def offered(**changes):
  entry = {
    "seed": 0,
    "file": "predictions/a b.npz",
    "bytes": len(CONTENT),
    "sha256": hashlib.sha256(CONTENT).hexdigest(),
  }
  return {"predictions": [entry | changes]}


def answering(content, asked):
  @contextlib.contextmanager
  def open_(url):
    asked.append(url)
    yield io.BytesIO(content)

  return open_


def test_arrays_are_fetched_by_hash(tmp_path):
  asked = []
  at = "https://x.org/files/", tmp_path, answering(CONTENT, asked)
  with fetching.at_hand(offered(), *at) as submission:
    path = submission.directory / "predictions" / "a b.npz"
    assert path.read_bytes() == CONTENT
  assert asked == ["https://x.org/files/predictions/a%20b.npz"]
  assert not path.exists()


def test_arrays_are_fetched_from_their_own_address(tmp_path):
  asked = []
  content = offered(url="https://x.org/a.npz")
  submission = Submission(tmp_path, content)
  with fetching.complete(submission, answering(CONTENT, asked)) as found:
    assert found.directory != tmp_path
  assert asked == ["https://x.org/a.npz"]
  path = tmp_path / "predictions" / "a b.npz"
  path.parent.mkdir()
  path.write_bytes(CONTENT)
  with fetching.complete(submission) as found:
    assert found is submission


@pytest.mark.parametrize(
  ("content", "answer", "message"),
  [
    (offered(), CONTENT[:-1], "size or SHA-256 differs"),
    (offered(), CONTENT + b"x", "size or SHA-256 differs"),
    (offered(), b"A" * len(CONTENT), "size or SHA-256 differs"),
    (offered(bytes=MAX_FILE_BYTES + 1), CONTENT, "more than"),
  ],
)
def test_other_files_are_refused(content, answer, message, tmp_path):
  opened = answering(answer, [])
  with (
    pytest.raises(SubmissionError, match=message),
    fetching.at_hand(content, "https://x.org", tmp_path, opened),
  ):
    pass


@pytest.mark.parametrize(
  ("url", "message"),
  [
    ("http://example.org/a", "https:// alone"),
    ("file:///etc/passwd", "https:// alone"),
    ("ftp://example.org/a", "https:// alone"),
    ("https:///a", "https:// alone"),
    ("https://127.0.0.1/a", "no public address"),
    ("https://[::1]/a", "no public address"),
    ("https://169.254.169.254/latest", "no public address"),
    ("https://10.0.0.1:8443/a", "no public address"),
  ],
)
def test_no_address_inside_is_asked(url, message):
  with pytest.raises(SubmissionError, match=message):
    fetching.check(url)


@pytest.mark.parametrize(
  ("at", "message"),
  [
    ("http://example.org/a", "https:// alone"),
    ("https:///a", "https:// alone"),
    ("https://example.org/" + "a" * 300, "320 characters, more than 300"),
  ],
)
def test_no_entry_says_that_its_arrays_are_elsewhere(at, message):
  with pytest.raises(SubmissionError, match=message):
    fetching.check_offer(at, entry_checks.max_length("arrays_at"))


def test_what_is_put_there_later_may_be_offered():
  for at in "", "out/run", "/data/run", "https://example.org/a":
    fetching.check_offer(at, 300)


def test_a_host_that_is_not_there_is_not_at_hand(monkeypatch):
  def nowhere(*_):
    raise socket.gaierror("no such name")

  monkeypatch.setattr(socket, "getaddrinfo", nowhere)
  with pytest.raises(fetching.NotAtHandError, match="no such host"):
    fetching.open_url("https://example.org/a")


def test_what_nobody_offers_is_not_at_hand(tmp_path):
  with (
    pytest.raises(fetching.NotAtHandError, match=r"not offered.*--arrays_at="),
    fetching.at_hand(offered(), "", tmp_path),
  ):
    pass


# Proposed.


@pytest.fixture
def board(tmp_path):
  shutil.copytree(BOARD / MODEL, tmp_path / MODEL)
  return tmp_path


def spoil_json(change):
  def spoil(folder):
    path = folder / "scores.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))

  return spoil


def spoil_arrays(name, change):
  def spoil(folder):
    with np.load(folder / name) as file:
      arrays = dict(file)
    change(arrays)
    np.savez(folder / name, **arrays)

  return spoil


def of_first(part, key, value):
  def change(content):
    first = next(iter(content[part]))
    content[part][first][key] = value

  return change


def double(arrays):
  arrays.update({k: x.astype(np.float64) for k, x in arrays.items()})


def with_nan(arrays):
  next(iter(arrays.values()))[0, 0] = np.nan


@pytest.mark.parametrize(
  ("spoil", "message"),
  [
    (lambda f: (f / "values.npz").unlink(), "No such file"),
    (lambda f: (f / "values.npz").write_bytes(b"x"), "cannot be read"),
    (lambda f: (f / "scores.json").write_text("{"), "is not valid JSON"),
    (lambda f: (f / "scores.json").write_text("[" * 10**5), "not valid JSON"),
    (spoil_json(lambda c: c.pop("worst")), "'worst' is a required property"),
    (spoil_json(lambda c: c.update(x=1)), "'x' was unexpected"),
    (spoil_json(lambda c: c.update(survival=[1.0])), "survival: has 1 steps"),
    (spoil_json(lambda c: c["task"].update(times=[1.0])), "times: has 1 steps"),
    (spoil_json(of_first("scores", "at", {"7": {}})), "scores.*at.7"),
    (spoil_json(of_first("scores", "curve", [])), "a curve has 0 steps"),
    (spoil_json(of_first("floor", "curve", [1e99])), "floor.*greater than"),
    (spoil_json(lambda c: c.update(survival=[np.nan] * 200)), "is not finite"),
    (spoil_json(lambda c: c["task"].update(id="x")), "is of another task"),
    (spoil_arrays("values.npz", dict.clear), "values.npz: holds"),
    (spoil_arrays("values.npz", double), "values.npz: .* is float64"),
    (spoil_arrays("values.npz", with_nan), "values.npz: .* is not finite"),
    (spoil_arrays("fingerprint.npz", dict.clear), "fingerprint.npz: expected"),
    (spoil_arrays("preview.npz", lambda a: a.pop("box")), "preview.npz: holds"),
    (
      spoil_arrays("preview.npz", lambda a: a.update(time=a["time"][1:])),
      "preview.npz: time is",
    ),
  ],
)
def test_a_spoilt_entry_is_named(spoil, message, board, tmp_path):
  (folder,) = entries.folders(board)
  spoil(folder)
  with pytest.raises(SubmissionError, match=message) as error:
    build.page_data(board)
  assert str(folder) in str(error.value)


def test_checks_are_told_what_is_on_the_board(board):
  """Files, settings and errors of each entry, and those before it alone."""
  (entry,) = entries.all_of(board)
  (other,) = entries.predecessors([entry])
  assert other.key.startswith(f"{MODEL}/")
  assert other.hashes == [p["sha256"] for p in entry.submission["predictions"]]
  settings = {"width": 3}
  wide = entry._replace(submission=entry.submission | {"config": settings})
  assert entries.predecessors([wide])[0].config == settings
  assert other.config == entry.submission["config"]
  np.testing.assert_array_equal(other.fingerprint, entry.fingerprint)
  assert not entries.predecessors([entry], of=entry)


def test_a_bomb_of_an_entry_is_not_unpacked(board):
  (folder,) = entries.folders(board)
  np.savez_compressed(folder / "preview.npz", x=np.zeros(2**27, np.uint8))
  with pytest.raises(SubmissionError, match=r"preview\.npz: cannot be read"):
    build.page_data(board)
