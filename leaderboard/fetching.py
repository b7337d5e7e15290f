"""Brings the arrays of an entry to hand, from a folder or over https."""

import contextlib
import hashlib
import ipaddress
import pathlib
import socket
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any

from nbody_bench.files import replace_bytes
from nbody_bench.submission_files import MAX_FILE_BYTES
from nbody_bench.submissions import Submission, SubmissionError

_SECONDS = 60  # without an answer

Open = Callable[[str], contextlib.AbstractContextManager[IO[bytes]]]


class NotAtHandError(SubmissionError):
  """The arrays cannot be had, for now; what they are is not in question."""


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
  """Follows no redirection to anything else."""

  def redirect_request(self, req, fp, code, msg, headers, newurl):
    check(newurl)
    return super().redirect_request(req, fp, code, msg, headers, newurl)


def open_url(url: str) -> contextlib.AbstractContextManager[IO[bytes]]:
  """Opens an address that may be opened.

  Raises:
    SubmissionError: as `check`.
    OSError: if nothing answers.
  """
  check(url)
  opener = urllib.request.build_opener(_HttpsOnly())
  return opener.open(url, timeout=_SECONDS)


def check(url: str) -> None:
  """Refuses what is no public https address.

  An entry must not make the board look into the network that it is in.

  Raises:
    SubmissionError: saying what it is.
  """
  parts = _parts(url)
  try:
    found = socket.getaddrinfo(parts.hostname, parts.port or 443)
  except OSError as error:
    raise NotAtHandError(f"{url}: no such host ({error})") from None
  for *_, address in found:
    if not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_global:
      raise SubmissionError(
        f"{url}: {parts.hostname} is {address[0]}, no public address"
      )


def check_offer(at: str, max_length: int) -> None:
  """Refuses what an entry may not say of where its arrays are.

  Nothing is asked for: they may be put there after the entry.

  Raises:
    SubmissionError: saying what is wrong.
  """
  if len(at) > max_length:
    raise SubmissionError(
      f"--arrays_at={at[:40]}... has {len(at)} characters, more than "
      f"{max_length}; keep the arrays at a shorter address"
    )
  if "://" in at:
    _parts(at)


def _parts(url):
  """Returns the parts of an https address."""
  parts = urllib.parse.urlsplit(url)
  if parts.scheme != "https" or not parts.hostname:
    raise SubmissionError(f"{url}: arrays are fetched from https:// alone")
  return parts


@contextlib.contextmanager
def at_hand(
  content: Mapping[str, Any],
  at: str,
  board: pathlib.Path,
  open_: Open = open_url,
) -> Iterator[Submission]:
  """Yields a submission whose arrays can be read, for as long as they can.

  Args:
    content: of `submission.json`, which has each file's size and hash.
    at: where its arrays are: an https address, or a path relative to the board;
      empty for the addresses that `content` has.
    board: the folder of entries.
    open_: opens an address.

  Raises:
    NotAtHandError: if nobody says where they are, or nothing answers.
    SubmissionError: if they are too large, or not those of `content`.
  """
  if at and "://" not in at:
    yield Submission(board / at, content)
    return
  with tempfile.TemporaryDirectory(prefix="nbody_bench-") as folder:
    for entry in content["predictions"]:
      url = f"{at.rstrip('/')}/{urllib.parse.quote(entry['file'])}"
      url = url if at else entry.get("url", "")
      if not url:
        raise NotAtHandError(
          "its arrays are not at hand (not offered); whoever has them can run "
          "`leaderboard submit` on the same submission with --arrays_at=, an "
          "https address or a folder's absolute path"
        )
      fetched = _fetch(url, entry["bytes"], entry["sha256"], open_)
      replace_bytes(pathlib.Path(folder) / entry["file"], fetched)
    yield Submission(pathlib.Path(folder), content)


def complete(
  submission: Submission, open_: Open = open_url
) -> contextlib.AbstractContextManager[Submission]:
  """Returns `at_hand` of a submission, from its folder or its addresses."""
  files = [p["file"] for p in submission.content["predictions"]]
  is_local = any((submission.directory / file).exists() for file in files)
  has_addresses = all(p.get("url") for p in submission.content["predictions"])
  if is_local or not has_addresses:
    return contextlib.nullcontext(submission)
  return at_hand(submission.content, "", submission.directory, open_)


def _fetch(url, size, sha256, open_):
  """Returns a file of known size and hash; no more than that is read."""
  if size > MAX_FILE_BYTES:
    raise SubmissionError(
      f"{url}: has {size} bytes, more than {MAX_FILE_BYTES}"
    )
  try:
    with open_(url) as response:
      content = response.read(size + 1)
  except (OSError, urllib.error.URLError, ValueError) as error:
    if isinstance(error, SubmissionError):
      raise
    raise NotAtHandError(f"{url}: cannot be fetched: {error}") from None
  if len(content) != size or hashlib.sha256(content).hexdigest() != sha256:
    raise SubmissionError(
      f"{url}: size or SHA-256 differs from submission.json; put the file "
      "there as it was submitted"
    )
  return content
