"""Drives headless Chromium over a pipe: no port, no driver, no dependency."""

import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import time

_FLAGS = (
  "--headless",
  "--no-sandbox",  # which root does not get
  "--disable-gpu",
  "--hide-scrollbars",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--remote-debugging-pipe",
)


def find():
  """Returns the browser's path, None if there is none."""
  names = ("chromium", "chromium-browser", "google-chrome")
  return next(filter(None, map(shutil.which, names)), None)


@contextlib.contextmanager
def browser(profile):
  """Starts a browser that ends with the block.

  Args:
    profile: an empty folder for what it keeps.
  """
  ours_in, theirs_out = os.pipe()
  theirs_in, ours_out = os.pipe()
  # The browser reads from 3 and writes to 4; the shell puts the pipes there,
  # from numbers that are not themselves 3 or 4.
  ends = [fcntl.fcntl(fd, fcntl.F_DUPFD, 50) for fd in (theirs_in, theirs_out)]
  program = f'exec "$@" 3<&{ends[0]} 4>&{ends[1]}'
  command = ["bash", "-c", program, "bash", find(), *_FLAGS]
  process = subprocess.Popen(
    [*command, f"--user-data-dir={profile}", "about:blank"],
    pass_fds=ends,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
  )
  for fd in (theirs_in, theirs_out, *ends):
    os.close(fd)
  try:
    yield Browser(ours_in, ours_out)
  finally:
    os.close(ours_out)
    try:
      process.wait(timeout=5)
    except subprocess.TimeoutExpired:
      process.kill()
      process.wait()
    os.close(ours_in)


class Browser:
  """One tab, and all that it reported."""

  def __init__(self, incoming, outgoing):
    self._incoming, self._outgoing = incoming, outgoing
    self._buffer, self._count, self._session = b"", 0, None
    self.events = []
    target = self.call("Target.createTarget", url="about:blank")["targetId"]
    attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
    self._session = attached["sessionId"]
    for domain in ("Page", "Runtime", "Network", "Log"):
      self.call(f"{domain}.enable")

  def call(self, method, **params):
    """Returns the result of a command of the DevTools protocol."""
    self._count += 1
    message = {"id": self._count, "method": method, "params": params}
    if self._session:
      message["sessionId"] = self._session
    os.write(self._outgoing, json.dumps(message).encode() + b"\0")
    while True:
      reply = self._receive(30)
      if reply.get("id") == self._count:
        if "error" in reply:
          raise RuntimeError(f"{method}: {reply['error']}")
        return reply["result"]

  def open(self, url):
    """Loads a page, anew if it is there already."""
    # Another query is another page, whatever the part after "#".
    path, mark, fragment = url.partition("#")
    query = f"?{self._count}"
    self.events.clear()
    self.call("Page.navigate", url=path + query + mark + fragment)
    self.wait(
      f"document.readyState === 'complete' && location.search === '{query}'"
    )

  def run(self, script):
    """Returns the value of an expression in the page."""
    result = self.call(
      "Runtime.evaluate",
      expression=script,
      returnByValue=True,
      awaitPromise=True,
    )
    if "exceptionDetails" in result:
      raise RuntimeError(result["exceptionDetails"]["exception"]["description"])
    return result["result"].get("value")

  def wait(self, condition, seconds=20):
    """Waits until an expression is true."""
    end = time.monotonic() + seconds
    while not self.run(condition):
      if time.monotonic() > end:
        raise TimeoutError(condition)
      time.sleep(0.02)

  def key(self, key, code=None, text=None):
    """Presses and releases a key."""
    same = {"key": key, "code": key, "windowsVirtualKeyCode": code or 0}
    same |= {"text": text} if text else {}
    self.call("Input.dispatchKeyEvent", type="keyDown", **same)
    self.call("Input.dispatchKeyEvent", type="keyUp", **same)

  def size(self, width, height, mobile=False):
    """Sets the size of the window's content, in CSS pixels."""
    self.call(
      "Emulation.setDeviceMetricsOverride",
      width=width,
      height=height,
      deviceScaleFactor=1,
      mobile=mobile,
    )

  def requests(self):
    """Returns the addresses that were asked for, but for data and the page."""
    asked = [
      e["params"]["request"]["url"]
      for e in self.events
      if e["method"] == "Network.requestWillBeSent"
      and e["params"].get("type") != "Document"
    ]
    return [url for url in asked if not url.startswith("data:")]

  def complaints(self):
    """Returns exceptions, and errors and warnings of the console."""
    self.run("0")  # what was said before has then arrived
    found = []
    for event in self.events:
      params = event["params"]
      if event["method"] == "Runtime.exceptionThrown":
        found.append(params["exceptionDetails"])
      elif event["method"] == "Log.entryAdded":
        found.append(params["entry"])
      elif event["method"] == "Runtime.consoleAPICalled":
        found.append(params["args"])
    return found

  def _receive(self, seconds):
    while b"\0" not in self._buffer:
      ready, _, _ = select.select([self._incoming], [], [], seconds)
      chunk = os.read(self._incoming, 1 << 20) if ready else b""
      if not chunk:
        raise TimeoutError("the browser does not answer")
      self._buffer += chunk
    text, _, self._buffer = self._buffer.partition(b"\0")
    message = json.loads(text)
    if "method" in message:
      self.events.append(message)
    return message
