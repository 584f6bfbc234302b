# SPDX-License-Identifier: Apache-2.0
"""Test cases: a pipeline, and a script of packets and control events.

A case is a grid of N_PHASES phases.  A phase is a list of operations, and then
a list of control events after which the switches are given time to follow,
because packets that come while they do may be treated by the old rules
(permitted difference 2).  All cases have the same grid, so that many can run
at once in lockstep.

The operations of a phase that have the same 'conn', usually those of one
connection, are a sequence, carried out one after the other.  Sequences are
carried out at the same time.  Those that do not have it are one, too.

After phase SETTLE_PHASE statistics are compared before the control events:
what was counted before a change of the flow table must not be credited to the
flows after it.  After phase JUDGE_PHASE the switches are given the time that a
FIN or RST of an offloaded connection takes to be judged (permitted difference
5), so that tuples can be used again.

Operations and events
---------------------

    {"port": "vf1", "hex": FRAME, "note": TEXT, "permit": N}
        A packet.  'permit' is the number of a permitted difference that may
        let it through although stock would not; absent otherwise.  With
        "counted": true it is left out if the NIC is reset in any of the cases
        that run together: a NIC that is reset takes its counts with it.

    {"event": [VERB, ARG...], "last": true}
        'last' are those that wait for all other operations of the phase.
        flow CHANGE...          changes of the flow table
        flush-conntrack ARG...  dpctl/flush-conntrack
        del-port PORT, add-port PORT
        set-open KEY=VALUE, set-port PORT KEY=VALUE     other_config
        nic COMMAND ARG...      nic-emu/COMMAND emu0 ARG...
        ct-offload COMMAND      ct-offload/COMMAND
        revalidate              revalidation at once, also in stock
        gather                  waits for all other sequences, until they
                                gather, too, or are through
        settle ZONE...          waits until the rules of connections that see
                                a FIN or RST are out of the NIC: what follows
                                is seen by the software, and judges it
        vsctl ARG..., ofctl ARG..., appctl ARG...       these programs
        ofctl-at BRIDGE ARG...  ovs-ofctl for another bridge

In flows and events "{zone}" stands for the ct zone, which depends on the slot
in which the case runs, "{zone2}" and "{zone3}" for others that it has if it
says so ('n_zones'), and "{bridge}" for the bridge.
"""

import hashlib
import ipaddress
import json
import random

import packets as pk
from packets import ACK, FIN, PSH, RST, SYN

N_PHASES = 7
SETTLE_PHASE = 3
JUDGE_PHASE = 4
ZONES_PER_SLOT = 64

# Events that concern all cases that run at the same time occur only in every
# fourth group of so many seeds.
DISRUPTIVE_GROUP = 16


HOLD = ["nic", "fault", "hold"]
RELEASE = ["nic", "fault", "release"]


class Case:
    def __init__(self, name):
        self.name = name
        self.seed = None
        self.features = set()
        # Features of single connections, by Connection.key().
        self.conn_features = {}
        # Connections with a script of their own, by 'conn' of its operations:
        # 'keys', what Connection.key() is in all zones, and 'rows', the
        # scenarios of features.py whose row in doc/semantics.md all its
        # packets of a direction ("orig", "reply" or "any") use.
        self.lives = {}
        self.flows = []
        self.zone_base = 0
        self.phases = [[] for _ in range(N_PHASES)]
        self.ends = [[] for _ in range(N_PHASES)]
        self.must_carry = False         # Every NIC must carry some of it.
        self.reassemble = False         # Needs OVS to reassemble fragments.
        self.compare_stats = True
        self.n_zones = 1
        # Events before the first packet, and when all has been compared.
        self.setup = []
        self.cleanup = []
        # What features.check() looks at.
        self.carry = {}
        self.in_software = False
        self.reasons = []

    def to_dict(self):
        plain = dict(self.__dict__)
        plain["features"] = sorted(self.features)
        return plain

    @classmethod
    def from_dict(cls, plain):
        case = cls(plain["name"])
        case.__dict__.update(plain)
        case.features = set(plain["features"])
        return case

    def copy(self):
        other = Case.from_dict(self.to_dict())
        other.flows = list(self.flows)
        other.phases = [list(ops) for ops in self.phases]
        other.ends = [list(ops) for ops in self.ends]
        return other

    def zone(self, slot, i=0):
        return ((self.zone_base + i) * ZONES_PER_SLOT + slot) & 0xffff

    def zones(self, slot):
        return [self.zone(slot, i) for i in range(self.n_zones)]

    def has_event(self, *words):
        """Whether an event begins with 'words'."""
        return any(op["event"][:len(words)] == list(words)
                   for ops in self.phases + self.ends
                   for op in ops if "event" in op)

    def digests(self):
        """Returns what tells the scripts of connections from each other, by
        key of 'lives': pipeline, packets and events."""
        common = hashlib.sha256(json.dumps(
            [self.flows, self.setup, self.ends]
            + [op["event"] for ops in self.phases for op in ops
               if "event" in op]).encode())
        found = {conn: common.copy() for conn in self.lives}
        for i, ops in enumerate(self.phases):
            for op in ops:
                if "hex" in op and str(op.get("conn")) in found:
                    found[str(op["conn"])].update(("%d %s %s;" % (
                        i, op["port"], op["hex"])).encode())
        return {conn: digest.digest() for conn, digest in found.items()}

    def n_packets(self):
        return sum("hex" in op for ops in self.phases for op in ops)

    def describe(self, slot=0):
        """Returns the script as text."""
        lines = ["case %s, zone %d, %d packets" % (
            self.name, self.zone(slot), self.n_packets()), "flows:"]
        lines += ["    " + flow for flow in self.flows]
        for i in range(N_PHASES):
            if not self.phases[i] and not self.ends[i]:
                continue
            lines.append("phase %d:" % i)
            for op in self.phases[i]:
                if "hex" in op:
                    lines.append("    %-3s %s%s%s" % (
                        op["port"], pk.describe(bytes.fromhex(op["hex"])),
                        "  [%s]" % op["note"] if op.get("note") else "",
                        "  permitted: %d" % op["permit"]
                        if op.get("permit") else ""))
                else:
                    lines.append("    event " + " ".join(op["event"]))
            lines += ["    at its end: " + " | ".join(op["event"])
                      for op in self.ends[i]]
        return "\n".join(lines).replace("{zone}", str(self.zone(slot)))


# Hosts and connections.

class Host:
    def __init__(self, port, ip, mac):
        self.port = port
        self.ip = ip
        self.mac = mac


