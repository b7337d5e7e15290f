"""Data whose builder was edited after they were made are no longer its data."""

import dataclasses

import pytest

from nbody_bench import plugins, prepare, stored, validation
from nbody_bench.solvers import FixedSteps
from nbody_bench.validation_changes import differences, edited

DATASET = "nbody_gravity/smoke"


@pytest.fixture
def config():
  return plugins.load("datasets", "nbody_gravity").Builder.builder_configs[
    "smoke"
  ]


def test_what_differs_is_named():
  before = {"a": 1, "b": {"c": [2], "d": 3, "e": 4}}
  now = {"a": 1, "b": {"c": [2, 5], "d": 3, "f": 6}}
  assert list(differences(before, now)) == [
    ("b.c", [2], [2, 5]),
    ("b.e", 4, None),
    ("b.f", None, 6),
  ]
  assert not list(differences(now, now))


@pytest.mark.parametrize(
  ("field", "change", "message"),
  [
    (
      "system",
      lambda law: dataclasses.replace(law, coupling=-3.0),
      "made with system.coupling=-2.0, the builder says -3.0; raise VERSION",
    ),
    (
      "solver",
      lambda _: FixedSteps(7),
      "solver.num_substeps=64, the builder says 7",
    ),
    (
      "splits",
      lambda splits: splits | {"train": splits["train"]._replace(num_frames=9)},
      "splits.train.num_frames=41, the builder says 9",
    ),
  ],
)
def test_an_edited_builder_is_noticed(
  field, change, message, config, data_dir, monkeypatch, capsys
):
  monkeypatch.setattr(config, field, change(getattr(config, field)))
  builder = stored.builder(DATASET, data_dir)
  assert message in edited(builder)
  assert edited(builder).endswith(f"or remove {builder.data_dir}")
  (finding,) = validation.validate(builder)
  assert str(finding).startswith("error: metadata: made with ")
  assert message in str(finding)
  flags = (f"--dataset={DATASET}", f"--data_dir={data_dir}")
  assert prepare.main(["prepare", *flags]) == 2
  assert message in capsys.readouterr().err


def test_another_bound_makes_no_other_data(config, data_dir, monkeypatch):
  monkeypatch.setattr(config, "max_energy_drift", 0.5)
  assert edited(stored.builder(DATASET, data_dir)) == ""
