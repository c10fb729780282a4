"""A web server on this machine that misbehaves as it is told, and the bytes that it serves."""

import contextlib
import gzip
import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from alignet.data import transfer

CONTENT = np.random.default_rng(0).bytes(300_000)
OTHER = np.random.default_rng(1).bytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HALF = len(CONTENT) // 2
HURRIED = transfer.Patience(timeout=0.3, retries=2, pause=0.01)


class Server(ThreadingHTTPServer):
    """Serves `contents` by path.

    `plans` has by path what the next answers are; when they are used up, all is well:
      503                   that status, and nothing else
      ("cut", 100)          100 bytes of the body, and the connection is closed
      ("stall", 100)        100 bytes of the body, and then nothing
      ("short", 100)        100 bytes as if they were all
      ("redirect", "/b")    to another path
      ("html",)             a web page
      ("gzip",)             compressed, though nobody asked for it
      ("endless",)          no length, and the connection is closed at the end
      ("ignorant",)         a part is sent whether or not it is of the version that was asked for
      ("elsewhere",)        a part is sent that begins 1,000 bytes before what was asked for
    As many servers do, it compresses what a client accepts compressed.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.contents: dict[str, bytes] = {}
        self.plans: dict[str, list] = {}
        self.ranges = True
        self.tagged = True
        self.asked: list[tuple[str, str | None]] = []
        self.sent = 0
        self.stalled, self.closing = threading.Event(), threading.Event()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"

    def handle_error(self, request, client_address):
        """A client that went away is what some tests are about."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        server, path = self.server, self.path
        server.asked.append((path, self.headers["Range"]))
        plan = server.plans.get(path)
        step = plan.pop(0) if plan else ("well",)
        if isinstance(step, int) or path not in server.contents:
            return self.answer(step if isinstance(step, int) else 404, {"Retry-After": "0"})
        if step[0] == "redirect":
            return self.answer(302, {"Location": step[1]})
        content = server.contents[path]
        tag = f'"{hashlib.sha256(content).hexdigest()[:8]}"'
        headers = {"ETag": tag} if server.tagged else {}
        if step[0] == "html":
            return self.answer(200, {"Content-Type": "text/html; charset=utf-8"}, b"<html>")
        if step[0] == "gzip" or "gzip" in self.headers.get("Accept-Encoding", ""):
            return self.answer(200, headers | {"Content-Encoding": "gzip"}, gzip.compress(content))
        if step[0] == "endless":
            self.close_connection = True
            return self.answer(200, headers, content, length=None)
        start, asked = 0, self.headers["Range"]
        same = self.headers["If-Range"] in (None, tag) or step[0] == "ignorant"
        if asked and server.ranges and same:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            start -= 1000 if step[0] == "elsewhere" else 0
            if start >= len(content):
                return self.answer(416, {"Content-Range": f"bytes */{len(content)}"})
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        body = content[start:]
        status = 206 if "Content-Range" in headers else 200
        if step[0] == "short":
            return self.answer(status, headers, body[: step[1]])
        if step[0] in ("cut", "stall"):
            self.answer(status, headers, body[: step[1]], length=len(body))
            self.close_connection = True
            if step[0] == "stall":
                server.stalled.set()
                server.closing.wait(30)
            return None
        return self.answer(status, headers, body)

    def answer(self, status, headers, body=b"", length=-1):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if length is not None:
            self.send_header("Content-Length", str(len(body) if length == -1 else length))
        self.end_headers()
        # Before they leave: a client that has them all may ask at once how many there were.
        self.server.sent += len(body)
        self.wfile.write(body)
        self.wfile.flush()


@contextlib.contextmanager
def running():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
