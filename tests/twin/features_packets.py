# SPDX-License-Identifier: Apache-2.0
"""Connections for the scenarios of features.py: IPv6, VLAN tags, and
connections whose packets look different on both sides of the switch.
"""

import collections

import packets as pk
from packets import ACK, PSH
import scenario
from scenario import Host

# One direction of a connection, as its packets are when they arrive.
Wire = collections.namedtuple("Wire", "src dst sport dport header")
Wire.__new__.__defaults__ = ({},)


def is_ipv6(host):
    return ":" in host.ip


def moved(host, ip):
    """'host' under another address."""
    return Host(host.port, ip, host.mac)


class Writer(scenario.Writer):
    """Makes IPv6 packets, too.  They have their number as flow label, or
    'label' if that is not None."""

    label = None

    def packet(self, src, dst, proto, l4, **how):
        if not is_ipv6(src):
            return super().packet(src, dst, proto, l4, **how)
        self.number += 1
        ip = {key: how[key] for key in ("tos", "ttl", "extension", "length_")
              if key in how}
        frame = pk.ethernet(how.get("src_mac") or src.mac,
                            how.get("dst_mac") or dst.mac, pk.ETH_TYPE_IPV6,
                            pk.ipv6(src.ip, dst.ip, how.get("next", proto),
                                    l4, label=(self.number
                                               if self.label is None
                                               else self.label), **ip),
                            vlan=how.get("vlan"), pad=how.get("pad", 0))
        op = {"port": how.get("port") or src.port,
              "hex": frame[:how.get("cut")].hex(),
              "note": how.get("note", "")}
        if how.get("permit"):
            op["permit"] = how["permit"]
        return op


class Sides:
    """Mixed into a connection: 'wires' are both directions as they arrive,
    original direction first."""

    def set_wires(self, *wires):
        self.wires = wires

    def addresses(self, d):
        return self.wires[d].src.ip, self.wires[d].dst.ip

    def ends(self, d):
        return self.wires[d].src, self.wires[d].dst

    def l4_ports(self, d):
        return self.wires[d].sport, self.wires[d].dport

    def header_of(self, d):
        return dict(self.header, **self.wires[d].header)


class Tcp(Sides, scenario.Tcp):
    def __init__(self, writer, orig, reply, **how):
        super().__init__(writer, orig.src, orig.dst, orig.sport, orig.dport,
                         **how)
        self.set_wires(orig, reply)

    def handshake(self):
        return self.open() + [self.data(0), self.data(1)]

    def both_ways(self, **how):
        """Data and acknowledgments.  Four packets."""
        return [self.data(0, **how), self.ack(1, **how),
                self.data(1, 300, **how), self.ack(0, **how)]

    def payload(self, d, text, **how):
        """Side 'd' sends 'text'."""
        l4 = pk.tcp(*self.addresses(d), *self.l4_ports(d), self.next[d],
                    self.have[d], ACK | PSH, self.window_field(d), text)
        op = self.emit(d, pk.PROTO_TCP, l4, note=text.decode().strip(), **how)
        self._sent(d, len(text))
        self._acks(d)
        return op


class Ping(Sides, scenario.Connection):
    """Echo requests and replies."""

    def __init__(self, writer, orig, reply, **how):
        super().__init__(writer, orig.src, orig.dst, 7, 7, **how)
        self.set_wires(orig, reply)


class Udp(Sides, scenario.Udp):
    def __init__(self, writer, orig, reply, **how):
        super().__init__(writer, orig.src, orig.dst, orig.sport, orig.dport,
                         **how)
        self.set_wires(orig, reply)

    def handshake(self):
        return [self.datagram(d) for d in (0, 1, 0, 1)]

    def both_ways(self, **how):
        return [self.datagram(d, length, **how)
                for d, length in ((0, 40), (1, 300), (1, 0), (0, 41))]


def plain(cls, writer, client, server, sport, dport, **how):
    """A connection whose packets look the same on both sides."""
    return cls(writer, Wire(client, server, sport, dport),
               Wire(server, client, dport, sport), **how)


def ip_packet(conn, d, length=20):
    """The IP packet of 'conn' in direction 'd' that an ICMP error is about, as
    it was on the side where it arrived."""
    src, dst = conn.ends(d)
    if isinstance(conn, Tcp):
        proto = pk.PROTO_TCP
        l4 = pk.tcp(src.ip, dst.ip, *conn.l4_ports(d), conn.acked[d],
                    conn.have[d], ACK, conn.window_field(d), bytes(length))
    else:
        proto = pk.PROTO_UDP
        l4 = pk.udp(src.ip, dst.ip, *conn.l4_ports(d), bytes(length))
    build = pk.ipv6 if is_ipv6(src) else pk.ipv4
    return build(src.ip, dst.ip, proto, l4)


def icmp_error(conn, d, note="icmp error"):
    """An ICMP error that travels in direction 'd' of 'conn', about a packet
    that its receiver sent: as packets of direction 'd' are when they arrive,
    turned around."""
    src, dst = conn.ends(d)
    sport, dport = conn.l4_ports(d)
    inner = type(conn)(conn.writer, Wire(dst, src, dport, sport),
                       Wire(src, dst, sport, dport))
    if isinstance(conn, scenario.Tcp):
        inner.next, inner.have = [conn.next[1 - d]] * 2, [conn.have[1 - d]] * 2
        inner.acked = [conn.acked[1 - d]] * 2
    packet = ip_packet(inner, 0)
    if is_ipv6(src):
        proto, l4 = pk.PROTO_ICMPV6, pk.icmpv6_unreachable(src.ip, dst.ip,
                                                           packet)
    else:
        proto, l4 = pk.PROTO_ICMP, pk.icmp_unreachable(packet)
    header = {key: value for key, value in conn.wires[d].header.items()
              if key in ("vlan", "port")}
    return conn.writer.packet(src, dst, proto, l4, note=note, **header)
