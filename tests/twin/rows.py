# SPDX-License-Identifier: Apache-2.0
"""Random connections through the pipelines of features.py: a row of
doc/semantics.md, and connections with sequences of packets and events of
their own that all use it.
"""

import functools

import features
import features_packets
from features_packets import moved
from scenario import Generator, TcpScript, UdpScript

# Rows that packets of one direction use.
DIRECTIONS = {
    "carried: drop after ct()": "reply",
    "carried: nat in one direction only": "reply",
    "carried: several outputs": "orig",
    "carried: several outputs, changed in between": "orig",
    "carried: output before ct()": "orig",
    "carried: group of type all": "orig",
    "carried: learn": "orig",
    "carried: ct(force) in the original direction": "orig",
}

# Rows whose flows drop packets in front of ct(), or change what packets are
# known by.
BLIND = ("carried: match before ct()", "carried: set flow label",
         "carried: many features at once")

# Rows in which this ToS makes flows change a connection: nothing may follow
# at once.
MARKER_TOS = 32

# Rows that need packets of their own.
ZERO_CHECKSUM = ("carried: UDP without checksum",
                 "carried: NAT of UDP without checksum")
LABEL = "carried: set flow label"
LARGE = "carried: packets larger than the MTU"
UDP_ONLY = ZERO_CHECKSUM + (LARGE, "carried: drop after ct()")


@functools.lru_cache(None)
def scenarios():
    """Returns the scenarios of all rows that NICs carry."""
    return [case for case in features.cases([])
            if case.name.startswith("carried")]


# Rows whose connections often send what the NIC does not carry: how often more
# than others they have their turn.
MORE = {
    "carried: match tcp_flags": 3,
    "carried: match nw_tos 0": 3,
    "carried: UDP without checksum": 1,
    "carried: ct_label, masked": 1,
    "carried: match before ct()": 2,
    "carried: six recirculations": 1,
    "carried: many features at once": 1,
}


@functools.lru_cache(None)
def schedule():
    """Returns scenarios() in the order in which they have their turn."""
    return scenarios() + [case for case in scenarios()
                          for _ in range(MORE.get(case.name, 0))]


class RowGenerator(Generator):
    """A random case of row number 'row' from a seed."""

    def __init__(self, seed, row):
        super().__init__(seed)
        self.base = schedule()[row % len(schedule())]
        self.row = self.base.name
        self.writer = features_packets.Writer()
        self.templates = [
            conn for conn in self.base.conns
            if self.row not in UDP_ONLY
            or isinstance(conn, features_packets.Udp)]
        if self.row == LABEL:
            # Each label that is overwritten is a megaflow of its own.
            self.writer.label = 0x777
        self.marked = any(
            "nw_tos=%d," % MARKER_TOS in flow and "commit" in flow
            for flow in self.base.flows)
        self.nat = any("nat" in flow for flow in self.base.flows)
        self.odd_tos = [0, 1, 3, 184] + [MARKER_TOS] * (not self.marked)

    # What Generator asks for.

    def make_hosts(self):
        self.hosts = [host for conn in self.templates for host in conn.hosts]

    def make_pipeline(self):
        case, base = self.case, self.base
        case.features.add(self.row)
        case.flows = list(base.flows)
        case.n_zones = base.n_zones
        case.setup, case.cleanup = list(base.setup), list(base.cleanup)
        case.phases[0] = list(base.phases[0])
        self.normal = "NORMAL" in str(case.flows)
        self.everyone = False
        self.blind = (self.blind or self.row in BLIND
                      or any("table=0" in flow and "drop" in flow
                             for flow in case.flows))

    def learn(self):
        """Scenarios with NORMAL do so themselves."""

    def make_connection(self, i):
        rng = self.rng
        self.current = {self.row}
        base = rng.choice(self.templates)
        sport = rng.choice([1000, 1001, 1002]) + 10 * i
        orig, reply = base.wires
        if reply.dport != orig.sport:
            # Translated to one port: others are to other servers.
            server = "10.0.%d.3" % (i + 1)
            orig = orig._replace(dst=moved(orig.dst, server))
            reply = reply._replace(src=moved(reply.src, server))
        else:
            reply = reply._replace(dport=sport)
        orig = orig._replace(sport=sport)

        def make(proto, **how):
            return type(base)(self.writer, orig, reply,
                              **dict(base.header, **how))

        if isinstance(base, features_packets.Tcp):
            script = TcpScript(self, make)
            script.start = rng.choice((1, 1, 1, 2))
            return script
        script = UdpScript(self, make)
        script.start = rng.choice((1, 1, 1, 2))
        script.one_way = False
        script.always_zero_checksum = self.row in ZERO_CHECKSUM
        if self.row == LARGE:
            script.lengths = (1473, 2000, 4000)
        return script

    def rows_of(self, script):
        return {self.row: DIRECTIONS.get(self.row, "any")}

    def stock_follows(self, conn):
        return not self.blind and not self.flushed

    def translates(self, conn):
        return self.nat

    def bits_off(self, d):
        if self.nat:
            return [1, "port"] if d == 0 else [0, "port"]
        return [0, 1, "port"]

    def icmp_error(self, conn, d):
        return features_packets.icmp_error(conn, d)

    def last_packets(self, phase, script):
        conn = script.conn
        if not (self.marked and 2 <= phase <= 5 and script.alive
                and self.rng.random() < .2):
            return []
        if isinstance(script, UdpScript):
            return [conn.datagram(0, tos=MARKER_TOS)]
        if not script.closed and script.may_send(0, 10):
            return [conn.data(0, 10, tos=MARKER_TOS)]
        return []

    def flush_events(self, phase):
        self.flushed = True
        self.uses("conntrack flush zone")
        return [{"event": ["flush-conntrack", "zone={zone%d}" % (i + 1)]}
                for i in range(self.case.n_zones)]

    def may_remove_ports(self):
        return False

    def flow_changes(self):
        if not self.blind or self.rng.random() < .5:
            # Nothing that packets show, but other masks.
            self.uses("flow change: other masks")
            return ["add table=0,priority=60000,udp,nw_ttl=99,tp_dst=9,"
                    "nw_tos=4,actions=drop"]
        self.uses("flow change: drop")
        conn = self.random_conn().conn
        d = self.rng.randrange(2)
        proto = "tcp" if isinstance(conn, features_packets.Tcp) else "udp"
        return ["add table=0,priority=60000,%s,tp_src=%d,tp_dst=%d,"
                "actions=drop" % (proto + "6" * conn.ipv6(),
                                  *conn.l4_ports(d))]
