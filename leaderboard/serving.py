"""Shows a folder in the browsers of this machine."""

import functools
import http.server
import pathlib


def serve(folder: pathlib.Path, port: int) -> None:
  """Serves a folder on the loopback address until it is interrupted.

  Args:
    folder: with `index.html`.
    port: to listen at; 0 for any that is free.

  Raises:
    OSError: if the port is taken.
  """
  handler = functools.partial(_Quiet, directory=str(folder))
  with http.server.ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
    print(f"http://127.0.0.1:{server.server_port}/, Ctrl-C ends", flush=True)
    server.serve_forever()


class _Quiet(http.server.SimpleHTTPRequestHandler):
  def log_message(self, format, *args):
    """Says nothing of each file."""
