# SPDX-License-Identifier: Apache-2.0
"""Fixed scenarios: short cases that can be read as documentation.

All use the plain firewall (scenario.firewall()): VMs open connections to hosts
behind the uplinks, only what belongs to a connection comes back.  A connection
is handed to the NIC at the end of phase 1.
"""

from packets import ACK, FIN, RST, SYN
import packets as pk
from scenario import (Case, Host, JUDGE_PHASE, SETTLE_PHASE, Tcp, Udp, Writer,
                      firewall)

VM = Host("vf1", "10.0.0.1", "02:00:00:00:00:01")
VM2 = Host("vf2", "10.0.0.2", "02:00:00:00:00:02")
REMOTE = Host("p0", "10.0.0.3", "02:00:00:00:00:03")
REMOTE2 = Host("p1", "10.0.0.4", "02:00:00:00:00:04")
HOSTS = [VM, VM2, REMOTE, REMOTE2]


class Base(Case):
    """A case with an open connection."""

    def __init__(self, name, conn, zone_base=1):
        super().__init__(name)
        self.must_carry = True
        self.reassemble = True
        self.zone_base = zone_base
        self.flows = firewall(HOSTS)
        self.conn = conn
        if isinstance(conn, Tcp):
            self.phases[1] = conn.open() + [conn.data(0), conn.data(1)]
        else:
            self.phases[1] = [conn.datagram(d) for d in (0, 1, 0, 1)]

    def to_dict(self):
        plain = super().to_dict()
        plain.pop("conn", None)
        return plain


def new_tcp(**how):
    return Tcp(Writer(), VM, REMOTE, 1000, 80, **how)


def new_udp():
    return Udp(Writer(), VM, REMOTE, 1000, 53)


def tcp_transfer():
    """Open, transfer both ways, close, all with ACKs."""
    tcp = new_tcp()
    case = Base("tcp: open, transfer, close", tcp)
    for _ in range(10):
        case.phases[2] += [tcp.data(0, 500), tcp.ack(1)]
        case.phases[3] += [tcp.data(1, 500), tcp.ack(0)]
    case.phases[4] = tcp.close()
    return case


def tcp_bulk():
    """One direction, further than OVS allows an acknowledgment to be from what
    it saw itself."""
    tcp = new_tcp(scale=(7, 7), window=(1 << 20, 1 << 20))
    case = Base("tcp: more than 67,035 bytes", tcp)
    for phase in (2, 3):
        for _ in range(60):
            case.phases[phase].append(tcp.data(0, 1400))
        case.phases[phase].append(tcp.ack(1))
    case.phases[5] = [tcp.data(1), tcp.ack(0)]
    case.ends[2] = [{"event": ["ct-offload", "flush"]}]
    case.phases[6] = tcp.close(1)
    return case


def tcp_strict_again():
    """Handed over and taken back for good: when both directions have shown
    where they are, windows are checked as ever."""
    tcp = new_tcp()
    case = Base("tcp: windows after withdrawal", tcp)
    case.phases[2] = [tcp.data(0), tcp.ack(1), tcp.data(1), tcp.ack(0)]
    case.ends[2] = [{"event": ["set-port", port, "ct-offload=false"]}
                    for port in ("vf1", "p0")]
    for phase in (3, 4):
        for _ in range(70):
            case.phases[phase] += [tcp.data(0, 1400), tcp.ack(1),
                                   tcp.data(1, 1400), tcp.ack(0)]
    for d in (0, 1):
        for far in (1 << 22, 1 << 30, -(1 << 22)):
            case.phases[5].append(tcp.segment(
                d, ACK, 10, seq=(tcp.next[d] + far) % (1 << 32)))
            case.phases[5].append(tcp.segment(
                d, pk.RST, seq=(tcp.next[d] + far) % (1 << 32)))
        case.phases[5] += [tcp.data(d), tcp.ack(1 - d)]
    case.phases[6] = tcp.close()
    case.cleanup = [{"event": ["set-port", port, "ct-offload=true"]}
                    for port in ("vf1", "p0")]
    return case


def tcp_fin_orig():
    tcp = new_tcp()
    case = Base("tcp: FIN of the client first", tcp)
    case.phases[2] = [tcp.data(0), tcp.ack(1)]
    case.phases[4] = tcp.close(0)
    return case


