"""What a user's file does wrong, said in one line."""

import dataclasses
import pathlib
import re
from typing import Literal

import pytest
from absl import flags

from nbody_bench import command_line, plugins

MODEL = pathlib.Path(__file__).parent / "data" / "linear_drag.py"


class Plain:
  width: int = 3


def with_fields(fields):
  return dataclasses.make_dataclass("Config", fields)


@pytest.mark.parametrize(
  ("kind", "message"),
  [
    (
      with_fields([("width", str | None, None)]),
      r"Config.width is of type str \| None with the default None and cannot "
      "be a flag; a field is bool, int, float, str, Literal of strings or ",
    ),
    (
      with_fields([("rates", tuple[float, ...], (0.1,))]),
      r"rates is of type tuple\[float, \.\.\.\] with the default \(0.1,\)",
    ),
    (with_fields([("width", int)]), "width is of type int with no default"),
    (with_fields([("k", Literal[1, 2], 1)]), r"k is of type .*Literal\[1, 2\]"),
    (with_fields([("n", tuple[int, ...], 8)]), "with the default 8 and cannot"),
    (Plain, "Plain'> is no dataclass; write @dataclasses.dataclass"),
    ({"width": 3}, "{'width': 3} is no dataclass"),
  ],
)
def test_what_cannot_be_flags(kind, message):
  with pytest.raises(ValueError, match=message):
    command_line.define_dataclass(flags.FlagValues(), "config", kind)


def run(path, call, capsys):
  """Returns what a command prints that calls a model of a file."""

  def main(values, rest):
    del values, rest
    call(plugins.load_model(str(path)))

  code = command_line.run(main, lambda *_: None, ["x"], needs_tensorflow=False)
  assert code == 2
  return capsys.readouterr().err


def step(model):
  made = model.build(model.config(), None)
  made.step((1.0, 2.0), None, None, 0.1)


@pytest.mark.parametrize(
  ("line", "message"),
  [
    ("1 / 0", r"ZeroDivisionError: division by zero"),
    ("float('x')", "ValueError: could not convert string to float: 'x'"),
    ("tf.ones([2]) @ tf.ones([3])", "InvalidArgumentError: .*"),
  ],
)
def test_an_error_in_a_users_file_is_placed(line, message, tmp_path, capsys):
  text = MODEL.read_text().replace("position, velocity = state", line)
  path = tmp_path / "my_model.py"
  path.write_text(text)
  number = 1 + text.splitlines().index(f"    {line}")
  error = run(path, step, capsys)
  assert re.fullmatch(
    rf"error: {path}, line {number}: {message}; NBODY_BENCH_TRACEBACK=1 shows "
    "the calls that led there\n",
    error,
  ), error


def test_what_we_refuse_below_a_users_file_is_as_we_say_it(tmp_path, capsys):
  text = MODEL.read_text().replace(
    "position, velocity = state",
    "from nbody_bench import recipes; recipes.Recipe(batch_size=0)",
  )
  path = tmp_path / "my_model.py"
  path.write_text(text)
  error = run(path, step, capsys)
  assert error == "error: batch_size is 0; it must be > 0\n"


def test_an_error_of_ours_has_no_place(capsys):
  def main(model):
    del model
    raise ZeroDivisionError("ours")

  assert run(MODEL, main, capsys) == "error: ours\n"
