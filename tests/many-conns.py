#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0

"""Makes TCP connections through dummy ports, many and quickly.

usage: many-conns.py CTL UPLINK VPORTS CONNS open|more

Receives packets through the unixctl socket CTL of ovs-vswitchd: for each of
the vports v1 to vVPORTS CONNS / VPORTS connections, rounded up, from the
machine behind it to one that is behind the port UPLINK.  "open" sends the
handshake, "more" one packet each way: what has been learned in between makes
new megaflows.
"""

import json
import socket
import struct
import sys

PEER = bytes.fromhex('505400000901'), bytes((10, 1, 9, 1))

# As many wait at a port at once.
BATCH = 32

SYN, ACK = 2, 16


def machine(n):
    return (bytes.fromhex('50540001') + struct.pack('!H', n),
            bytes((10, 2)) + struct.pack('!H', n))


def checksum(data):
    total = sum(struct.unpack('!%dH' % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return struct.pack('!H', ~total & 0xffff)


def frame(src, dst, sport, dport, flags, seq, ack):
    ip = struct.pack('!BBHHHBBH', 0x45, 0, 40, 0, 0, 64, 6, 0)
    ip += src[1] + dst[1]
    tcp = struct.pack('!HHIIBBHHH', sport, dport, seq, ack, 0x50, flags,
                      32768, 0, 0)
    pseudo = src[1] + dst[1] + struct.pack('!HH', 6, len(tcp))
    return (dst[0] + src[0] + b'\x08\x00' + ip[:10] + checksum(ip) + ip[12:]
            + tcp[:16] + checksum(pseudo + tcp) + tcp[18:]).hex()


class Control:
    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(path)
        self.text = ''

    def call(self, method, *params):
        request = {'id': 0, 'method': method, 'params': params}
        self.sock.sendall(json.dumps(request).encode())
        while True:
            try:
                reply, end = json.JSONDecoder().raw_decode(self.text)
                break
            except ValueError:
                data = self.sock.recv(65536)
                if not data:
                    sys.exit('connection closed')
                self.text += data.decode()
        self.text = self.text[end:].lstrip()
        if reply['error']:
            sys.exit(reply['error'])


class Switch:
    def __init__(self, path):
        self.first, self.second = Control(path), Control(path)
        self.first.call('version')

    def main_loop(self, n):
        """Waits until the main thread went 'n' times through its loop.  In
        each turn it serves the first connection before the second one."""
        for _ in range(n):
            self.second.call('version')
            self.first.call('version')

    def receive(self, port, frames):
        for i in range(0, len(frames), BATCH):
            batch = frames[i:i + BATCH]
            self.first.call('netdev-dummy/receive', port, *batch)
            # A turn takes one packet from a port.
            self.main_loop(len(batch) + 1)


def main(path, uplink, n_vports, n_conns, what):
    switch = Switch(path)
    n_vports, n_conns = int(n_vports), int(n_conns)
    ports = range(1000, 1000 + (n_conns + n_vports - 1) // n_vports)

    # The place of the peer is learned first, or everything is flooded.
    switch.receive(uplink, [frame(PEER, (b'\xff' * 6, PEER[1]), 1, 1, ACK, 0,
                                  0)])
    for n in range(1, n_vports + 1):
        vm = machine(n)
        if what == 'open':
            switch.receive('v%d' % n, [frame(vm, PEER, port, 80, SYN, 1, 0)
                                       for port in ports])
            switch.receive(uplink, [frame(PEER, vm, 80, port, SYN | ACK, 1, 2)
                                    for port in ports])
        switch.receive('v%d' % n, [frame(vm, PEER, port, 80, ACK, 2, 2)
                                   for port in ports])
        switch.receive(uplink, [frame(PEER, vm, 80, port, ACK, 2, 2)
                                for port in ports])


main(*sys.argv[1:])
