"""Watches a stream of JPEGs by PROTOCOL.md alone: python3 viewer.py HOST PORT NAME [COUNT] writes SEQUENCE.jpg files."""
import socket, struct, sys, time

PREAMBLE = b"\x89FWIRE\x01\n"
HELLO, SUBSCRIBE, CONFIG, FRAME, REPORT, PING, PONG, ERROR, BYE = 1, 3, 5, 6, 7, 8, 9, 12, 13

def now():
    return time.monotonic_ns() // 1000

def message(kind, body):
    return struct.pack("<BBxxI", kind, 0, len(body)) + body

def read(stream, length):
    data = stream.read(length)
    if len(data) < length:
        sys.exit("the hub closed the connection")
    return data

def watch(host, port, name, count):
    hub = socket.create_connection((host, int(port)), timeout=10)
    hub.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream, ahead = hub.makefile("rb"), None
    greeting = message(HELLO, b"viewer.py") + message(PING, struct.pack("<Q", now()))
    hub.sendall(PREAMBLE + greeting + message(SUBSCRIBE, name.encode()))
    if read(stream, 8) != PREAMBLE:
        sys.exit("this is no framewire hub, or one of another version")
    while count:
        kind, _, length = struct.unpack("<BBxxI", read(stream, 8))
        if length > 48 + 8 * 2**20:
            sys.exit(f"a message of {length} bytes is over the limit")
        body = read(stream, length)
        if kind == PING:
            hub.sendall(message(PONG, body[:8] + struct.pack("<QQ", now(), now())))
        elif kind == PONG:
            pinged, received, sent = struct.unpack_from("<QQQ", body)
            ahead = (received + sent - pinged - now()) // 2  # how much more the hub's clock shows than ours
        elif kind == CONFIG and body[0] != 1:
            sys.exit(f"frames are in codec {body[0]}, and this program knows JPEG alone")
        elif kind == FRAME:
            (sequence, captured), received = struct.unpack_from("<QQ", body), now()
            hub.sendall(message(REPORT, struct.pack("<QQQQ", sequence, received, 0, 0)))
            open(f"{sequence}.jpg", "wb").write(body[48:])
            age = f"{(received + ahead - captured) / 1000:.1f} ms" if captured and ahead is not None else "unknown"
            print(f"{sequence}.jpg: {length - 48} bytes, age {age}")
            count -= 1
        elif kind in (ERROR, BYE):
            sys.exit(body[4 if kind == ERROR else 0:].decode() or "the hub said bye")
    hub.sendall(message(BYE, b""))

watch(*sys.argv[1:4], count=int(sys.argv[4]) if len(sys.argv) > 4 else -1)
