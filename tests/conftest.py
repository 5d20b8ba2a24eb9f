import gc
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import certifi
import pytest

from tests.programs import close_all

pytest_plugins = [
    "tests.plugins.fail_on_skip",
    "tests.plugins.lanes",
    "tests.plugins.postgres",
    "tests.plugins.recorded_chunks",
    "tests.plugins.redis",
    "tests.plugins.services",
    "tests.plugins.shares",
    "tests.plugins.site",
]


def pytest_configure() -> None:
    # A shell makes its background jobs ignore SIGINT, and so does every program that they start. A
    # test that interrupts a program would then wait for its end in vain.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # The collector would look at all that has been imported after every few imports more.
    gc.disable()


@pytest.fixture(scope="session", autouse=True)
def no_program_is_left() -> Iterator[None]:
    yield
    close_all()


@pytest.fixture(scope="session", autouse=True)
def one_certificate() -> Iterator[None]:
    """Let HTTP clients trust one authority. Each of thousands would read all of them, for 30 ms."""
    end = "-----END CERTIFICATE-----\n"
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        file = Path(directory) / "one.pem"
        file.write_text(certifi.contents().partition(end)[0] + end)
        patch.setenv("SSL_CERT_FILE", str(file))
        yield


def pytest_collection_finish() -> None:
    # Half a million objects of imported packages stay for good: the collector need not look at them
    # again and again.
    gc.collect()
    gc.freeze()
    gc.enable()
