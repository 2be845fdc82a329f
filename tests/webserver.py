"""A web server on this machine that misbehaves on request."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class WebServer:
    """Serves `files`; the next requests for a path meet the faults queued for it, one each."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list[str]] = {}
        self.ranges: list[tuple[str, str]] = []  # (path, Range header) of every GET
        self.etag = '"v1"'
        self.released = threading.Event()
        handler = type("Handler", (_Handler,), {"server_state": self})
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.http.daemon_threads = True
        self.http.handle_error = lambda *_: None  # clients that hang up are part of the tests
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def __enter__(self) -> WebServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self.http.shutdown()
        self.http.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_state: WebServer

    def log_message(self, *_args: object) -> None:
        pass

    def answer(self, status: int, body: bytes = b"", *, announce: int | None = None, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if announce is None else announce))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)
            self.wfile.flush()

    def do_HEAD(self) -> None:
        state = self.server_state
        body = state.files.get(self.path)
        self.answer(404) if body is None else self.answer(200, body, ETag=state.etag, X_Repo_Commit="a" * 40)

    def do_GET(self) -> None:
        state, path = self.server_state, self.path
        wanted = self.headers.get("Range", "")
        state.ranges.append((path, wanted))
        fault = state.faults[path].pop(0) if state.faults.get(path) else ""
        body = state.files.get(path, state.files.get(path.partition("?")[0]))
        if fault.isdecimal():
            return self.answer(int(fault), b"busy" if fault != "202" else b"", Retry_After="0")
        if fault == "redirect":
            return self.answer(302, Location=path)
        if fault == "empty":
            return self.answer(200)
        if fault == "page":
            return self.answer(200, b"<!DOCTYPE html><p>Log in first</p>", Content_Type="text/html; charset=utf-8")
        if fault == "disguised page":
            return self.answer(200, b"\n<!DOCTYPE html><p>Log in</p>", Content_Type="application/octet-stream")
        if body is None:
            return self.answer(404, b"nothing here")
        if fault == "corrupt":
            body = bytes([body[0] ^ 1]) + body[1:]
        start, status, headers = 0, 200, {"ETag": state.etag}
        unchanged = self.headers.get("If-Range", state.etag) == state.etag
        if wanted and unchanged and fault != "no range":
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                return self.answer(416)
            status = 206
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        piece = body[start:]
        if fault in ("truncate", "stall"):
            self.answer(status, piece[: len(piece) // 2], announce=len(piece), **headers)
            if fault == "stall":
                state.released.wait(10)
            self.close_connection = True
            return None
        return self.answer(status, piece, **headers)
