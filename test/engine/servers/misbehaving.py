# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""An OpenAI-compatible server without a model, which misbehaves in each known way.

    python misbehaving.py LOG [--port N] [--delay SECONDS] [--elsewhere URL] [--tls PATH]

Prints its port. PATH.pem and PATH.key are a certificate and its key. The first part of a URL's path
says how it behaves, the rest up to /v1 keeps users apart:
http://127.0.0.1:PORT/<behaviour>/<anything>/v1. A behaviour "x*2" shows in the first two questions
only. The short question by which an engine is loaded is always answered properly, except below
"always-<behaviour>". LOG gets a JSON object a line: what was asked, and how it ended.

A proper answer says what the server saw: each image's size and mean colour, then the last text.
"""

import argparse
import base64
import functools
import gzip
import hashlib
import json
import os
import socket
import ssl
import struct
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np

CORE = {
    "model", "messages", "stream", "max_tokens", "temperature", "top_p", "seed", "stop",
    "stream_options", "logprobs", "top_logprobs",
}  # fmt: skip
HANG_SECONDS = 60.0
TOKENS_PER_IMAGE = 7


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port, log, delay, elsewhere):
        super().__init__(("127.0.0.1", port), Handler)
        self.log_file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self.delay = delay
        self.elsewhere = elsewhere
        self.lock = threading.Lock()
        self.seen = Counter()
        self.answering = set()

    def log(self, **fields):
        # One write each, so that a line is whole even if the process is killed in the next moment.
        os.write(self.log_file, (json.dumps(fields) + "\n").encode())

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server
    used = False

    def setup(self):
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def log_message(self, *_):
        pass

    def do_GET(self):
        behaviour = self.path.split("/")[1]
        self.server.log(
            event="get", path=self.path, authorization=self.headers.get("Authorization", "")
        )
        always = behaviour.removeprefix("always-")
        if always != behaviour and always in OF_GET_TOO:
            BEHAVIOURS[always](self, {}, [])
            return
        card = {"id": "tiny", "object": "model", "owned_by": "nobody"}
        name, _, value = behaviour.partition("=")
        if name == "single_minded":
            while self.path.rpartition("/")[0] in self.server.answering:
                self.wait(0.01)
        if name == "owner":
            card["owned_by"] = value
        if name == "context":
            card["max_model_len"] = int(value)
        self.reply(200, {"object": "list", "data": [card]})

    def do_POST(self):
        behaviour = self.path.split("/")[1]
        size = int(self.headers["Content-Length"])
        if behaviour == "one_per_connection" and self.used:
            # As if the server had closed the idle connection in the same moment.
            self.hang_up()
            return
        if behaviour == "reply_early" and size > 10**6:
            # Answers and closes before it has read the body, as a proxy with a limit does.
            self.reply(413, {"error": {"message": "too large"}}, Connection="close")
            time.sleep(3)
            return
        body = json.loads(self.rfile.read(size))
        received = time.monotonic()
        with self.server.lock:
            self.server.seen[self.path, is_probe(body)] += 1
            count = self.server.seen[self.path, is_probe(body)]
        entry = {
            "path": self.path,
            "prompt": texts(body)[-1],
            "fields": sorted(body),
            "body": {key: value for key, value in body.items() if key != "messages"},
            "authorization": self.headers.get("Authorization", ""),
            "probe": is_probe(body),
        }
        self.server.log(event="asked", time=received, **entry)
        self.used = True
        self.started = received
        try:
            self.answer(behaviour, body, count)
        except OSError as error:
            self.close_connection = True
            self.server.log(
                event="disconnected", time=time.monotonic(), why=type(error).__name__, **entry
            )
        else:
            now = time.monotonic()
            self.server.log(event="finished", time=now, seconds=now - received, **entry)

    def answer(self, behaviour, body, count):
        always = behaviour.startswith("always-")
        name, _, times = behaviour.removeprefix("always-").partition("*")
        act = BEHAVIOURS.get(name.partition("=")[0])
        if act is None or (is_probe(body) and not always) or (times and count > int(times)):
            stream(self, body, proper(body))
        else:
            act(self, body, proper(body))

    def reply(self, status, body, **headers):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        kind = "text/html" if isinstance(body, bytes) else "application/json"
        self.send_header("Content-Type", headers.pop("Content_Type", kind))
        self.send_header("Content-Length", str(len(data)))
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def begin_stream(self, **headers):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()

    def raw(self, data):
        """One HTTP chunk."""
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.watch_client()

    def event(self, data):
        text = data if isinstance(data, str) else json.dumps(data)
        self.raw(f"data: {text}\n\n".encode())

    def token(self, text, **choice):
        self.event({"choices": [{"index": 0, "delta": {"content": text}, **choice}]})

    def end_stream(self):
        self.event("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def watch_client(self):
        """Raise ConnectionResetError once the client has gone."""
        if isinstance(self.connection, ssl.SSLSocket):
            return  # which cannot be peeked at
        try:
            gone = self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return
        if gone:
            raise ConnectionResetError

    def wait(self, seconds=HANG_SECONDS):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.watch_client()
            time.sleep(0.005)

    def hang_up(self):
        """Reset the connection in the middle of whatever it was doing."""
        self.close_connection = True
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


# --- what was asked, and the proper answer ------------------------------------------------------


def parts(body):
    for message in body["messages"]:
        content = message["content"]
        yield from [{"type": "text", "text": content}] if isinstance(content, str) else content


def texts(body):
    return [part["text"] for part in parts(body) if part["type"] == "text"] or [""]


def is_probe(body):
    return body.get("max_tokens") == 1 and texts(body) == ["Say yes."]


@functools.lru_cache(256)
def describe(url):
    head, _, data = url.partition(";base64,")
    if head == "data:video/jpeg":
        return "+".join(describe(f"data:image/jpeg;base64,{each}") for each in data.split(","))
    image = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    blue, green, red = (round(value) for value in image.reshape(-1, 3).mean(axis=0))
    kind = head.removeprefix("data:image/")
    return f"{kind}:{image.shape[1]}x{image.shape[0]}:{red},{green},{blue}"


def images(body):
    found = []
    for part in parts(body):
        if part["type"] != "text":
            found.append(describe(part[part["type"]]["url"]))
    return found


def proper(body):
    """The words of a proper answer."""
    return [*images(body), *texts(body)[-1].split()]


def stream(handler, body, words, *, usage=True, counted=None):
    """Send a proper answer."""
    count = len(images(body)) if counted is None else counted
    limit = body.get("max_tokens", body.get("max_completion_tokens"))
    pieces = [(" " if index else "") + word for index, word in enumerate(words)]
    handler.begin_stream()
    handler.token("", finish_reason=None)
    for piece in pieces[:limit]:
        handler.wait(handler.server.delay)
        handler.token(piece, logprobs=chances(body, piece))
    cut = len(pieces) > limit
    handler.token("", finish_reason="length" if cut else "stop")
    if usage and body.get("stream_options"):
        prompt = sum(len(text.split()) for text in texts(body)) + TOKENS_PER_IMAGE * count
        numbers = {"prompt_tokens": prompt, "completion_tokens": len(pieces)}
        numbers["prompt_tokens_details"] = {"cached_tokens": 3}
        handler.event({"choices": [], "usage": numbers})
    handler.end_stream()


def chances(body, piece):
    if not body.get("logprobs"):
        return None
    likeliest = [{"token": piece, "logprob": -0.1}, {"token": " other", "logprob": -3.0}]
    return {"content": [{"token": piece, "logprob": -0.1, "top_logprobs": likeliest}]}


def smallest(schema):
    """The smallest JSON value of a schema."""
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type")
    if kind == "object":
        return {name: smallest(schema["properties"][name]) for name in schema.get("required", [])}
    plain = {"array": [], "string": "", "integer": 0, "number": 0, "boolean": False}
    return plain.get(kind)


def constrained(body):
    """How the request's own fields constrain the answer: (name of the form, answer)."""
    format_ = body.get("response_format", {})
    if format_.get("type") == "json_schema":
        return "json_schema", json.dumps(smallest(format_["json_schema"]["schema"]))
    if format_.get("type") == "json_object" and "schema" in format_:
        return "json_object", json.dumps(smallest(format_["schema"]))
    if format_.get("type") == "json":
        return "json", json.dumps(smallest(format_["schema"]))
    if format_.get("type") == "regex":
        return "regex_format", format_["regex"].strip("()").split("|")[0]
    if "structured_outputs" in body:
        given = body["structured_outputs"]
        chosen = given["choice"][0] if "choice" in given else json.dumps(smallest(given["json"]))
        return "structured_outputs", chosen
    if "guided_choice" in body:
        return "guided", body["guided_choice"][0]
    if "guided_json" in body:
        return "guided", json.dumps(smallest(body["guided_json"]))
    if "grammar" in body:
        return "grammar", json.loads(body["grammar"].removeprefix("root ::= ").split(" | ")[0])
    if "regex" in body:
        return "regex", body["regex"].strip("()").split("|")[0]
    return "", ""


