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


def ip_frame(proto, l4, csum_offset, src="10.0.0.1", dst="10.0.0.2"):
    """Returns a frame with 'l4', whose checksum is at 'csum_offset'."""
    addrs = socket.inet_aton(src) + socket.inet_aton(dst)
    pseudo = addrs + struct.pack("!HH", proto, len(l4))
    l4 = (l4[:csum_offset] + struct.pack("!H", csum(pseudo + l4))
          + l4[csum_offset + 2:])
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(l4), 0, 0, 64, proto, 0)
    ip = ip[:10] + struct.pack("!H", csum(ip + addrs)) + addrs
    return bytes.fromhex("020000000002020000000001" "0800") + ip + l4


def frame(dport):
    payload = b"x" * 32
    udp = struct.pack("!HHHH", 1000, dport, 8 + len(payload), 0) + payload
    return ip_frame(17, udp, 6)


def tcp_frame(reply, seq, ack):
    """Returns a segment of the connection that CONNTRACK describes."""
    ports = (80, 1000) if reply else (1000, 80)
    tcp = struct.pack("!HHIIBBHHH", *ports, seq, ack, 5 << 4, 0x10, 510, 0, 0)
    addrs = ["10.0.0.1", "10.0.0.2"]
    return ip_frame(6, tcp + b"x" * 100, 16, *(reversed(addrs) if reply
                                               else addrs))


# An established connection, as testpmd wants it.  The direction is that of the
# rule that is created next.
COMMON = ("set conntrack com peer 2 is_orig %d enable 1 live 1 sack 0 cack 0 "
          "last_dir 0 liberal 0 state 1 max_ack_win 7 r_lim 5 last_win 510 "
          "last_seq 1000 last_ack 5000 last_end 1000 last_index 0x8")
CONNTRACK = [
    COMMON % 1,
    "set conntrack orig scale 7 fin 0 acked 1 unack_data 0 sent_end 1000 "
    "reply_end 66280 max_win 65280 max_ack 5000",
    "set conntrack rply scale 7 fin 0 acked 1 unack_data 0 sent_end 5000 "
    "reply_end 70280 max_win 65280 max_ack 1000",
]


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


def check_conntrack(testpmd, wires):
    """A connection from port 0 to port 2, by hand.  testpmd sends what is not
    carried from port 0 to 1 and from 2 to 3."""
    for command in CONNTRACK:
        testpmd.do(command, r"\n")
    testpmd.do("flow indirect_action 0 create transfer action conntrack / end",
               "Indirect action #0 created")
    testpmd.do("flow create 0 transfer pattern represented_port "
               "ethdev_port_id is 0 / eth / ipv4 / tcp dst is 80 / end "
               "actions indirect 0 / jump group 1 / end", "created")
    testpmd.do("flow create 0 group 1 transfer pattern eth / ipv4 / tcp / "
               "conntrack is 1 / end "
               "actions represented_port ethdev_port_id 2 / end", "created")

    # The same connection for the other direction.
    testpmd.do(COMMON % 0, r"\n")
    testpmd.do("flow indirect_action 0 update 0 action conntrack_update dir "
               "/ end", "Indirect action #0 updated")
    testpmd.do("flow create 0 transfer pattern represented_port "
               "ethdev_port_id is 2 / eth / ipv4 / tcp src is 80 / end "
               "actions indirect 0 / jump group 2 / end", "created")
    testpmd.do("flow create 0 group 2 transfer pattern eth / ipv4 / tcp / "
               "conntrack is 1 / end "
               "actions represented_port ethdev_port_id 0 / end", "created")

    wires["p0"].sock.send(tcp_frame(False, 1000, 5000))
    wires["vf0"].expect(tcp_frame(False, 1000, 5000))
    wires["vf0"].sock.send(tcp_frame(True, 5000, 1100))
    wires["p0"].expect(tcp_frame(True, 5000, 1100))
    testpmd.do("flow indirect_action 0 query 0",
               r"Last Seq: 5000, Last ACK: 1100(?s:.*)"
               r"Sent end: 1100,(?s:.*)Sent end: 5100,")

    # Not sent yet, so that it cannot be acknowledged.
    wires["vf0"].sock.send(tcp_frame(True, 5100, 1101))
    wires["vf1"].expect(tcp_frame(True, 5100, 1101))
    testpmd.do("flow indirect_action 0 query 0", "Last Seq: 5000,")
    testpmd.do("flow indirect_action 0 destroy action_id 0", "rules use")
    testpmd.do("flow flush 0", r"\n")
    testpmd.do("flow indirect_action 0 destroy action_id 0",
               "Indirect action #0 destroyed")


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
                       "librte_net_emu.so",
                       "--vdev=%s,profile=kind,ct-module=true" % vdev,
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
        check_conntrack(testpmd, wires)

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
