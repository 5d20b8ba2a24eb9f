from __future__ import annotations

from pathlib import Path

import pytest

from monostream_ai.testing import FaultScenarios
from monostream_ai.testing.fault_suite import MakeParts
from tests.backends import BACKENDS, open_backend


@pytest.mark.parametrize("backend_id", BACKENDS)
class TestOurs(FaultScenarios):
    @pytest.fixture
    def make_parts(
        self, backend_id: str, tmp_path: Path, request: pytest.FixtureRequest
    ) -> MakeParts:
        return open_backend(backend_id, tmp_path, request).new_parts
