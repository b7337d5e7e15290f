"""What maintainers' machines take from a pull request."""

import pathlib
import shutil
import subprocess

import pytest

SCRIPT = pathlib.Path(__file__).parents[1] / ".github" / "take_submissions.sh"
PLACE = "leaderboard/incoming/my_model/1/submission.json"

pytestmark = pytest.mark.skipif(
  shutil.which("git") is None or not SCRIPT.exists(), reason="needs a checkout"
)


@pytest.fixture
def repository(tmp_path):
  folder = tmp_path / "repository"
  folder.mkdir()
  git(folder, "init", "-q", "-b", "main")
  (folder / "code.py").write_text("1")
  commit(folder)
  git(folder, "checkout", "-q", "-b", "proposed")
  return folder


def git(folder, *arguments):
  names = ["-c", "user.name=x", "-c", "user.email=x@x.org"]
  subprocess.run(["git", *names, *arguments], cwd=folder, check=True)


def commit(folder):
  git(folder, "add", "-A")
  git(folder, "commit", "-q", "-m", "x")


def take(folder):
  """Returns the exit code, the files taken, and what was said."""
  out = folder.parent / "taken"
  git(folder, "checkout", "-q", "main")
  done = subprocess.run(
    [str(SCRIPT), "main", "proposed", str(out)],
    cwd=folder,
    capture_output=True,
    text=True,
    check=False,
  )
  taken = [
    p.relative_to(out).as_posix() for p in out.rglob("*.*") if p.is_file()
  ]
  return done.returncode, sorted(taken), done.stderr


def add(folder, path, content="{}"):
  target = folder / path
  target.parent.mkdir(parents=True, exist_ok=True)
  target.write_text(content)


def test_a_submission_is_taken(repository):
  add(repository, PLACE, '{"schema": 1}')
  commit(repository)
  assert take(repository) == (0, [PLACE], "")
  out = repository.parent / "taken"
  assert (out / PLACE).read_text() == '{"schema": 1}'


def test_what_the_base_has_gained_meanwhile_does_not_count(repository):
  add(repository, PLACE)
  commit(repository)
  git(repository, "checkout", "-q", "main")
  add(repository, "code.py", "2")
  commit(repository)
  assert take(repository)[:2] == (0, [PLACE])


@pytest.mark.parametrize(
  "path",
  [
    "code.py",
    ".github/workflows/x.yml",
    "leaderboard/incoming/submission.json",
    "leaderboard/incoming/my_model/1/run.py",
    "leaderboard/incoming/my_model/1/more/submission.json",
    "leaderboard/incoming/.hidden/1/submission.json",
    "leaderboard/incoming/my model/1/submission.json",
    "leaderboard/incoming/a\nleaderboard/incoming/b/1/submission.json",
    "leaderboard/submissions/my_model/1/x/scores.json",
  ],
)
def test_nothing_else_is(path, repository):
  add(repository, path, "2")
  commit(repository)
  code, taken, said = take(repository)
  assert code == 1
  assert taken == []
  assert "may be added" in said


def test_no_link_is(repository):
  link = repository / PLACE
  link.parent.mkdir(parents=True)
  link.symlink_to("/etc/passwd")
  commit(repository)
  assert take(repository)[:2] == (1, [])


def test_nothing_is_deleted(repository):
  git(repository, "rm", "-q", "code.py")
  commit(repository)
  assert take(repository)[0] == 1


def test_nothing_large_is(repository):
  add(repository, PLACE, " " * (2**20 + 1))
  commit(repository)
  code, taken, said = take(repository)
  assert (code, taken) == (1, [])
  assert "larger" in said
