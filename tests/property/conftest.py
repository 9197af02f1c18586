"""How many examples: 200, or 10,000 with HYPOTHESIS_PROFILE=nightly."""

import os

from hypothesis import settings

# No deadline: other work on the machine is no failure of ours.
settings.register_profile("default", max_examples=200, deadline=None)
settings.register_profile("nightly", max_examples=10_000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
