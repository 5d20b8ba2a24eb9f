pytest_plugins = [
    "tests.plugins.fail_on_skip",
    "tests.plugins.lanes",
    "tests.plugins.postgres",
    "tests.plugins.recorded_chunks",
    "tests.plugins.redis",
    "tests.plugins.services",
    "tests.plugins.shares",
]
