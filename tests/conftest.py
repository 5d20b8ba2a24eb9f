import signal

pytest_plugins = [
    "tests.plugins.fail_on_skip",
    "tests.plugins.lanes",
    "tests.plugins.postgres",
    "tests.plugins.recorded_chunks",
    "tests.plugins.redis",
    "tests.plugins.services",
    "tests.plugins.shares",
]


def pytest_configure() -> None:
    # A shell makes its background jobs ignore SIGINT, and so does every program that they start. A
    # test that interrupts a program would then wait for its end in vain.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