# --- the ways to misbehave ----------------------------------------------------------------------


def takes(handler, body, words):
    """takes=a,b: those forms of constraint; others are refused as unknown fields."""
    taken = handler.path.split("/")[1].partition("=")[2].split(",")
    form, answer = constrained(body)
    if form and form not in taken:
        field = next(iter(set(body) - CORE))
        handler.reply(400, {"object": "error", "message": f"{field}: Extra inputs not permitted"})
    else:
        stream(handler, body, [answer] if form else words)


def lacks(handler, body, words):
    """lacks=a,b: refuses those optional fields, one a time, as pydantic does."""
    for name in handler.path.split("/")[1].partition("=")[2].split(","):
        if name in body:
            said = [{"loc": ["body", name], "msg": "Extra inputs are not permitted"}]
            handler.reply(422, {"detail": said})
            return
    stream(handler, body, words)


def picky(handler, body, words):
    """Takes the core alone, and does not say what it dislikes."""
    if set(body) - {"model", "messages", "stream", "max_tokens", "temperature"}:
        handler.reply(400, {"error": "Bad Request"})
    else:
        stream(handler, body, words)


def wants_max_completion_tokens(handler, body, words):
    if "max_tokens" in body:
        said = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
        handler.reply(400, {"error": {"message": said, "param": "max_tokens"}})
    else:
        stream(handler, body, words)


