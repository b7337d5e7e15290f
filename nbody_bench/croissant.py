"""Croissant metadata of a prepared data set (MLCommons, format 1.1).

The JSON-LD says what the files hold, how long they are and what they hash to,
so that search engines and repositories understand them. It does not replace
TFDS: Croissant knows no way to take a feature out of a TFRecord, and the fields
of the trajectories say so instead of naming one.
"""

import datetime
import json
import pathlib
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from nbody_bench import files, stored

VERSION = "http://mlcommons.org/croissant/1.1"
# Of the generator, which holds for what it generates.
LICENSE = "https://spdx.org/licenses/Apache-2.0.html"

# The context that the specification recommends.
_CONTEXT = {
  "@language": "en",
  "@vocab": "https://schema.org/",
  "arrayShape": "cr:arrayShape",
  "citeAs": "cr:citeAs",
  "column": "cr:column",
  "conformsTo": "dct:conformsTo",
  "containedIn": "cr:containedIn",
  "cr": "http://mlcommons.org/croissant/",
  "data": {"@id": "cr:data", "@type": "@json"},
  "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
  "dct": "http://purl.org/dc/terms/",
  "description": {"@container": "@language"},
  "equivalentProperty": "cr:equivalentProperty",
  "examples": {"@id": "cr:examples", "@type": "@json"},
  "extract": "cr:extract",
  "field": "cr:field",
  "fileObject": "cr:fileObject",
  "fileProperty": "cr:fileProperty",
  "fileSet": "cr:fileSet",
  "format": "cr:format",
  "includes": "cr:includes",
  "isArray": "cr:isArray",
  "isLiveDataset": "cr:isLiveDataset",
  "jsonPath": "cr:jsonPath",
  "key": "cr:key",
  "md5": "cr:md5",
  "name": {"@container": "@language"},
  "parentField": "cr:parentField",
  "path": "cr:path",
  "rai": "http://mlcommons.org/croissant/RAI/",
  "recordSet": "cr:recordSet",
  "references": "cr:references",
  "regex": "cr:regex",
  "repeated": "cr:repeated",
  "replace": "cr:replace",
  "samplingRate": "cr:samplingRate",
  "sc": "https://schema.org/",
  "separator": "cr:separator",
  "source": "cr:source",
  "subField": "cr:subField",
  "transform": "cr:transform",
}

_TFRECORD = "application/x-tfrecord"
_ROLES = {
  "train": "cr:TrainingSplit",
  "validation": "cr:ValidationSplit",
}
# Beside the records, what TFDS needs to read them.
_OTHERS = ("dataset_info.json", "features.json", "metadata.json")

_MEANINGS = {
  "trajectory_id": "place in the split",
  "time": "of each frame",
  "position": "of each particle at each frame; [-L/2, L/2) where periodic",
  "velocity": "of each particle at each frame",
  "clean_position": "before noise was added",
  "clean_velocity": "before noise was added",
  "box": "sides L; infinite where space is open",
  "energy": "T + U at each frame",
  "momentum": "total, at each frame",
  "label_error": "root-mean-square distance to a finer run, at each frame",
  "force": "on each particle at each frame",
  "potential_energy": "U at each frame",
  "cell": "sides as vectors, one a row; any along open directions",
  "species": "atomic number of each particle",
  "tag": "of each atom: 0 held, 1 of the surface, 2 of the adsorbate",
  "sid": "number of the relaxation",
  "fid": "frame of the relaxation",
  "origin": "0 relaxation, 1 displaced atoms, 2 molecular dynamics",
  "mass": "of each particle",
  "charge": "of each particle",
  "stiffness": "of each particle",
  "coupling": "constant k of the law",
  "softening": "length of the law",
  "twin_of": "trajectory of `test` whose image this is; -1 for none",
  "rotation": "orthogonal matrix of the symmetry twin",
  "translation": "of the symmetry twin",
  "boost": "velocity of the symmetry twin's frame",
}


