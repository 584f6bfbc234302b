# SPDX-License-Identifier: Apache-2.0
"""Building and describing Ethernet frames.

Every function that builds a header takes what goes behind it as bytes and
returns bytes.  Keyword arguments with a trailing "_" override a field that is
otherwise computed, to make malformed packets.
"""

import socket
import struct

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = (1 << i for i in range(8))

ETH_TYPE_IP = 0x0800
ETH_TYPE_ARP = 0x0806
ETH_TYPE_VLAN = 0x8100
ETH_TYPE_QINQ = 0x88a8
ETH_TYPE_IPV6 = 0x86dd

PROTO_ICMP = 1
PROTO_TCP = 6
PROTO_UDP = 17
PROTO_GRE = 47
PROTO_ICMPV6 = 58
PROTO_SCTP = 132

IP_DF = 0x4000
IP_MF = 0x2000

BROADCAST = "ff:ff:ff:ff:ff:ff"


def mac_bytes(mac):
    return bytes.fromhex(mac.replace(":", ""))


def ip_bytes(ip):
    """'ip' is an IPv4 or IPv6 address."""
    return socket.inet_pton(socket.AF_INET6 if ":" in ip else socket.AF_INET,
                            ip)


def checksum(data):
    """The Internet checksum of 'data'."""
    if len(data) % 2:
        data += b"\0"
    number = int.from_bytes(data, "big")
    # The ones' complement sum of 16-bit words; zero only of nothing.
    total = number % 0xffff or (0xffff if number else 0)
    return total ^ 0xffff


def ethernet(src, dst, eth_type, payload, vlan=None, pad=0):
    """A frame, padded with zeros to 'pad' bytes.  'vlan' is the TCI of an
    802.1Q tag, None to have none, or a list of pairs (TPID, TCI), outermost
    first."""
    frame = mac_bytes(dst) + mac_bytes(src)
    if isinstance(vlan, int):
        vlan = [(ETH_TYPE_VLAN, vlan)]
    for tag in vlan or []:
        frame += struct.pack("!HH", *tag)
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


def ipv6(src, dst, proto, payload, tos=0, ttl=64, label=0, extension=b"",
         length_=None):
    """'extension' are extension headers: 'proto' is the type of the first of
    them, if there are any."""
    payload = extension + payload
    length = len(payload) if length_ is None else length_
    return struct.pack("!IHBB", 6 << 28 | tos << 20 | label, length, proto,
                       ttl) + ip_bytes(src) + ip_bytes(dst) + payload


def ipv6_fragment(proto, offset, more, number):
    """A fragment header in front of what is of type 'proto'.  'offset' is in
    bytes."""
    return struct.pack("!BBHI", proto, 0, offset | more, number)


def l4_checksum(src, dst, proto, segment):
    """The checksum of 'segment' with the pseudo header of IPv4 or IPv6."""
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
    """A "port unreachable" about the IPv4 packet 'packet'.  With less than a
    whole TCP header in it OVS, translating ports, would write behind the
    end."""
    return icmp(3, 3, 0, packet[:40])


def icmpv6(src, dst, icmp_type, code, rest, payload=b""):
    """'rest' is the second word of the header."""
    body = struct.pack("!BBHI", icmp_type, code, 0, rest) + payload
    csum = l4_checksum(src, dst, PROTO_ICMPV6, body)
    return body[:2] + struct.pack("!H", csum) + body[4:]


def icmpv6_echo(src, dst, reply, ident, number, payload=b""):
    return icmpv6(src, dst, 129 if reply else 128, 0, ident << 16 | number,
                  payload)


def icmpv6_unreachable(src, dst, packet):
    """A "port unreachable" about the IPv6 packet 'packet'."""
    return icmpv6(src, dst, 1, 4, 0, packet[:60])


def crc32c(data):
    """The checksum of SCTP."""
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def sctp(sport, dport, tag, chunks):
    """'tag' is the verification tag, 'chunks' what follows the header."""
    head = struct.pack("!HHI", sport, dport, tag)
    crc = crc32c(head + bytes(4) + chunks)
    return head + struct.pack("<I", crc) + chunks


def sctp_chunk(chunk_type, value):
    length = 4 + len(value)
    return (struct.pack("!BBH", chunk_type, 0, length) + value
            + bytes(-length % 4))


# Describing.

FLAG_NAMES = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR")


def flags_to_string(flags):
    names = [name for i, name in enumerate(FLAG_NAMES) if flags >> i & 1]
    return "+".join(names) or "none"


