#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the rig itself: what share of the rate plain TCP connections carry between its hosts, one way and both ways.

usage: ./dev slownet --hosts N --rate RATE -- tests/slownet/transfer.py RATE_IN_BITS [SECONDS]
Each host sends to the next one in a ring: first host0 alone, then all at the same time. A share is of goodput: a packet
of 1514 bytes carries 1448, so that 0.956 is the most.
"""

import os
import socket
import sys
import threading
import time

PORT = 7000
PIECE = bytes(1 << 16)


def address(rank):
    return f"10.77.0.{rank + 1}"


def receive(listener, size, arrived):
    connection, _ = listener.accept()
    with connection:
        while size > 0:
            size -= len(connection.recv(1 << 20))
        connection.sendall(b"!")
        arrived.set()


def send(rank, port, size):
    """Seconds until the last byte is known to have arrived."""
    with socket.create_connection((address(rank), port)) as connection:
        began = time.perf_counter()
        for _ in range(size // len(PIECE)):
            connection.sendall(PIECE)
        connection.recv(1)
        return time.perf_counter() - began


def wait_for_all(rank, hosts, port):
    """A barrier: everybody reports to rank 0, and waits until it closes the connection."""
    if rank == 0:
        with socket.create_server((address(0), port)) as listener:
            guests = [listener.accept()[0] for _ in range(hosts - 1)]
            for guest in guests:
                guest.close()
        return
    while True:
        try:
            with socket.create_connection((address(0), port)) as connection:
                connection.recv(1)
                return
        except ConnectionRefusedError:
            time.sleep(0.01)


def transfer(rank, hosts, port, size, is_sending):
    """Seconds that this rank's sending took; None where it sends nothing. Ranks receive what the one before them sends."""
    arrived = threading.Event()
    with socket.create_server((address(rank), port)) as listener:
        if is_sending((rank - 1) % hosts):
            threading.Thread(target=receive, args=(listener, size, arrived), daemon=True).start()
        else:
            arrived.set()
        wait_for_all(rank, hosts, port + 1)
        seconds = send((rank + 1) % hosts, port, size) if is_sending(rank) else None
        arrived.wait()
    wait_for_all(rank, hosts, port + 2)
    return seconds


def main():
    rank, hosts = (int(os.environ[f"OMPI_COMM_WORLD_{name}"]) for name in ("RANK", "SIZE"))
    rate = float(sys.argv[1])
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 3.0
    size = max(1, round(rate / 8 * seconds / len(PIECE))) * len(PIECE)
    for number, (name, is_sending) in enumerate({"one way": lambda r: r == 0, "all ways": lambda r: True}.items()):
        took = transfer(rank, hosts, PORT + 10 * number, size, is_sending)
        if took is not None:
            print(f"{name}: host{rank} sent {size / 1e6:.1f} MB in {took:.3f} s: {size * 8 / took / rate:.3f} of the rate", flush=True)


if __name__ == "__main__":
    main()
