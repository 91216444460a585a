"""Reads from a connection over loopback whose other end is open and silent. Ends after 60 s."""

import signal
import socket

listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
server, _ = listener.accept()
signal.alarm(60)
print("ready", flush=True)
client.recv(1)