def l3(frame):
    """Returns the type of what is behind Ethernet header and tags, and where
    it begins."""
    at = 12
    while frame[at:at + 2] in (struct.pack("!H", ETH_TYPE_VLAN),
                               struct.pack("!H", ETH_TYPE_QINQ)):
        at += 4
    return int.from_bytes(frame[at:at + 2], "big"), at + 2


def ident(frame):
    """Returns the identification of the IPv4 packet in 'frame', or the flow
    label of the IPv6 packet, None if there is none.  Scenarios number their
    packets with it."""
    eth_type, at = l3(frame)
    if eth_type == ETH_TYPE_IP and len(frame) >= at + 6:
        return struct.unpack("!H", frame[at + 4:at + 6])[0]
    if eth_type == ETH_TYPE_IPV6 and len(frame) >= at + 4:
        return struct.unpack("!I", frame[at:at + 4])[0] & 0xfffff
    return None


def stream(frame, mixed=False):
    """Returns what packets of the same stream have in common: addresses,
    protocol and ports, as far as the frame has them.  If 'mixed', different
    frames without ports, such as ICMP errors of different connections, are of
    different streams."""
    eth_type, at = l3(frame)
    if eth_type == ETH_TYPE_IP and len(frame) >= at + 20:
        l4 = at + (frame[at] & 15) * 4
        addresses, proto = frame[at + 12:at + 20], frame[at + 9]
    elif eth_type == ETH_TYPE_IPV6 and len(frame) >= at + 40:
        l4 = at + 40
        addresses, proto = frame[at + 8:at + 40], frame[at + 6]
    else:
        return b"%d" % eth_type + frame[:12]
    if proto in (PROTO_TCP, PROTO_UDP):
        rest = frame[l4:l4 + 4]
    else:
        rest = frame if mixed else b""
    return addresses + bytes([proto]) + rest


def flow_text(proto, src, dst, l4):
    """Returns a text about protocol, addresses, ports and TCP state.  'l4' is
    what is behind the IP header."""
    text = {PROTO_TCP: "tcp", PROTO_UDP: "udp", PROTO_ICMP: "icmp",
            PROTO_ICMPV6: "icmpv6"}.get(proto, "proto %d" % proto)
    if proto not in (PROTO_TCP, PROTO_UDP) or len(l4) < 4:
        return "%s %s>%s" % (text, src, dst)
    sport, dport = struct.unpack("!HH", l4[:4])
    text += " %s:%d>%s:%d" % (src, sport, dst, dport)
    if proto == PROTO_TCP and len(l4) >= 16:
        seq, ack, _, flags, win = struct.unpack("!IIBBH", l4[4:16])
        text += " %s seq=%d ack=%d win=%d" % (flags_to_string(flags), seq,
                                              ack, win)
    return text


def describe(frame):
    """Returns one line about 'frame', for people."""
    eth_type, at = l3(frame)
    tags = " tags=" + frame[12:at - 2].hex() if at > 14 else ""
    if eth_type == ETH_TYPE_IPV6 and len(frame) >= at + 40:
        first, _, proto, ttl = struct.unpack("!IHBB", frame[at:at + 8])
        src, dst = (socket.inet_ntop(socket.AF_INET6, frame[i:i + 16])
                    for i in (at + 8, at + 24))
        return "%s label=%d ttl=%d tos=%d len=%d%s" % (
            flow_text(proto, src, dst, frame[at + 40:]), first & 0xfffff, ttl,
            first >> 20 & 0xff, len(frame), tags)
    if eth_type != ETH_TYPE_IP or len(frame) < at + 20:
        return "%d bytes %s" % (len(frame), frame[:78].hex())
    (_, tos, length, number, frag, ttl, proto,
     _) = struct.unpack("!BBHHHBBH", frame[at:at + 12])
    src, dst = (socket.inet_ntoa(frame[i:i + 4]) for i in (at + 12, at + 16))
    if frag & 0x1fff:
        text = "proto %d %s>%s fragment at %d" % (proto, src, dst,
                                                  (frag & 0x1fff) * 8)
    else:
        text = flow_text(proto, src, dst, frame[at + (frame[at] & 15) * 4:])
    return text + " id=%d ttl=%d tos=%d len=%d/%d%s%s" % (
        number, ttl, tos, length, len(frame),
        " MF" if frag & IP_MF else "", tags)
