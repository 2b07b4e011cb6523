"""A client of the owner's socket (docs/decisions/0013): asks many times in one process, as a program that stays does.
Beside the time of a command, which is mostly the start of a process, it shows that of the answer."""
import base64
import json
import os
import socket
import struct

import stage as s

HEADER, REQUEST, END, ERROR = struct.Struct("<4sBBHI"), 1, 5, 6


def path(text):
    """Of something in the vault, from its root on."""
    return base64.b64encode(text.encode()).decode()


def name(text):
    return list(text.encode())


class Owner:
    def __init__(self, vault):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(os.path.join(vault.store, "socket"))
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def ask(self, request, **arguments):
        """The items of the answer, JSON each."""
        body, items = json.dumps({"request": request, "arguments": arguments}).encode(), []
        self.socket.sendall(HEADER.pack(b"VLTf", 1, REQUEST, 0, len(body)) + body)
        while True:
            _, _, kind, _, length = HEADER.unpack(self.file.read(HEADER.size))
            body = self.file.read(length)
            if kind == ERROR:
                raise s.Failure(f"the request {request}: {body.decode()[:200]}")
            if kind == END:
                return items
            items.append(body)
