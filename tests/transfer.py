#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0

"""Transfers of known content, and what was seen of them.

usage: transfer.py serve PORT
           Accepts one TCP connection, reads to its end, answers with the
           SHA-256 of what came.
       transfer.py serve6 PORT
           The same over IPv6.
       transfer.py send ADDRESS PORT BYTES [PROGRESS-FILE STOP...]
           Sends BYTES pseudo-random bytes and checks the answer.  At each STOP,
           in bytes, says in PROGRESS-FILE how many were sent, and goes on when
           PROGRESS-FILE.go exists, which it removes.
       transfer.py udp-serve PORT
           Echoes datagrams.
       transfer.py udp-send ADDRESS PORT N [PROGRESS-FILE STOP...]
           Sends N datagrams, each after the echo of the one before.  Waits at
           each STOP, in datagrams, as "send" does.
       transfer.py kernel-packets < OUTPUT-OF-ip-s-j-link
       transfer.py connections ADDRESS < JSON-OF-dump-connections
           Prints the packets of all connections from ADDRESS: all, carried by
           software, carried by the NIC.
       transfer.py same-frames CAPTURE CAPTURE
           Checks that two captures have the same TCP and UDP frames, each as
           often as in the other one.
"""

import collections
import hashlib
import json
import os
import random
import socket
import struct
import sys
import time

CHUNK = 64 * 1024


def serve(port, family=socket.AF_INET):
    with socket.create_server(("", int(port)), family=family) as listener:
        conn = listener.accept()[0]
    digest = hashlib.sha256()
    with conn:
        while data := conn.recv(CHUNK):
            digest.update(data)
        conn.sendall(digest.hexdigest().encode())


def serve6(port):
    serve(port, socket.AF_INET6)


def wait_for_go(progress, done):
    """Says in the file 'progress' what is done, waits until more may be."""
    with open(progress + ".new", "w") as f:
        print(done, file=f)
    os.rename(progress + ".new", progress)
    while not os.path.exists(progress + ".go"):
        time.sleep(0.05)
    os.remove(progress + ".go")


def send(address, port, size, progress=None, *stops):
    size = int(size)
    stops = [int(stop) for stop in stops]
    generator = random.Random(size)
    digest = hashlib.sha256()
    sent = 0
    with socket.create_connection((address, int(port)), 100) as conn:
        conn.settimeout(100)
        while sent < size:
            until = min((stop for stop in stops if stop > sent), default=size)
            data = generator.randbytes(min(CHUNK, until - sent))
            conn.sendall(data)
            digest.update(data)
            sent += len(data)
            if sent in stops:
                wait_for_go(progress, sent)
        conn.shutdown(socket.SHUT_WR)
        answer = b""
        while data := conn.recv(CHUNK):
            answer += data
    if answer.decode() != digest.hexdigest():
        sys.exit(f"sent {digest.hexdigest()}, received {answer.decode()}")


def udp_serve(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("", int(port)))
        while True:
            data, peer = sock.recvfrom(CHUNK)
            sock.sendto(data, peer)


def udp_send(address, port, n, progress=None, *stops):
    stops = [int(stop) for stop in stops]
    generator = random.Random(int(n))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((address, int(port)))
        sock.settimeout(100)
        for i in range(int(n)):
            data = generator.randbytes(generator.randrange(1, 1400))
            sock.send(data)
            if sock.recv(CHUNK) != data:
                sys.exit("the echo differs")
            if i + 1 in stops:
                wait_for_go(progress, i + 1)


def kernel_packets():
    stats = json.load(sys.stdin)[0]["stats64"]
    print(stats["rx"]["packets"] + stats["tx"]["packets"])


def connections(address):
    software = nic = 0
    for conn in json.load(sys.stdin)["connections"]:
        if conn["orig"]["src"] == address:
            for direction in conn["orig"], conn["reply"]:
                software += direction["sw_packets"]
                nic += direction["nic_packets"]
    print(software + nic, software, nic)


def frames(path):
    with open(path, "rb") as f:
        data = f.read()
    found = collections.Counter()
    offset = 24
    while offset + 16 <= len(data):
        caplen = struct.unpack_from("=I", data, offset + 8)[0]
        frame = data[offset + 16:offset + 16 + caplen]
        if frame[12:14] == b"\x08\x00" and frame[23] in (6, 17):
            found[frame] += 1
        offset += 16 + caplen
    return found


def same_frames(path_a, path_b):
    a = frames(path_a)
    b = frames(path_b)
    if not a or a != b:
        sys.exit(f"{sum(a.values())} and {sum(b.values())} frames; "
                 f"{sum((a - b).values())} only in {path_a}, "
                 f"{sum((b - a).values())} only in {path_b}")


COMMANDS = {
    "serve": serve,
    "serve6": serve6,
    "send": send,
    "udp-serve": udp_serve,
    "udp-send": udp_send,
    "kernel-packets": kernel_packets,
    "connections": connections,
    "same-frames": same_frames,
}

if __name__ == "__main__":
    COMMANDS[sys.argv[1]](*sys.argv[2:])
