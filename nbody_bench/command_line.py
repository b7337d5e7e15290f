"""What all commands share: flags from dataclasses, errors in one line.

Each command defines its flags in its own `FlagValues`, so that commands can be
called from one process (tests, notebooks) without clashing.
"""

import dataclasses
import inspect
import logging as stdlib_logging
import math
import os
import sys
import typing
from collections.abc import Callable, Sequence
from typing import Any

from absl import flags, logging

from nbody_bench import plugin_files, plugins, signals

_FIELD_TYPES = "bool, int, float, str, Literal of strings or tuple[int, ...]"


def run(
  main: Callable[[flags.FlagValues, list[str]], int | None],
  define: Callable[[flags.FlagValues, Sequence[str]], None],
  argv: Sequence[str] | None = None,
  usage: str | None = "",
  needs_tensorflow: bool = True,
) -> int:
  """Parses flags and runs a command.

  Args:
    main: gets the flag values and the other arguments; returns an exit code, or
      None for 0.
    define: defines flags; sees the raw arguments too.
    argv: program name and arguments; default those of the process.
    usage: text that `--help` prints before the flags.
    needs_tensorflow: whether nothing can be done without it.

  Returns:
    The exit code: 0; 2 for what the user can mend (one line on stderr, no
    traceback); 130 after Ctrl-C or SIGTERM.
  """
  argv = list(sys.argv if argv is None else argv)
  # TFDS warns of deprecations of its own, TensorFlow of every further program.
  logging.set_verbosity(logging.ERROR)
  stdlib_logging.getLogger("tensorflow").setLevel(stdlib_logging.ERROR)
  if needs_tensorflow:
    try:
      import_tensorflow()
    except ImportError as error:
      print(f"error: {_tensorflow_missing(error)}", file=sys.stderr)
      return 2
  values = flags.FlagValues()
  try:
    with signals.raising():
      plugins.extend_paths()  # a wrong folder concerns every command
      define(values, argv)
      if {"--help", "-h"} & set(argv):
        print(usage, values.get_help(), sep="\n")
        return 0
      rest = values(argv)[1:]
      return main(values, rest) or 0
  except Exception as error:
    if os.environ.get("NBODY_BENCH_TRACEBACK") or not _can_be_mended(error):
      raise
    print(f"error: {_in_one_line(error)}", file=sys.stderr)
    return 2
  except KeyboardInterrupt:
    print("stopped; what was finished is saved", file=sys.stderr)
    return 130


def _can_be_mended(error):
  """Returns whether a user can do something about an error."""
  if isinstance(error, (ValueError, OSError, ArithmeticError, flags.Error)):
    return True
  # Of a full disk or an unreadable file, raised by native code.
  return type(error).__module__ == "tensorflow.python.framework.errors_impl"


def _in_one_line(error):
  text = " ".join(str(error).split()) or type(error).__name__
  if place := plugin_files.place(error):
    text = f"{place}: {type(error).__name__}: {text}"
    text += "; NBODY_BENCH_TRACEBACK=1 shows the calls that led there"
  return text


def _tensorflow_missing(error):
  if isinstance(error, ModuleNotFoundError) and error.name == "tensorflow":
    return "TensorFlow is not installed; pip install tensorflow"
  reason = str(error).strip().partition("\n")[0]
  return (
    f"TensorFlow cannot be imported ({reason}); pip install --force-reinstall "
    "tensorflow, or ask python -m nbody_bench.doctor"
  )


def import_tensorflow() -> None:
  """Imports TensorFlow, its start-up chatter kept off the terminal.

  Its native code reports missing GPUs as errors before its own log level is in
  force. What goes wrong still raises.
  """
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
  if "tensorflow" in sys.modules:
    return
  sys.stderr.flush()
  terminal = os.dup(2)
  nowhere = os.open(os.devnull, os.O_WRONLY)
  try:
    os.dup2(nowhere, 2)
    import tensorflow as tf

    tf.config.list_physical_devices()
  finally:
    os.dup2(terminal, 2)
    os.close(terminal)
    os.close(nowhere)


