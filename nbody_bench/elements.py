"""Elements: properties that networks may be told of, and radii.

Facts as collected by mendeleev 0.6.1 (Mentel, "mendeleev: a Python resource for
properties of chemical elements, ions and isotopes", 2014): electronegativity by
Pauling (CRC Handbook), covalent radii by Cordero et al. (2008), ionisation
energies and electron affinities (CRC Handbook, NIST), volume of a mole of the
solid or liquid, atomic weights (IUPAC). The nine properties are those of Xie
and Grossman (2018), as continuous numbers, as ForceNet takes them (Hu et al.
2021).
"""

import numpy as np

# eV / Angstrom in u Angstrom / fs^2.
FORCE_UNIT = 9.648533e-3

# Symbol, group, period, electronegativity, covalent radius (pm), valence
# electrons, first ionisation energy (eV), electron affinity (eV), block, volume
# (cm^3 / mol), atomic weight. A dash is what the source lacks. The f block is
# in group 3 and has two valence electrons. An affinity of 0: no negative ion is
# stable. Where Cordero et al. have several radii (C by hybridisation; Mn, Fe,
# Co by spin) it is their mean.
_TABLE = """
H   1 1 2.20  31  1 13.598 0.754 s  14.1   1.008
He 18 1    -  28  2 24.587 0.000 s  31.8   4.003
Li  1 2 0.98 128  1  5.392 0.618 s  13.1   6.940
Be  2 2 1.57  96  2  9.323 0.000 s     5   9.012
B  13 2 2.04  84  3  8.298 0.280 p   4.6  10.810
C  14 2 2.55  73  4 11.260 1.262 p   5.3  12.011
N  15 2 3.04  71  5 14.534 0.000 p  17.3  14.007
O  16 2 3.44  66  6 13.618 1.461 p    14  15.999
F  17 2 3.98  57  7 17.423 3.401 p  17.1  18.998
Ne 18 2    -  58  8 21.565     - p  16.8  20.180
Na  1 3 0.93 166  1  5.139 0.548 s  23.7  22.990
Mg  2 3 1.31 141  2  7.646     - s    14  24.305
Al 13 3 1.61 121  3  5.986 0.433 p    10  26.982
Si 14 3 1.90 111  4  8.152 1.390 p  12.1  28.085
P  15 3 2.19 107  5 10.487 0.747 p    17  30.974
S  16 3 2.58 105  6 10.360 2.077 p  15.5  32.060
Cl 17 3 3.16 102  7 12.968 3.613 p  18.7  35.450
Ar 18 3    - 106  8 15.760 0.000 p  24.2  39.948
K   1 4 0.82 203  1  4.341 0.501 s  45.3  39.098
Ca  2 4 1.00 176  2  6.113 0.025 s  29.9  40.078
Sc  3 4 1.36 170  3  6.561 0.188 d    15  44.956
Ti  4 4 1.54 160  4  6.828 0.079 d  10.6  47.867
V   5 4 1.63 153  5  6.746 0.525 d  8.35  50.942
Cr  6 4 1.66 139  6  6.767 0.666 d  7.23  51.996
Mn  7 4 1.55 150  7  7.434     - d  7.39  54.938
Fe  8 4 1.83 142  8  7.902 0.151 d   7.1  55.845
Co  9 4 1.88 138  9  7.881 0.662 d   6.7  58.933
Ni 10 4 1.91 124 10  7.640 1.156 d   6.6  58.693
Cu 11 4 1.90 132 11  7.726 1.235 d   7.1  63.546
Zn 12 4 1.65 122 12  9.394     - d   9.2  65.380
Ga 13 4 1.81 122  3  5.999 0.430 p  11.8  69.723
Ge 14 4 2.01 120  4  7.899 1.233 p  13.6  72.630
As 15 4 2.18 119  5  9.789 0.804 p  13.1  74.922
Se 16 4 2.55 120  6  9.752 2.021 p  16.5  78.971
Br 17 4 2.96 120  7 11.814 3.364 p  23.5  79.904
Kr 18 4    - 116  8 14.000     - p  32.2  83.798
Rb  1 5 0.82 220  1  4.177 0.486 s  55.9  85.468
Sr  2 5 0.95 195  2  5.695 0.048 s  33.7  87.620
Y   3 5 1.22 190  3  6.217 0.307 d  19.8  88.906
Zr  4 5 1.33 175  4  6.634 0.426 d  14.1  91.224
Nb  5 5 1.60 164  5  6.759 0.917 d  10.8  92.906
Mo  6 5 2.16 154  6  7.092 0.748 d   9.4  95.950
Tc  7 5 2.10 147  7  7.119 0.550 d   8.5  97.907
Ru  8 5 2.20 146  8  7.361 1.050 d   8.3  101.07
Rh  9 5 2.28 142  9  7.459 1.137 d   8.3  102.91
Pd 10 5 2.20 139 10  8.337 0.562 d   8.9  106.42
Ag 11 5 1.93 145 11  7.576 1.302 d  10.3  107.87
Cd 12 5 1.69 144 12  8.994     - d  13.1  112.41
In 13 5 1.78 142  3  5.786 0.300 p  15.7  114.82
Sn 14 5 1.96 139  4  7.344 1.112 p  16.3  118.71
Sb 15 5 2.05 139  5  8.608 1.046 p  18.4  121.76
Te 16 5 2.10 138  6  9.010 1.971 p  20.5  127.60
I  17 5 2.66 139  7 10.451 3.059 p  25.7  126.90
Xe 18 5 2.60 140  8 12.130 0.000 p  42.9  131.29
Cs  1 6 0.79 244  1  3.894 0.472 s    70  132.91
Ba  2 6 0.89 215  2  5.212 0.145 s    39  137.33
La  3 6 1.10 207  3  5.577 0.470 d  22.5  138.91
Ce  3 6 1.12 204  2  5.539 0.650 f    21  140.12
Pr  3 6 1.13 203  2  5.473 0.962 f  20.8  140.91
Nd  3 6 1.14 201  2  5.525 1.916 f  20.6  144.24
Pm  3 6    - 199  2  5.582     - f     -  144.91
Sm  3 6 1.17 198  2  5.644     - f  19.9  150.36
Eu  3 6    - 198  2  5.670 0.864 f  28.9  151.96
Gd  3 6 1.20 196  2  6.150     - f  19.9  157.25
Tb  3 6    - 194  2  5.864 1.165 f  19.2  158.93
Dy  3 6 1.22 192  2  5.939 0.352 f    19  162.50
Ho  3 6 1.23 192  2  6.021     - f  18.7  164.93
Er  3 6 1.24 189  2  6.108     - f  18.4  167.26
Tm  3 6 1.25 190  2  6.184 1.029 f  18.1  168.93
Yb  3 6    - 187  2  6.254 0.000 f  24.8  173.04
Lu  3 6 1.00 187  2  5.426 0.340 f  17.8  174.97
Hf  4 6 1.30 175  4  6.825 0.014 d  13.6  178.49
Ta  5 6 1.50 170  5  7.550 0.322 d  10.9  180.95
W   6 6 1.70 162  6  7.864 0.816 d  9.53  183.84
Re  7 6 1.90 151  7  7.834 0.150 d  8.85  186.21
Os  8 6 2.20 144  8  8.438 1.100 d  8.43  190.23
Ir  9 6 2.20 141  9  8.967 1.564 d  8.54  192.22
Pt 10 6 2.20 136 10  8.959 2.128 d   9.1  195.08
Au 11 6 2.40 136 11  9.226 2.309 d  10.2  196.97
Hg 12 6 1.90 132 12 10.438     - d  14.8  200.59
Tl 13 6 1.80 145  3  6.108 0.377 p  17.2  204.38
Pb 14 6 1.80 146  4  7.417 0.357 p  18.3  207.20
Bi 15 6 1.90 148  5  7.286 0.942 p  21.3  208.98
Po 16 6 2.00 140  6  8.414 1.900 p  22.7  209.00
At 17 6 2.20 150  7  9.318 2.800 p     -  210.00
Rn 18 6    - 150  8 10.748     - p     -  222.00
Fr  1 7 0.70 260  1  4.073 0.486 s     -  223.00
Ra  2 7 0.90 221  2  5.278 0.100 s    45  226.00
Ac  3 7 1.10 215  3  5.380 0.350 d 22.54  227.00
Th  3 7 1.30 206  2  6.307     - f  19.8  232.04
Pa  3 7 1.50 200  2  5.890     - f    15  231.04
U   3 7 1.70 196  2  6.194     - f  12.5  238.03
Np  3 7 1.30 190  2  6.266     - f  21.1  237.00
Pu  3 7 1.30 187  2  6.026     - f     -  244.00
Am  3 7    - 180  2  5.974     - f  20.8  243.00
Cm  3 7    - 169  2  5.991     - f 18.28  247.00
"""
_BLOCKS = "spdf"

