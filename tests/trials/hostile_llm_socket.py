"""A server of one behaviour on a real socket, with what a behaviour can do to its client."""

import re
import socket
from contextlib import contextmanager, suppress
from threading import Event, Thread

DRIP = 0.02  # seconds between the bytes of a slow server


class Client:
    """The connection of one request, with the key that it brought."""

    def __init__(self, connection, stop):
        self.connection = connection
        self.stop = stop
        self.key = ""

    def read(self):
        data = b""
        while b"\r\n\r\n" not in data and (piece := self.connection.recv(65536)):
            data += piece
        found = re.search(rb"Authorization: Bearer ([^\r\n]*)", data)
        self.key = found[1].decode() if found else ""
        length = re.search(rb"Content-Length: (\d+)", data, re.IGNORECASE)
        rest = int(length[1]) if length else 0
        rest -= len(data.partition(b"\r\n\r\n")[2])
        while rest > 0 and (piece := self.connection.recv(65536)):
            rest -= len(piece)

    def send(self, data):
        self.connection.sendall(data)

    def drip(self, data):
        for byte in data:
            if self.stop.wait(DRIP):
                return
            self.send(bytes([byte]))

    def flood(self, data, most=64 << 20):
        data *= max(1, 65536 // len(data))
        for _ in range(most // len(data)):
            if self.stop.is_set():
                return
            self.send(data)

    def hold(self):
        self.stop.wait(30)


@contextmanager
def served(behave):
    """Serve one behaviour on a free port of 127.0.0.1; yields the URL and the clients so far."""
    stop = Event()
    clients = []
    threads: list[Thread] = []

    def handle(connection):
        client = Client(connection, stop)
        clients.append(client)
        with connection, suppress(OSError):
            connection.settimeout(30)
            if not getattr(behave, "unread", False):
                client.read()
            behave(client)

    def accept():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threads.append(Thread(target=handle, args=(connection,), daemon=True))
            threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1", clients
        finally:
            stop.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)
            for each in threads:
                each.join(10)