def define_dataclass(
  values: flags.FlagValues, prefix: str, kind: type, leave_out=()
) -> None:
  """Defines a flag `--<prefix>.<field>` for each field of a dataclass.

  Fields are bool, int, float, str, `Literal` of strings, or a tuple of ints.

  Raises:
    ValueError: for what is no dataclass, and for a field of another type or
      without a default.
  """
  if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
    raise ValueError(
      f"{kind!r} is no dataclass; write @dataclasses.dataclass(frozen=True) "
      "above the class"
    )
  hints = typing.get_type_hints(kind)
  for field in dataclasses.fields(kind):
    if field.name in leave_out:
      continue
    name = f"{prefix}.{field.name}"
    default: Any = field.default
    hint, arguments = hints[field.name], typing.get_args(hints[field.name])
    options = {"flag_values": values}
    text = f"field of {kind.__module__}.{kind.__qualname__}"
    if default is dataclasses.MISSING:
      raise _unfit(kind, field, hint)
    if hint is bool:
      flags.DEFINE_bool(name, default, text, **options)
    elif hint is int:
      flags.DEFINE_integer(name, default, text, **options)
    elif hint is float:
      flags.DEFINE_float(name, default, text, **options)
    elif hint is str:
      flags.DEFINE_string(name, default, text, **options)
    elif typing.get_origin(hint) is typing.Literal and all(
      isinstance(x, str) for x in arguments
    ):
      flags.DEFINE_enum(name, default, list(arguments), text, **options)
    elif hint == tuple[int, ...] and isinstance(default, tuple):
      flags.DEFINE_list(name, list(map(str, default)), text, **options)
    else:
      raise _unfit(kind, field, hint)


def _unfit(kind, field, hint):
  """Returns the error of a field that cannot be a flag."""
  default = f"the default {field.default!r}"
  if field.default is dataclasses.MISSING:
    default = "no default"
  return ValueError(
    f"{kind.__module__}.{kind.__qualname__}.{field.name} is of type "
    f"{inspect.formatannotation(hint)} with {default} and cannot be a flag; "
    f"a field is {_FIELD_TYPES}, with a default of that type"
  )


def from_flags(
  values: flags.FlagValues, prefix: str, kind: type, **others: Any
) -> Any:
  """Returns the dataclass whose fields the flags of `define_dataclass` set.

  Raises:
    ValueError: if a tuple's element is no integer, a number is not finite, or
      the class refuses.
  """
  hints = typing.get_type_hints(kind)
  for field in dataclasses.fields(kind):
    if field.name in others:
      continue
    value: Any = values[f"{prefix}.{field.name}"].value
    if hints[field.name] == tuple[int, ...]:
      value = integers(f"--{prefix}.{field.name}", value)
    if isinstance(value, float) and not math.isfinite(value):
      raise ValueError(f"--{prefix}.{field.name}={value}: give a finite number")
    others[field.name] = value
  return kind(**others)


def floats(flag: str, texts: Sequence[str]) -> tuple[float, ...]:
  """Returns the numbers of a comma-separated flag.

  Raises:
    ValueError: naming the flag, also of what is not positive and finite.
  """
  try:
    numbers = tuple(float(x) for x in texts)
  except ValueError:
    numbers = (math.nan,)
  if not all(0 < x < math.inf for x in numbers):
    raise ValueError(
      f"{flag}={','.join(texts)} is not a list of positive numbers such as "
      "1e-3,3e-4"
    )
  return numbers


def integers(flag: str, texts: Sequence[str]) -> tuple[int, ...]:
  """Returns the integers of a comma-separated flag.

  Raises:
    ValueError: naming the flag.
  """
  try:
    return tuple(int(x) for x in texts)
  except ValueError:
    raise ValueError(
      f"{flag}={','.join(texts)} is not a list of integers such as 0,1,2"
    ) from None
