# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The local server: for whoever has its address, on this machine, from its own page."""

import http.client
import json
import logging
import threading

import pytest

from vila_ros.errors import InvalidRequest
from vila_ros.web.server import MAX_BODY_BYTES, LocalServer, Site, json_reply

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def served(tmp_path):
    """A site with one page, one file beside it, and two calls."""
    (tmp_path / "secret.css").write_text("secret")
    pages = tmp_path / "pages"
    pages.mkdir()
    (pages / "index.html").write_text("<p>hello</p>")
    (pages / "notes.txt").write_text("not a page")

    def fail(query):
        if query.parameters.get("how") == "user":
            raise InvalidRequest("the value is 3; it must be 2")
        raise RuntimeError("an inner matter")

    site = Site(
        pages,
        get={"api/echo": lambda query: json_reply(dict(query.parameters)), "api/fail": fail},
        post={"api/echo": lambda query: json_reply(query.body)},
    )
    server = LocalServer(site)
    threading.Thread(target=server.serve, daemon=True).start()
    yield server
    server.close()


@pytest.fixture
def ask(served):
    """Ask for a path below the token; returns status, headers and body."""

    def ask(path="", method="GET", headers=None, body=None, token=None, whole=None):
        connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
        target = whole if whole is not None else f"/{token or served.token}/{path}"
        connection.putrequest(method, target, skip_host=bool(headers and "Host" in headers))
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        if body is not None and "Content-Length" not in (headers or {}):
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        response = connection.getresponse()
        answer = response.status, dict(response.getheaders()), response.read()
        connection.close()
        return answer

    return ask


def test_the_page_is_served_to_whoever_has_the_whole_address(served, ask):
    assert served.url == f"http://127.0.0.1:{served.port}/{served.token}/"
    status, headers, body = ask()
    assert (status, body) == (200, b"<p>hello</p>")
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"


def test_it_listens_on_loopback_alone(served):
    assert served._server.server_address[0] == "127.0.0.1"


@pytest.mark.parametrize("whole", ["/", "/index.html", "/api/echo", "//", "/x/", "/favicon.ico"])
def test_nothing_is_served_without_the_token(ask, whole):
    status, _, body = ask(whole=whole)
    assert status == 404
    assert b"hello" not in body


@pytest.mark.parametrize(
    "path",
    [
        "../secret.css", "%2e%2e/secret.css", "..%2fsecret.css", "pages/../../secret.css",
        "/etc/passwd", "notes.txt", "..\\secret.css", "index.html/../../secret.css",
    ],
)  # fmt: skip
def test_no_path_leads_out_of_the_pages(ask, path):
    status, _, body = ask(path)
    assert status == 404
    assert b"secret" not in body


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:80"},
        {"Host": ""},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_other_names_and_other_sites_are_refused(ask, headers):
    assert ask("api/echo", headers=headers)[0] == 403
    assert ask("api/echo", "POST", {**JSON, **headers}, b"{}")[0] == 403


def test_its_own_page_may_send(served, ask):
    own = {**JSON, "Origin": f"http://127.0.0.1:{served.port}", "Sec-Fetch-Site": "same-origin"}
    status, _, body = ask("api/echo", "POST", own, b'{"a": 1}')
    assert (status, json.loads(body)) == (200, {"a": 1})
    # Through a tunnel the page has another port.
    tunnel = {**JSON, "Host": "localhost:9000", "Origin": "http://localhost:9000"}
    assert ask("api/echo", "POST", tunnel, b"{}")[0] == 200


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Content-Type": "text/plain"}, b"{}", 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"a=1", 415),
        ({**JSON, "Content-Length": str(MAX_BODY_BYTES + 1)}, b"{}", 413),
        ({**JSON, "Content-Length": "many"}, b"{}", 411),
        ({**JSON, "Content-Length": "-1"}, b"{}", 411),
        (JSON, b"{", 400),
        (JSON, b"[" * 100_000, 400),
        (JSON, b"\xff\xfe", 400),
    ],
)
def test_bodies_are_bounded_and_json(ask, headers, body, status):
    assert ask("api/echo", "POST", headers, body)[0] == status


def test_a_mistake_is_told_and_a_defect_is_logged(ask, caplog):
    status, _, body = ask("api/fail?how=user")
    assert (status, json.loads(body)["error"]) == (400, "the value is 3; it must be 2")
    with caplog.at_level(logging.ERROR):
        status, _, body = ask("api/fail")
    assert status == 500
    assert b"inner" not in body
    assert "an inner matter" in caplog.text


def test_the_token_is_not_logged(served, ask, caplog, capfd):
    with caplog.at_level(logging.DEBUG):
        ask("api/fail")
        ask("nothing")
    assert served.token not in caplog.text + "".join(capfd.readouterr())


def test_a_taken_port_is_refused(served):
    with pytest.raises(InvalidRequest, match=f"port {served.port} cannot be had"):
        LocalServer(Site(served_pages(served)), served.port)
    with pytest.raises(InvalidRequest, match="the port is 70000"):
        LocalServer(Site(served_pages(served)), 70000)


def served_pages(served):
    from vila_ros.web.review import PAGES

    return PAGES
