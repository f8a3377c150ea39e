from __future__ import annotations

from hypothesis import settings

# A busy machine is no failure: no deadline per example.
settings.register_profile("unit", deadline=None, max_examples=50)
settings.load_profile("unit")
