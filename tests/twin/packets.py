# SPDX-License-Identifier: Apache-2.0
"""Building and describing Ethernet frames.

Every function that builds a header takes what goes behind it as bytes and
returns bytes.  Keyword arguments with a trailing "_" override a field that is
otherwise computed, to make malformed packets.
"""

import struct

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = (1 << i for i in range(8))

ETH_TYPE_IP = 0x0800
ETH_TYPE_ARP = 0x0806
ETH_TYPE_VLAN = 0x8100

PROTO_ICMP = 1
PROTO_TCP = 6
PROTO_UDP = 17

IP_DF = 0x4000
IP_MF = 0x2000

BROADCAST = "ff:ff:ff:ff:ff:ff"


def mac_bytes(mac):
    return bytes.fromhex(mac.replace(":", ""))


def ip_bytes(ip):
    return bytes(int(part) for part in ip.split("."))


def checksum(data):
    """Returns the Internet checksum of 'data', as a number."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total ^ 0xffff


def ethernet(src, dst, eth_type, payload, vlan=None, pad=0):
    """A frame, with an 802.1Q tag if 'vlan' is a TCI, padded with zeros to
    'pad' bytes."""
    frame = mac_bytes(dst) + mac_bytes(src)
    if vlan is not None:
        frame += struct.pack("!HH", ETH_TYPE_VLAN, vlan)
    frame += struct.pack("!H", eth_type) + payload
    return frame.ljust(pad, b"\0")


def arp_request(src_mac, src_ip, dst_ip, vlan=None):
    body = struct.pack("!HHBBH", 1, ETH_TYPE_IP, 6, 4, 1)
    body += mac_bytes(src_mac) + ip_bytes(src_ip)
    body += bytes(6) + ip_bytes(dst_ip)
    return ethernet(src_mac, BROADCAST, ETH_TYPE_ARP, body, vlan=vlan)


def ipv4(src, dst, proto, payload, tos=0, ttl=64, ident=0, frag=IP_DF,
         options=b"", length_=None, checksum_=None, version_=4, ihl_=None):
    """'frag' is the whole field: flags and offset in units of 8 bytes."""
    header_len = 20 + len(options)
    ihl = header_len // 4 if ihl_ is None else ihl_
    length = header_len + len(payload) if length_ is None else length_

    def header(csum):
        return struct.pack("!BBHHHBBH", version_ << 4 | ihl, tos, length,
                           ident, frag, ttl, proto, csum
                           ) + ip_bytes(src) + ip_bytes(dst) + options

    csum = checksum(header(0)) if checksum_ is None else checksum_
    return header(csum) + payload


def l4_checksum(src, dst, proto, segment):
    pseudo = ip_bytes(src) + ip_bytes(dst)
    pseudo += struct.pack("!BBH", 0, proto, len(segment))
    return checksum(pseudo + segment)


def tcp(src, dst, sport, dport, seq, ack, flags, window, payload=b"",
        options=b"", offset_=None, checksum_=None):
    """'src' and 'dst' are the IPv4 addresses, for the checksum."""
    offset = 5 + len(options) // 4 if offset_ is None else offset_

    def segment(csum):
        return struct.pack("!HHIIBBHHH", sport, dport, seq & 0xffffffff,
                           ack & 0xffffffff, offset << 4, flags, window,
                           csum, 0) + options + payload

    csum = (l4_checksum(src, dst, PROTO_TCP, segment(0))
            if checksum_ is None else checksum_)
    return segment(csum)


def udp(src, dst, sport, dport, payload=b"", length_=None, checksum_=None):
    length = 8 + len(payload) if length_ is None else length_

    def datagram(csum):
        return struct.pack("!HHHH", sport, dport, length, csum) + payload

    csum = checksum_
    if csum is None:
        csum = l4_checksum(src, dst, PROTO_UDP, datagram(0)) or 0xffff
    return datagram(csum)


def icmp(icmp_type, code, rest, payload=b""):
    """'rest' is the second word of the header."""
    body = struct.pack("!BBHI", icmp_type, code, 0, rest) + payload
    return body[:2] + struct.pack("!H", checksum(body)) + body[4:]


def icmp_echo(reply, ident, number, payload=b""):
    return icmp(0 if reply else 8, 0, ident << 16 | number, payload)


def icmp_unreachable(packet):
    """A "port unreachable" about the IPv4 packet 'packet'."""
    return icmp(3, 3, 0, packet[:28])


# Describing.

FLAG_NAMES = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR")


def flags_to_string(flags):
    names = [name for i, name in enumerate(FLAG_NAMES) if flags >> i & 1]
    return "+".join(names) or "none"


def l3_offset(frame):
    """Returns where the IPv4 header begins, None if there is none."""
    at = 12
    while frame[at:at + 2] == struct.pack("!H", ETH_TYPE_VLAN):
        at += 4
    if frame[at:at + 2] != struct.pack("!H", ETH_TYPE_IP):
        return None
    return at + 2


def ident(frame):
    """Returns the identification of the IPv4 packet in 'frame', None if there
    is none.  Scenarios number their packets with it."""
    at = l3_offset(frame)
    if at is None or len(frame) < at + 6:
        return None
    return struct.unpack("!H", frame[at + 4:at + 6])[0]


def describe(frame):
    """Returns one line about 'frame', for people."""
    at = l3_offset(frame)
    if at is None or len(frame) < at + 20:
        return "%d bytes %s" % (len(frame), frame[:34].hex())
    (_, tos, length, number, frag, ttl, proto,
     _) = struct.unpack("!BBHHHBBH", frame[at:at + 12])
    src = ".".join(str(b) for b in frame[at + 12:at + 16])
    dst = ".".join(str(b) for b in frame[at + 16:at + 20])
    l4 = at + (frame[at] & 15) * 4
    text = "%s" % {PROTO_TCP: "tcp", PROTO_UDP: "udp",
                   PROTO_ICMP: "icmp"}.get(proto, "proto %d" % proto)
    if frag & 0x1fff:
        text += " %s>%s fragment at %d" % (src, dst, (frag & 0x1fff) * 8)
    elif proto == PROTO_TCP and len(frame) >= l4 + 16:
        sport, dport, seq, ack, _, flags, win = struct.unpack(
            "!HHIIBBH", frame[l4:l4 + 16])
        text += " %s:%d>%s:%d %s seq=%d ack=%d win=%d" % (
            src, sport, dst, dport, flags_to_string(flags), seq, ack, win)
    elif proto == PROTO_UDP and len(frame) >= l4 + 4:
        sport, dport = struct.unpack("!HH", frame[l4:l4 + 4])
        text += " %s:%d>%s:%d" % (src, sport, dst, dport)
    else:
        text += " %s>%s" % (src, dst)
    return text + " id=%d ttl=%d tos=%d len=%d/%d%s" % (
        number, ttl, tos, length, len(frame),
        " MF" if frag & IP_MF else "")
