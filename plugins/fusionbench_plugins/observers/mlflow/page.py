"""MLflow's own pages, without the assistant that opens over them, and with the menu of trained models on every page.

The pages open that panel by themselves once, at the first visit under ``localhost`` or ``127.0.0.1``, and begin with the menu of
language models; no setting of the server changes either. They remember both in the browser: this fills in what they would
remember, where they remember nothing yet. What else they show is untouched, and versions that remember it in another way show
what they show.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
REMEMBERED = {
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": True,  # the panel was open once
    "mlflow.workflowType_v1": "machine_learning",  # "Model training", not "GenAI"
}
_FILL = (
    "for(const [k,v] of Object.entries(%s))if(localStorage.getItem(k)===null)localStorage.setItem(k,JSON.stringify(v))"
)
SCRIPT = f"<script>try{{{_FILL % json.dumps(REMEMBERED)}}}catch{{}}</script>".encode()


class Page:
    """The server's application, with one line before the first script of its page.

    Args:
        inner: An ASGI application; None: MLflow's own, imported when the server starts.
    """

    def __init__(self, inner: Callable[[Message, Receive, Send], Awaitable[None]] | None = None) -> None:
        self._inner = inner

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer; what is not the page itself passes through."""
        if self._inner is None:
            from mlflow.server.fastapi_app import app as own

            self._inner = own
        if scope["type"] != "http" or scope["path"] not in ("", "/"):
            await self._inner(scope, receive, send)
            return
        answer = _Whole(send)
        await self._inner(scope, receive, answer)


class _Whole:
    """Holds an answer back until it is whole, and sends it with the line; one that is no page goes out as it is."""

    def __init__(self, send: Send) -> None:
        self._send, self._start, self._body = send, dict[str, Any](), b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = dict(message)
            return
        self._body += message.get("body", b"")
        if message.get("more_body", False):
            return
        body = self._body.replace(b"<head>", b"<head>" + SCRIPT, 1)
        headers = [(k, v) for k, v in self._start.get("headers", []) if k.lower() != b"content-length"]
        if body != self._body:  # what the browser kept of another answer is of no use
            headers = [(k, v) for k, v in headers if k.lower() not in (b"etag", b"last-modified")]
        length = (b"content-length", str(len(body)).encode())
        await self._send({**self._start, "headers": [*headers, length]})
        await self._send({"type": "http.response.body", "body": body})


app = Page()
