"""Settings for all tests: property tests repeat the same examples on every machine."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "graphengine",
    derandomize=True,
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow],  # the slow definition is the point
)
settings.load_profile("graphengine")
