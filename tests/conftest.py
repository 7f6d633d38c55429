"""Fixtures that every test may ask for; each fix_*.py holds those of one subject."""

import os

from hypothesis import settings

# The same examples every time, so that a change is red for what it changed; others with HYPOTHESIS_PROFILE=random.
# No deadline: how long an example takes says how busy the machine is.
settings.register_profile("steady", derandomize=True, database=None, deadline=None)
settings.register_profile("random", print_blob=True, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))

# A module stands after those that it imports.
pytest_plugins = [
    "tests.fix_database",
    "tests.fix_postgres",
    "tests.fix_server",
    "tests.fix_clients",
    "tests.fix_api",
    "tests.fix_pair",
    "tests.fix_s3",
    "tests.fix_clouds",
]