def obeys_words(handler, body, words):
    """Ignores every field that constrains, but not an instruction in words."""
    said = texts(body)[-1]
    if "JSON schema: " in said:
        schema = json.loads(said.partition("JSON schema: ")[2])
        words = ["```json\n" + json.dumps(smallest(schema)) + "\n```"]
    elif "exactly one of these" in said:
        words = [said.partition("else: ")[2].split(",")[0].strip('".').title() + "."]
    else:
        words = ["certainly!"]
    stream(handler, body, words)


def fingerprints(handler, body, words):
    """Answers with the SHA-256 of each image's file."""
    urls = [part[part["type"]]["url"] for part in parts(body) if part["type"] != "text"]
    files = [base64.b64decode(url.partition(";base64,")[2], validate=True) for url in urls]
    stream(handler, body, [hashlib.sha256(file).hexdigest() for file in files])


def ignores_schema(handler, body, words):
    stream(handler, body, ["certainly!", "here", "is", "prose"])


def choice_chances(handler, body, words):
    """Answers "left" with log probabilities: 0.6 left, 0.3 right, 0.1 something else."""
    handler.begin_stream()
    likeliest = [
        {"token": "left", "logprob": float(np.log(0.6))},
        {"token": "right", "logprob": float(np.log(0.3))},
        {"token": "The", "logprob": float(np.log(0.1))},
    ]
    chosen = [{"token": "left", "logprob": float(np.log(0.6)), "top_logprobs": likeliest}]
    handler.token("left", logprobs={"content": chosen})
    handler.token("", finish_reason="stop")
    handler.end_stream()


def half(handler, words):
    handler.begin_stream()
    handler.token(words[0])


def half_then_silence(handler, body, words):
    half(handler, words)
    handler.wait()


def half_then_comments(handler, body, words):
    half(handler, words)
    while True:
        handler.raw(b": still here\n\n")
        handler.wait(0.05)


def half_then_empty_events(handler, body, words):
    half(handler, words)
    while True:
        handler.token("")
        handler.wait(0.05)


def half_then_disconnect(handler, body, words):
    """Closes in the middle of the body, in order: a reset would discard what the client has not
    read yet, so that whether it ever saw the first half would be left to chance."""
    half(handler, words)
    handler.close_connection = True


def half_then_end(handler, body, words):
    """Ends the body properly, but the answer without saying so."""
    half(handler, words)
    handler.wfile.write(b"0\r\n\r\n")


def error_in_stream(handler, body, words):
    half(handler, words)
    handler.event({"error": {"message": "CUDA out of memory"}})


def disconnect(handler, body, words):
    handler.hang_up()


def hang(handler, body, words):
    handler.wait()


def slow(handler, body, words):
    handler.wait(0.3)
    stream(handler, body, words)


def single_minded(handler, body, words):
    """Lists no models while it answers."""
    api = handler.path.removesuffix("/chat/completions")
    handler.server.answering.add(api)
    handler.wait(1.0)
    handler.server.answering.discard(api)
    stream(handler, body, words)


def trickle(handler, body, words):
    """A byte now and then, never a whole event."""
    handler.begin_stream()
    while True:
        handler.raw(b"d")
        handler.wait(0.05)


def too_many(handler, body, words):
    handler.reply(429, {"error": {"message": "rate limit"}}, Retry_After="1")


def come_back_in_20_seconds(handler, body, words):
    handler.reply(429, {"error": {"message": "rate limit"}}, Retry_After="20")


