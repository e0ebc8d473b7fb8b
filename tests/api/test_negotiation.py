"""Error documents have the form that the client accepts, and say no more than they should."""

from typing import Any

import orjson
import pytest

from moorage.api.limits import ERROR_TEXT_MAX
from moorage.api.negotiation import (
    ACCEPT_CHARS_MAX,
    TITLES,
    DocumentForm,
    ErrorFacts,
    accepts_json,
    choose_form,
    render_error,
)


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("application/json", DocumentForm.JSON),
        ("application/*", DocumentForm.JSON),
        ("text/html", DocumentForm.HTML),
        ("text/*", DocumentForm.HTML),
        ("text/html,application/json", DocumentForm.HTML),
        ("text/html;q=0.4, application/json", DocumentForm.JSON),
        ("text/html;q=0.4, */*;q=0.5", DocumentForm.JSON),
        ("*/*;q=0.5", DocumentForm.HTML),
        ("application/json;q=0, */*", DocumentForm.HTML),
        ("text/plain", DocumentForm.PLAIN),
        ("text/html;level=1", DocumentForm.PLAIN),
        ("image/png", DocumentForm.PLAIN),
        ("garbage", DocumentForm.HTML),
        ("a/b;q=2", DocumentForm.HTML),
        ('text/html;a="x\\"y"', DocumentForm.PLAIN),
        ("APPLICATION/JSON", DocumentForm.JSON),
        (",", DocumentForm.PLAIN),
    ],
)
def test_the_form_follows_the_accept_header(accept: str, form: DocumentForm) -> None:
    assert choose_form(accept) is form


@pytest.mark.parametrize(
    ("accept", "accepted"),
    [
        ("application/json", True),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        ("text/html,application/xhtml+xml,application/xml;q=0.9", False),
        ("application/json;q=0", False),
        ("application/json;q=0,*/*", False),
        ("*/*;q=0", False),
        ("application/json;version=1", False),
        ("garbage", True),
        ("a/b," * ACCEPT_CHARS_MAX, True),
    ],
)
def test_json_is_answered_to_those_who_accept_it_or_make_no_sense(
    accept: str, accepted: bool
) -> None:
    assert accepts_json(accept) is accepted


def facts(**given: Any) -> ErrorFacts:
    known: dict[str, Any] = {
        "status": 404,
        "detail": "No such thing",
        "code": "placement.undefined_code",
        "request_id": "req-1",
        "method": "GET",
        "accept": "application/json",
        "media_type": "text/plain",
    }
    return ErrorFacts(**{**known, **given})


def read(error: ErrorFacts) -> dict[str, Any]:
    body, content_type = render_error(error)
    assert content_type == "application/json"
    [told] = orjson.loads(body)["errors"]
    return told


def test_a_json_document_has_the_guidelines_fields() -> None:
    assert read(facts()) == {
        "status": 404,
        "title": "Not Found",
        "detail": "The resource could not be found.\n\n No such thing  ",
        "code": "placement.undefined_code",
        "request_id": "req-1",
    }


def test_a_document_has_no_code_where_the_version_has_none() -> None:
    assert "code" not in read(facts(code=None))


def test_who_asks_for_an_unknown_version_is_told_which_there_are() -> None:
    told = read(facts(status=406, detail="Invalid", code=None, versions=("1.0", "1.39")))
    assert (told["min_version"], told["max_version"]) == ("1.0", "1.39")


def test_who_is_not_identified_gets_the_identity_stages_own_form() -> None:
    body, _ = render_error(facts(status=401, detail=""))
    told = orjson.loads(body)
    assert told["code"] == "401 Unauthorized"
    assert told["title"] == "Unauthorized"
    assert told["message"].startswith("This server could not verify that you are authorized")


def test_markup_is_stripped_from_json_and_plain_text_and_escaped_in_html() -> None:
    detail = "<script>alert(1)</script>\nnext <!-- x -->"
    assert read(facts(detail=detail))["detail"].endswith("found.\n\n alert(1) next  x   ")
    plain, plain_type = render_error(facts(detail=detail, accept="text/plain"))
    assert plain_type == "text/plain; charset=UTF-8"
    assert plain.startswith(b"404 Not Found\n\nThe resource could not be found.\n\n alert(1)")
    page, page_type = render_error(facts(detail=detail, accept="text/html"))
    assert page_type == "text/html; charset=UTF-8"
    assert b"<script>" not in page
    assert b"&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_what_the_client_sent_is_escaped_in_html_wherever_it_is_told() -> None:
    for status in (405, 406, 415):
        page, _ = render_error(
            facts(status=status, method="<m>", media_type="<t>", accept="text/html;q=1,x/<y>")
        )
        assert b"<m>" not in page
        assert b"<t>" not in page
        assert b"<y>" not in page


def test_a_long_detail_is_cut() -> None:
    told = read(facts(detail="x" * (ERROR_TEXT_MAX + 1)))["detail"]
    assert len(told) < ERROR_TEXT_MAX + 100
    assert told.rstrip().endswith("...")


@pytest.mark.parametrize("status", TITLES)
@pytest.mark.parametrize("accept", ["application/json", "text/html", "text/plain"])
def test_every_status_has_a_document_in_every_form(status: int, accept: str) -> None:
    body, _ = render_error(facts(status=status, accept=accept, detail="{braces} \ud800 ☃"))
    assert str(status).encode() in body
    assert b"{braces}" in body