def tcp_fin_reply():
    tcp = new_tcp()
    case = Base("tcp: FIN of the server first", tcp)
    case.phases[2] = [tcp.data(1), tcp.ack(0)]
    case.phases[4] = tcp.close(1)
    return case


def tcp_half_close():
    """The client is done; the server goes on and ends later."""
    tcp = new_tcp()
    case = Base("tcp: half-close", tcp)
    case.phases[2] = [tcp.data(0), tcp.ack(1), tcp.fin(0), tcp.ack(1)]
    for phase in (3, 4, 5):
        case.phases[phase] = [tcp.data(1, 1000), tcp.ack(0)]
    case.phases[6] = [tcp.fin(1), tcp.ack(0)]
    return case


def tcp_rst(d):
    tcp = new_tcp()
    case = Base("tcp: RST of the %s" % ("server" if d else "client"), tcp)
    case.phases[2] = [tcp.data(0), tcp.ack(1), tcp.data(1), tcp.ack(0)]
    case.phases[4] = [tcp.rst(d)]
    return case


def tcp_reuse():
    """The same tuple again, after the end of the first connection."""
    tcp = new_tcp()
    case = Base("tcp: tuple used again", tcp)
    case.phases[2] = [tcp.data(0), tcp.ack(1)]
    case.phases[JUDGE_PHASE] = tcp.close(0)
    tcp.reset((70000, 80000))
    case.phases[5] = tcp.open() + [tcp.data(0), tcp.ack(1)]
    case.phases[6] = [tcp.data(1), tcp.ack(0)]
    return case


def tcp_from_outside():
    """A connection that the firewall does not let in; the one from inside goes
    on."""
    tcp = new_tcp()
    case = Base("tcp: refused from outside", tcp)
    attack = Tcp(tcp.writer, REMOTE2, VM, 5000, 22)
    case.phases[2] = attack.open() + [attack.data(0), tcp.data(0)]
    case.phases[3] = [tcp.data(1), tcp.ack(0)]
    return case


def udp_both_ways():
    udp = new_udp()
    case = Base("udp: both ways", udp)
    for phase in (2, 3, 4):
        case.phases[phase] = [udp.datagram(d, 100) for d in (0, 1, 1, 0)]
    return case


def udp_one_way():
    """Nothing comes back: never handed over."""
    udp = new_udp()
    case = Base("udp: one way", udp)
    case.must_carry = False
    case.phases[1] = []
    for phase in (1, 2, 3, 4):
        case.phases[phase] = [udp.datagram(0, 100) for _ in range(4)]
    return case


def drop_of_reply_side():
    """Policy drops what comes back with a certain ToS: the rest is carried,
    that is not."""
    tcp = new_tcp()
    case = Base("firewall: drop of the reply side", tcp)
    case.flows.append("table=1,priority=30,ct_state=+trk+est+rpl,ip,"
                      "nw_tos=32,actions=drop")
    for phase in (2, 3, 4):
        case.phases[phase] = [tcp.data(1), tcp.ack(0), tcp.data(1, tos=32),
                              tcp.data(0), tcp.data(1, tos=33)]
    return case


def policy_change():
    """In the middle of a transfer the reply side is dropped, and later let
    through again."""
    tcp = new_tcp()
    case = Base("firewall: policy changes", tcp)
    case.compare_stats = False
    drop = ("table=1,priority=30,ct_state=+trk+est,ip,nw_src=%s"
            % REMOTE.ip)
    for phase in (2, 3, 4, 5, 6):
        case.phases[phase] = [tcp.data(0), tcp.ack(1), tcp.data(1),
                              tcp.ack(0)]
    case.ends[SETTLE_PHASE] = [{"event": ["flow", "add %s,actions=drop"
                                          % drop]}]
    case.ends[JUDGE_PHASE] = [{"event": ["flow", "delete_strict " + drop]}]
    return case


