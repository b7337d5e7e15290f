"""The leaderboard: `python -m nbody_bench.leaderboard COMMAND`.

  validate DIR   check a submission: format, hashes, arrays
  score DIR      recompute every score from the arrays, claimed beside re-scored
  submit DIR     re-score and enter it into the board
  rescore        re-score all entries whose arrays are at hand, rank changes
  build          print the tables and write the page

DIR is the `submission/` folder that `nbody_bench.run` wrote. Data that a task
needs are generated if missing.
"""

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
  flags.DEFINE_string("out", None, "folder for the page (build)", **options)
  flags.DEFINE_string(
    "arrays_at",
    "",
    "https address or path, relative to the board, under which the files of "
    "`predictions` will be kept (submit)",
    **options,
  )


def leaderboard(values, rest):
  """Runs the command."""
  from nbody_bench import submissions
  from nbody_bench.leaderboard import build, rescoring, scoring, standings

  command, *directories = rest or [""]
  if not values.board:
    raise ValueError("no --board given, the folder of the entries")
  board = pathlib.Path(values.board)
  if command == "build" and not directories:
    if not values.out:
      raise ValueError("build needs --out, the folder for the page")
    page = build.build(board, pathlib.Path(values.out))
    for entries in build.by_task(board):
      print(standings.text(entries), end="\n\n")
    print(f"page: {page.resolve().as_uri()}")
    return
  if command == "rescore" and not directories:
    changes, left, wrong = rescoring.rescore(board, values.data_dir)
    print(changes)
    for line in left:
      print(f"NOT RE-SCORED: {line}")
    if wrong:
      raise ValueError("; ".join(wrong))
    return
  if command not in ("validate", "score", "submit") or not directories:
    raise ValueError(
      f"{' '.join(rest) or 'no command'!r} is not understood; say validate, "
      "score or submit with the folder of a submission, or build or rescore"
    )
  for directory in directories:
    submission = submissions.load(pathlib.Path(directory))
    if command == "submit":
      folder, wrong = scoring.submit(
        submission, board, values.data_dir, values.arrays_at
      )
      print(f"{submission.key} entered as {folder}")
    else:
      result, _ = scoring.rescore(submission, values.data_dir)
      wrong = result["disagreements"]
      if command == "score":
        print(scoring.table(submission, result))
      else:
        print(f"{submission.key} is valid")
    for line in wrong:
      print(f"DISAGREES: {line}")


def main(argv=None):
  """Entry point; returns the exit code."""
  return command_line.run(leaderboard, define, argv, __doc__)


if __name__ == "__main__":
  sys.exit(main())
