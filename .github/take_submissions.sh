#!/bin/sh
# Takes what a proposed commit adds under leaderboard/incoming/, as data.
#
#   take_submissions.sh BASE HEAD OUT
#
# Nothing of HEAD is checked out. Whatever is no plain, small submission.json in
# its place is refused, whole: code, links, deletions, other files.
set -eu

base=$1 head=$2 out=$3
place='^leaderboard/incoming/[A-Za-z0-9_][A-Za-z0-9_.-]{0,59}/[A-Za-z0-9_][A-Za-z0-9_.-]{0,59}/submission\.json$'

# Names as they are would let one with a line break look like two.
git -c core.quotePath=true diff --no-renames --raw --no-abbrev \
    "$(git merge-base "$base" "$head")" "$head" |
  while IFS='	' read -r facts path; do
    # shellcheck disable=SC2086  # to be split: modes, hashes, letter
    set -- $facts
    mode=$2 blob=$4
    if [ "$mode" != 100644 ] || ! printf '%s\n' "$path" | grep -Eqx "$place"; then
      echo "$path: only leaderboard/incoming/MODEL/VERSION/submission.json may be added, as a plain file" >&2
      exit 1
    fi
    if [ "$(git cat-file -s "$blob")" -gt 1048576 ]; then
      echo "$path: is larger than 1048576 bytes" >&2
      exit 1
    fi
    mkdir -p "$out/${path%/*}"
    git cat-file blob "$blob" > "$out/$path"
  done
