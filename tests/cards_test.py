import pathlib
import re

import pytest

from nbody_bench import cards
from nbody_bench.cards import ModelCard

CONTRIBUTING = pathlib.Path(__file__).parents[1] / "CONTRIBUTING.md"


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    (
      {"symmetries": ("rotations",)},
      r"^symmetries=\('rotations',\) of the model card 'M': choose of "
      "permutation, reflection, rotation, translation; `notes`",
    ),
    ({"symmetries": "rotation"}, "symmetries='rotation' of the model"),
    ({"physics_given": ("masses", "mass")}, r"'mass'\) .* choose of masses, "),
    ({"division": "learned"}, "division='learned' .* of learned-closed, "),
  ],
)
def test_unknown_words_are_refused(fields, message):
  with pytest.raises(ValueError, match=message):
    ModelCard(name="M", **fields)


def test_words_are_those_that_are_documented():
  text = " ".join(CONTRIBUTING.read_text().split())
  given = re.search(r"`physics_given` of (.*?)\. `problem`", text)[1]
  assert re.split(", | and ", given) == list(cards.PHYSICS)
  assert "permutation, reflection, rotation and translation" in text
