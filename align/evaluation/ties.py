"""Which scores are equal but for rounding. Imports no torch."""

from __future__ import annotations

import math

#: Unit roundoff: the largest relative error of rounding a number to this dtype.
_ROUNDOFF = {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
#: The number of terms that the bounds assume: tokens of an answer, or parts of a dot product.
_TERMS = 256


def rounding(dtype: str) -> float:
    """The relative rounding error of a summed log-probability or a score of a base in `dtype`.

    Two results closer than this, relative to the larger magnitude, are a tie: the order in which
    the hardware adds decides which is larger. Two errors enter, and the larger of them is returned.

    1. The sum itself, always in fp32: n terms of the same sign have an error of at most (n - 1) u
       times the magnitude of their sum (Higham, Accuracy and Stability of Numerical Algorithms,
       2002, section 4.2); u = 2^-24 and n = 256 give 2^-16.
    2. Each term comes from hidden states in `dtype`, with a relative error of about its unit
       roundoff v. The errors of n terms are independent, so that of their sum is v / sqrt(n) of its
       magnitude: 2^-12 for bfloat16, 2^-15 for float16.
    """
    return max(_TERMS * _ROUNDOFF["float32"], _ROUNDOFF[dtype] / math.sqrt(_TERMS))


def settled(difference: float, magnitude: float, tolerance: float) -> float:
    """The difference, 0.0 if it is within `tolerance` of the `magnitude` that it is left of."""
    return 0.0 if abs(difference) <= tolerance * magnitude else difference


def log_odds(preference: float) -> float:
    """The z-score whose logistic is a judge's preference, at most 40 in magnitude.

    The largest number below 1 is the logistic of 36.7.
    """
    if preference <= 0.0 or preference >= 1.0:
        return math.copysign(40.0, preference - 0.5)
    return math.log(preference / (1.0 - preference))
