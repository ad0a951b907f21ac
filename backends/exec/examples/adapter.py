#!/usr/bin/env python3
"""An adapter that plays scripted times. Put your engine where `engine` is. Protocol: backends/exec/PROTOCOL.md"""
import json, os, socket, struct, sys, threading, time

BOUND = 1 << 20
HELLO = {"type": "hello", "protocol": 1, "engine": "echo-python", "version": "1", "model": "echo", "exact_length": True,
         "takes": "ids", "vocab": {"first": 0, "size": 32000}, "samples": True, "echo": True}
generated = 0
count = threading.Lock()


class Refused(Exception):
    pass


def send(conn, message):
    body = json.dumps(message).encode()
    conn.sendall(struct.pack("<I", len(body)) + body)


def exactly(conn, n):
    data = b""
    while len(data) < n:
        piece = conn.recv(n - len(data))
        if not piece:
            raise ConnectionError("closed")
        data += piece
    return data


def receive(conn):
    (length,) = struct.unpack("<I", exactly(conn, 4))
    if length > BOUND:
        send(conn, {"type": "error", "code": "invalid", "message": f"a frame of {length} bytes"})
        raise ConnectionError("too large")
    return json.loads(exactly(conn, length))


def engine(prompt, max_tokens, script):
    """Yields (ids, text), one step at a time. This one answers at scripted times, or at once."""
    due = time.monotonic_ns() + script.get("ttft_ns", 0)
    for i in range(max_tokens):
        time.sleep(max(0, due - time.monotonic_ns()) / 1e9)
        yield [i % 32000], None
        due += script.get("itl_ns", 0)


def answer(conn, ask):
    global generated
    prompt, wanted, sent = ask["prompt"], ask["max_tokens"], []
    if not isinstance(prompt, list) or not isinstance(wanted, int) or wanted < 1:
        raise Refused("prompt must be ids and max_tokens at least 1")
    for ids, text in engine(prompt, wanted, ask.get("script", {})):
        sent.append(time.monotonic_ns())
        send(conn, {"type": "tokens", "n": len(ids), "ids": ids, "text": text, "kind": "visible"})  # fails once nomoat has gone
        with count:
            generated += len(ids)
    send(conn, {"type": "done", "finish": "length", "usage": {"input": len(prompt), "output": wanted},
                **({"sent_ns": sent} if "script" in ask else {})})


def serve(conn):
    try:
        send(conn, HELLO)
        while True:
            try:
                message = receive(conn)
                if message["type"] == "generate":
                    answer(conn, message)
                elif message["type"] == "sample":
                    send(conn, {"type": "samples", "values": {"engine.generation_tokens_total": generated}})
                else:
                    raise Refused(f"unknown type {message['type']}")
            except (Refused, KeyError, TypeError, ValueError) as error:
                send(conn, {"type": "error", "code": "invalid", "message": f"{type(error).__name__}: {error}"})
    except OSError:
        pass  # nomoat has gone: that is how a request is cancelled
    finally:
        conn.close()


path = os.environ.get("NOMOAT_SOCKET") or sys.exit("NOMOAT_SOCKET is not set")
listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
listener.bind(path)
listener.listen(1024)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
