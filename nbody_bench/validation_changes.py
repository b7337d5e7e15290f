"""What was made once, and what would be made now: in what they differ."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow_datasets as tfds


def differences(
  before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any, Any]]:
  """Yields what differs in plain data: its name, then and now.

  Args:
    before: settings by name, nested.
    now: likewise; None stands for what only one of them has.
    prefix: of the names, which are like `config.num_layers`.
  """
  for key in {**before, **now}:
    then, given = before.get(key), now.get(key)
    if isinstance(then, Mapping) and isinstance(given, Mapping):
      yield from differences(then, given, f"{prefix}{key}.")
    elif then != given:
      yield f"{prefix}{key}", then, given


def edited(builder: tfds.core.DatasetBuilder) -> str:
  """Returns what a builder says of prepared data that it was not made with.

  Args:
    builder: of a data set that is prepared.

  Returns:
    A sentence with both values and the way out; empty if there is nothing.
  """
  tell = getattr(builder.builder_config, "metadata", None)
  if tell is None:  # not of this suite's base classes
    return ""
  # JSON has no tuples; data made just now were not read from it.
  made, said = (
    json.loads(json.dumps(x)) for x in (builder.info.metadata, tell())
  )
  found = [
    f"{name}={then}, the builder says {now}"
    for name, then, now in differences(made, said)
    # What was not stated may have been the same; a bound makes no example.
    if None not in (then, now) and not name.startswith("max_")
  ]
  if not found:
    return ""
  return (
    f"made with {'; with '.join(found)}; raise VERSION, or remove "
    f"{builder.data_dir}"
  )
