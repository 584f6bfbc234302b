#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0

"""Prints Ethernet frames with IPv4 or IPv6 as hexadecimal digits, one a line.

usage: packet.py KEY=VALUE...

    n=N               number of frames (1)
    smac=, dmac=      Ethernet addresses
    vlan=VID          802.1Q tag, "none" for none
    src=, dst=        IPv4 or IPv6 addresses
    id=N              IPv4 identification of the first frame; each further one
                      has the next one (0)
    tos=N, ttl=N      (0, 64)
    frag=OFFSET       fragment at OFFSET, "first" for the first one
    proto=tcp|udp|icmp|NUMBER
    sport=, dport=    ports
    len=N             bytes of payload (64)
    flags=LETTERS     TCP flags of FSRPAU (A)
    seq=N, ack=N      TCP sequence number of the first frame, each further one
                      continues it, and acknowledgment (0)
    win=N             TCP window (32768)
    csum=bad          wrong TCP or UDP checksum

Checksums and lengths are correct.
"""

import ipaddress
import struct
import sys


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def mac(text):
    return bytes.fromhex(text.replace(":", ""))


def l4_header(args, proto, pseudo, i):
    """Returns the header of layer 4 and the payload of frame 'i'."""
    length = int(args.get("len", 64))
    payload = bytes((i + j) & 0xFF for j in range(length))
    ports = struct.pack("!HH", int(args.get("sport", 0)),
                        int(args.get("dport", 0)))
    if proto == 6:
        flags = sum(1 << "FSRPAU".index(c) for c in args.get("flags", "A"))
        seq = (int(args.get("seq", 0)) + i * length) & 0xFFFFFFFF
        header = ports + struct.pack("!IIBBHHH", seq, int(args.get("ack", 0)),
                                     0x50, flags, int(args.get("win", 32768)),
                                     0, 0)
        offset = 16
    elif proto == 17:
        header = ports + struct.pack("!HH", 8 + length, 0)
        offset = 6
    elif proto == 1:
        header = struct.pack("!BBHHH", 8, 0, 0, 1, i)
        offset = 2
        pseudo = None
    else:
        return payload
    value = checksum((pseudo(len(header) + length) if pseudo else b"")
                     + header + payload)
    if args.get("csum") == "bad":
        value ^= 0x5555
    return (header[:offset] + struct.pack("!H", value) + header[offset + 2:]
            + payload)


def frame(args, i):
    src = ipaddress.ip_address(args["src"])
    dst = ipaddress.ip_address(args["dst"])
    name = args.get("proto", "udp")
    proto = {"tcp": 6, "udp": 17, "icmp": 1}.get(name) or int(name)

    def pseudo(length):
        if src.version == 4:
            return src.packed + dst.packed + struct.pack("!BBH", 0, proto,
                                                         length)
        return src.packed + dst.packed + struct.pack("!II", length, proto)

    data = l4_header(args, proto, pseudo, i)
    if src.version == 4:
        frag = args.get("frag", "none")
        fragment = {"none": 0, "first": 0x2000}.get(frag)
        if fragment is None:
            fragment = int(frag) // 8
        ip = struct.pack("!BBHHHBBH", 0x45, int(args.get("tos", 0)),
                         20 + len(data), (int(args.get("id", 0)) + i) & 0xFFFF,
                         fragment, int(args.get("ttl", 64)), proto, 0)
        ip += src.packed + dst.packed
        ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
        dl_type = 0x0800
    else:
        ip = struct.pack("!IHBB", 6 << 28, len(data), proto,
                         int(args.get("ttl", 64)))
        ip += src.packed + dst.packed
        dl_type = 0x86DD
    ethernet = (mac(args.get("dmac", "50:54:00:00:00:02"))
                + mac(args.get("smac", "50:54:00:00:00:01")))
    if args.get("vlan", "none") != "none":
        ethernet += struct.pack("!HH", 0x8100, int(args["vlan"]))
    return ethernet + struct.pack("!H", dl_type) + ip + data


def main():
    args = dict(arg.split("=", 1) for arg in sys.argv[1:])
    for i in range(int(args.get("n", 1))):
        print(frame(args, i).hex())


if __name__ == "__main__":
    main()
