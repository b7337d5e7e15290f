"""The table of elements: known values, scales, gaps."""

import importlib.util

import numpy as np
import pytest

from nbody_bench import elements, molecules

NAMES = (
  "group period negativity radius valence ionisation affinity block volume"
)


def feature(symbol, name):
  return elements.FEATURES[elements.NUMBERS[symbol], NAMES.split().index(name)]


def test_padding_is_zero_and_the_rest_is_scaled():
  assert elements.FEATURES.shape == (97, 9)
  assert elements.FEATURES.dtype == np.float64
  for table in (elements.FEATURES, elements.RADII, elements.MASSES):
    assert not np.any(table[0])
    assert np.isfinite(table).all()
  np.testing.assert_array_equal(elements.FEATURES[1:].min(0), 0)
  np.testing.assert_array_equal(elements.FEATURES[1:].max(0), 1)
  assert (elements.RADII[1:] > 0.2).all()


def test_numbers_count_in_the_order_of_the_table():
  assert [elements.NUMBERS[s] for s in ("H", "O", "Cu", "Au", "Bi", "U")] == [
    *(1, 8, 29, 79, 83, 92)
  ]
  assert elements.SYMBOLS[elements.NUMBERS["Pt"]] == "Pt"
  heavier = np.diff(elements.MASSES[1:]) > 0
  # Ar K, Co Ni, Te I, Th Pa, U Np, Pu Am.
  inversions = (np.flatnonzero(~heavier) + 1).tolist()
  assert inversions == [18, 27, 52, 90, 92, 94]


def test_known_values():
  """Copper and oxygen: from the extremes H, F, Cs, Fr, He and Cm."""
  assert feature("Cu", "group") == pytest.approx(10 / 17)
  assert feature("Cu", "period") == pytest.approx(3 / 6)
  assert feature("Cu", "negativity") == pytest.approx(1.2 / 3.28)
  assert feature("O", "negativity") == pytest.approx(2.74 / 3.28)
  assert feature("Cu", "radius") == pytest.approx((132 - 28) / (260 - 28))
  assert feature("O", "valence") == pytest.approx(5 / 11)
  assert feature("O", "ionisation") == pytest.approx(
    (13.618 - 3.894) / (24.587 - 3.894), abs=1e-6
  )
  assert feature("Cl", "affinity") == 1
  assert feature("Cu", "block") == pytest.approx(2 / 3)
  assert feature("Cs", "volume") == 1


def test_what_is_not_known_is_zero():
  assert feature("Ne", "negativity") == feature("Pm", "volume") == 0
  assert feature("N", "affinity") == feature("Zn", "affinity") == 0


def test_no_two_elements_are_the_same():
  assert len(np.unique(elements.FEATURES.round(6), axis=0)) == 97


def test_masses_are_those_of_molecules():
  for number, mass in molecules.MASSES.items():
    assert elements.MASSES[number] == mass


@pytest.mark.skipif(importlib.util.find_spec("ase") is None, reason="needs ase")
def test_ase_has_the_same_radii_and_masses():
  """But where Cordero et al. give several radii."""
  data = importlib.import_module("ase.data")
  one = [z for z in range(1, 97) if z not in (6, 25, 26, 27)]
  np.testing.assert_allclose(elements.RADII[one], data.covalent_radii[one])
  np.testing.assert_allclose(
    elements.MASSES[1:84], data.atomic_masses[1:84], rtol=2e-4, atol=2e-3
  )
