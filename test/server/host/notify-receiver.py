"""Prints what arrives at a datagram socket, as systemd would receive it."""
import socket
import sys

receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
receiver.bind(sys.argv[1])
print("listening", flush=True)
while True:
    message, ancillary, _, _ = receiver.recvmsg(4096, 1024)
    # systemd-notify ends with a barrier: a descriptor that it waits to see closed.
    for level, kind, data in ancillary:
        if kind == socket.SCM_RIGHTS:
            import array
            import os

            descriptors = array.array("i")
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
            for descriptor in descriptors:
                os.close(descriptor)
    print(message.decode(), flush=True)
