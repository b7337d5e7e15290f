"""Reads reference weights and outputs; see `data/README.md`."""

import pathlib

import numpy as np

DATA = pathlib.Path(__file__).parent / "data"


def load(name):
  with np.load(DATA / f"{name}.npz") as file:
    return dict(file)


def assign_mlp(module, golden, part, rows=None):
  """Copies the weights of one MLP; `rows` reorders the first layer's inputs."""
  variables = {v.name: v for v in module.variables}
  for i in range(-(-len(variables) // 2)):
    for kind in "wb":
      if f"{part}/linear_{i}/{kind}" not in golden:
        continue
      value = golden[f"{part}/linear_{i}/{kind}"]
      if i == 0 and kind == "w" and rows is not None:
        value = value[rows]
      (name,) = (
        n for n in variables if f"linear_{i}/" in n and n.endswith(f"{kind}:0")
      )
      variables[name].assign(value)
