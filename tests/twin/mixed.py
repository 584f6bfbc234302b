# SPDX-License-Identifier: Apache-2.0
"""Random cases: plain firewalls as in scenario.py, and chains of random
elements as in chains.py, with the same connections and events."""

import features_packets
import rows
from chains import MARKER_TOS, Chain, Family
from scenario import Generator, Host, TcpScript, UdpScript

PORTS = ["vf1", "vf2", "p0", "p1"]
FIRST_TABLE = 10


class MixedGenerator(Generator):
    """A random case of several chains from a seed."""

    def __init__(self, seed):
        super().__init__(seed)
        self.writer = features_packets.Writer()
        self.case.n_zones = 3
        self.n_tables = FIRST_TABLE
        self.normal = self.everyone = False

    def new_table(self):
        self.n_tables += 1
        return self.n_tables - 1

    # Pipeline.

    def make_hosts(self):
        """Chains have hosts of their own."""
        self.ports = list(PORTS)
        if self.chance(.1, "foreign port"):
            self.ports.append("x1")
        self.hosts = []

    def make_host(self, port, ipv6):
        n = len(self.hosts) + 1
        self.hosts.append(Host(
            port, ("fd00:%x::%x" if ipv6 else "10.%d.1.%d")
            % (n, self.rng.randrange(1, 250)),
            "02:00:00:00:%02x:%02x" % (self.rng.randrange(256), n)))
        return self.hosts[-1]

    def make_pipeline(self):
        rng = self.rng
        self.vlan = None
        # With labels that flows set, packets cannot be told by them.
        self.labels_may_change = self.chance(.3)
        if self.labels_may_change:
            self.writer.label = rng.choice([0, 1, 0x777])
        self.chains = []
        for i in range(rng.choice((2, 3, 3, 4))):
            client, server = rng.sample(self.ports, 2)
            if client not in PORTS[:2]:
                client, server = server, client
            ipv6 = self.rng.random() < .4
            self.chains.append(Chain(self, i, self.make_host(client, ipv6),
                                     self.make_host(server, ipv6),
                                     Family(ipv6)))
        flows = ["table=0,priority=10,arp,actions=NORMAL"]
        ct_table = 0
        if self.chance(.3, "several tables"):
            ct_table = 7
            flows.append("table=0,priority=5,actions=resubmit(,7)")
        for _ in range(rng.choice((0, 1, 1, 2)) if self.blind else 0):
            d = rng.randrange(2)
            flows.append("table=%d,priority=%d,%s,actions=drop" % (
                ct_table, rng.randrange(11, 30),
                rng.choice(self.chains).random_match(d, -d)))
        for chain in self.chains:
            flows += [flow.replace("{ct_table}", str(ct_table))
                      for flow in chain.flows]
        self.case.flows = flows

    def learn(self):
        for chain in self.chains:
            for host in (chain.client, chain.server):
                self.case.phases[0].append(self.writer.arp(
                    Host(host.port, "10.9.0.1", host.mac), "10.9.0.2",
                    chain.headers[0].vlan))

    # Connections.

    def make_connection(self, i):
        rng = self.rng
        chain = rng.choice(self.chains)
        self.current = set(chain.features)
        header = {}
        if self.chance(.1, "ip options"):
            header["options"] = rng.choice([bytes(4), b"\1" * 8])
        if self.chance(.15, "tos of a connection"):
            header["tos"] = rng.choice([32, 184, 1])
        if self.chance(.15, "ttl of a connection"):
            header["ttl"] = rng.choice([1, 63, 255])
        sport = rng.choice([1000, 1001, 1002]) + 10 * i
        script = self.random_script(
            chain.make(sport, header, rng.choice([0, 0, 3])))
        if script.proto == "icmp":
            sport = 7
        script.keys = lambda: chain.keys(script.proto, sport)
        return script

    def stock_follows(self, conn):
        return (not self.blind
                and "flow change: delete" not in self.case.features
                and not (self.labels_may_change and conn.chain.family.ipv6))

    def rows_of(self, script):
        return {row: "any" for row in script.conn.chain.rows()}

    def translates(self, conn):
        return any(getattr(element, "asks_nat", False)
                   for element in conn.chain.elements)

    def bits_off(self, d):
        # Two sources with one port would be translated to what is different
        # each time.
        return [1, "port"] if d == 0 else [0, "port"]

    def icmp_error(self, conn, d):
        if isinstance(conn, features_packets.Ping):
            return None
        return features_packets.icmp_error(conn, d)

    def last_packets(self, phase, script):
        """A packet that changes marks."""
        conn = script.conn
        if not (2 <= phase <= 5 and script.alive and conn.chain.marked
                and self.rng.random() < .4):
            return []
        if isinstance(script, UdpScript):
            return [conn.datagram(0, tos=MARKER_TOS)]
        if (isinstance(script, TcpScript) and not script.closed
                and script.may_send(0, 10)):
            return [conn.data(0, 10, tos=MARKER_TOS)]
        return []

    # Events.

    def flush_events(self, phase):
        if self.blind:
            return super().flush_events(phase)
        # What one zone refuses, others never see.
        self.flushed = True
        self.uses("conntrack flush zone")
        return [{"event": ["flush-conntrack", "zone={zone%d}" % (i + 1)]}
                for i in range(self.case.n_zones)]

    def flow_changes(self):
        rng = self.rng
        chain = rng.choice(self.chains)
        d = rng.randrange(2)
        kinds = ["policy", "policy", "move", "check"]
        if self.blind:
            kinds.append("delete")
        kind = rng.choice(kinds)
        checks = [flow for flow in chain.flows if "priority=23," in flow]
        if kind == "check" and not checks:
            kind = "policy"
        self.uses("flow change: " + kind)
        if kind == "policy":
            return ["add table=%d,priority=60,%s,actions=drop"
                    % (chain.last[d], chain.random_match(d, -1))]
        if kind == "move":
            return ["add table=%d,priority=60,%s,actions=output:{%s}"
                    % (chain.last[d], chain.family.any,
                       rng.choice(self.ports))]
        flow = rng.choice(checks if kind == "check" else
                          [f for f in self.case.flows if "arp" not in f])
        return ["delete_strict " + flow.split(",actions=")[0]]


def random_case(seed):
    """Of eight seeds, the first is a plain firewall, the second chains, and
    the others are rows in turn."""
    group, kind = divmod(seed, 8)
    if kind == 0:
        return Generator(seed).build()
    if kind == 1:
        return MixedGenerator(seed).build()
    return rows.RowGenerator(seed, 6 * group + kind - 2).build()
