"""The leaderboard: `python -m nbody_bench.leaderboard COMMAND`.

  export-states        write a task's initial states for any framework
                       (--task, --out)
  validate SUBMISSION  check format, hashes, arrays, honesty: the verdict that
                       `submit` would give; nothing is written
  score SUBMISSION     re-score from the arrays, claimed beside re-scored
  submit SUBMISSION    re-score and enter into the board (--board); with
                       --reproduce, run its models again first; with
                       --arrays_at, others can re-score it, and an entry that
                       is there gets the address
  rescore              re-score all entries whose arrays can be had, print
                       changes of rank
  build                print the tables and write the page (--out)
  serve                build the page and show it on this machine (--port)

SUBMISSION is the folder `submission/` that `nbody_bench.run` wrote, one like
it, or a `.zip` of one. Data that a task needs are generated if missing.
"""

import contextlib
import pathlib
import sys

from absl import flags

from nbody_bench import command_line


def define(values, argv):
  """Defines the flags."""
  del argv
  options = {"flag_values": values}
  flags.DEFINE_string("data_dir", None, "where TFDS keeps its data", **options)
  ours = pathlib.Path(__file__).parent / "submissions"
  flags.DEFINE_string(
    "board",
    str(ours) if ours.is_dir() else None,  # an installed copy has no entries
    "folder of the entries",
    **options,
  )
  flags.DEFINE_string(
    "out", None, "folder to write to (export-states, build, serve)", **options
  )
  flags.DEFINE_string(
    "task", None, "such as nbody_gravity/n20/rollout200", **options
  )
  flags.DEFINE_string(
    "arrays_at",
    "",
    "https address or path, relative to the board, under which the files of "
    "`predictions` will be kept (submit)",
    **options,
  )
  flags.DEFINE_bool(
    "reproduce",
    False,
    "run the submission's models, shut in, and compare (submit)",
    **options,
  )
  flags.DEFINE_integer(
    "port", 8000, "of the page (serve)", lower_bound=0, **options
  )


def export_states(values):
  """Writes what a model is given."""
  from nbody_bench.leaderboard import exporting

  out, task = _needed(values, "out"), _needed(values, "task")
  shapes = exporting.export_states(task, values.data_dir, pathlib.Path(out))
  for name, shape in shapes.items():
    print(f"{name:16} {list(shape)}")
  print(f"predict, then fill in {pathlib.Path(out) / 'submission.json'}")


def validate(values, submission):
  """Gives the verdict of `submit`."""
  result = _scored(values, submission)
  _say(result["disagreements"], result["findings"])
  if any(f["verdict"] == "reject" for f in result["findings"]):
    return 1
  print(f"{submission.key} is valid")
  return 0


def score(values, submission):
  """Shows claimed beside re-scored numbers."""
  from nbody_bench.leaderboard import claims

  result = _scored(values, submission)
  print(claims.table(submission, result))
  _say(result["disagreements"], result["findings"])


def submit(values, submission):
  """Enters a submission into the board."""
  from nbody_bench.leaderboard import build, sandbox, scoring

  folder, result = scoring.submit(
    submission,
    _board(values),
    values.data_dir,
    values.arrays_at,
    sandbox.Limits() if values.reproduce else None,
  )
  _say(result["disagreements"], result["findings"])
  print(f"{submission.key} entered as {folder}")
  if not build.addresses(submission.content, result):
    print(
      "others cannot re-score it: its arrays are not offered; submit it again "
      "with --arrays_at=, an https address or a folder's absolute path"
    )


def rescore(values):
  """Re-scores the whole board."""
  from nbody_bench.leaderboard import rescoring

  result = rescoring.rescore(_existing_board(values), values.data_dir)
  print(result.changes)
  for line in result.left:
    print(f"NOT RE-SCORED: {line}")
  print(f"{result.num_done} of {result.num_entries} re-scored")
  if result.wrong:
    raise ValueError("; ".join(result.wrong))
  # Where nothing was looked at, nothing is known to be well.
  return 1 if result.num_entries and not result.num_done else 0


def build(values):
  """Writes the page."""
  from nbody_bench.leaderboard import build, standings

  out, board = pathlib.Path(_needed(values, "out")), _existing_board(values)
  page = build.build(board, out)
  for entries in build.by_task(board):
    print(standings.text(entries), end="\n\n")
  print(f"page: {page.resolve().as_uri()}")


def serve(values):
  """Shows the page until it is interrupted."""
  from nbody_bench.leaderboard import serving

  build(values)
  serving.serve(pathlib.Path(values.out), values.port)


_ALONE = {
  "export-states": export_states,
  "rescore": rescore,
  "build": build,
  "serve": serve,
}
_OF_SUBMISSIONS = {"validate": validate, "score": score, "submit": submit}


def leaderboard(values, rest):
  """Runs the command."""
  from nbody_bench import submissions
  from nbody_bench.leaderboard import fetching, unpacking

  command, *paths = rest or [""]
  if command in _ALONE and not paths:
    return _ALONE[command](values)
  if command not in _OF_SUBMISSIONS or not paths:
    raise ValueError(
      f"{' '.join(rest) or 'no command'!r} is not understood; say "
      f"{', '.join(_ALONE)}, or {', '.join(_OF_SUBMISSIONS)} with the folder "
      "of a submission; --help tells more"
    )
  codes = []
  for path in paths:
    with contextlib.ExitStack() as stack:
      folder = stack.enter_context(unpacking.folder_of(pathlib.Path(path)))
      submission = stack.enter_context(
        fetching.complete(submissions.load(folder))
      )
      codes.append(_OF_SUBMISSIONS[command](values, submission) or 0)
  return max(codes)


def _scored(values, submission):
  """Returns what `submit` would find, with the entries that are there."""
  from nbody_bench.leaderboard import cases, entries, scoring

  before = entries.all_of(_board(values)) if values.board else []
  # One that is there already is no copy of itself.
  before = [entry for entry in before if entry.key != submission.key]
  case = cases.read(submission, values.data_dir)
  return scoring.rescore(case, entries.predecessors(before))[0]


def _say(disagreements, findings):
  for line in disagreements:
    print(f"DISAGREES: {line}")
  for found in findings:
    print(f"{found['verdict'].upper()}: {found['kind']}: {found['reason']}")


def _board(values):
  return pathlib.Path(_needed(values, "board"))


def _existing_board(values):
  """Returns the folder of entries, which `submit` alone makes."""
  board = _board(values)
  if not board.is_dir():
    raise ValueError(
      f"--board={board} is no folder; give one that holds entries, or make it "
      f"by `leaderboard submit SUBMISSION --board={board}`"
    )
  return board


def _needed(values, flag):
  if not values[flag].value:
    raise ValueError(f"no --{flag} given, {values[flag].help}")
  return values[flag].value


def main(argv=None):
  """Entry point; returns the exit code.

  1 for a submission that is refused, and where nothing could be re-scored.
  """
  return command_line.run(leaderboard, define, argv, __doc__)


if __name__ == "__main__":
  sys.exit(main())
