"""A TCP proxy on loopback that hands on what a client says as late as it is told to."""

import socket
import threading
import time
from contextlib import suppress


class Proxy:
    """Connections to `port` go on to `to`. `delay`: seconds that each message of a client is held back."""

    def __init__(self, to: int) -> None:
        self.delay = 0.0
        self._to = to
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = int(self._listener.getsockname()[1])

    def __enter__(self) -> "Proxy":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self._to), 5)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        back = threading.Thread(target=self._hand_on, args=(server, client, False), daemon=True)
        back.start()
        self._hand_on(client, server, True)

    def _hand_on(self, source: socket.socket, target: socket.socket, late: bool) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if late and self.delay:
                    time.sleep(self.delay)
                target.sendall(data)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
