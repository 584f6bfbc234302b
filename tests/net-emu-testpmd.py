#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The example of doc/reference.md: dpdk-testpmd with net_emu, by hand.

Runs in a network namespace of its own.  Four veths are what the NIC's ports
lead to; frames go in and come out at their other ends."""

import os
import pty
import re
import select
import shutil
import socket
import struct
import subprocess
import sys
import time

TIMEOUT = 120
PORTS = ["p0", "p1", "vf0", "vf1"]


def fail(text):
    sys.exit("%s: %s" % (sys.argv[0], text))


def own_namespace():
    """Starts this program again in a network namespace of its own."""
    if os.environ.get("NET_EMU_NAMESPACE"):
        return
    os.environ["NET_EMU_NAMESPACE"] = "yes"
    flags = "-n" if os.geteuid() == 0 else "-rn"
    os.execvp("unshare", ["unshare", flags, sys.executable] + sys.argv)


def csum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total ^ 0xffff


def frame(dport):
    src, dst = socket.inet_aton("10.0.0.1"), socket.inet_aton("10.0.0.2")
    payload = b"x" * 32
    udp = struct.pack("!HHHH", 1000, dport, 8 + len(payload), 0)
    pseudo = src + dst + struct.pack("!HH", 17, 8 + len(payload))
    udp = udp[:6] + struct.pack("!H", csum(pseudo + udp + payload))
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 28 + len(payload), 0, 0, 64, 17, 0)
    ip = ip[:10] + struct.pack("!H", csum(ip + src + dst)) + src + dst
    eth = bytes.fromhex("020000000002020000000001" "0800")
    return eth + ip + udp + payload


class Wire:
    """The other end of the veth that port 'name' leads to."""

    def __init__(self, name):
        self.name = name
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW,
                                  socket.htons(0x0800))
        self.sock.bind(("wire-" + name, 0x0800))

    def expect(self, data):
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            self.sock.settimeout(deadline - time.monotonic())
            try:
                got = self.sock.recv(2048)
            except TimeoutError:
                break
            if got == data:
                return
            if got[12:14] == b"\x08\x00":
                fail("%s: came out as %s" % (self.name, got.hex()))
        fail("%s: nothing came out" % self.name)


def environment():
    """A plugin with ASan needs it in the program, too, which is not to be
    watched itself."""
    env = dict(os.environ)
    plugin = os.path.join(env["abs_top_builddir"], "lib/librte_net_emu.so")
    with open(plugin, "rb") as f:
        if b"__asan_init" in f.read():
            cc = env.get("CC", "gcc").split()
            env["LD_PRELOAD"] = subprocess.check_output(
                cc + ["-print-file-name=libasan.so"], text=True).strip()
            env["ASAN_OPTIONS"] = "detect_leaks=0"
    return env


class Testpmd:
    def __init__(self, args):
        self.fd, child = pty.openpty()
        self.process = subprocess.Popen(["dpdk-testpmd"] + args, stdin=child,
                                        stdout=child, stderr=child,
                                        env=environment())
        os.close(child)
        self.text = ""
        self.wait("testpmd> ")

    def wait(self, pattern):
        """Waits for 'pattern' and returns the output up to it."""
        deadline = time.monotonic() + TIMEOUT
        while True:
            match = re.search(pattern, self.text)
            if match:
                seen = self.text[:match.end()]
                self.text = self.text[match.end():]
                return seen
            ready, _, _ = select.select([self.fd], [], [],
                                        max(0, deadline - time.monotonic()))
            if not ready:
                fail("no '%s' in: %s" % (pattern, self.text))
            try:
                self.text += os.read(self.fd, 4096).decode(errors="replace")
            except OSError:
                fail("testpmd ended: " + self.text)

    def do(self, command, pattern):
        os.write(self.fd, command.encode() + b"\n")
        seen = self.wait(pattern)
        self.wait("testpmd> ")
        return seen


def main():
    if not shutil.which("dpdk-testpmd"):
        fail("dpdk-testpmd is missing; on Debian: apt-get install dpdk-dev")
    own_namespace()
    for port in PORTS:
        subprocess.check_call(["ip", "link", "add", "nic-" + port, "type",
                               "veth", "peer", "name", "wire-" + port])
        for end in "nic-", "wire-":
            with open("/proc/sys/net/ipv6/conf/%s%s/disable_ipv6"
                      % (end, port), "w") as f:
                f.write("1")
            subprocess.check_call(["ip", "link", "set", end + port, "up"])
    wires = {port: Wire(port) for port in PORTS}
    vdev = "net_emu0," + ",".join("%s=nic-%s" % (p, p) for p in PORTS)
    testpmd = Testpmd(["--no-huge", "--no-pci", "--no-shconf", "-m", "256",
                       "-l", "0,1", "--no-telemetry", "-d",
                       "librte_net_emu.so", "--vdev=%s,profile=kind" % vdev,
                       "--", "-i", "--total-num-mbufs=2048", "--rxq=2",
                       "--txq=2",
                       "--print-event", "intr_lsc"])
    try:
        testpmd.do("flow create 0 transfer pattern represented_port "
                   "ethdev_port_id is 0 / eth / ipv4 / udp dst is 80 / end "
                   "actions count / set_tp_dst port 8080 / dec_ttl / "
                   "represented_port ethdev_port_id 2 / end",
                   "Flow rule #0 created")
        testpmd.do("start", "forwarding")

        # Carried by the NIC: port 2 is vf0.
        carried = bytearray(frame(8080))
        carried[22] -= 1
        carried[24:26] = b"\0\0"
        carried[24:26] = struct.pack("!H", csum(bytes(carried[14:34])))
        wires["p0"].sock.send(frame(80))
        wires["vf0"].expect(bytes(carried))
        testpmd.do("flow query 0 0 count", r"hits: 1\D[^>]*bytes: 74\D")

        # Carried by testpmd, which sends what it receives on port 0 to 1.
        wires["p0"].sock.send(frame(81))
        wires["p1"].expect(frame(81))
        testpmd.do("flow query 0 0 count", r"hits: 1\D")
        testpmd.do("flow dump 0 all", r"tp_dst=80[^\n]*packets=1")
        testpmd.do("flow destroy 0 rule 0", "Flow rule #0 destroyed")
        wires["p0"].sock.send(frame(80))
        wires["p1"].expect(frame(80))

        # The carrier is that of the device.
        testpmd.do("show port summary 3", r"net_emu0_vf1 .* up ")
        subprocess.check_call(["ip", "link", "set", "wire-vf1", "down"])
        testpmd.wait("Port 3: link state change event")
        testpmd.do("show port summary 3", r"net_emu0_vf1 .* down ")
        os.write(testpmd.fd, b"stop\nquit\n")
        testpmd.wait("Bye")
        if testpmd.process.wait(TIMEOUT):
            fail("testpmd failed")
    finally:
        if testpmd.process.poll() is None:
            testpmd.process.kill()


main()
