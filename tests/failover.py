# SPDX-License-Identifier: Apache-2.0
"""Traffic through a bond while a link is cut.

failover.py run VM PEER NET FAR SURVIVOR RATE SECONDS CUT [COMMAND...]

Sends RATE UDP packets a second, numbered, from 10.1.1.1 in network namespace
VM to 10.1.1.9 in namespace PEER and back, and talks over a TCP connection all
the while.  After a third of SECONDS cuts: CUT is "down", to set the device FAR
in namespace NET down, "flap", to set it down and up 20 times at random in the
second third, or "command", to run COMMAND.  Prints one line:

    lost VM-TO-PEER PEER-TO-VM first MS cut USEC tcp ok|broken

MS is the time from just before the cut until the first packet from VM arrived
through the device SURVIVOR in NET, "-" if none did; USEC is when that cut was,
on the clock of OVS's time_usec().  The TCP connection is "ok" if all that was
said came back after the end, in order.

failover.py flood VM DEVICE N

Sends N frames with different source addresses out of DEVICE in VM: each makes
a megaflow of its own where NORMAL forwards.

failover.py updates USEC < JSON

Prints, of what "vport-bond/show --json" prints, the number of vports that have
moved since USEC, and how many microseconds after it the last one led
elsewhere.

failover.py table FILE...

Prints what reports wrote into FILEs (system-vport-bond.at) as one table, with
the medians, and for each variant the largest one over the smallest one.
"""

import ctypes
import fcntl
import json
import os
import random
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time

CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS = 0x8913, 0x8914
IFF_UP = 1
# What a bridge takes is seen by those who want everything only.
ETH_P_ALL = 0x0003
PORT = 5000

libc = ctypes.CDLL(None, use_errno=True)


def enter(namespace):
    """Moves the calling thread; sockets stay where they were made."""
    with open('/var/run/netns/' + namespace) as handle:
        if libc.setns(handle.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), 'setns ' + namespace)


def udp_socket(namespace, address):
    enter(namespace)
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    sock.bind((address, PORT))
    sock.settimeout(0.2)
    return sock


def set_link(sock, device, up):
    request = struct.pack('16sH14x', device.encode(), 0)
    flags, = struct.unpack_from('H', fcntl.ioctl(sock, SIOCGIFFLAGS,
                                                 request), 16)
    flags = flags | IFF_UP if up else flags & ~IFF_UP
    fcntl.ioctl(sock, SIOCSIFFLAGS,
                struct.pack('16sH14x', device.encode(), flags))


class Flapper(threading.Thread):
    def __init__(self, sock, device, seconds):
        super().__init__()
        self.sock, self.device = sock, device
        rng = random.Random(1)
        self.times = sorted(rng.uniform(0, seconds) for _ in range(40))

    def run(self):
        start = time.monotonic()
        for n, due in enumerate(self.times):
            time.sleep(max(0, start + due - time.monotonic()))
            set_link(self.sock, self.device, n % 2)


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


class Receiver(threading.Thread):
    def __init__(self, sock):
        super().__init__()
        self.sock = sock
        self.seen = set()
        self.stop = False

    def run(self):
        while not self.stop:
            try:
                data = self.sock.recv(2048)
            except socket.timeout:
                continue
            self.seen.add(struct.unpack_from('!I', data)[0])


class Watcher(threading.Thread):
    """Notes when packets of the VM pass through a device."""

    def __init__(self, namespace, device):
        super().__init__()
        enter(namespace)
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW,
                                  socket.htons(ETH_P_ALL))
        self.sock.bind((device, 0))
        self.sock.settimeout(0.2)
        self.cut = None
        self.first = None
        self.stop = False

    def run(self):
        vm = socket.inet_aton('10.1.1.1')
        while not self.stop and self.first is None:
            try:
                data = self.sock.recv(2048)
            except socket.timeout:
                continue
            now = time.monotonic()
            if self.cut is not None and data[26:30] == vm:
                self.first = now - self.cut


def run(vm, peer, net, far, survivor, rate, seconds, cut, *command):
    rate, seconds = int(rate), float(seconds)
    socks = [udp_socket(vm, '10.1.1.1'), udp_socket(peer, '10.1.1.9')]
    targets = [('10.1.1.9', PORT), ('10.1.1.1', PORT)]
    watcher = Watcher(net, survivor)
    control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receivers = [Receiver(sock) for sock in socks]
    talker = Talker(vm, peer)
    flapper = Flapper(control, far, seconds / 3)
    threads = receivers + [watcher, talker]
    for thread in threads:
        thread.start()

    start = time.monotonic()
    cut_at = start + seconds / 3
    done = False
    total = int(rate * seconds)
    payload = bytes(60)
    for n in range(total):
        data = struct.pack('!I', n) + payload
        for sock, target in zip(socks, targets):
            sock.sendto(data, target)
        due = start + n / rate
        now = time.monotonic()
        if not done and now >= cut_at:
            done = True
            watcher.cut = now
            if cut == 'down':
                set_link(control, far, False)
            elif cut == 'flap':
                flapper.start()
            else:
                subprocess.Popen(command)
        if due > now:
            time.sleep(due - now)
    time.sleep(1)
    for thread in threads:
        thread.stop = True
    for thread in threads:
        thread.join()
    lost = [total - len(receiver.seen) for receiver in receivers]
    first = watcher.first
    print('lost', lost[1], lost[0], 'first',
          '-' if first is None else '%.2f' % (first * 1000),
          'cut', '-' if watcher.cut is None else int(watcher.cut * 1e6),
          'tcp', 'ok' if talker.ok else 'broken')


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
    done = [vport['last-move-done-usec'] - int(usec)
            for bond in json.load(sys.stdin)
            for vport in bond['vports'] if vport['moves']]
    done = [after for after in done if after >= 0]
    print(len(done), max(done, default='-'))


# A line of a report has these words, each followed by its values.
WORDS = {'conns': 1, 'flooded': 1, 'megaflows': 1, 'lost': 2, 'first': 1,
         'cut': 1, 'tcp': 1, 'updates': 2}


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

    row = '%-22s %11s %9s %5s %27s %11s %10s %7s %12s'
    print(row % ('variant', 'connections', 'megaflows', 'cuts',
                 'first packet, ms', 'lost', 'tcp broken', 'vports',
                 'last update'))
    print(row % ('', '', '', '', 'median (least to most)', 'out / in', '',
                 'moved', 'median us'))
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
        last = median(cut['updates'][1] for cut in cuts)
        rows.setdefault(variant, []).append((median(first), last))
        print(row % (variant, key[0],
                     show(median(cut['megaflows'][0] for cut in cuts), 0),
                     len(cuts),
                     '%s (%s to %s)' % (show(median(first), 2),
                                        show(min(numbers, default=None), 2),
                                        show(max(numbers, default=None), 2)),
                     '%s / %s' % tuple(
                         show(median(cut['lost'][i] for cut in cuts), 0)
                         for i in range(2)),
                     sum(cut['tcp'][0] != 'ok' for cut in cuts),
                     show(median(cut['updates'][0] for cut in cuts), 0),
                     show(last, 0)))
    print()
    for variant, medians in rows.items():
        print('%s: largest over smallest median: first packet %s, last update '
              '%s' % (variant, ratio([ms for ms, _ in medians]),
                      ratio([usec for _, usec in medians])))


if __name__ == '__main__':
    os.environ['LC_ALL'] = 'C'
    {'run': run, 'flood': flood, 'updates': updates,
     'table': table}[sys.argv[1]](*sys.argv[2:])
