"""Fixtures for every test; each fix_*.py holds the fixtures of one subject."""

import os

from hypothesis import settings

# The same examples every time, so that a test fails only because of a change. HYPOTHESIS_PROFILE=random tries others.
# No deadline: the time of an example depends on the load of the machine.
settings.register_profile("steady", derandomize=True, database=None, deadline=None)
settings.register_profile("random", print_blob=True, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))

# Each module comes after the modules that it imports.
pytest_plugins = [
    "tests.fix_postgres",
    "tests.fix_database",
    "tests.fix_server",
    "tests.fix_clients",
    "tests.fix_api",
    "tests.fix_pair",
    "tests.fix_s3",
    "tests.fix_clouds",
]