def fields_of_one_packet():
    """Packets of a connection that differ in TTL, ToS, MAC or ingress from
    those that made it, while policy drops some of them."""
    tcp = new_tcp()
    case = Base("match: ttl, tos, mac and port of a packet", tcp)
    case.flows += ["table=0,priority=30,ip,nw_ttl=63,actions=drop",
                   "table=1,priority=30,ip,nw_tos=32,actions=drop",
                   "table=5,priority=60,ip,dl_src=02:00:00:00:ff:ff,"
                   "actions=drop"]
    for phase in (2, 3):
        for how in ({}, {"ttl": 63}, {"tos": 32}, {"ttl": 62}, {"port": "p1"},
                    {"src_mac": "02:00:00:00:ff:ff"}):
            case.phases[phase].append(tcp.data(0, **how))
        case.phases[phase] += [tcp.ack(1), tcp.data(1), tcp.ack(0)]
    return case


def told_apart(first):
    """Connections of the same hosts that differ in nothing but mark or label,
    zero or not.  'first' says which of them are handed over first."""
    bit = "0x80000000000000000000000000000000"
    udp = new_udp()
    plain = Udp(udp.writer, VM, REMOTE, 1001, 56)
    marked = Udp(udp.writer, VM, REMOTE, 1000, 54)
    labelled = Udp(udp.writer, VM, REMOTE, 1000, 55)
    case = Base("match: mark and label of a connection, %s first" % first, udp)
    new = ("table=1,priority=40,ct_state=+trk+new,udp,tp_dst=%d,actions="
           "ct(commit,zone={zone},exec(set_field:%s)),resubmit(,5)")
    case.flows += [new % (54, "0x1->ct_mark"), new % (55, bit + "->ct_label")]
    case.flows += ["table=1,priority=40,ct_state=+trk+est,udp,%s,"
                   "actions=mod_nw_tos:%d,resubmit(,5)" % match
                   for match in (("ct_mark=1", 32),
                                 ("ct_label=%s/%s" % (bit, bit), 64))]
    conns = ([udp, plain, marked, labelled] if first == "zero"
             else [marked, labelled, udp, plain])
    for phase in (1, 2, 3, 4):
        case.phases[phase] = [conn.datagram(d) for conn in conns
                              for d in (0, 1, 0, 1)]
    return case


def never_carried():
    """Fragments and packets that are not what they seem, with the tuple of a
    connection that is carried."""
    udp = new_udp()
    case = Base("parse: fragments and malformed packets", udp)
    writer = udp.writer
    l4 = pk.udp(VM.ip, REMOTE.ip, 1000, 53, bytes(1300))
    writer.number += 1
    ident = writer.number
    for phase in (2, 3):
        case.phases[phase] = [udp.datagram(0), udp.datagram(1)]
    case.phases[3] += [
        udp.emit(0, pk.PROTO_UDP, l4[:1208], ident=ident, frag=pk.IP_MF),
        udp.emit(0, pk.PROTO_UDP, l4[1208:], ident=ident, frag=151),
        udp.emit(0, pk.PROTO_UDP, l4, checksum_=1),
        udp.datagram(0, udp={"length_": 900}),
        udp.datagram(0, udp={"length_": 7}),
        udp.datagram(0, cut=40),
        udp.datagram(0, options=bytes(4)),
        udp.datagram(0, udp={"checksum_": 0}),
        udp.datagram(0),
    ]
    return case


def odd_flags():
    """Combinations of TCP flags that stock calls invalid, and others."""
    tcp = new_tcp()
    case = Base("parse: odd TCP flags", tcp)
    case.phases[2] = [tcp.data(0), tcp.ack(1)]
    for flags in (0, FIN, SYN | FIN, SYN | RST, pk.PSH, 0xff, pk.URG | ACK,
                  pk.ECE | pk.CWR | ACK):
        case.phases[3].append(tcp.segment(0, flags))
    case.phases[4] = [tcp.data(0), tcp.ack(1)]
    return case


def everything():
    return [tcp_transfer(), tcp_bulk(), tcp_strict_again(),
            tcp_fin_orig(), tcp_fin_reply(),
            tcp_half_close(), tcp_rst(0), tcp_rst(1), tcp_reuse(),
            tcp_from_outside(), udp_both_ways(), udp_one_way(),
            drop_of_reply_side(), policy_change(), fields_of_one_packet(),
            told_apart("zero"), told_apart("others"),
            never_carried(), odd_flags()]


def cases(names):
    """Returns the scenarios called 'names', all if empty."""
    return [case for case in everything() if not names or case.name in names]
