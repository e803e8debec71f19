"""Elementary functions without branches, as text for loops that numba compiles.

A processor computes several entries at once where a loop holds no calls and no branches; the C
library's functions are calls.  These are the usual ones in that form: the argument is reduced with
π/2 or log 2 in parts (W. J. Cody and W. Waite, "Software Manual for the Elementary Functions",
1980), then a polynomial is taken, for sine and cosine those of fdlibm (Sun Microsystems, 1993),
for the logarithm as well, for the small hyperbolic tangent the quotient of Cephes (S. L. Moshier,
1989).  All are within 3 units in the last place of the exact value, on numbers
that are none and infinities as NumPy has them.  Sine and cosine hold up to :data:`FAR`.
"""

from __future__ import annotations

__all__ = ["FAR", "TEXTS", "USES"]

FAR = 1e5
"""Beyond it the reduction by π/2 loses digits: loops take the C library's functions there."""

INLINED = '@numba.njit(error_model="numpy", fastmath={"contract"}, forceinline=True)\n'

_QUARTERS = '''\
def _quarters(x):
    """The nearest multiple of π/2, shifted so that its number stands in the last bits; the rest."""
    shifted = x * 0.6366197723675814 + 6755399441055744.0
    n = shifted - 6755399441055744.0
    rest = x - n * 1.5707963267341256
    rest = rest - n * 6.077100506303966e-11
    return np.float64(shifted).view(np.int64), rest - n * 2.0222662487959506e-21
'''

_WAVE = '''\
def _wave(n, r):
    """The sine of n quarters of a turn and r."""
    z = r * r
    zz = z * z
    a = -0.16666666666666632 + z * 0.00833333333332249
    b = -0.0001984126982985795 + z * 2.7557313707070068e-06
    c = -2.5050760253406863e-08 + z * 1.58969099521155e-10
    odd = math.copysign(r + r * z * (a + zz * (b + zz * c)), r)
    a = 0.0416666666666666 + z * -0.001388888888887411
    b = 2.480158728947673e-05 + z * -2.7557314351390663e-07
    c = 2.087572321298175e-09 + z * -1.1359647557788195e-11
    even = 1.0 - (0.5 * z - zz * (a + zz * (b + zz * c)))
    found = even if n & 1 else odd
    return np.int64(np.float64(found).view(np.int64) ^ ((n & 2) << 62)).view(np.float64)
'''

_SIN = """\
def _sin(x):
    n, r = _quarters(x)
    return _wave(n, r)
"""

_COS = """\
def _cos(x):
    n, r = _quarters(x)
    return _wave(n + 1, r)
"""

_DOUBLINGS = '''\
def _doublings(x):
    """The nearest multiple of log 2, its number, and the exponential of the rest, less one."""
    shifted = x * 1.4426950408889634 + 6755399441055744.0
    n = shifted - 6755399441055744.0
    r = (x - n * 0.6931471803691238) - n * 1.9082149292705877e-10
    z = r * r
    zz = z * z
    a = z * (0.5 + r * 0.16666666666666666)
    b = 0.041666666666666664 + r * 0.008333333333333333
    c = 0.001388888888888889 + r * 0.0001984126984126984
    d = 2.48015873015873e-05 + r * 2.7557319223985893e-06
    e = 2.755731922398589e-07 + r * 2.505210838544172e-08
    f = 2.08767569878681e-09 + r * 1.6059043836821613e-10
    less = r + (a + zz * ((b + z * c) + zz * ((d + z * e) + zz * f)))
    return np.float64(shifted).view(np.int64) - 0x4338000000000000, less
'''

_EXP = """\
def _exp(x):
    x = math.copysign(1000.0, x) if abs(x) > 1000.0 else x
    n, less = _doublings(x)
    half = n >> 1
    first = np.int64((half + 1023) << 52).view(np.float64)
    return (1.0 + less) * first * np.int64((n - half + 1023) << 52).view(np.float64)
"""

_EXPM1 = """\
def _expm1(x):
    y = math.copysign(1000.0, x) if abs(x) > 1000.0 else x
    n, less = _doublings(y)
    half = n >> 1
    first = np.int64((half + 1023) << 52).view(np.float64)
    second = np.int64((n - half + 1023) << 52).view(np.float64)
    small = first * second
    found = small * less + (small - 1.0) if n < 1000 else (1.0 + less) * first * second
    return math.copysign(found, x)
"""

