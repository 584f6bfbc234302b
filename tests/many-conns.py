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
# Not a multicast address: those are taken from one uplink of a bond only.
NOBODY = bytes.fromhex('505400000902'), bytes((10, 1, 9, 2))

# At most so many packets wait at a port at a time, and so many handshakes are
# under way, each of another vport.  The main thread must get through with them
# within the 30 s after which conntrack forgets a SYN.
MAX_WAITING = 64

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
        """Receives 'frames', a list of at most MAX_WAITING for each port, and
        forwards them."""
        for port, waiting in frames.items():
            self.control.request('netdev-dummy/receive', port, *waiting)
            self.n_received += len(waiting)
        for _ in frames:
            self.control.reply()
        self.wait()


def main(path, uplink, n_vports, n_conns, what):
    switch = Switch(path)
    n_vports, n_conns = int(n_vports), int(n_conns)
    vports = range(1, n_vports + 1)
    ports = range(1000, 1000 + (n_conns + n_vports - 1) // n_vports)

    # The place of the peer is learned first, or everything is flooded.
    switch.receive({uplink: [frame(PEER, NOBODY, 1, 1, ACK, 0, 0)]})
    if what == 'more':
        ports = ports[:1]
    for port in ports:
        for begin in range(0, n_vports, MAX_WAITING):
            vms = vports[begin:begin + MAX_WAITING]

            def to_peer(*args):
                switch.receive({'v%d' % n: [frame(machine(n), PEER, port, 80,
                                                  *args)] for n in vms})

            def from_peer(*args):
                switch.receive({uplink: [frame(PEER, machine(n), 80, port,
                                               *args) for n in vms]})

            if what == 'open':
                to_peer(SYN, 1, 0)
                from_peer(SYN | ACK, 1, 2)
            else:
                from_peer(ACK, 2, 2)
            to_peer(ACK, 2, 2)


main(*sys.argv[1:])
