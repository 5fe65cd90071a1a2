"""A real web server on this machine, for tests of downloads: it resumes, breaks connections and refuses as told."""

import http.server
import threading
import time


class Server(http.server.ThreadingHTTPServer):
    """Serves `content` under every name.

    :ivar version: what it calls this content; ``code``: the answer, unless it is 200.
    :ivar breaks: after how many bytes the next connections are cut, one number each.
    :ivar pause: seconds after every 100 kB.
    :ivar asked: the ranges that were asked for.
    """

    daemon_threads = True

    def __init__(self, content):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.version, self.breaks, self.asked, self.code = content, '"1"', [], [], 200
        self.pause = 0.0
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.shutdown()
        self.server_close()

    def handle_error(self, request, address):
        """A client that goes away is what these tests are about."""

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}/models/net%20work.pth"


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *arguments): ...

    def do_GET(self):
        server, wanted = self.server, self.headers.get("Range")
        server.asked.append(wanted)
        if server.code != 200:
            self.send_error(server.code)
            return
        start = 0
        if wanted and self.headers.get("If-Range") == server.version:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
        if start >= len(server.content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(server.content)}")
            self.end_headers()
            return
        body = server.content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        if server.version:
            self.send_header("ETag", server.version)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        sent = server.breaks.pop(0) if server.breaks else len(body)
        for n in range(0, sent, 100_000):
            self.wfile.write(body[n : min(n + 100_000, sent)])
            time.sleep(server.pause)
        self.close_connection = True