def come_back_in_an_hour(handler, body, words):
    handler.reply(429, {"error": {"message": "rate limit"}}, Retry_After="3600")


def fails(handler, body, words):
    handler.reply(500, {"error": {"message": "division by zero"}})


def bad_gateway(handler, body, words):
    handler.reply(502, b"<html><body>Bad Gateway</body></html>")


def not_ready(handler, body, words):
    handler.reply(503, {"error": "model is loading"})


def page(handler, body, words):
    handler.reply(200, b"<!DOCTYPE html><html><body>Please log in</body></html>")


def page_not_found(handler, body, words):
    handler.reply(404, b"<html><body>No such model of page</body></html>")


def no_access(handler, body, words):
    key = handler.headers.get("Authorization", "").removeprefix("Bearer ")
    handler.reply(401, {"error": {"message": f"Incorrect API key provided: {key}"}})


def no_model(handler, body, words):
    handler.reply(404, {"object": "error", "message": "The model `tiny` does not exist."})


def no_path(handler, body, words):
    handler.reply(404, {"detail": "Not Found"})


def no_vision(handler, body, words):
    if images(body):
        handler.reply(400, {"object": "error", "message": "tiny is not a multimodal model None"})
    else:
        stream(handler, body, words)


def drops_images(handler, body, words):
    stream(handler, body, texts(body)[-1].split(), counted=0)


def one_image(handler, body, words):
    if len(images(body)) > 1:
        said = "At most 1 image(s) may be provided in one prompt."
        handler.reply(400, {"error": {"message": said}})
    else:
        stream(handler, body, words)


def too_long(handler, body, words):
    said = "This model's maximum context length is 64 tokens. However, you requested 99 tokens."
    handler.reply(400, {"error": {"message": said}})


def endless(handler, body, words):
    handler.begin_stream()
    while True:
        handler.token("all work and no play " * 1000)


def giant_event(handler, body, words):
    handler.begin_stream()
    while True:
        handler.raw(b"x" * 65536)


def giant_error(handler, body, words):
    handler.send_response(400)
    handler.send_header("Content-Length", str(10**12))
    handler.end_headers()
    while True:
        handler.wfile.write(b"y" * 65536)


def broken_json(handler, body, words):
    handler.begin_stream()
    handler.event('{"choices": [{"delta"')
    handler.end_stream()


def not_utf8(handler, body, words):
    handler.begin_stream()
    handler.raw(b"data: \xff\xfe\n\n")
    handler.end_stream()


def wrong_types(handler, body, words):
    handler.begin_stream()
    handler.event({"choices": [{"delta": {"content": {"text": 1}}}]})
    handler.end_stream()


def not_http(handler, body, words):
    handler.close_connection = True
    handler.wfile.write(b"220 smtp.example ESMTP ready\r\n")


def compressed(handler, body, words):
    handler.begin_stream(Content_Encoding="gzip")
    handler.raw(gzip.compress(b"data: [DONE]\n\n"))
    handler.wfile.write(b"0\r\n\r\n")


def whole(handler, body, words):
    """Ignores that a stream was asked for."""
    message = {"role": "assistant", "content": " ".join(words)}
    handler.reply(200, {"choices": [{"message": message, "finish_reason": "stop"}]})


def odd_stream(handler, body, words):
    """Right, but unusual: comments, CRLF, events in pieces, a surrogate pair in two, no [DONE]."""
    handler.begin_stream()
    handler.raw(b": hello\r\n\r\nevent: message\r\n")
    handler.raw(b'data: {"choices": [{"delta": {"content":')
    handler.raw(b' "a \\ud83d"}}]}\r\n\r\n')
    handler.event('{"choices": [{"delta": {"content": "\\ude00 b"}}]}')
    handler.event({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    handler.wfile.write(b"0\r\n\r\n")


def ignores_stop(handler, body, words):
    stream(handler, body, ["one", "two", "STOP", "three"])


def redirect(handler, body, words):
    target = handler.server.elsewhere + handler.path.replace("redirect", "ok")
    handler.reply(307, {}, Location=target)


BEHAVIOURS = {
    name: value
    for name, value in list(globals().items())
    if callable(value) and getattr(value, "__code__", None) is not None
    and value.__code__.co_varnames[:3] == ("handler", "body", "words")
    and name != "stream"
}  # fmt: skip

OF_GET_TOO = {"page", "no_access", "no_path", "redirect", "hang", "not_ready", "fails", "not_http"}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("log")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--elsewhere", default="")
    parser.add_argument("--tls", default="")
    given = parser.parse_args()
    server = Server(given.port, given.log, given.delay, given.elsewhere)
    if given.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{given.tls}.pem", f"{given.tls}.key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