def describe(
  builder: tfds.core.DatasetBuilder,
  creator: str = "The nbody_bench authors",
  license_url: str = LICENSE,
) -> dict[str, Any]:
  """Returns the Croissant description of a prepared data set, as plain data.

  Reads every record file once, for its SHA-256.

  Args:
    builder: of a data set that is prepared.
    creator: who made it; of data of your own, you.
    license_url: of the licence that they are under; left out for motion that
      was not computed from a law of the suite.

  Raises:
    ValueError: if it is not prepared.
  """
  stored.require_prepared(builder)
  info = builder.info
  folder = pathlib.Path(builder.data_dir)
  name, *config = info.full_name.split("/")[:-1]
  made = (folder / "dataset_info.json").stat().st_mtime
  day = datetime.datetime.fromtimestamp(made, datetime.UTC).date().isoformat()
  metadata = info.metadata or {}
  is_ours = metadata.get("system", {}).get("law") != "unknown"
  return {
    "@context": _CONTEXT,
    "@type": "sc:Dataset",
    "conformsTo": VERSION,
    "name": "_".join([name, *config]),
    "description": _description(info),
    "version": str(info.version),
    # Of motion that others recorded, they are to be asked.
    **({"license": license_url} if is_ours else {}),
    **({"citeAs": info.citation} if info.citation else {}),
    "creator": {"@type": "Organization", "name": creator},
    "keywords": ["n-body simulation", "learned simulators", "trajectories"],
    # Generated where it is used: the day it was made is the only one there is.
    "dateCreated": day,
    "datePublished": day,
    "isLiveDataset": False,
    "rai:dataCollection": (
      "Simulated in float64. "
      if is_ours
      else "Recorded, or computed elsewhere. "
    )
    + json.dumps({k: metadata.get(k) for k in ("system", "solver", "check")}),
    "distribution": _distribution(info, folder),
    "recordSet": [_splits(info), _trajectories(info)],
  }


def _description(info):
  """Returns the first paragraph of the card, and the configuration's own."""
  paragraphs = [p for p in (info.description or "").split("\n\n") if p.strip()]
  texts = [" ".join(p.split()) for p in paragraphs if not p.startswith("#")]
  return " ".join([*texts[:1], info.config_description or ""]).strip()


def _distribution(info, folder):
  records = [f for split in info.splits.values() for f in split.filenames]
  objects = [
    {
      "@type": "cr:FileObject",
      "@id": name,
      "name": name,
      "contentUrl": name,
      "contentSize": f"{(folder / name).stat().st_size} B",
      "encodingFormat": _TFRECORD if name in records else "application/json",
      "sha256": files.sha256(folder / name),
    }
    for name in [*records, *(x for x in _OTHERS if (folder / x).exists())]
  ]
  every = {
    "@type": "cr:FileSet",
    "@id": "records",
    "name": "records",
    "description": "All record files, one tf.Example a trajectory.",
    "encodingFormat": _TFRECORD,
    "includes": f"{info.name}-*.{info.file_format.file_suffix}-*",
  }
  return [*objects, every]


def _splits(info):
  sizes = (info.metadata or {}).get("splits", {})
  keys = ("num_trajectories", "num_frames", "num_particles")
  return {
    "@type": "cr:RecordSet",
    "@id": "splits",
    "name": "splits",
    "description": "The splits and their sizes.",
    "dataType": "cr:Split",
    "key": {"@id": "splits/name"},
    "field": [
      _field("splits/name", "sc:Text", "name of the split"),
      _field("splits/role", "sc:URL", "what it is for"),
      *(_field(f"splits/{k}", "cr:Int64", k.replace("_", " ")) for k in keys),
    ],
    "data": [
      {
        "splits/name": split,
        "splits/role": _ROLES.get(split, "cr:TestSplit"),
        **{f"splits/{k}": sizes.get(split, {}).get(k) for k in keys},
      }
      for split in info.splits
    ],
  }


def _trajectories(info):
  suffix = info.file_format.file_suffix
  split = _field("trajectories/split", "sc:Text", "split it belongs to")
  split |= {
    "references": {"field": {"@id": "splits/name"}},
    "source": {
      "fileSet": {"@id": "records"},
      "extract": {"fileProperty": "filename"},
      "transform": {"regex": rf"^{info.name}-(\w+)\.{suffix}-.*$"},
    },
  }
  return {
    "@type": "cr:RecordSet",
    "@id": "trajectories",
    "name": "trajectories",
    "description": "One record a trajectory. The fields are features of "
    "TFRecords, which Croissant has no method to extract: read them with "
    "tfds.builder_from_directory(folder).as_dataset(split=...).",
    "field": [split, *(_feature(k, f) for k, f in info.features.items())],
  }


def _feature(name, feature):
  kind = np.dtype(feature.np_dtype).name.capitalize()
  stored = f"Feature '{name}' of the tf.Example"
  result = _field(
    f"trajectories/{name}",
    f"cr:{kind}",
    f"{_MEANINGS[name]}. {stored}" if name in _MEANINGS else stored,
  )
  if feature.shape:
    sizes = (-1 if n is None else n for n in feature.shape)
    result |= {"isArray": True, "arrayShape": ",".join(map(str, sizes))}
  return result | {"source": {"fileSet": {"@id": "records"}}}


def _field(place, kind, description):
  name = place.rpartition("/")[2]
  return {
    "@type": "cr:Field",
    "@id": place,
    "name": name,
    "description": description[:1].upper() + description[1:] + ".",
    "dataType": kind,
  }
