"""MLflow's page with one line before its first script, and everything else as it was."""

from __future__ import annotations

import asyncio

import pytest

from fusionbench_plugins.observers.mlflow.page import REMEMBERED, SCRIPT, Page

HTML = b"<!doctype html><html><head><script src=main.js></script></head></html>"


def answered(path, body=HTML, chunks=1, kind="http", headers=()):
    """What the browser gets."""
    sent = []

    async def inner(scope, _receive, send):
        length = (b"content-length", str(len(body)).encode())
        await send({"type": "http.response.start", "status": 200, "headers": [length, (b"etag", b"x"), *headers]})
        step = -(-len(body) // chunks) or 1
        parts = [body[i : i + step] for i in range(0, len(body), step)] or [b""]
        for i, part in enumerate(parts):
            await send({"type": "http.response.body", "body": part, "more_body": i < len(parts) - 1})

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.disconnect"}

    asyncio.run(Page(inner)({"type": kind, "path": path}, receive, send))
    return dict(sent[0]["headers"]), b"".join(m["body"] for m in sent[1:]), sent


@pytest.mark.parametrize("chunks", [1, 3])
def test_the_page_remembers_that_the_panel_was_open_before_its_first_script(chunks):
    headers, body, _ = answered("/", chunks=chunks)
    assert body == HTML.replace(b"<head>", b"<head>" + SCRIPT)
    assert all(body.index(key.encode()) < body.index(b"main.js") for key in REMEMBERED)
    assert headers == {b"content-length": str(len(body)).encode()}


@pytest.mark.parametrize(
    ("path", "kind"), [("/ajax-api/2.0/x", "http"), ("/static-files/main.js", "http"), ("/", "websocket")]
)
def test_everything_else_passes_through(path, kind):
    headers, body, _ = answered(path, kind=kind)
    assert body == HTML
    assert headers[b"etag"] == b"x"


def test_an_answer_that_is_no_page_is_as_it_was():
    headers, body, _ = answered("/", body=b"404", headers=[(b"x-a", b"b")])
    assert body == b"404"
    assert headers == {b"content-length": b"3", b"etag": b"x", b"x-a": b"b"}
    assert answered("/", body=b"")[1] == b""