def without_uncounted(cases):
    """Returns 'cases', which run together, without the packets that need a
    NIC that is not reset, if it is."""
    if not any(case.has_event("nic", "reset") for case in cases):
        return cases
    copies = [case.copy() for case in cases]
    for case in copies:
        case.phases = [[op for op in ops if not op.get("counted")]
                       for ops in case.phases]
    return copies


class Writer:
    """Makes the packets of a case.  Each gets a number of its own as IP
    identification, by which outputs are recognized."""

    def __init__(self):
        self.number = 0

    def packet(self, src, dst, proto, l4, note="", permit=None, port=None,
               src_mac=None, dst_mac=None, vlan=None, pad=0, cut=None, **ip):
        """A packet from host 'src' to host 'dst'.  'cut' is the length at
        which the frame ends."""
        self.number += 1
        ip.setdefault("ident", self.number)
        frame = pk.ethernet(src_mac or src.mac, dst_mac or dst.mac,
                            pk.ETH_TYPE_IP,
                            pk.ipv4(src.ip, dst.ip, proto, l4, **ip),
                            vlan=vlan, pad=pad)
        op = {"port": port or src.port, "hex": frame[:cut].hex(),
              "note": note}
        if permit:
            op["permit"] = permit
        return op

    def arp(self, host, dst_ip, vlan=None):
        return {"port": host.port, "note": "who is where",
                "hex": pk.arp_request(host.mac, host.ip, dst_ip, vlan).hex()}


class Connection:
    """What UDP and TCP connections have in common.  Direction 0 is from
    'hosts[0]', which opens it, to 'hosts[1]'.

    'header' are arguments for Writer.packet() that all packets share."""

    def __init__(self, writer, client, server, sport, dport, **header):
        self.writer = writer
        self.hosts = (client, server)
        self.ports = (sport, dport)
        self.header = header

    def key(self, proto):
        """Returns a text that tells which connection this is."""
        return "%s %s:%d>%s:%d" % (proto, self.hosts[0].ip, self.ports[0],
                                   self.hosts[1].ip, self.ports[1])

    def addresses(self, d):
        return self.hosts[d].ip, self.hosts[1 - d].ip

    def ipv6(self):
        return ":" in self.hosts[0].ip

    def ends(self, d):
        return self.hosts[d], self.hosts[1 - d]

    def l4_ports(self, d):
        return self.ports[d], self.ports[1 - d]

    def header_of(self, d):
        return self.header

    def emit(self, d, proto, l4, **how):
        return self.writer.packet(*self.ends(d), proto, l4,
                                  **dict(self.header_of(d), **how))


class Udp(Connection):
    def datagram(self, d, length=20, udp=None, **how):
        l4 = pk.udp(*self.addresses(d), *self.l4_ports(d), bytes(length),
                    **(udp or {}))
        how.setdefault("note", "UDP %s" % ("reply" if d else "request"))
        return self.emit(d, pk.PROTO_UDP, l4, **how)


class Tcp(Connection):
    """A TCP connection with true sequence numbers.

    next[d]         next sequence number that side d sends
    have[d]         what side d has received without a gap, i.e. acknowledges
    acked[d]        latest acknowledgment that went out for what side d sent
    lost[d]         segments (seq, length) of side d that did not get there
    """

    def __init__(self, writer, client, server, sport, dport, isn=(1000, 5000),
                 window=(30000, 30000), scale=(None, None), **header):
        super().__init__(writer, client, server, sport, dport, **header)
        self.window = window
        self.scale = scale
        self.reset(isn)

    def reset(self, isn):
        self.next = list(isn)
        self.have = [isn[1], isn[0]]
        self.acked = list(isn)
        self.lost = ([], [])
        self.finished = [False, False]

    def scaling(self):
        return self.scale[0] is not None and self.scale[1] is not None

    def window_field(self, d, flags=ACK):
        window = self.window[d]
        if self.scaling() and not flags & SYN:
            window >>= self.scale[d]
        return min(window, 65535)

    def segment(self, d, flags, length=0, seq=None, ack=None, window=None,
                tcp=None, **how):
        """A segment as it is, that changes nothing here."""
        if window is None:
            window = self.window_field(d, flags)
        seq = self.next[d] if seq is None else seq
        if ack is None:
            ack = self.have[d] if flags & ACK else 0
        tcp = dict(tcp or {})
        if flags & SYN and self.scale[d] is not None:
            tcp.setdefault("options", bytes([1, 3, 3, self.scale[d]]))
        l4 = pk.tcp(*self.addresses(d), *self.l4_ports(d), seq, ack, flags,
                    window, bytes(length), **tcp)
        how.setdefault("note", "%s %s" % ("reply" if d else "orig",
                                          pk.flags_to_string(flags)))
        return self.emit(d, pk.PROTO_TCP, l4, **how)

    def _sent(self, d, length, arrives=True):
        """Side 'd' sent 'length' bytes of sequence space."""
        if not arrives:
            self.lost[d].append((self.next[d], length))
        self.next[d] = self.next[d] + length & 0xffffffff
        if not self.lost[d]:
            self.have[1 - d] = self.next[d]

    def _acks(self, d):
        """Side 'd' sent an acknowledgment."""
        self.acked[1 - d] = self.have[d]

    def open(self):
        """The three-way handshake."""
        ops = [self.segment(0, SYN)]
        self._sent(0, 1)
        ops.append(self.segment(1, SYN | ACK))
        self._sent(1, 1)
        self._acks(1)
        ops.append(self.segment(0, ACK))
        self._acks(0)
        return ops

    def in_flight(self, d):
        return self.next[d] - self.acked[d] & 0xffffffff

    def data(self, d, length=100, arrives=True, **how):
        op = self.segment(d, ACK | PSH, length, **how)
        self._sent(d, length, arrives)
        if not arrives:
            return None
        self._acks(d)
        return op

    def ack(self, d, **how):
        op = self.segment(d, ACK, **how)
        self._acks(d)
        return op

    def repair(self, d):
        """Side 'd' sends again what was lost, and is acknowledged."""
        ops = [self.segment(d, ACK, length, seq=seq, note="retransmission")
               for seq, length in self.lost[d]]
        self.lost[d].clear()
        self.have[1 - d] = self.next[d]
        self._acks(d)
        return ops + [self.ack(1 - d)]

    def fin(self, d, length=0):
        op = self.segment(d, FIN | ACK, length)
        self._sent(d, length + 1)
        self._acks(d)
        self.finished[d] = True
        return op

    def close(self, first=0):
        """FIN, ACK, FIN, ACK."""
        ops = [self.fin(first), self.ack(1 - first)]
        return ops + [self.fin(1 - first), self.ack(first)]

    def rst(self, d, flags=RST | ACK):
        return self.segment(d, flags, window=0)


