"""Settings for all tests: property tests repeat the same examples on every machine."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "graphengine",
    derandomize=True,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],  # the slow definition is the point
)
settings.register_profile("thorough", settings.get_profile("graphengine"), max_examples=3000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "graphengine"))