SYMBOLS = ("", *(line.split()[0] for line in _TABLE.split("\n") if line))
NUMBERS = {symbol: z for z, symbol in enumerate(SYMBOLS) if symbol}


def _properties() -> np.ndarray:
  """Returns the table `[Z_max, 10]`, NaN for what is not known."""

  def number(text):
    if text in _BLOCKS:
      return _BLOCKS.index(text) + 1.0
    return np.nan if text == "-" else float(text)

  rows = (line.split()[1:] for line in _TABLE.split("\n") if line)
  return np.array([[number(text) for text in row] for row in rows])


def _scaled(properties: np.ndarray) -> np.ndarray:
  low, high = np.nanmin(properties, 0), np.nanmax(properties, 0)
  return np.nan_to_num((properties - low) / (high - low), nan=0.0)


def _with_padding(values: np.ndarray) -> np.ndarray:
  return np.concatenate([np.zeros_like(values[:1]), values])


# By atomic number; row 0, of padding, is zero.
# `[97, 9]`: the properties in the order above, each scaled to [0, 1] over the
# elements that are there; 0 also where there is a dash.
FEATURES = _with_padding(_scaled(_properties()[:, :9]))
# `[97]`, covalent, Angstrom.
RADII = _with_padding(_properties()[:, 3] / 100)
# `[97]`, atomic mass units; of elements without stable isotopes, of one of
# them.
MASSES = _with_padding(_properties()[:, 9])
