import hashlib
import json
import pathlib

import numpy as np
import pytest
import simulated
import tensorflow_datasets as tfds

from nbody_bench import croissant


@pytest.fixture(scope="module", params=simulated.NAMES)
def builder(request, data_dir):
  return tfds.builder(f"{request.param}/smoke", data_dir=data_dir)


@pytest.fixture(scope="module")
def described(builder):
  return json.loads(json.dumps(croissant.describe(builder)))


def test_what_the_format_demands(described, builder):
  assert described["@type"] == "sc:Dataset"
  assert described["conformsTo"] == "http://mlcommons.org/croissant/1.1"
  assert described["name"] == f"{builder.name}_smoke"
  assert described["version"] == str(builder.version)
  assert described["license"].startswith("https://spdx.org/licenses/")
  for key in ("description", "creator", "datePublished"):
    assert described[key], key
  assert described.get("citeAs", "@").startswith("@")
  assert builder.builder_config.description in described["description"]


def test_files_are_there_with_their_size_and_hash(described, builder):
  folder = pathlib.Path(builder.data_dir)
  objects = [
    x for x in described["distribution"] if x["@type"] == "cr:FileObject"
  ]
  assert {x["contentUrl"] for x in objects} == {
    p.name for p in folder.iterdir() if p.name != "croissant.json"
  }
  for x in objects:
    content = (folder / x["contentUrl"]).read_bytes()
    assert x["sha256"] == hashlib.sha256(content).hexdigest()
    assert x["contentSize"] == f"{len(content)} B"
  (every,) = (
    x for x in described["distribution"] if x["@type"] == "cr:FileSet"
  )
  assert {p.name for p in folder.glob(every["includes"])} == {
    x["@id"] for x in objects if x["encodingFormat"] == every["encodingFormat"]
  }


def test_fields_are_the_features(described, builder):
  _, trajectories = described["recordSet"]
  split, *fields = trajectories["field"]
  assert split["references"] == {"field": {"@id": "splits/name"}}
  example = next(iter(tfds.as_numpy(builder.as_dataset(split="train"))))
  assert {f["name"] for f in fields} == set(example)
  for field in fields:
    value = np.asarray(example[field["name"]])
    assert (
      field["dataType"]
      == {"f": "cr:Float64", "i": "cr:Int64"}[value.dtype.kind]
    )
    # No method of Croissant takes a feature out of a TFRecord.
    assert field["source"] == {"fileSet": {"@id": "records"}}
    if not value.shape:
      assert "isArray" not in field
      continue
    assert field["isArray"] is True
    sizes = [int(n) for n in field["arrayShape"].split(",")]
    assert all(n in (-1, m) for n, m in zip(sizes, value.shape, strict=True))


def test_splits_are_listed_with_their_sizes(described, builder):
  splits, _ = described["recordSet"]
  assert splits["dataType"] == "cr:Split"
  assert {
    row["splits/name"]: row["splits/num_trajectories"] for row in splits["data"]
  } == {k: v.num_examples for k, v in builder.info.splits.items()}
  roles = {row["splits/name"]: row["splits/role"] for row in splits["data"]}
  assert roles["train"] == "cr:TrainingSplit"
  assert roles["test_long"] == "cr:TestSplit"


def test_the_reference_library_reads_it(described):
  mlcroissant = pytest.importorskip("mlcroissant")
  dataset = mlcroissant.Dataset(jsonld=described)
  issues = dataset.metadata.ctx.issues
  assert not issues.errors
  assert all("citeAs" in w for w in issues.warnings)
  assert len(list(dataset.records("splits"))) == len(
    described["recordSet"][0]["data"]
  )
