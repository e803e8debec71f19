"""Settings for all tests: property tests repeat the same examples on every machine."""

from __future__ import annotations

import os

# Before NumPy is imported: the matrices of tests are small, and threads that wait for each other
# make them many times slower on a machine that has other work.
for _library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")

from hypothesis import HealthCheck, settings  # noqa: E402 (after the settings above)

settings.register_profile(
    "graphengine",
    derandomize=True,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],  # the slow definition is the point
)
settings.register_profile("thorough", settings.get_profile("graphengine"), max_examples=3000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "graphengine"))

collect_ignore = ["bad"]  # bad inputs are data
