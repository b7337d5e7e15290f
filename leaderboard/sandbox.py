"""Runs a submitted SavedModel where it can reach nothing.

A process of its own, in Linux namespaces: no network, no other processes to
see, every file system read-only, limits of memory, CPU time and files. Arrays
go in and come out by pipes. Where the kernel offers no such namespaces nothing
is run: the tier *reproduced* cannot be had there.
"""

import dataclasses
import io
import os
import pathlib
import resource
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence

import numpy as np

from nbody_bench.submissions import SubmissionError

_RUNNER = pathlib.Path(__file__).parent / "run_saved_model.py"
_MAX_OUTPUT_BYTES = 2**28

# Every mount becomes read-only; what the kernel does not let us change is its
# own. Libraries insist on a place for temporary files: a small one in memory.
_SHUT = """
set -e
mount --make-rprivate /
for place in $(awk '{print $5}' /proc/self/mountinfo); do
  mount -o remount,bind,ro "$place" 2>/dev/null || true
done
mount -t proc proc /proc
mount -t tmpfs -o size=64m tmpfs /dev/shm
for place in / /tmp /var/tmp /home /root; do
  if touch "$place/.shut" 2>/dev/null; then
    rm -f "$place/.shut"
    echo "$place can be written: no shelter here" >&2
    exit 97
  fi
done
exec "$@"
"""


@dataclasses.dataclass(frozen=True)
class Limits:
  """What a model may use.

  Attributes:
    seconds: of wall time, and of CPU time on each core.
    memory_bytes: of data.
    num_files: open at a time.
  """

  seconds: float = 600.0
  memory_bytes: int = 8 * 2**30
  num_files: int = 256


def is_available() -> bool:
  """Returns whether processes can be shut in here."""
  if shutil.which("unshare") is None or sys.platform != "linux":
    return False
  try:
    isolated(["true"], b"", Limits(seconds=30))
  except SubmissionError:
    return False
  return True


def run(
  model: pathlib.Path, inputs: Mapping[str, np.ndarray], limits: Limits
) -> dict[str, np.ndarray]:
  """Calls the signature `predict` of a SavedModel.

  Args:
    model: its folder, which `model_scan.check` has passed.
    inputs: arrays by name, with calls as their first axis but for `times`.
    limits: of the process.

  Returns:
    Outputs by name, with calls as their first axis, and `seconds` of each.

  Raises:
    SubmissionError: if it fails, does not end in time or takes too much.
  """
  given = io.BytesIO()
  np.savez(given, **inputs)  # type: ignore[arg-type]
  command = [sys.executable, "-I", str(_RUNNER), str(model.resolve())]
  done = isolated(command, given.getvalue(), limits)
  with np.load(io.BytesIO(done), allow_pickle=False) as file:
    return dict(file)


def isolated(command: Sequence[str], given: bytes, limits: Limits) -> bytes:
  """Runs a command shut in; returns its standard output.

  Args:
    command: to run.
    given: its standard input.
    limits: of the process.

  Raises:
    SubmissionError: if it fails, does not end in time or writes too much.
  """
  try:
    done = subprocess.run(
      [*_ISOLATED, "sh", "-c", _SHUT, "sh", *command],
      input=given,
      capture_output=True,
      timeout=limits.seconds,
      preexec_fn=lambda: _limit(limits),
      env=_ENVIRONMENT,
      cwd="/",
      check=False,
    )
  except subprocess.TimeoutExpired:
    raise SubmissionError(
      f"model: did not end in {limits.seconds:g} s"
    ) from None
  if done.returncode:
    told = done.stderr.decode(errors="replace").strip().splitlines()
    reason = told[-1][:200] if told else f"exit code {done.returncode}"
    raise SubmissionError(f"model: could not be run: {reason}")
  if len(done.stdout) > _MAX_OUTPUT_BYTES:
    raise SubmissionError(f"model: gave more than {_MAX_OUTPUT_BYTES} bytes")
  return done.stdout


_ISOLATED = (
  "unshare",
  *("--user", "--map-root-user", "--net", "--mount", "--pid", "--ipc"),
  *("--fork", "--kill-child"),
)
# Nothing of the caller's: no tokens, no paths.
_ENVIRONMENT = {
  "PATH": os.defpath,
  "HOME": "/nonexistent",
  "TMPDIR": "/dev/shm",
  "TF_CPP_MIN_LOG_LEVEL": "3",
  "CUDA_VISIBLE_DEVICES": "-1",
}


def _limit(limits):
  seconds = int(limits.seconds * (os.cpu_count() or 1))
  for kind, value in (
    (resource.RLIMIT_DATA, limits.memory_bytes),
    (resource.RLIMIT_CPU, seconds),
    (resource.RLIMIT_FSIZE, _MAX_OUTPUT_BYTES),
    (resource.RLIMIT_NOFILE, limits.num_files),
    (resource.RLIMIT_CORE, 0),
  ):
    resource.setrlimit(kind, (value, value))
