# SPDX-License-Identifier: Apache-2.0
"""Traffic through a bond while a link is cut.

failover.py run STREAM VM PEER ARG...

Talks over a TCP connection between 10.1.1.1 in network namespace VM and
10.1.1.9 in namespace PEER, while the program STREAM runs (failover-stream.c)
with the arguments VM PEER ARG..., and adds to the line that it prints:

    tcp ok|broken

The TCP connection is "ok" if all that was said came back after the end, in
order.

failover.py flood VM DEVICE N

Sends N frames with different source addresses out of DEVICE in VM: each makes
a megaflow of its own where NORMAL forwards.

failover.py updates USEC < JSON

Prints, of what "vport-bond/show --json" prints, the number of vports that have
moved since USEC, and how many microseconds after it the last one led elsewhere
in NICs, and in the datapath.

failover.py table FILE...

Prints what reports wrote into FILEs (system-vport-bond.at) as one table, with
the medians, and for each variant the largest one over the smallest one.
"""

import ctypes
import json
import os
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time

CLONE_NEWNET = 0x40000000
PORT = 5000

libc = ctypes.CDLL(None, use_errno=True)


def enter(namespace):
    """Moves the calling thread; sockets stay where they were made."""
    with open('/var/run/netns/' + namespace) as handle:
        if libc.setns(handle.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), 'setns ' + namespace)


class Talker(threading.Thread):
    """A TCP connection whose server returns what it gets."""

    def __init__(self, vm, peer):
        super().__init__()
        enter(peer)
        server = socket.socket()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(('10.1.1.9', PORT))
        server.listen()
        enter(vm)
        self.client = socket.create_connection(('10.1.1.9', PORT))
        self.server, _ = server.accept()
        for sock in self.client, self.server:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.client.settimeout(30)
        self.server.settimeout(30)
        self.echo = threading.Thread(target=self.serve)
        self.ok = False
        self.stop = False

    def serve(self):
        try:
            while data := self.server.recv(4096):
                self.server.sendall(data)
        except OSError:
            pass

    def run(self):
        self.echo.start()
        try:
            said, heard = bytearray(), bytearray()
            while not self.stop:
                word = b'%d ' % len(said)
                said += word
                self.client.sendall(word)
                time.sleep(0.01)
            while len(heard) < len(said):
                data = self.client.recv(65536)
                if not data:
                    break
                heard += data
            self.ok = heard == said
        except OSError:
            pass
        self.client.close()
        self.echo.join()


def run(stream, vm, peer, *args):
    talker = Talker(vm, peer)
    talker.start()
    streamed = subprocess.run([stream, vm, peer, *args], check=False,
                              stdout=subprocess.PIPE, text=True)
    talker.stop = True
    talker.join()
    print(streamed.stdout.strip(), 'tcp', 'ok' if talker.ok else 'broken')
    return streamed.returncode


def flood(vm, device, count):
    enter(vm)
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    sock.bind((device, 0))
    for n in range(int(count)):
        frame = (b'\x02\x00\x00\x00\x00\x09' + b'\x06\x00'
                 + struct.pack('!I', n) + b'\x88\xb5' + bytes(46))
        sock.send(frame)
        if n % 50 == 49:
            time.sleep(0.005)


def updates(usec):
    moved = [vport for bond in json.load(sys.stdin)
             for vport in bond['vports']
             if vport['moves'] and vport['last-move-done-usec'] >= int(usec)]
    print(len(moved), *(max((vport[key] - int(usec) for vport in moved),
                            default='-')
                        for key in ('last-move-nic-done-usec',
                                    'last-move-done-usec')))


# A line of a report has these words, each followed by its values.
WORDS = {'conns': 1, 'flooded': 1, 'megaflows': 1, 'lost': 2, 'first': 1,
         'told': 1, 'cut': 1, 'tcp': 1, 'updates': 3}


def parse_line(line):
    variant, *words = line.split()
    values = {'variant': variant}
    while words:
        word = words.pop(0)
        values[word] = [words.pop(0) for _ in range(WORDS[word])]
    return values


def median(values):
    """The median of what is a number; None if nothing is."""
    numbers = [float(value) for value in values if value != '-']
    return statistics.median(numbers) if numbers else None


def show(value, digits):
    return '-' if value is None else '%.*f' % (digits, value)


def ratio(values):
    values = [value for value in values if value]
    return '%.2f' % (max(values) / min(values)) if values else '-'


def table(*files):
    cells = {}
    for name in files:
        with open(name) as lines:
            for line in lines:
                cut = parse_line(line)
                key = (int(cut['conns'][0]), int(cut['flooded'][0]),
                       cut['variant'])
                cells.setdefault(key, []).append(cut)

    row = '%-22s %11s %9s %5s %27s %11s %11s %10s %7s %15s'
    print(row % ('variant', 'connections', 'megaflows', 'cuts',
                 'first packet, ms', 'kernel told', 'lost', 'tcp broken',
                 'vports', 'last update, us'))
    print(row % ('', '', '', '', 'median (least to most)', 'median ms',
                 'out / in', '', 'moved', 'NIC / datapath'))
    rows = {}
    last_cell = None
    for key in sorted(cells):
        cuts = cells[key]
        variant = key[2]
        if key[:2] != last_cell:
            print()
            last_cell = key[:2]
        first = [cut['first'][0] for cut in cuts]
        numbers = [float(ms) for ms in first if ms != '-']
        last = [median(cut['updates'][i] for cut in cuts) for i in (1, 2)]
        rows.setdefault(variant, []).append((median(first), *last))
        print(row % (variant, key[0],
                     show(median(cut['megaflows'][0] for cut in cuts), 0),
                     len(cuts),
                     '%s (%s to %s)' % (show(median(first), 2),
                                        show(min(numbers, default=None), 2),
                                        show(max(numbers, default=None), 2)),
                     show(median(cut['told'][0] for cut in cuts), 2),
                     '%s / %s' % tuple(
                         show(median(cut['lost'][i] for cut in cuts), 0)
                         for i in range(2)),
                     sum(cut['tcp'][0] != 'ok' for cut in cuts),
                     show(median(cut['updates'][0] for cut in cuts), 0),
                     '%s / %s' % tuple(show(usec, 0) for usec in last)))
    print()
    for variant, medians in rows.items():
        print('%s: largest over smallest median: first packet %s, last update '
              'of a NIC %s, of the datapath %s'
              % (variant, *map(ratio, zip(*medians))))


if __name__ == '__main__':
    os.environ['LC_ALL'] = 'C'
    sys.exit({'run': run, 'flood': flood, 'updates': updates,
              'table': table}[sys.argv[1]](*sys.argv[2:]))
