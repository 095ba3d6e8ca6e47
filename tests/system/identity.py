"""A small identity server on loopback: what it says of a token is set by the test, what it was asked is kept."""
import base64
import contextlib
import hashlib
import hmac
import http.server
import json
import threading
import time
import urllib.parse


class Answer:
    """body: an object for JSON, or bytes as they are."""

    def __init__(self, body=None, status=200, delay=0, headers=()):
        self.body = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        self.status, self.delay, self.headers = status, delay, headers


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        url = urllib.parse.urlsplit(self.path)
        asked = {"method": self.command, "path": url.path, "query": dict(urllib.parse.parse_qsl(url.query)), "form": dict(urllib.parse.parse_qsl(body)),
                 "headers": {k.lower(): v for k, v in self.headers.items()}}
        self.server.identity.asked.append(asked)
        said = self.server.identity.find(asked)
        if said.delay:
            self.server.identity.leaving.wait(said.delay)
        with contextlib.suppress(OSError):  # who asked has given up
            self.send_response(said.status)
            for name, value in said.headers:
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(said.body)))
            self.end_headers()
            self.wfile.write(said.body)

    do_GET = do_POST = answer


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 100

    def handle_error(self, *_):
        pass


class Identity:
    """with Identity() as server: server.say[path] = {token: Answer}. A token that nothing is said of is refused with 401."""

    def __init__(self, tls=None):
        self.say, self.asked, self.tls, self.leaving = {}, [], tls, threading.Event()

    def __enter__(self):
        self.http = Server(("127.0.0.1", 0), Handler)
        self.http.identity = self
        if self.tls:
            self.http.socket = self.tls.wrap_socket(self.http.socket, server_side=True)
        self.port = self.http.server_address[1]
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.leaving.set()
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()

    def find(self, asked):
        bearer = asked["headers"].get("authorization", "").removeprefix("Bearer ")
        token = asked["query"].get("t") or asked["form"].get("token") or asked["form"].get("password") or bearer
        return self.say.get(asked["path"], {}).get(token, Answer({"error": "invalid_token"}, 401))


def url64(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def jwt(claims, key=b"secret", alg="HS256", sign=None, header=None, **more):
    """sign(bytes) -> signature; without it HMAC with the key."""
    head = header if header is not None else {"typ": "JWT", "alg": alg, **more}
    covered = url64(json.dumps(head).encode()) + "." + url64(claims if isinstance(claims, bytes) else json.dumps(claims).encode())
    digest = {"256": hashlib.sha256, "384": hashlib.sha384, "512": hashlib.sha512}.get(alg[-3:], hashlib.sha256)
    signature = sign(covered.encode()) if sign else hmac.new(key, covered.encode(), digest).digest()
    return covered + "." + url64(signature)


def claims(user, **more):
    now = int(time.time())
    return {"sub": user, "email": user, "exp": now + 600, **more}


def bearer(user, token):
    return base64.b64encode(f"n,a={user},\x01host=localhost\x01port=143\x01auth=Bearer {token}\x01\x01".encode()).decode()


def xoauth2(user, token):
    return base64.b64encode(f"user={user}\x01auth=Bearer {token}\x01\x01".encode()).decode()
