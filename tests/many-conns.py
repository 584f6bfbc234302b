#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0

"""Makes TCP connections through dummy ports, many and quickly.

usage: many-conns.py CTL UPLINK VPORTS CONNS open|more

Receives packets through the unixctl socket CTL of ovs-vswitchd: for each of
the vports v1 to vVPORTS CONNS / VPORTS connections, rounded up, from the
machine behind it to one that is behind the port UPLINK.  "open" sends the
handshakes, "more" a packet each way of one connection of each vport: it makes
megaflows again that Open vSwitch removed meanwhile.

A dummy port drops what it receives while 100 packets wait there, without
counting it, and the main thread takes one packet from a port in each turn of
its loop, however long that lasts.  So the next packets are not sent before the
main thread has taken the last ones.  It is an error if it does not take all.
"""

import json
import socket
import struct
import sys

PEER = bytes.fromhex('505400000901'), bytes((10, 1, 9, 1))

# At most so many packets wait at a port at a time.
MAX_WAITING = 64

# Handshakes of a vport that are under way at a time.  The main thread takes
# a packet of each of them in turn from the uplink, and must be done before the
# first one expires, after 30 s.
MAX_OPENING = 4

# A turn of the main loop takes a packet from each port where some wait, so
# packets are lost if so many turns take none.
MAX_IDLE_TURNS = 100

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


def to_peer(n, port, flags, seq, ack):
    return frame(machine(n), PEER, port, 80, flags, seq, ack)


def from_peer(n, port, flags, seq, ack):
    return frame(PEER, machine(n), 80, port, flags, seq, ack)


class Control:
    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(path)
        self.text = ''

    def request(self, method, *params):
        request = {'id': 0, 'method': method, 'params': params}
        self.sock.sendall(json.dumps(request).encode())

    def reply(self):
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
        return reply['result']

    def call(self, method, *params):
        self.request(method, *params)
        return self.reply()


class Switch:
    def __init__(self, path):
        self.control = Control(path)
        self.n_received = self.count()

    def count(self):
        """What the main thread has taken from all ports, a packet at a time.
        It answers after it has forwarded them."""
        return int(self.control.call('coverage/read-counter',
                                     'netdev_received'))

    def wait(self):
        """Waits until the main thread has taken everything."""
        last, turns = self.count(), 0
        while last < self.n_received:
            now = self.count()
            turns = turns + 1 if now == last else 0
            if turns == MAX_IDLE_TURNS:
                sys.exit('%d packets were lost' % (self.n_received - now))
            last = now
        if last > self.n_received:
            sys.exit('%d packets are not ours' % (last - self.n_received))

    def receive(self, frames):
        """Receives 'frames', a list for each port, and forwards them."""
        while frames:
            for port, waiting in frames.items():
                self.control.request('netdev-dummy/receive', port,
                                     *waiting[:MAX_WAITING])
                self.n_received += len(waiting[:MAX_WAITING])
            for _ in frames:
                self.control.reply()
            self.wait()
            frames = {port: waiting[MAX_WAITING:]
                      for port, waiting in frames.items()
                      if len(waiting) > MAX_WAITING}


def main(path, uplink, n_vports, n_conns, what):
    switch = Switch(path)
    vports = range(1, int(n_vports) + 1)
    first, last = 1000, 1000 - -int(n_conns) // int(n_vports)

    # The place of the peer is learned first, or everything is flooded.
    switch.receive({uplink: [frame(PEER, (b'\xff' * 6, PEER[1]), 1, 1, ACK, 0,
                                   0)]})
    if what == 'more':
        last = first + 1
    for begin in range(first, last, MAX_OPENING):
        ports = range(begin, min(begin + MAX_OPENING, last))

        def vms(*args):
            switch.receive({'v%d' % n: [to_peer(n, port, *args)
                                        for port in ports] for n in vports})

        def peer(*args):
            switch.receive({uplink: [from_peer(n, port, *args)
                                     for n in vports for port in ports]})

        if what == 'open':
            vms(SYN, 1, 0)
            peer(SYN | ACK, 1, 2)
            vms(ACK, 2, 2)
        else:
            vms(ACK, 2, 2)
            peer(ACK, 2, 2)


main(*sys.argv[1:])