# Pipelines.

FORWARD_TABLE = 5
TRUSTED = ("vf1", "vf2")


def forward(hosts, style="ip"):
    """Flows of the table that decides where packets leave."""
    flows = []
    for host in hosts:
        port = "{%s}" % host.port
        match = {"ip": "ip,nw_dst=%s" % host.ip,
                 "mac": "dl_dst=%s" % host.mac,
                 "both": "ip,dl_dst=%s,nw_dst=%s" % (host.mac, host.ip),
                 }[style]
        flows.append("table=%d,priority=50,%s,actions=output:%s"
                     % (FORWARD_TABLE, match, port))
    return flows


def firewall(hosts, zone="{zone}", style="ip", trusted=TRUSTED):
    """The plain stateful firewall: new connections from VMs only."""
    flows = ["table=0,priority=10,arp,actions=NORMAL",
             "table=0,priority=10,ip,actions=ct(table=1,zone=%s)" % zone]
    for port in trusted:
        flows.append("table=1,priority=20,ct_state=+trk+new,ip,"
                     "in_port={%s},actions=ct(commit,zone=%s),resubmit(,%d)"
                     % (port, zone, FORWARD_TABLE))
    flows += ["table=1,priority=20,ct_state=+trk+est,ip,"
              "actions=resubmit(,%d)" % FORWARD_TABLE,
              "table=1,priority=20,ct_state=+trk+rel,ip,"
              "actions=resubmit(,%d)" % FORWARD_TABLE,
              "table=1,priority=1,actions=drop"]
    if style == "normal":
        return flows + ["table=%d,priority=10,actions=NORMAL" % FORWARD_TABLE]
    return flows + forward(hosts, style=style)


