"""Requests made from the OpenAPI document, and requests that break it, get answers that it names
(no 5xx, no traceback).
"""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance

from tests.plugins.lanes import examples

# The server runs in a thread of this process and may use `random` while a strategy is drawn from.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Do not use the `random` module inside strategies:"
    "hypothesis.errors.HypothesisDeprecationWarning"
)

PATHS = [
    ("POST", "/api/chat"),
    ("GET", "/api/chat/{chat_id}/stream"),
    ("POST", "/api/chat/{chat_id}/stop"),
    ("GET", "/api/chat/{chat_id}/status"),
]
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance]


@pytest.fixture(scope="module")
def document(url: str) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_url(f"{url}/openapi.json")


def test_the_document_has_all_routes(document: schemathesis.BaseSchema) -> None:
    operations = [result.ok() for result in document.get_all_operations()]

    # The events have no end, so no request of the document is sent there.
    asked = [*PATHS, ("GET", "/api/chat/events")]
    assert sorted((each.method.upper(), each.path) for each in operations) == sorted(asked)


RELAXED = settings(
    max_examples=examples(40),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)


def ask(document: schemathesis.BaseSchema, method: str, path: str, mode: GenerationMode) -> None:
    @given(document[path][method].as_strategy(generation_mode=mode))
    @RELAXED
    def check(case: schemathesis.Case) -> None:
        case.call_and_validate(checks=CHECKS, timeout=10)

    check()


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_every_answer_is_one_that_the_document_names(
    document: schemathesis.BaseSchema, method: str, path: str
) -> None:
    ask(document, method, path, GenerationMode.POSITIVE)


# The other two take any text, so nothing breaks their part of the document. Schemathesis picks what
# to break with `random`.
@pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisDeprecationWarning")
@pytest.mark.parametrize(("method", "path"), PATHS[:2])
def test_requests_that_break_the_document_get_such_answers_too(
    document: schemathesis.BaseSchema, method: str, path: str
) -> None:
    ask(document, method, path, GenerationMode.NEGATIVE)
