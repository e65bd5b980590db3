"""The description of the interface is whole, and every answer that the tests get is as it says."""

import json
import re
import shlex
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from jsonschema import Draft202012Validator, FormatChecker

from apsis_nb.server import answers
from apsis_nb.server.events import TYPES
from apsis_nb.server.problems import COMMON
from apsis_nb.server.reference import parts
from apsis_nb.store import HISTORY
from apsis_nb.wire import RUN_DETAILS, RUN_FACTS
from tests.server.api_page import PAGE, TITLE, routes_section
from tests.server.conftest import Served
from tests.server.describing import Checker, described

#: Answers that are no JSON.
OTHER_FORMS = {
    ("get", "/api/v1/events"): "text/event-stream",
    ("get", "/api/v1/yaml/{job_id}"): "text/yaml",
    ("get", "/api/v1/runs/{run_id}/outputs/{name}"): "text/plain",
    ("post", "/api/v1/import/runs"): "application/x-ndjson",
}


@pytest.fixture(scope="module")
def document(served: Served) -> dict[str, Any]:
    return described(served.url, served.bearer)


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def test_each_route_says_what_it_is_for_and_under_which_heading(document: dict[str, Any]) -> None:
    tags = {tag["name"] for tag in document["tags"]}
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(ids)) == len(ids) > 40
    for method, path, operation in operations(document):
        assert operation["summary"], f"{method} {path} needs a docstring"
        assert set(operation["tags"]) <= tags, f"{method} {path}: add {operation['tags']} to TAGS"


def test_each_route_has_the_form_of_its_answer(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        good = [answer for status, answer in operation["responses"].items() if status.startswith("2")]
        assert good
        for answer in good:
            other = OTHER_FORMS.get((method, path))
            if other is not None:
                assert list(answer["content"]) == [other]
            else:
                schema = answer["content"]["application/json"]["schema"]
                assert "$ref" in schema, f"{method} {path} needs a response_model of `answers`"


def test_each_route_tells_of_the_problems_that_there_may_be(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        told = operation["responses"]
        for status in COMMON:
            assert str(status) in told, f"{method} {path}"
        if "{run_id}" in path or "{job_id}" in path:
            assert "404" in told, f"{method} {path} needs problems(404)"
        for status, answer in told.items():
            if status.startswith(("4", "5")):
                ((media_type, content),) = answer["content"].items()
                assert media_type == "application/problem+json"
                assert content["example"]["status"] == int(status)


def test_each_member_that_is_told_has_an_example_that_fits(document: dict[str, Any]) -> None:
    shared = {"components": document["components"]}
    for name, schema in document["components"]["schemas"].items():
        assert schema.get("description"), f"{name} needs a docstring"
        for member, form in schema.get("properties", {}).items():
            is_built_of_others = "$ref" in json.dumps(form) or "const" in form
            has_value = "examples" in form or "default" in form
            assert is_built_of_others or has_value, f"{name}.{member} needs an example"
            for example in form.get("examples", []):
                Draft202012Validator(form | shared, format_checker=FormatChecker()).validate(example)


def test_a_run_has_the_members_that_are_told(document: dict[str, Any]) -> None:
    assert tuple(answers.Run.model_fields) == RUN_FACTS
    assert tuple(answers.RunInList.model_fields) == tuple(n for n in RUN_FACTS if n not in RUN_DETAILS)


def test_the_questions_of_history_and_the_kinds_of_event_are_named(document: dict[str, Any]) -> None:
    history = document["paths"]["/api/v1/history/{name}"]["get"]["parameters"]
    (name,) = (p for p in history if p["name"] == "name")
    assert name["schema"]["enum"] == list(HISTORY)
    stream = document["paths"]["/api/v1/events"]["get"]["description"]
    assert all(kind in stream for kind in TYPES)


def test_an_answer_that_is_not_as_described_is_noticed(served: Served) -> None:
    """The check that all tests make of what they get is one that finds faults."""
    check = Checker(served.url, served.bearer)
    request = httpx2.Request("GET", f"{served.url}/api/v1/version")
    wrong = httpx2.Response(200, json={"version": 1}, request=request)
    with pytest.raises(AssertionError, match="is not as described"):
        check(wrong)
    with pytest.raises(AssertionError, match="says nothing of 418"):
        check(httpx2.Response(418, json={}, request=request))


def test_the_page_of_the_documentation_has_each_route_and_no_other(document: dict[str, Any]) -> None:
    hint = "write it anew: python -m tests.server.api_page"
    assert PAGE.read_text().partition(TITLE)[2] == routes_section(document), hint


def test_the_reference_shows_each_route_without_a_script_or_another_host(
    served: Served, document: dict[str, Any]
) -> None:
    with served.client() as client:
        answer = client.get("/docs")

    assert answer.status_code == 200
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "<script" not in answer.text
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', answer.text)
    for _, path, operation in operations(document):
        assert f'id="{operation["operationId"]}"' in answer.text
        assert path in answer.text


def test_the_commands_of_the_reference_are_answered(served: Served, document: dict[str, Any]) -> None:
    """Those that only ask; of those that change something at least the form is right."""
    for _, _, routes in parts(document, served.url):
        for route in routes:
            words = shlex.split(route.command)
            assert words[0] == "curl"
            if "--data-binary" in words and "application/json" in route.command:
                json.loads(words[words.index("--data-binary") + 1])
            if route.method == "GET" and "{" not in route.path and not route.path.endswith("/events"):
                address = words[-1]
                answer = httpx2.get(address, headers=served.bearer, trust_env=False, timeout=30)
                assert answer.status_code == 200