class Generator:
    """A random case from a seed."""

    # What packets may have that differ from others of their connection.
    odd_tos = (0, 1, 3, 32, 184)

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.case = Case("seed %d" % seed)
        self.case.seed = seed
        self.writer = Writer()
        # Features of the connection that is being made, if any.
        self.current = None

    def uses(self, feature):
        self.case.features.add(feature)
        if self.current is not None:
            self.current.add(feature)

    def chance(self, probability, feature=None):
        """True at random.  If so, 'feature' is one of the case."""
        if self.rng.random() >= probability:
            return False
        if feature:
            self.uses(feature)
        return True

    def build(self):
        rng, case = self.rng, self.case
        case.zone_base = rng.choice([0, rng.randrange(1000)])
        self.make_hosts()
        # Whether some packets may never reach ct().  Stock then knows only
        # part of a TCP connection, and calls invalid what is too far from it;
        # a NIC does not (permitted difference 1).  So such cases keep to
        # little data, great windows and fresh tuples.
        self.blind = self.chance(.5, "packets that ct() does not see")
        self.vlan = None
        if self.chance(.12, "vlan"):
            self.vlan = rng.randrange(1, 4095)
        self.make_pipeline()
        if self.normal:
            self.learn()
        self.conns = [self.make_connection(i)
                      for i in range(rng.randrange(16, 25))]
        for phase in range(1, N_PHASES):
            ops = [dict(op, conn=i) for i, conn in enumerate(self.conns)
                   for op in conn.run(phase) + self.last_packets(phase, conn)]
            self.current = None
            events = self.events(phase) if phase >= 2 else []
            for event in events:
                # When some connection has come so far.
                ops.insert(rng.randrange(len(ops) + 1),
                           dict(event, conn=rng.randrange(len(self.conns))))
            if HOLD in [event["event"] for event in events]:
                ops.append({"event": RELEASE, "last": True})
            case.phases[phase] = ops
            case.ends[phase] = self.end_events(phase)
        for i, conn in enumerate(self.conns):
            for key in conn.keys():
                case.conn_features[key] = sorted(conn.features)
            case.lives[str(i)] = {"keys": conn.keys(),
                                  "rows": self.rows_of(conn)}
        return case

    def rows_of(self, script):
        """Returns 'rows' of Case.lives of a connection."""
        return {"carried: IPv4 TCP and UDP": "any"}

    def learn(self):
        """Tells NORMAL where hosts are."""
        for host in self.hosts:
            for vlan in {None, self.vlan}:
                self.case.phases[0].append(self.writer.arp(
                    host, self.hosts[0].ip, vlan))

    def last_packets(self, phase, script):
        """Packets that must be the last of 'script' in 'phase'."""
        return []

    # Pipeline.

    def make_hosts(self):
        net = "10.%d.%d." % (self.rng.randrange(256), self.rng.randrange(256))
        ports = ["vf1", "vf2", "p0", "p1"]
        if self.chance(.15, "foreign port"):
            ports.append("x1")
        self.hosts = [Host(port, "%s%d" % (net, self.rng.randrange(1, 50)
                                           + 50 * i),
                           "02:00:00:00:%02x:%02x" % (
                               self.rng.randrange(256), i + 1))
                      for i, port in enumerate(ports)]
        self.net = net

    def make_pipeline(self):
        rng, case = self.rng, self.case
        self.style = rng.choice(["ip", "mac", "both", "normal", "normal"])
        self.normal = self.style == "normal"
        self.uses("forwarding by " + self.style)
        zone = "{zone}"
        flows = ["table=0,priority=10,arp,actions=NORMAL"]
        tag = ""
        if self.vlan is not None and self.chance(.6, "match vlan"):
            tag = ",dl_vlan=%d" % self.vlan

        # Before ct().
        ct_table = 0
        if self.chance(.3, "several tables"):
            ct_table = 7
            flows.append("table=0,priority=5,actions=resubmit(,7)")
        by_port = self.chance(.25, "ct() by in_port")
        for host in self.hosts if by_port else [None]:
            flows.append("table=%d,priority=10,ip%s%s,"
                         "actions=ct(table=1,zone=%s)"
                         % (ct_table, tag,
                            ",in_port={%s}" % host.port if host else "",
                            zone))
        if tag:
            flows.append("table=%d,priority=9,ip,actions=ct(table=1,zone=%s)"
                         % (ct_table, zone))
        for _ in range(rng.choice((0, 1, 1, 2)) if self.blind else 0):
            flows.append("table=%d,priority=%d,%s,actions=drop"
                         % (ct_table, rng.randrange(11, 30),
                            self.random_match("before ct")))
        if self.chance(.15, "path without ct"):
            flows.append("table=%d,priority=40,udp,tp_dst=53,"
                         "actions=resubmit(,%d)" % (ct_table, FORWARD_TABLE))
        flows += self.odd_flows(ct_table, zone)

        # After ct().
        commit = "ct(commit,zone=%s),resubmit(,%d)" % (zone, FORWARD_TABLE)
        if self.chance(.1):
            commit = "ct(commit,zone=%s),resubmit(,2)" % zone
        self.everyone = self.chance(.4)
        for port in TRUSTED if not self.everyone else [None]:
            flows.append("table=1,priority=20,ct_state=+trk+new-inv,ip%s,"
                         "actions=%s" % (",in_port={%s}" % port
                                         if port else "", commit))
        if self.chance(.4, "+rpl"):
            for state in ("+est+rpl", "+est-rpl"):
                flows.append("table=1,priority=20,ct_state=+trk-new-inv%s,ip,"
                             "actions=resubmit(,2)" % state)
        else:
            flows.append("table=1,priority=20,ct_state=+trk+est,ip,"
                         "actions=resubmit(,2)")
        flows.append("table=1,priority=21,ct_state=+trk+rel-inv,ip,"
                     "actions=resubmit(,2)")
        if self.chance(.2, "+inv let through"):
            flows.append("table=1,priority=22,ct_state=+trk+inv,ip,"
                         "actions=resubmit(,%d)" % FORWARD_TABLE)
        flows.append("table=1,priority=1,actions=drop")

        # Table 2: policy for what is established; then forwarding.
        flows.append("table=2,priority=1,actions=resubmit(,%d)"
                     % FORWARD_TABLE)
        for _ in range(rng.choice((0, 1, 1, 2, 3))):
            action = rng.choice(["drop", "drop",
                                 "output:{%s}" % rng.choice(self.hosts).port])
            flows.append("table=2,priority=%d,%s%s,actions=%s"
                         % (rng.randrange(2, 30),
                            rng.choice(["", "", "ct_state=+rpl,",
                                        "ct_state=-rpl,"]),
                            self.random_match("after ct"), action))
        if self.normal:
            flows.append("table=%d,priority=1,actions=NORMAL" % FORWARD_TABLE)
        else:
            flows += forward(self.hosts, style=self.style)
        case.flows = flows

    def odd_flows(self, ct_table, zone):
        """What is not offloaded, and must be right nevertheless."""
        if not self.chance(.1):
            return []
        name, match, actions = self.rng.choice([
            ("nat", "ip,nw_src=%s" % self.hosts[0].ip,
             "ct(table=1,zone=%s,nat)" % zone),
            ("mark", "tcp,tp_dst=80",
             "ct(commit,zone=%s,exec(load:1->NXM_NX_CT_MARK[])),"
             "ct(table=1,zone=%s)" % (zone, zone)),
            ("set_field", "udp", "mod_nw_tos:32,ct(table=1,zone=%s)" % zone),
            ("dec_ttl", "tcp", "dec_ttl,ct(table=1,zone=%s)" % zone),
            ("several outputs", "udp",
             "output:{p1},ct(table=1,zone=%s)" % zone),
            ("two zones", "tcp",
             "ct(table=1,zone=65535)"),
        ])
        self.uses("unsupported: " + name)
        return ["table=%d,priority=31,%s,actions=%s" % (ct_table, match,
                                                        actions)]

    def random_match(self, where):
        """A match that takes some of the packets of the case."""
        rng = self.rng
        host = rng.choice(self.hosts)
        kind = rng.choice(["address", "prefix", "port", "tos", "ttl", "flags",
                           "mac", "in_port", "vlan", "combination"])
        self.uses("match %s %s" % (kind, where))
        field = rng.choice(["src", "dst"])
        if kind == "address":
            return "ip,nw_%s=%s" % (field, host.ip)
        if kind == "prefix":
            return "ip,nw_%s=%s/%d" % (field, host.ip, rng.randrange(20, 33))
        if kind == "port":
            return "%s,tp_%s=%d" % (rng.choice(["tcp", "udp"]), field,
                                    rng.choice([53, 80, 443, 1000, 1001]))
        if kind == "tos":
            return "ip,nw_tos=%d" % rng.choice([0, 32, 184])
        if kind == "ttl":
            return "ip,nw_ttl=%d" % rng.choice([1, 63, 64, 255])
        if kind == "flags":
            return "tcp,tcp_flags=%s" % rng.choice(
                ["+psh", "-psh", "+psh-fin", "0x018/0x018", "+urg", "+fin",
                 "+rst", "0x010/0xfff"])
        if kind == "mac":
            return "ip,dl_%s=%s" % (field, rng.choice([host.mac,
                                                       self.other_mac()]))
        if kind == "in_port":
            return "ip,in_port={%s},nw_tos=%d" % (host.port,
                                                  rng.choice([0, 32]))
        if kind == "vlan":
            return rng.choice(["ip,vlan_tci=0", "ip,dl_vlan_pcp=3",
                               "ip,vlan_tci=0x1000/0x1000,nw_ttl=63"])
        return "tcp,nw_%s=%s,tp_dst=%d,nw_ttl=%d" % (
            field, host.ip, rng.choice([80, 443]), rng.choice([63, 64]))

    @staticmethod
    def other_mac():
        """The MAC address of nobody."""
        return "02:00:00:00:ff:ff"

    # Connections.

    def make_connection(self, i):
        rng = self.rng
        self.current = set()
        client, server = rng.sample(self.hosts, 2)
        if client.port not in ("vf1", "vf2") and self.chance(.7):
            client, server = server, client
            if client.port not in ("vf1", "vf2"):
                client = self.hosts[0]
                server = self.hosts[2]
        sport = rng.choice([1000, 1001, 1002]) + 10 * i
        dport = rng.choice([53, 80, 443, 5000])
        header = {}
        if self.vlan is not None and self.chance(.8):
            header["vlan"] = self.vlan | rng.choice([0, 0, 3]) << 13
        if self.chance(.1, "ip options"):
            header["options"] = rng.choice([bytes(4), b"\x94\4\0\0",
                                            b"\1" * 8])
        if self.chance(.2, "tos of a connection"):
            header["tos"] = rng.choice([32, 184, 1])
        if self.chance(.2, "ttl of a connection"):
            header["ttl"] = rng.choice([1, 63, 255])
        def make(proto, **how):
            cls, ports = {"tcp": (Tcp, (sport, dport)),
                          "udp": (Udp, (sport, dport)),
                          "icmp": (Connection, (7, 7))}[proto]
            return cls(self.writer, client, server, *ports,
                       **dict(header, **how))

        return self.random_script(make)

    def random_script(self, make):
        """Returns a script for a new connection.  'make' is called with
        "tcp", "udp" or "icmp", and options, and returns the connection."""
        pick = self.rng.random()
        if pick < .62:
            return TcpScript(self, make)
        if pick < .92:
            return UdpScript(self, make)
        return PingScript(self, make)

    def icmp_error(self, conn, d):
        """Returns an ICMP error about a packet of 'conn', None for a simple
        one."""
        return None

    def bits_off(self, d):
        """What strangers may have different from a connection's packets of
        direction 'd': an end, or a port."""
        return [0, 1, "port"]

    def stock_follows(self, conn):
        """Whether stock's conntrack sees all packets of 'conn'."""
        return (not self.blind
                and "flow change: delete" not in self.case.features
                and (self.everyone or conn.hosts[0].port in TRUSTED))

    def translates(self, conn):
        """Whether there is NAT on the way of 'conn'."""
        return False

    def settle(self):
        """Events after a FIN or RST.  One for all zones: what follows must
        come before silence is taken for an answer."""
        return [{"event": ["settle"] + ["{zone%d}" % (i + 1) for i in
                                        range(self.case.n_zones)]}]

    # Events.

    def random_conn(self):
        return self.rng.choice(self.conns)

    def events(self, phase):
        """Events in the middle of a phase, which change nothing that packets
        show."""
        rng = self.rng
        if not self.chance(.12):
            return []
        kinds = ["fail-add", "full", "fail-del", "hold", "flush", "port",
                 "revalidate"]
        if self.case.seed // DISRUPTIVE_GROUP % 4 == 3:
            kinds += ["reset", "off", "mode"] * 2
        kind = rng.choice(kinds)
        self.uses("event " + kind)
        if kind in ("fail-add", "full", "fail-del"):
            return [{"event": ["nic", "fault", kind,
                               str(rng.randrange(1, 6))]}]
        if kind == "hold":
            return [{"event": HOLD}]
        if kind == "reset":
            return [{"event": ["nic", "reset"]}]
        if kind == "flush":
            return [{"event": ["ct-offload", "flush"]}]
        if kind == "revalidate":
            return [{"event": ["revalidate"]}]
        if kind == "off":
            self.late_events[min(phase + 1, N_PHASES - 1)].append(
                {"event": ["set-open", "ct-offload=true"]})
            return [{"event": ["set-open", "ct-offload=false"]}]
        if kind == "mode":
            # Back to the mode of the switch.
            self.late_events[min(phase + 1, N_PHASES - 1)].append(
                {"event": ["set-open", "ct-offload-mode={mode}"]})
            return [{"event": ["set-open", "ct-offload-mode="
                               + rng.choice(["flat", "module"])]}]
        port = rng.choice(["vf1", "vf2", "p0", "p1"])
        self.late_events[min(phase + 1, N_PHASES - 1)].append(
            {"event": ["set-port", port, "ct-offload=true"]})
        return [{"event": ["set-port", port, "ct-offload=false"]}]

    def end_events(self, phase):
        events = self.late_events[phase]
        if phase == SETTLE_PHASE and self.chance(.4, "flow table changed"):
            events.append({"event": ["flow"] + self.flow_changes()})
        if phase in (2, 4, 5) and self.chance(.06):
            events += self.flush_events(phase)
        if not self.normal:
            if self.removed_port and phase > SETTLE_PHASE:
                events.append({"event": ["add-port", self.removed_port]})
                self.removed_port = None
            elif (self.blind and phase == SETTLE_PHASE
                  and self.may_remove_ports()
                  and self.chance(.15, "port removed")):
                self.removed_port = self.rng.choice(["vf1", "vf2", "p0",
                                                     "p1"])
                events.append({"event": ["del-port", self.removed_port]})
        return events

    @property
    def late_events(self):
        if not hasattr(self, "_late_events"):
            self._late_events = [[] for _ in range(N_PHASES)]
        return self._late_events

    def may_remove_ports(self):
        return True

    removed_port = None
    # Whether conntrack was flushed.
    flushed = False

    def flush_events(self, phase):
        self.flushed = True
        # Not all: scripts that run at the same time would not know of it.
        kind = self.rng.choice(["zone", "zone", "tuple"])
        self.uses("conntrack flush " + kind)
        if kind == "zone":
            args = ["zone={zone}"]
        else:
            conn = self.random_conn().conn
            args = ["zone={zone}", "ct_nw_src=%s,ct_nw_dst=%s,ct_nw_proto=%d,"
                    "ct_tp_src=%d,ct_tp_dst=%d"
                    % (*conn.addresses(0),
                       pk.PROTO_TCP if isinstance(conn, Tcp)
                       else pk.PROTO_UDP, *conn.l4_ports(0))]
        return [{"event": ["flush-conntrack"] + args}]

    def flow_changes(self):
        rng, flows = self.rng, self.case.flows
        kind = rng.choice(["drop", "drop", "policy", "delete", "move"])
        self.uses("flow change: " + kind)
        conn = self.random_conn().conn
        if kind == "drop":
            d = rng.randrange(2)
            return ["add table=%d,priority=60,ip,nw_src=%s,nw_dst=%s%s,"
                    "actions=drop"
                    % (rng.choice([0, 2] if self.blind else [2]),
                       *conn.addresses(d),
                       rng.choice(["", ",nw_tos=0", ",nw_ttl=64"]))]
        if kind == "policy":
            return ["add table=2,priority=60,%s,actions=drop"
                    % self.random_match("added later")]
        if kind == "delete":
            flow = rng.choice([f for f in flows if "arp" not in f
                               and (self.blind or "=ct(table" not in f)])
            return ["delete_strict " + flow.split(",actions=")[0]]
        port = rng.choice(self.hosts).port
        return ["add table=%d,priority=60,ip,nw_dst=%s,actions=output:{%s}"
                % (FORWARD_TABLE, conn.hosts[1].ip, port)]