_TANH = """\
def _tanh(x):
    y = 2.0 * abs(x)
    n, less = _doublings(80.0 if y > 80.0 else y)
    power = np.int64((n + 1023) << 52).view(np.float64)
    grown = power * less + (power - 1.0)
    return math.copysign(grown / (grown + 2.0), x)
"""

_LOG = """\
def _log(x):
    tiny = x < 2.2250738585072014e-308
    y = x * 18014398509481984.0 if tiny else x
    bits = np.float64(y).view(np.int64)
    shifted = bits + 0x00095F6400000000
    n = (shifted >> 52) - (1077 if tiny else 1023)
    f = np.int64(bits - ((shifted >> 52) - 1023 << 52)).view(np.float64) - 1.0
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    a = w * (0.3999999999940942 + w * (0.22222198432149784 + w * 0.15313837699209373))
    b = 0.2857142874366239 + w * (0.1818357216161805 + w * 0.14798198605116586)
    rest = z * (0.6666666666666735 + w * b) + a
    half = 0.5 * f * f
    k = float(n)
    found = k * 0.6931471803691238 - ((half - (s * (half + rest) + k * 1.9082149292705877e-10)) - f)
    found = found if y < math.inf else y
    return found if y > 0.0 else (-math.inf if y == 0.0 else math.nan)
"""

_LOG1P = """\
def _log1p(x):
    y = 1.0 + x
    off = x - (y - 1.0) if abs(x) < 1.0 else 1.0 - (y - x)
    found = _log(y)
    found = found + off / y if (y > 0.0) & (y < math.inf) else found
    return math.copysign(found, x) if y > 0.0 else found
"""

_SIN1 = '''\
def _sin1(x):
    """The sine of one number: the reduction only where it is needed."""
    if abs(x) > 0.7853981633974483:
        return math.sin(x) if abs(x) > 100000.0 else _sin(x)
    if x == 0.0:
        return x
    z = x * x
    zz = z * z
    a = -0.16666666666666632 + z * 0.00833333333332249
    b = -0.0001984126982985795 + z * 2.7557313707070068e-06
    c = -2.5050760253406863e-08 + z * 1.58969099521155e-10
    return x + x * z * (a + zz * (b + zz * c))
'''

_COS1 = '''\
def _cos1(x):
    """The cosine of one number."""
    if abs(x) > 0.7853981633974483:
        return math.cos(x) if abs(x) > 100000.0 else _cos(x)
    z = x * x
    zz = z * z
    a = 0.0416666666666666 + z * -0.001388888888887411
    b = 2.480158728947673e-05 + z * -2.7557314351390663e-07
    c = 2.087572321298175e-09 + z * -1.1359647557788195e-11
    return 1.0 - (0.5 * z - zz * (a + zz * (b + zz * c)))
'''

_TANH1 = '''\
def _tanh1(x):
    """The hyperbolic tangent of one number."""
    if abs(x) > 0.625:
        return _tanh(x)
    if x == 0.0:
        return x
    z = x * x
    p = (-0.9643991794250523 * z - 99.28772310019185) * z - 1614.6876844170845
    q = ((z + 112.81167849163293) * z + 2235.4883906010045) * z + 4844.063053251255
    return x + x * z * (p / q)
'''

_ALL = {
    "_quarters": _QUARTERS,
    "_wave": _WAVE,
    "_sin": _SIN,
    "_cos": _COS,
    "_doublings": _DOUBLINGS,
    "_exp": _EXP,
    "_expm1": _EXPM1,
    "_tanh": _TANH,
    "_log": _LOG,
    "_log1p": _LOG1P,
    "_sin1": _SIN1,
    "_cos1": _COS1,
    "_tanh1": _TANH1,
}

TEXTS = {name: INLINED + text for name, text in _ALL.items()}
"""The functions by name, each after those that it calls."""

USES = {
    name: [other for other in _ALL if other != name and f"{other}(" in text]
    for name, text in _ALL.items()
}
"""The functions that each of them calls."""
