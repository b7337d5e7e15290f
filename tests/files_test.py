"""What is written as JSON reads back the same, and stays small."""

import json

import pytest

from nbody_bench.files import replace_json


def test_numbers_of_a_list_are_on_one_line(tmp_path):
  content = {
    "curves": [[1, 2.5], [-3e-07, None]],
    "words": ["a [", "\n1\n]", "x"],
    "none": [],
    "rows": [{"steps": [20, 200]}],
  }
  path = tmp_path / "one.json"
  replace_json(path, content)
  text = path.read_text()
  assert json.loads(text) == content
  assert "[-3e-07, null]" in text
  assert '"steps": [20, 200]' in text


def test_what_is_no_number_is_refused_and_nothing_written(tmp_path):
  path = tmp_path / "one.json"
  with pytest.raises(ValueError, match="not JSON compliant"):
    replace_json(path, {"loss": float("nan")})
  assert not path.exists()