class ConnScript:
    """What a connection does in each phase."""

    # Whether it sends more than OVS allows an acknowledgment to be ahead.
    bulk = False

    def __init__(self, generator):
        self.g = generator
        self.rng = generator.rng
        self.writer = generator.writer
        self.features = generator.current
        self.start = self.rng.choice((1, 1, 1, 1, 2, 3))
        self.alive = False

    def keys(self):
        """Returns Connection.key() of the connection in all zones."""
        return [self.conn.key(self.proto)]

    def addresses(self, d, hosts):
        """Returns the addresses of 'hosts', by default those of the
        connection in direction 'd'."""
        return ((hosts[0].ip, hosts[1].ip) if hosts
                else self.conn.addresses(d))

    def variation(self):
        """How one packet differs from the others of its connection."""
        g, rng = self.g, self.rng
        how = {}
        if g.chance(.06, "ttl varies"):
            how["ttl"] = rng.choice([0, 1, 63, 255])
        if g.chance(.06, "tos varies"):
            how["tos"] = rng.choice(g.odd_tos)
        if g.chance(.03, "padding"):
            how["pad"] = rng.choice([60, 100, 1514])
        if g.chance(.02, "other mac"):
            how[rng.choice(["dst_mac", "src_mac"])] = g.other_mac()
            if "src_mac" in how:
                # Where that MAC address is must not change: NORMAL would
                # learn it when it pleases.
                if g.normal:
                    how["dst_mac"] = g.other_mac()
                    del how["src_mac"]
        if g.chance(.02, "other port"):
            host = rng.choice(g.hosts)
            if g.removed_port is None:
                how["port"] = host.port
                if g.normal:
                    how["src_mac"] = "02:00:00:01:00:%02x" % (
                        g.hosts.index(host))
        if g.chance(.02, "ip options vary"):
            how["options"] = bytes(4)
        return how

    def fragments(self):
        """A datagram of this connection in two fragments, or a stray
        fragment."""
        conn, rng = self.conn, self.rng
        self.g.uses("fragments")
        proto, l4 = self.plain_l4(0, 1400)
        if conn.ipv6():
            number = rng.randrange(1 << 32)
            return [conn.emit(0, proto, l4[at:end], next=44, note="fragment",
                              extension=pk.ipv6_fragment(proto, at, more,
                                                         number))
                    for at, end, more in rng.choice(
                        [[(0, 1304, 1), (1304, None, 0)], [(0, 64, 0)],
                         [(64, 128, 1)], [(64, 128, 0)]])]
        if rng.random() < .7:
            self.writer.number += 1
            ident = self.writer.number
            return [conn.emit(0, proto, l4[:1208], ident=ident,
                              frag=pk.IP_MF, note="first fragment"),
                    conn.emit(0, proto, l4[1208:], ident=ident, frag=151,
                              note="second fragment")]
        return [conn.emit(0, proto, l4[:64],
                          frag=rng.choice([pk.IP_MF, 4, pk.IP_MF | 1]),
                          note="stray fragment")]

    def malformed(self, d):
        """A corrupted packet of this connection."""
        conn, rng = self.conn, self.rng
        self.g.uses("malformed")
        proto, l4 = self.plain_l4(d, rng.choice((0, 40)))
        ipv6 = conn.ipv6()
        kind = rng.choice(["cut", "cut", "length", "l4"]
                          + ["ip checksum", "version", "ihl"] * (not ipv6))
        how = {"note": "malformed: " + kind}
        if kind == "cut":
            how["cut"] = rng.randrange(14, 14 + (40 if ipv6 else 20)
                                       + len(l4))
        elif kind == "ip checksum":
            how["checksum_"] = rng.randrange(1, 65535)
        elif kind == "version":
            how["version_"] = rng.choice([0, 5, 6, 15])
        elif kind == "ihl":
            how["ihl_"] = rng.choice([0, 4, 6, 15])
        elif kind == "length":
            # What is left must not be a header with a bad checksum only:
            # permitted difference 1.
            how["length_"] = rng.choice([0, 4, 7, 2000] if ipv6
                                        else [0, 19, 20, 24, 2000])
        else:
            l4 = self.malformed_l4(d)
        return conn.emit(d, proto, l4, **how)

    def related(self):
        """An ICMP error about a packet of this connection."""
        self.g.uses("icmp error")
        d = self.rng.randrange(2)
        error = self.g.icmp_error(self.conn, d)
        if error:
            return error
        src, dst = self.conn.ends(d)
        proto, l4 = self.plain_l4(d, 20)
        packet = pk.ipv4(src.ip, dst.ip, proto, l4)
        return self.writer.packet(dst, src, pk.PROTO_ICMP,
                                  pk.icmp_unreachable(packet),
                                  note="icmp error",
                                  vlan=self.conn.header.get("vlan"))

    def stranger(self):
        """A packet that differs from those of this connection in one bit of
        its addresses or ports."""
        self.g.uses("one bit off")
        d = self.rng.randrange(2)
        if self.bulk:
            # Strangers of both directions can be a connection of their own.
            # They must not jump further than OVS's checks allow: a NIC that
            # carries it does not look.
            d = 0
        hosts = list(self.conn.ends(d))
        which = self.rng.choice(self.g.bits_off(d))
        if which == "port":
            proto, l4 = self.plain_l4(d, 10)
            port = int.from_bytes(l4[:2], "big") ^ 1
            l4 = port.to_bytes(2, "big") + l4[2:]
            at = {pk.PROTO_TCP: 16, pk.PROTO_UDP: 6,
                  pk.PROTO_ICMPV6: 2}.get(proto)
            if at:
                l4 = l4[:at] + bytes(2) + l4[at + 2:]
                right = pk.l4_checksum(hosts[0].ip, hosts[1].ip, proto, l4)
                l4 = l4[:at] + right.to_bytes(2, "big") + l4[at + 2:]
        else:
            host = hosts[which]
            ip = ipaddress.ip_address(host.ip)
            hosts[which] = Host(host.port, str(type(ip)(int(ip) ^ 1)),
                                host.mac)
            proto, l4 = self.plain_l4(d, 10, hosts)
        return self.writer.packet(*hosts, proto, l4, note="one bit off",
                                  **self.conn.header_of(d))

    def noise(self, ops):
        """Appends to 'ops' packets that the connection has to do with, without
        being of its own making."""
        g = self.g
        if g.chance(.012):
            ops += self.fragments()
        if g.chance(.05):
            ops += [self.malformed(self.rng.randrange(2))
                    for _ in range(self.rng.randrange(1, 4))]
        if g.chance(.015):
            ops.append(self.related())
        if g.chance(.03):
            ops.append(self.stranger())

    def run(self, phase):
        if phase < self.start:
            return []
        self.g.current = self.features
        ops = []
        if not self.alive:
            ops += self.begin(phase)
        return ops + self.traffic(phase)


