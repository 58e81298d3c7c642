"""The live report's server: on 127.0.0.1, for one who knows the token, one request at a time."""

from __future__ import annotations

import hmac
import json
import logging
import secrets
import sys
import threading
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from irconv.inspector.live.page import shell
from irconv.inspector.live.session import RefusedError, Session

HOST = "127.0.0.1"
BODY_LIMIT = 64 << 10
CONNECTIONS = 8
# of a connection that says nothing
SILENCE = 15.0

_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_logger = logging.getLogger("irconv.live")


class LiveServer(ThreadingHTTPServer):
    """Serves one session under `http://127.0.0.1:PORT/TOKEN/`; `url` has the token.

    Other hosts' names (DNS rebinding), other origins and requests without the token are refused.
    """

    daemon_threads = True
    # another program's lingering connections must not hold the port, nor a second server take it
    allow_reuse_address = True

    def __init__(self, session: Session, port: int = 0) -> None:
        self.session = session
        self.token = secrets.token_urlsafe(32)
        self._slots = threading.BoundedSemaphore(CONNECTIONS)
        super().__init__((HOST, port), _Handler)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_port}/{self.token}/"

    @property
    def hosts(self) -> tuple[str, ...]:
        """What the Host header may say."""
        return tuple(f"{name}:{self.server_port}" for name in (HOST, "localhost"))

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answers in a thread, unless there are too many: then hangs up."""
        if not self._slots.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        _logger.debug("a request failed: %s", sys.exc_info()[1])

    def server_close(self) -> None:
        super().server_close()
        self.session.close()


class _Handler(BaseHTTPRequestHandler):
    """One request: who asks is checked before anything is looked at."""

    server: LiveServer
    timeout = SILENCE
    server_version = "irconv"
    sys_version = ""

    def do_GET(self) -> None:
        """The editor's page, or the report inside it."""
        match self._place():
            case "":
                page = shell(self.server.session.state())
                self._send(HTTPStatus.OK, "text/html; charset=utf-8", page.html, page.policy)
            case "report":
                html = self.server.session.report
                # its own policy stands in the page
                self._send(
                    HTTPStatus.OK, "text/html; charset=utf-8", html, "frame-ancestors 'self'"
                )
            case str():
                self._refuse(HTTPStatus.NOT_FOUND, "no such page")

    def do_POST(self) -> None:
        """A new report: `{"pipeline": text, "shows": {...}}`."""
        place = self._place()
        if place is None:
            return
        if place != "trace":
            self._refuse(HTTPStatus.NOT_FOUND, "no such page")
            return
        try:
            told = self.server.session.trace(self._body())
        except RefusedError as refused:
            self._refuse(refused.status, str(refused))
            return
        self._send_json(HTTPStatus.OK, told)

    def _place(self) -> str | None:
        """What is asked for behind the token; None where the request was refused."""
        if self.headers.get_all("Host", []) not in [[host] for host in self.server.hosts]:
            self._refuse(HTTPStatus.FORBIDDEN, "this host is not served here")
            return None
        if not self._is_same_origin():
            self._refuse(HTTPStatus.FORBIDDEN, "requests from other pages are refused")
            return None
        token, _, place = self.path.partition("?")[0].removeprefix("/").partition("/")
        if not hmac.compare_digest(token.encode(), self.server.token.encode()):
            self._refuse(HTTPStatus.FORBIDDEN, "the address that irconv printed has a token in it")
            return None
        return place

    def _is_same_origin(self) -> bool:
        """A browser says where a request comes from; a link that a person follows has no origin."""
        origins = [f"http://{host}" for host in self.server.hosts]
        if any(origin not in origins for origin in self.headers.get_all("Origin", [])):
            return False
        return self.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")

    def _body(self) -> Mapping[str, Any]:
        """The body as a JSON object; raises RefusedError."""
        kind = self.headers.get_content_type()
        if kind != "application/json":
            raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "application/json is needed")
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or len(length) > 12:
            raise RefusedError(HTTPStatus.LENGTH_REQUIRED, "Content-Length is needed")
        if int(length) > BODY_LIMIT:
            raise RefusedError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"more than {BODY_LIMIT} bytes are refused"
            )
        try:
            data = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "this is not JSON") from None
        if not isinstance(data, dict):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "an object is needed")
        return data

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self._send_json(status, {"error": why})

    def _send_json(self, status: HTTPStatus, data: Mapping[str, Any]) -> None:
        self._send(status, "application/json", json.dumps(data).encode())

    def _send(
        self,
        status: HTTPStatus,
        kind: str,
        body: bytes,
        policy: str = "default-src 'none'; frame-ancestors 'none'",
    ) -> None:
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Security-Policy", policy)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing on stderr, and nowhere the path, which has the token."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        _logger.debug("%s: %s", self.command, code)