class UdpScript(ConnScript):
    proto = "udp"
    lengths = (0, 1, 20, 100, 1400)
    always_zero_checksum = False

    def __init__(self, generator, make):
        super().__init__(generator)
        self.conn = make("udp")
        self.one_way = generator.chance(.1, "udp one way")
        generator.uses("udp")

    def plain_l4(self, d, length, hosts=None):
        return pk.PROTO_UDP, pk.udp(*self.addresses(d, hosts),
                                    *self.conn.l4_ports(d), bytes(length))

    def malformed_l4(self, d):
        self.g.uses("malformed udp")
        return pk.udp(*self.conn.addresses(d), *self.conn.l4_ports(d),
                      bytes(20), length_=self.rng.choice([0, 7, 27, 29, 999]))

    def begin(self, phase):
        self.alive = True
        ops = [self.conn.datagram(0)]
        if not self.one_way:
            ops += [self.conn.datagram(d) for d in (1, 0, 1)]
        return ops

    def traffic(self, phase):
        ops = []
        for _ in range(self.rng.randrange(0, 10)):
            how = self.variation()
            # With IPv6 this is a bad checksum: permitted difference 1.
            if self.always_zero_checksum or (
                    not self.conn.ipv6()
                    and self.g.chance(.1, "udp without checksum")):
                how["udp"] = {"checksum_": 0}
            d = 0 if self.one_way else self.rng.randrange(2)
            length = self.rng.choice(self.lengths)
            op = self.conn.datagram(d, length, **how)
            ops += [op] * self.rng.choice((1, 1, 1, 1, 2))
            self.noise(ops)
        return ops


class PingScript(ConnScript):
    proto = "icmp"

    def __init__(self, generator, make):
        super().__init__(generator)
        self.conn = make("icmp")
        self.number = 0
        generator.uses("icmp echo")

    def plain_l4(self, d, length, hosts=None):
        src, dst = self.addresses(d, hosts)
        if ":" in src:
            return pk.PROTO_ICMPV6, pk.icmpv6_echo(src, dst, bool(d), 7,
                                                   self.number, bytes(length))
        return pk.PROTO_ICMP, pk.icmp_echo(bool(d), 7, self.number,
                                           bytes(length))

    def malformed_l4(self, d):
        return self.plain_l4(d, 20)[1][:5]

    def related(self):
        return self.conn.emit(0, *self.plain_l4(0, 8), note="echo")

    def begin(self, phase):
        self.alive = True
        return []

    def traffic(self, phase):
        ops = []
        for _ in range(self.rng.randrange(4)):
            self.number += 1
            for d in (0, 1):
                ops.append(self.conn.emit(d, *self.plain_l4(d, 20),
                                          note="echo"))
        return ops


class TcpScript(ConnScript):
    proto = "tcp"

    def __init__(self, generator, make):
        super().__init__(generator)
        g, rng = self.g, self.rng
        scale = (None, None)
        if g.blind:
            pass
        elif g.chance(.5, "window scaling"):
            scale = (rng.randrange(15), rng.randrange(15))
        elif g.chance(.2):
            scale = rng.choice([(7, None), (None, 7)])
        self.conn = make("tcp", isn=self.isn(), scale=scale,
                         window=tuple(self.pick_window(scale, d)
                                      for d in (0, 1)))
        self.midstream = g.chance(.1, "mid-stream pickup")
        self.closing = (g.chance(.7) and rng.choice((3, 4, 4, 4, 6))) or None
        # A new connection that NAT finds while the old one's entry goes may
        # get another port.
        self.reuse = (self.closing == 4 and not g.blind
                      and not g.translates(self.conn)
                      and g.chance(.8, "tuple used again"))
        self.bulk = not g.blind and g.chance(.1, "bulk")
        self.closed = False
        g.uses("tcp")

    def isn(self):
        # Often about to wrap around.
        return [self.rng.choice([self.rng.randrange(1 << 32),
                                 (1 << 32) - self.rng.randrange(1, 3000)])
                for _ in (0, 1)]

    def pick_window(self, scale, d):
        if self.g.blind:
            return 65535
        if None in scale:
            return self.rng.choice((5000, 30000, 65535))
        # Never so small that nothing of it is left by the scale.
        return min(self.rng.choice((1, 2, 20)) * max(5000, 1 << scale[d]),
                   65535 << scale[d])

    def plain_l4(self, d, length, hosts=None):
        """A segment that is in the window, whatever happened, and tells
        nothing new: sent again.  Otherwise stock, if it takes it for good,
        expects a RST behind it."""
        conn = self.conn
        return pk.PROTO_TCP, pk.tcp(*self.addresses(d, hosts),
                                    *conn.l4_ports(d),
                                    conn.acked[d] - length, conn.have[d], ACK,
                                    conn.window_field(d), bytes(length))

    def malformed_l4(self, d):
        """Bad data offsets and impossible flags."""
        conn, rng = self.conn, self.rng
        self.g.uses("malformed tcp")
        how, flags = {}, ACK
        if rng.random() < .4:
            how["offset_"] = rng.choice([0, 4, 7, 15])
        else:
            flags = rng.choice([0, SYN | FIN, FIN, SYN | RST, PSH, 0x3f,
                                FIN | PSH | pk.URG, SYN | FIN | ACK])
        return pk.tcp(*conn.addresses(d), *conn.l4_ports(d), conn.next[d],
                      conn.have[d], flags, conn.window_field(d), b"", **how)

    def begin(self, phase):
        self.alive = True
        self.closed = False
        conn = self.conn
        if self.midstream:
            return [conn.data(0, 10), conn.ack(1), conn.data(1, 10),
                    conn.ack(0)]
        ops = conn.open()
        if self.g.chance(.1, "syn repeated"):
            ops.insert(1, ops[0])
        if self.may_forge():
            if self.g.chance(.1, "forged close before handover"):
                ops.insert(len(ops) - 1, self.forged(0))
            if self.g.chance(.1, "forged close during handover"):
                ops += self.forge()
        return ops + [conn.data(0, 50), conn.ack(1)]

    def far(self):
        """Returns a distance of sequence numbers that no window allows, not
        even with the greatest scale, which stock assumes of a connection whose
        beginning it did not see or forgot."""
        return self.rng.choice([-1, 1]) * ((3 << 29)
                                           + self.rng.randrange(1 << 20))

    def forged(self, d, permit=None):
        """A FIN or RST that side 'd' did not send."""
        flags = self.rng.choice([RST, RST | ACK, FIN | ACK])
        return self.conn.segment(d, flags, permit=permit, note="forged",
                                 seq=self.conn.next[d] + self.far())

    def may_forge(self):
        """Whether stock follows the connection as it is: it does not if the
        connection is refused and goes on nevertheless."""
        return self.g.stock_follows(self.conn)

    def exchange(self, first):
        """Data of both sides, all that was lost included."""
        conn = self.conn
        ops = []
        for side in (first, 1 - first):
            if conn.lost[side]:
                ops += conn.repair(side)
            if not self.may_send(side, 10):
                ops.append(conn.ack(1 - side))
            ops.append(conn.data(side, 10))
        return ops

    def forge(self):
        """A forged FIN or RST, and what proves that it is none.  With offload
        it gets through: permitted difference 5."""
        d = self.rng.randrange(2)
        # What settles together does not make others wait in between, for
        # which they may not have the time.
        return (self.exchange(0) + [{"event": ["gather"]}]
                + [self.forged(d, permit=5)] + self.g.settle()
                + self.exchange(d))

    def stray(self):
        """A segment that is in no window.  The NIC does not look at that:
        permitted difference 1."""
        d = self.rng.randrange(2)
        ops = self.exchange(0)
        ops.append(self.conn.segment(d, ACK | PSH,
                                     self.rng.choice((1, 10, 1000)),
                                     seq=self.conn.next[d] + self.far(),
                                     permit=1, note="out of window"))
        return ops

    def may_send(self, d, length):
        conn = self.conn
        window = conn.window[1 - d]
        if conn.scaling():
            window = (window >> conn.scale[1 - d]) << conn.scale[1 - d]
        return conn.in_flight(d) + length <= window

    def send(self, d, length, ops):
        """Side 'd' sends data, with whatever may happen to it."""
        conn, g = self.conn, self.g
        self.noise(ops)
        if not self.may_send(d, length):
            if conn.lost[d]:
                ops += conn.repair(d)
            else:
                ops.append(conn.ack(1 - d))
            if not self.may_send(d, length):
                return
        if g.chance(.05, "loss"):
            conn.data(d, length, arrives=False)
            return
        op = conn.data(d, length, **self.variation())
        ops.append(op)
        if g.chance(.04, "duplicate"):
            ops.append(op)
        if (len(ops) >= 2 and ops[-2]["note"] == op["note"]
                and g.chance(.08, "reordering")):
            ops[-1], ops[-2] = ops[-2], ops[-1]

    def traffic(self, phase):
        conn, rng, g = self.conn, self.rng, self.g
        ops = []
        if self.closed:
            return self.afterwards(phase)
        count = rng.randrange(0, 12)
        if self.bulk and phase in (2, 5):
            # More than OVS's MAXACKWINDOW.
            d = rng.randrange(2)
            for _ in range(60):
                self.send(d, 1400, ops)
        for _ in range(count):
            d = rng.randrange(2)
            if rng.random() < .3:
                ops.append(conn.ack(d, **self.variation()))
            else:
                self.send(d, rng.choice((1, 10, 200, 400 if g.blind
                                         else 1000)), ops)
        if phase > self.start and self.may_forge():
            if g.chance(.05, "forged close after handover"):
                ops += self.forge()
            if g.chance(.03, "out of window"):
                ops += self.stray()
        if self.may_forge() and g.chance(.03, "syn inside"):
            # Never in the window by chance: offload judges it on the window
            # that was known last.  Nor the first after conntrack was flushed,
            # which would make it a connection of its own.
            d = rng.randrange(2)
            ops += self.exchange(0)
            ops.append(conn.segment(d, SYN, seq=conn.next[d] + self.far(),
                                    note="SYN of a stranger"))
        if phase == self.closing:
            ops += self.close()
        for d in (0, 1):
            if conn.lost[d] and rng.random() < .7 and not self.closed:
                ops += conn.repair(d)
        if (phase == JUDGE_PHASE and phase > self.start and not self.closed
                and self.may_forge()
                and g.chance(.1, "forged close, then silence")):
            ops += self.exchange(0)
            forged = self.forged(rng.randrange(2), permit=5)
            forged["counted"] = True
            ops.append(forged)
        return ops

    def close(self):
        conn, rng, g = self.conn, self.rng, self.g
        kinds = ["fin", "fin", "simultaneous", "half", "half", "one fin"]
        if not g.blind and not g.flushed:
            # Stock takes a RST only at the exact sequence number.
            kinds += ["rst", "rst without ack"]
        kind = rng.choice(kinds)
        g.uses("close: " + kind)
        self.closed = True
        ops = []
        for d in (0, 1):
            if conn.lost[d]:
                ops += conn.repair(d)
        if conn.in_flight(0):
            ops.append(conn.ack(1))
        if conn.in_flight(1):
            ops.append(conn.ack(0))
        d = rng.randrange(2)
        if kind == "fin":
            ops += conn.close(d)
        elif kind == "simultaneous":
            a = conn.segment(0, FIN | ACK)
            b = conn.segment(1, FIN | ACK)
            for side in (0, 1):
                conn._sent(side, 1)
            ops += [a, b, conn.ack(0), conn.ack(1)]
        elif kind == "half":
            ops += [conn.fin(d), conn.ack(1 - d)]
            for _ in range(rng.randrange(1, 6)):
                ops += [conn.data(1 - d, 100), conn.ack(d)]
            ops += [conn.fin(1 - d), conn.ack(d)]
        elif kind in ("rst", "rst without ack"):
            # Of what was sent last stock may know the acknowledgment only:
            # what comes by another port, or with a TTL that is over, need not
            # reach ct().  It would refuse the RST.
            ops += self.exchange(1 - d)
            ops.append(conn.rst(d, RST | ACK if kind == "rst" else RST))
        else:
            # OVS would call a new connection with this tuple invalid.
            self.reuse = False
            ops += [conn.fin(d), conn.ack(1 - d)]
        if ops and g.chance(.15, "fin or rst repeated"):
            ops.append(ops[-1])
        return ops

    def afterwards(self, phase):
        """After the end of a connection."""
        if phase == JUDGE_PHASE + 1 and self.reuse:
            self.conn.reset(self.isn())
            self.closing = None
            self.reuse = False
            self.midstream = False
            return self.begin(phase) + self.traffic(phase)
        return []
