# SPDX-License-Identifier: Apache-2.0
"""One scenario for each row of the table in doc/semantics.md.

Each has a pipeline that uses a feature, and connections that meet it: they are
opened in phase 1, at whose end they are handed to the NIC, and send packets
both ways in phases 2, 3 and 5.  What the NIC must then have carried, or that
it must not have carried anything, and for which reason, is part of the
scenario: see check().

The name of a scenario begins with "carried" or "software", as its row says.
"""

import struct

import packets as pk
from features_packets import (Host, Tcp, Udp, Wire, Writer, icmp_error,
                              moved, plain)
from scenario import Case

VM = Host("vf1", "10.0.0.1", "02:00:00:00:00:01")
VM2 = Host("vf2", "10.0.0.2", "02:00:00:00:00:02")
REMOTE = Host("p0", "10.0.0.3", "02:00:00:00:00:03")
REMOTE2 = Host("p1", "10.0.0.4", "02:00:00:00:00:04")
NEIGHBOUR = Host("p0", "10.0.0.6", "02:00:00:00:00:06")
FOREIGN = Host("x1", "10.0.0.5", "02:00:00:00:00:05")
HOSTS = [VM, VM2, REMOTE, REMOTE2, NEIGHBOUR, FOREIGN]

VM_6 = moved(VM, "fd00::1")
VM2_6 = moved(VM2, "fd00::2")
REMOTE_6 = moved(REMOTE, "fd00::3")

MODES = ("flat", "module")

# Phases in which all that are carried send.
CARRIED_PHASES = (2, 3, 5)


class Feature(Case):
    """'row' is the name of the row.  'conns' are carried from phase 2 on, but
    for those in 'software'."""

    def __init__(self, row, conns, flows, software=(), modes=MODES):
        super().__init__(row)
        self.features.add(row)
        self.zone_base = 1
        self.reassemble = True
        self.flows = flows
        self.conns = list(conns)
        for conn in list(conns) + list(software):
            self.phases[1] += conn.handshake()
            for phase in CARRIED_PHASES:
                self.phases[phase] += conn.both_ways()
        # Four packets of each connection in each phase.
        n = 4 * len(conns) * len(CARRIED_PHASES)
        self.carry = {mode: n for mode in modes} if n else {}
        self.in_software = row.startswith("software") and not conns

    def to_dict(self):
        plain = super().to_dict()
        plain.pop("conns", None)
        return plain

    def close(self, *conns):
        """Ends TCP connections, after they have sent in all phases."""
        for conn in conns:
            self.phases[6] += conn.close(0)
        return self

    def needs(self, *setup, cleanup=()):
        """Events before the first packet, and those that take them back."""
        self.setup = [{"event": list(words)} for words in setup]
        self.cleanup = [{"event": list(words)} for words in cleanup]
        return self

    def newer(self, *flows):
        """Adds flows that OpenFlow 1.0 cannot express."""
        self.phases[0] += [{"event": ["ofctl", "add-flow", flow]}
                           for flow in flows]
        return self

    def with_reasons(self, *reasons):
        """The NIC must have left connections to software for one of these
        reasons, given by name."""
        self.reasons = list(reasons)
        return self

    def less(self, n):
        """'n' packets of the connections stay in software."""
        self.carry = {mode: at_least - n
                      for mode, at_least in self.carry.items()}
        return self


def check(case, label, n_carried, reasons):
    """Returns what is wrong with 'n_carried' packets that the NIC of switch
    'label' carried of connections of 'case', a list of texts.  'reasons' are
    those for what was not carried."""
    mode, _, profile = label.partition("-")
    wrong = []
    if case.in_software and n_carried:
        wrong.append("the NIC carried %d packets that must stay in software"
                     % n_carried)
    if profile == "typical":
        at_least = case.carry.get(mode, 0)
        if n_carried < at_least:
            wrong.append("the NIC carried %d packets instead of %d (reasons: "
                         "%s)" % (n_carried, at_least, reasons))
        if case.reasons and not set(case.reasons) & set(reasons):
            wrong.append("the reasons are %s instead of %s"
                         % (reasons, "/".join(case.reasons)))
    return wrong


# Pipelines.

def deliver(table=5, hosts=HOSTS):
    """Flows that send packets to hosts by MAC address."""
    return ["table=%d,priority=50,dl_dst=%s,actions=output:{%s}"
            % (table, host.mac, host.port) for host in hosts]


def new_from(hosts, commit, then="resubmit(,5)", proto="ip", table=1):
    """Flows that let 'hosts' open connections."""
    return ["table=%d,priority=20,ct_state=+trk+new,%s,dl_src=%s,"
            "actions=%s,%s" % (table, proto, host.mac, commit, then)
            for host in hosts]


def pipeline(ct="", commit="commit,zone={zone}", est="resubmit(,5)",
             hosts=(VM,), proto="ip", extra=()):
    """ct() in one zone.  'ct' is added to its options; 'commit' are those of
    new connections of 'hosts', 'est' is what happens to the established."""
    return (["table=0,priority=10,%s,actions=ct(table=1,zone={zone}%s)"
             % (proto, ct)]
            + new_from(hosts, "ct(%s)" % commit, proto=proto)
            + ["table=1,priority=20,ct_state=+trk+est,%s,actions=%s"
               % (proto, est),
               "table=1,priority=20,ct_state=+trk+rel,%s,"
               "actions=resubmit(,5)" % proto,
               "table=1,priority=1,actions=drop"]
            + deliver() + list(extra))


def tcp_and_udp(client=VM, server=REMOTE, writer=None, **how):
    writer = writer or Writer()
    return [plain(Tcp, writer, client, server, 1000, 80, **how),
            plain(Udp, writer, client, server, 2000, 53, **how)]


def simple(row, flows, **how):
    """A TCP and a UDP connection between a VM and a host behind the uplink."""
    conns = tcp_and_udp()
    return Feature(row, conns, flows, **how).close(conns[0])


def in_software(row, flows, *reasons, conns=None):
    conns = conns or tcp_and_udp()
    case = Feature(row, [], flows, software=conns).with_reasons(*reasons)
    return case.close(*[conn for conn in conns if isinstance(conn, Tcp)])


# Protocols.

def protocols():
    conns = tcp_and_udp(VM_6, REMOTE_6)
    # Packets that differ from the others of their connection.
    odd = simple("carried: UDP without checksum", pipeline())
    udp = plain(Udp, Writer(), VM, REMOTE, 2001, 53)
    odd.phases[1] += udp.handshake()
    for phase in CARRIED_PHASES:
        odd.phases[phase] += udp.both_ways(udp={"checksum_": 0})
    vms = tcp_and_udp(VM, VM2)
    return [
        simple("carried: IPv4 TCP and UDP", pipeline()),
        Feature("carried: IPv6 TCP and UDP", conns,
                pipeline(proto="ipv6", extra=[
                    "table=0,priority=5,ipv6,icmp6,actions=drop"])
                ).close(conns[0]),
        Feature("carried: between two VMs", vms, pipeline()).close(vms[0]),
        odd,
    ]


# NAT.

OUTSIDE = "10.9.9.9"
SERVICE = "10.8.8.8"


def snat(writer, client=VM, server=REMOTE, outside=OUTSIDE, sport=None,
         cls=Tcp, port=1000):
    """A connection whose client appears under another address."""
    dport = 80 if cls is Tcp else 53
    return cls(writer, Wire(client, server, port, dport),
               Wire(server, moved(client, outside), dport, sport or port))


def dnat(writer, client=REMOTE, server=VM, service=SERVICE, dport=80,
         cls=Tcp, port=1000):
    """A connection to a service address and port that leads to 'server'."""
    to = 8080 if cls is Tcp else 5353
    return cls(writer, Wire(client, moved(server, service), port, dport),
               Wire(server, client, to, port))


def nat_in_two_zones(row, client, server):
    """The first zone translates the destination, the second the source.  The
    way back is through the zones in opposite order."""
    writer = Writer()
    conns = []
    for cls, dport, to in ((Tcp, 80, 8080), (Udp, 53, 5353)):
        conns.append(cls(
            writer, Wire(client, moved(server, SERVICE), 1000, dport),
            Wire(server, moved(client, OUTSIDE), to, 1000)))
    flows = [
        "table=0,priority=20,ip,nw_dst=%s,actions=ct(table=1,zone={zone},nat)"
        % SERVICE,
        "table=0,priority=20,ip,nw_dst=%s,actions=ct(table=3,zone={zone2},nat)"
        % OUTSIDE,
    ]
    for proto, to in (("tcp", 8080), ("udp", 5353)):
        flows.append("table=1,ct_state=+trk+new,%s,actions=ct(commit,"
                     "zone={zone},nat(dst=%s:%d),table=2)"
                     % (proto, server.ip, to))
    flows += [
        "table=1,ct_state=+trk+est,ip,actions=resubmit(,2)",
        "table=2,ip,actions=ct(table=4,zone={zone2},nat)",
        "table=4,ct_state=+trk+new,ip,actions=ct(commit,zone={zone2},"
        "nat(src=%s)),resubmit(,6)" % OUTSIDE,
        "table=4,ct_state=+trk+est,ip,actions=resubmit(,6)",
        "table=3,ct_state=+trk+est,ip,actions=ct(table=5,zone={zone},nat)",
        "table=5,ct_state=+trk+est,ip,actions=resubmit(,6)",
    ]
    for host in (client, server):
        port = "{%s}" % host.port
        out = ("output:%s" % port if client.port != server.port
               else "in_port")
        flows.append("table=6,ip,dl_dst=%s,actions=%s" % (host.mac, out))
    case = Feature(row, conns, flows).close(conns[0])
    case.n_zones = 2
    return case


def nat():
    writer = Writer()
    cases = []

    def add(row, conns, flows, **how):
        cases.append(Feature(row, conns, flows, **how).close(
            *[conn for conn in conns if isinstance(conn, Tcp)]))
        return cases[-1]

    def source(to, ct=",nat"):
        return pipeline(ct, "commit,zone={zone},nat(src=%s)" % to)

    def both(make, writer, **how):
        return [make(writer, cls=cls, **how) for cls in (Tcp, Udp)]

    add("carried: SNAT", both(snat, Writer()), source(OUTSIDE))
    # A range of one port: which one of several it is would depend on chance.
    add("carried: SNAT to a port range",
        both(snat, Writer(), sport=5000), source(OUTSIDE + ":5000-5000"))
    add("carried: SNAT all-zero", tcp_and_udp(), source("0.0.0.0"))
    to = "commit,zone={zone},nat(dst=%s:%d)"
    dnat_flows = (pipeline(",nat", hosts=())
                  + new_from([REMOTE], "ct(%s)" % (to % (VM.ip, 8080)),
                             proto="tcp")
                  + new_from([REMOTE], "ct(%s)" % (to % (VM.ip, 5353)),
                             proto="udp"))
    add("carried: DNAT", both(dnat, Writer()), dnat_flows)

    cases.append(nat_in_two_zones("carried: DNAT and SNAT in two zones", VM,
                                  REMOTE))
    cases.append(nat_in_two_zones("carried: hairpin through NAT", REMOTE,
                                  NEIGHBOUR))

    # The second ct() finds what the first one found, and translates nothing.
    conns = both(snat, Writer())
    add("carried: NAT, two ct() in one zone", conns,
        pipeline(",nat", "commit,zone={zone},nat(src=%s)" % OUTSIDE,
                 est="ct(commit,zone={zone},nat(src=%s),table=2)" % OUTSIDE,
                 extra=["table=2,ct_state=+trk+est,ip,actions=resubmit(,5)",
                        "table=2,priority=0,actions=drop"]))

    # ct(nat) for connections that are not translated, next to one that is.
    conns = both(snat, writer) + [
        plain(Tcp, writer, VM2, REMOTE, 1000, 80),
        plain(Udp, writer, VM2, REMOTE, 1000, 53)]
    add("carried: nat on established packets", conns,
        pipeline(",nat", "commit,zone={zone},nat(src=%s)" % OUTSIDE,
                 est="ct(zone={zone},nat,table=2)",
                 extra=new_from([VM2], "ct(commit,zone={zone})")
                 + ["table=2,ct_state=+trk+est,ip,actions=resubmit(,5)"]))

    # Translated only where nat is asked for: in the reply direction.
    case = Feature("carried: nat in one direction only",
                   tcp_and_udp(VM, REMOTE), pipeline(
                       extra=["table=0,priority=20,ip,in_port={p0},"
                              "actions=ct(table=1,zone={zone},nat)"]))
    cases.append(case.close())

    writer = Writer()
    udp = snat(writer, cls=Udp)
    case = add("carried: NAT of UDP without checksum", [udp],
               source(OUTSIDE))
    for phase in CARRIED_PHASES:
        case.phases[phase] += udp.both_ways(udp={"checksum_": 0})
    case.carry = {mode: 2 * n for mode, n in case.carry.items()}

    outside, service = "fd09::9", "fd08::8"
    conns = [snat(Writer(), VM_6, REMOTE_6, outside, cls=cls)
             for cls in (Tcp, Udp)]
    add("carried: IPv6 SNAT", conns,
        pipeline(",nat", "commit,zone={zone},nat(src=%s)" % outside,
                 proto="ipv6"))
    conns = [dnat(Writer(), REMOTE_6, VM_6, service, cls=cls)
             for cls in (Tcp, Udp)]
    add("carried: IPv6 DNAT", conns,
        pipeline(",nat", hosts=(), proto="ipv6")
        + new_from([REMOTE], "ct(commit,zone={zone},nat(dst=[%s]:8080))"
                   % VM_6.ip, proto="tcp6")
        + new_from([REMOTE], "ct(commit,zone={zone},nat(dst=[%s]:5353))"
                   % VM_6.ip, proto="udp6"))
    return cases


# Zones and the path.

def zones():
    two = simple("carried: two zones", [
        "table=0,ip,actions=ct(table=1,zone={zone})",
        "table=1,ct_state=+trk+new,ip,in_port={vf1},"
        "actions=ct(commit,zone={zone}),ct(table=2,zone={zone2})",
        "table=1,ct_state=+trk+est,ip,actions=ct(table=2,zone={zone2})",
        "table=2,ct_state=+trk+new,ip,in_port={vf1},"
        "actions=ct(commit,zone={zone2}),resubmit(,5)",
        "table=2,ct_state=+trk+est,ip,actions=resubmit(,5)"] + deliver())
    two.n_zones = 2
    three = simple("carried: three zones with ct_clear", [
        "table=0,ip,actions=ct(table=1,zone={zone})",
        "table=1,ct_state=+trk+new,ip,in_port={vf1},actions="
        "ct(commit,zone={zone}),ct_clear,ct(table=2,zone={zone2})",
        "table=1,ct_state=+trk+est,ip,actions=ct_clear,"
        "ct(table=2,zone={zone2})",
        "table=2,ct_state=+trk+new,ip,in_port={vf1},"
        "actions=ct(commit,zone={zone2}),ct_clear,ct(table=3,zone={zone3})",
        "table=2,ct_state=+trk+est,ip,actions=ct_clear,"
        "ct(table=3,zone={zone3})",
        "table=3,ct_state=+trk+new,ip,in_port={vf1},"
        "actions=ct(commit,zone={zone3}),ct_clear,resubmit(,5)",
        "table=3,ct_state=+trk+est,ip,actions=ct_clear,resubmit(,4)",
        "table=4,ct_state=-trk,ip,actions=resubmit(,5)"] + deliver())
    three.n_zones = 3

    # The connection in the second zone goes: nothing may be carried past it.
    gone = simple("carried: two zones, one flushed", list(two.flows))
    gone.flows.append("table=2,priority=40000,ct_state=+trk+new,ip,"
                      "nw_tos=32,actions=drop")
    gone.n_zones = 2
    gone.ends[3] = [{"event": ["flush-conntrack", "zone={zone2}"]}]
    udp = plain(Udp, Writer(), VM, REMOTE, 2000, 53)
    gone.phases[4] = [udp.datagram(1), udp.datagram(0, tos=32)]
    return [two, three, gone.less(8)]


def deep(n):
    """Flows that recirculate 'n' times."""
    flows = ["table=0,ip,actions=ct(table=1,zone={zone})",
             "table=1,priority=20,ct_state=+trk+new,ip,in_port={vf1},"
             "actions=ct(commit,zone={zone}),resubmit(,200)"]
    for i in range(1, n):
        flows.append("table=%d,ct_state=+trk+est,ip,"
                     "actions=ct(table=%d,zone={zone})" % (i, i + 1))
    flows.append("table=%d,ct_state=+trk+est,ip,actions=resubmit(,200)" % n)
    return flows + deliver(200)


def paths():
    cases = [simple("carried: resubmit", [
        "table=0,priority=10,actions=resubmit(,7)",
        "table=7,ip,actions=resubmit(,8),resubmit(,9)",
        "table=8,actions=load:1->NXM_NX_REG0[]",
        "table=9,reg0=1,ip,actions=ct(table=1,zone={zone})"]
        + pipeline(est="load:7->NXM_NX_REG3[],resubmit(,2)")[1:]
        + ["table=2,reg3=7,actions=resubmit(,5)"]),
        simple("carried: six recirculations", deep(6))]

    # Stock drops a packet at its seventh recirculation.
    too_deep = in_software("software: more than six recirculations",
                           deep(7), "no-megaflow",
                           "too-deep")
    return cases + [too_deep]


def patch_ports():
    """The path leads through another bridge."""
    case = simple("carried: patch ports", pipeline(extra=[
        "table=5,priority=60,in_port={vf1},actions=output:20",
        "table=0,priority=60,in_port=22,ip,actions=output:{p0}",
        "table=0,priority=60,in_port={p0},ip,actions=output:22",
        "table=0,priority=60,in_port=20,ip,actions=ct(table=1,zone={zone})"]))
    other = "{bridge}x"
    words = ["--", "add-br", other, "--", "set", "bridge", other,
             "datapath_type=dummy", "fail-mode=secure"]
    for bridge, name, peer, number in (
            ("{bridge}", "a", "b", 20), (other, "b", "a", 21),
            ("{bridge}", "c", "d", 22), (other, "d", "c", 23)):
        words += ["--", "add-port", bridge, "{bridge}" + name,
                  "--", "set", "interface", "{bridge}" + name, "type=patch",
                  "options:peer={bridge}" + peer,
                  "ofport_request=%d" % number]
    return case.needs(
        ["vsctl"] + words[1:],
        ["ofctl-at", "{bridge}x", "add-flow", "in_port=21,actions=output:23"],
        ["ofctl-at", "{bridge}x", "add-flow", "in_port=23,actions=output:21"],
        cleanup=[["vsctl", "del-br", "{bridge}x"],
                 ["vsctl", "del-port", "{bridge}a"],
                 ["vsctl", "del-port", "{bridge}c"]])


# Marks and labels.

BIT127 = "0x80000000000000000000000000000000"
LABEL = "0x0123456789abcdef00000000fedcba98"


def marks():
    cases = []

    def add(row, value, match, other):
        """Connections of one VM get 'value' and match it; those of the other
        get 'other', do not, and are dropped."""
        conns = tcp_and_udp()
        more = tcp_and_udp(VM2, REMOTE2, conns[0].writer)
        flows = pipeline(
            commit="commit,zone={zone}%s" % value,
            extra=new_from([VM2], "ct(commit,zone={zone}%s)" % other) + [
                "table=1,priority=30,ct_state=+trk+est,%s,ip,"
                "actions=resubmit(,5)" % match])
        flows = [f for f in flows if "priority=20,ct_state=+trk+est" not in f]
        cases.append(Feature(row, conns, flows, software=more))

    def mark(value):
        return ",exec(set_field:%s->ct_mark)" % value

    def label(value):
        return ",exec(set_field:%s->ct_label)" % value

    add("carried: ct_mark, exact", mark("0x12345678"), "ct_mark=0x12345678",
        mark("0x12345679"))
    add("carried: ct_mark, masked", mark("0x80000005"),
        "ct_mark=0x80000004/0x80000004", mark("0x5"))
    add("carried: ct_mark 0", "", "ct_mark=0", mark("0x1"))
    add("carried: ct_mark 0, masked", mark("0xf0"), "ct_mark=0/0xf",
        mark("0x8"))
    add("carried: ct_label, exact", label(LABEL), "ct_label=" + LABEL,
        label("0x0123456789abcdef00000000fedcba99"))
    add("carried: ct_label, masked", label(LABEL),
        "ct_label=0x000300000000000000000000000cba00/"
        "0x000f00000000000000000000000fff00", label("0x98"))
    add("carried: ct_label, bit 127", label(BIT127),
        "ct_label=%s/%s" % (BIT127, BIT127), label("0x1"))
    add("carried: ct_label 0, masked", label("0x1"),
        "ct_label=0/" + BIT127, label(BIT127))

    again = "ct(commit,zone={zone}),resubmit(,5)"
    cases.append(simple("carried: commit repeated", pipeline(est=again)))
    for row, value in (("mark", mark("0x7")), ("label", label(LABEL))):
        cases.append(simple(
            "carried: commit repeated with equal " + row,
            pipeline(commit="commit,zone={zone}" + value,
                     est="ct(commit,zone={zone}%s),resubmit(,5)" % value)))

    for row, field, action in (
            ("ct_mark", "ct_mark=1", mark("0x1")),
            ("ct_label", "ct_label=1/1", label("0x1/0x1"))):
        # The last packet of phase 2 changes it: the other direction is
        # dropped from then on, and so is this one.
        conns = tcp_and_udp()
        tcp = conns[0]
        case = Feature("carried: %s changed later" % row, conns, pipeline(
            extra=["table=1,priority=30,ct_state=+trk+est,%s,ip,actions=drop"
                   % field,
                   "table=1,priority=40,ct_state=+trk+est-rpl,ip,nw_tos=32,"
                   "actions=ct(commit,zone={zone}%s),resubmit(,5)" % action]))
        case.phases[2].append(tcp.data(0, tos=32))
        # Each packet would change it.
        changing = plain(Udp, tcp.writer, VM, REMOTE, 2001, 53)
        case.phases[1] += changing.handshake()
        case.phases[3] += [changing.datagram(0, tos=32)] * 2
        case.phases[5] += [changing.datagram(1)] * 2
        # The first packets that are dropped make new megaflows.
        cases.append(case.less(4))

    # A change of bits that no flow looks at.
    conns = tcp_and_udp()
    case = Feature("carried: other bits of ct_mark changed", conns, pipeline(
        est="drop", extra=[
            "table=1,priority=30,ct_state=+trk+est,ct_mark=0/1,ip,"
            "actions=resubmit(,5)",
            "table=1,priority=40,ct_state=+trk+est-rpl,ip,nw_tos=32,"
            "actions=ct(commit,zone={zone},exec(set_field:0x80/0x80->ct_mark)"
            "),resubmit(,5)"])).close(conns[0])
    case.phases[2].append(conns[0].data(0, tos=32))
    case.phases[3].append(conns[1].datagram(0, tos=32))
    cases.append(case)

    cases.append(in_software(
        "software: packets that change ct_mark", pipeline(
            est="resubmit(,2)", extra=[
                "table=2,ct_mark=%d,ip,actions=ct(commit,zone={zone},exec("
                "set_field:%d->ct_mark)),resubmit(,5)" % (mark, 1 - mark)
                for mark in (0, 1)]),
        "ct-change"))
    return cases


def other_ct():
    conns = tcp_and_udp()
    timeout = Feature("carried: timeout policy", conns, pipeline()).needs(
        ["vsctl", "--id=@dp", "create", "datapath", "datapath_version=0",
         "--", "set", "open", ".", "datapaths:dummy=@dp"],
        ["vsctl", "add-zone-tp", "dummy", "zone={zone}",
         "tcp_established=4000", "udp_multiple=3000"],
        cleanup=[["vsctl", "del-zone-tp", "dummy", "zone={zone}"],
                 ["vsctl", "remove", "open", ".", "datapaths", "dummy"]])

    orig = Feature(
        "carried: original tuple", [dnat(Writer()), dnat(Writer(), cls=Udp)],
        pipeline(",nat", hosts=())
        + new_from([REMOTE], "ct(commit,zone={zone},nat(dst=%s:8080))"
                   % VM.ip, proto="tcp")
        + new_from([REMOTE], "ct(commit,zone={zone},nat(dst=%s:5353))"
                   % VM.ip, proto="udp"))
    orig.flows = [f for f in orig.flows
                  if "priority=20,ct_state=+trk+est" not in f] + [
        "table=1,priority=30,ct_state=+trk+est,ct_nw_src=%s,ct_nw_dst=%s,"
        "ct_nw_proto=6,ct_tp_dst=80,ip,actions=resubmit(,5)"
        % (REMOTE.ip, SERVICE),
        "table=1,priority=30,ct_state=+trk+est,ct_nw_src=10.0.0.0/24,"
        "ct_nw_proto=17,ct_tp_src=1000,ip,actions=resubmit(,5)"]
    writer = Writer()
    conns6 = [snat(writer, VM_6, REMOTE_6, "fd09::9", cls=cls)
              for cls in (Tcp, Udp)]
    orig6 = Feature(
        "carried: original tuple of IPv6", conns6,
        pipeline(",nat", "commit,zone={zone},nat(src=fd09::9)",
                 proto="ipv6", est="drop", extra=[
                     "table=1,priority=30,ct_state=+trk+est,ipv6,"
                     "ct_ipv6_src=%s,ct_nw_proto=6,actions=resubmit(,5)"
                     % VM_6.ip,
                     "table=1,priority=30,ct_state=+trk+est,ipv6,"
                     "ct_ipv6_dst=fd00::/16,ct_nw_proto=17,"
                     "actions=resubmit(,5)"]))
    # Policy that looks at what ct() says of translation and direction.
    states = [snat(Writer(), cls=cls) for cls in (Tcp, Udp)]
    state = Feature(
        "carried: match ct_state +rpl, +snat, +dnat", states,
        pipeline(",nat", "commit,zone={zone},nat(src=%s)" % OUTSIDE,
                 est="drop", extra=[
                     "table=1,priority=30,ct_state=+trk+est-rpl+snat-dnat,ip,"
                     "actions=resubmit(,5)",
                     "table=1,priority=30,ct_state=+trk+est+rpl-snat+dnat,ip,"
                     "actions=resubmit(,5)"])).close(states[0])
    stay = simple("carried: ct(force) in the original direction", [
        "table=0,ip,actions=ct(table=1,zone={zone})",
        "table=1,ct_state=+trk-rpl,ip,in_port={vf1},"
        "actions=ct(force,commit,zone={zone}),resubmit(,5)",
        "table=1,ct_state=+trk+est+rpl,ip,in_port={p0},"
        "actions=resubmit(,5)"] + deliver())

    # As soon as they are established, ct() of the reply direction begins to
    # throw them away.  No such packets come until the NIC was asked why.
    conns = tcp_and_udp()
    force = Feature("software: ct(force) in the reply direction", [],
                    pipeline(), software=conns).with_reasons(
                        "ct-force", "no-megaflow", "expired")
    force.in_software = False
    force.compare_stats = False
    force.ends[1] = [{"event": [
        "flow", "add table=1,priority=30,ct_state=+trk+est+rpl,ip,"
        "actions=ct(force,commit,zone={zone}),resubmit(,5)"]}]
    # One direction at a time: the NIC may carry the other one until it has
    # followed.
    for phase in (2, 3, 4, 5, 6):
        d = int(phase in (4, 6))
        force.phases[phase] = [conns[0].data(d), conns[1].datagram(d),
                               conns[1].datagram(d)]
    return [timeout, orig, orig6, state, stay, force]


# What happens to the packet.

def rewriting():
    cases = []

    def add(row, est, conns=None, proto="ip", extra=(), **how):
        conns = conns or tcp_and_udp()
        cases.append(Feature(row, conns, pipeline(
            est=est, proto=proto, extra=extra), **how).close(conns[0]))
        return cases[-1]

    add("carried: set eth_src and eth_dst",
        "mod_dl_src:02:00:00:00:aa:01,resubmit(,5)",
        extra=["table=5,priority=60,in_port={vf1},ip,"
               "actions=mod_dl_dst:02:00:00:00:aa:02,output:{p0}"])
    ttl = add("carried: dec_ttl", "dec_ttl,resubmit(,5)")
    # In software: a packet whose TTL would become 0 is dropped.
    tcp = plain(Udp, Writer(), VM, REMOTE, 2000, 53)
    for phase in (2, 3):
        ttl.phases[phase] += [tcp.datagram(0, ttl=1), tcp.datagram(0, ttl=0),
                              tcp.datagram(1, ttl=1)]
    conns = tcp_and_udp(VM_6, REMOTE_6)
    add("carried: dec_ttl of IPv6", "dec_ttl,resubmit(,5)", conns,
        proto="ipv6")
    add("carried: set TTL", "mod_nw_ttl:17,resubmit(,5)")
    add("carried: set ToS", "mod_nw_tos:184,resubmit(,5)")
    conns = tcp_and_udp(VM_6, REMOTE_6)
    add("carried: set traffic class", "mod_nw_tos:184,resubmit(,5)", conns,
        proto="ipv6")
    conns = tcp_and_udp(VM_6, REMOTE_6)
    # A megaflow has each label that it sees.
    conns[0].writer.label = 0x777
    add("carried: set flow label", "load:0x12345->NXM_NX_IPV6_LABEL[],"
        "resubmit(,5)", conns, proto="ipv6")

    # Addresses and ports without NAT: changed after ct() on the way out,
    # before it on the way back.
    for row, v6 in (("carried: set addresses and ports", False),
                    ("carried: set addresses and ports of IPv6", True)):
        client, server = (VM_6, REMOTE_6) if v6 else (VM, REMOTE)
        service = moved(server, "fd08::8" if v6 else SERVICE)
        conns, flows = [], []
        ip = "ipv6" if v6 else "ip"
        to = ("set_field:%s->ipv6_%s" if v6 else "set_field:%s->ip_%s")
        for cls, l4, port in ((Tcp, "tcp", 8080), (Udp, "udp", 5353)):
            conns.append(cls(Writer(), Wire(client, service, 1000, 53),
                             Wire(server, client, port, 1000)))
            flows += [
                "table=5,priority=60,%s%s,in_port={vf1},actions=%s,"
                "set_field:%d->%s_dst,output:{p0}" % (
                    l4, "6" if v6 else "", to % (server.ip, "dst"), port, l4),
                "table=0,priority=60,%s%s,in_port={p0},actions=%s,"
                "set_field:53->%s_src,ct(table=1,zone={zone})" % (
                    l4, "6" if v6 else "", to % (service.ip, "src"), l4)]
        add(row, "resubmit(,5)", conns, proto=ip, extra=flows)

    # Before ct(): the Ethernet header, ToS and TTL.
    case = simple("carried: set before ct()", pipeline(extra=[
        "table=0,priority=60,ip,in_port={p0},actions="
        "mod_dl_src:02:00:00:00:bb:01,mod_nw_tos:32,dec_ttl,"
        "ct(table=1,zone={zone})",
        "table=1,priority=60,ct_state=+trk+est,ip,nw_tos=32,in_port={p0},"
        "actions=resubmit(,5)"]))
    cases.append(case)
    return cases


def combination():
    """What a router does for its VMs: two zones, NAT, mark and label, other
    Ethernet addresses, TTL, ToS, a VLAN, and a copy of what is sent."""
    router = "02:00:00:00:aa:01"
    conns = []
    for cls, dport in ((Tcp, 80), (Udp, 53)):
        conns.append(cls(
            Writer(), Wire(VM, REMOTE, 1000, dport, {"dst_mac": router}),
            Wire(REMOTE, moved(VM, OUTSIDE), dport, 1000,
                 {"vlan": 100, "dst_mac": router})))
    case = Feature("carried: many features at once", conns, [
        "table=0,ip,in_port={vf1},actions=ct(table=1,zone={zone},nat)",
        "table=1,ct_state=+trk+new,ip,actions=ct(commit,zone={zone},"
        "nat(src=%s),exec(set_field:0x51->ct_mark)),"
        "ct(table=2,zone={zone2})" % OUTSIDE,
        "table=1,ct_state=+trk+est,ct_mark=0x50/0xf0,ip,"
        "actions=ct(table=2,zone={zone2})",
        "table=2,ct_state=+trk+new,ip,actions=ct(commit,zone={zone2},"
        "exec(set_field:%s->ct_label)),resubmit(,6)" % BIT127,
        "table=2,ct_state=+trk+est,ct_label=%s/%s,ip,actions=resubmit(,6)"
        % (BIT127, BIT127),
        "table=0,ip,in_port={p0},dl_vlan=100,actions=strip_vlan,"
        "ct(table=3,zone={zone2})",
        "table=3,ct_state=+trk+est,ct_label=%s/%s,ip,"
        "actions=ct(table=4,zone={zone},nat)" % (BIT127, BIT127),
        "table=4,ct_state=+trk+est,ct_mark=1/1,ip,actions=resubmit(,6)",
        "table=6,ip,in_port={vf1},actions=output:{p1},mod_dl_src:%s,"
        "mod_dl_dst:%s,dec_ttl,mod_vlan_vid:100,output:{p0}"
        % (router, REMOTE.mac),
        "table=6,ip,in_port={p0},nw_tos=0,actions=mod_dl_src:%s,"
        "mod_dl_dst:%s,dec_ttl,mod_nw_tos:32,output:{vf1}"
        % (router, VM.mac)])
    case.n_zones = 2
    return case.close(conns[0])


def vlans():
    cases = []

    def add(row, vm_tags, up_tags, flows, est="resubmit(,5)"):
        """Packets have 'vm_tags' at the VM, 'up_tags' at the uplink."""
        conns = []
        for cls, dport in ((Tcp, 80), (Udp, 53)):
            conns.append(cls(
                Writer(), Wire(VM, REMOTE, 1000, dport, {"vlan": vm_tags}),
                Wire(REMOTE, VM, dport, 1000, {"vlan": up_tags})))
        cases.append(Feature(row, conns, pipeline(
            est=est, hosts=[VM], extra=flows)).close(conns[0]))
        return cases[-1]

    add("carried: VLAN, tagged on both sides", 100, 100, [
        "table=0,priority=40,ip,dl_vlan=101,actions=drop"])
    add("carried: VLAN push and pop", None, 100, [
        "table=0,priority=60,ip,in_port={p0},dl_vlan=100,"
        "actions=strip_vlan,ct(table=1,zone={zone})",
        "table=5,priority=60,ip,in_port={vf1},actions=mod_vlan_vid:100,"
        "output:{p0}"])
    add("carried: VLAN pop after ct()", None, 100, [
        "table=5,priority=60,ip,in_port={p0},dl_vlan=100,"
        "actions=strip_vlan,output:{vf1}",
        "table=5,priority=60,ip,in_port={vf1},actions=mod_vlan_vid:100,"
        "output:{p0}"])
    add("carried: VLAN changed", 10, 3 << 13 | 20, [
        "table=0,priority=60,ip,in_port={p0},dl_vlan=20,"
        "actions=mod_vlan_vid:10,mod_vlan_pcp:0,ct(table=1,zone={zone})",
        "table=5,priority=60,ip,in_port={vf1},actions=mod_vlan_vid:20,"
        "mod_vlan_pcp:3,output:{p0}"])
    outer = [(pk.ETH_TYPE_QINQ, 200), (pk.ETH_TYPE_VLAN, 100)]
    qinq = add("carried: QinQ", 100, outer, [
        "table=0,priority=60,ip,dl_vlan=200,in_port={p0},"
        "actions=pop_vlan,ct(table=1,zone={zone})"])
    qinq.newer("table=5,priority=60,ip,in_port={vf1},"
               "actions=push_vlan:0x88a8,set_field:4296->vlan_vid,"
               "output:{p0}")
    qinq.needs(["vsctl", "set", "open", ".", "other_config:vlan-limit=2"],
               cleanup=[["vsctl", "remove", "open", ".", "other_config",
                         "vlan-limit"]])

    case = add("carried: NORMAL with an access port", None, 100, [])
    case.flows = normal()
    case.phases[0] = learn_macs(case, vlan_of={"p0": 100, "p1": 100})
    case.needs(["vsctl", "set", "port", "{bridge}vf1", "tag=100"],
               cleanup=[["vsctl", "remove", "port", "{bridge}vf1", "tag",
                         "100"]])
    return cases


def normal():
    flows = pipeline(est="NORMAL")
    return [f.replace("resubmit(,5)", "NORMAL")
            for f in flows if not f.startswith("table=5")] + [
        "table=0,priority=10,arp,actions=NORMAL"]


def learn_macs(case, hosts=(VM, REMOTE), vlan_of=None):
    writer = Writer()
    return [writer.arp(host, VM2.ip, (vlan_of or {}).get(host.port))
            for host in hosts]


def outputs():
    case = simple("carried: NORMAL", normal())
    case.phases[0] = learn_macs(case)
    cases = [case]
    cases.append(simple("carried: several outputs", pipeline(extra=[
        "table=5,priority=60,ip,in_port={vf1},actions=output:{p1},"
        "output:{p0}"])))
    cases.append(simple("carried: several outputs, changed in between",
                        pipeline(extra=[
                            "table=5,priority=60,ip,in_port={vf1},"
                            "actions=output:{p1},mod_nw_tos:32,dec_ttl,"
                            "output:{vf2},mod_vlan_vid:7,output:{p0}"])))
    cases.append(simple("carried: output before ct()", pipeline(extra=[
        "table=0,priority=60,ip,in_port={vf1},actions=output:{p1},"
        "ct(table=1,zone={zone})"])))
    cases.append(simple("carried: group of type all", pipeline(extra=[
        "table=5,priority=60,ip,in_port={vf1},actions=group:1"])).needs(
        ["ofctl", "add-group", "group_id=1,type=all,bucket=output:3,"
         "bucket=set_field:1.2.3.4->ip_dst,output:4"],
        cleanup=[["ofctl", "del-groups"]]))

    # Policy drops one of two connections; it is the NIC that drops.
    cases.append(simple("carried: drop after ct()", pipeline(extra=[
        "table=5,priority=60,udp,in_port={p0},actions=drop"])))
    learn = simple("carried: learn", pipeline(extra=[
        "table=5,priority=60,ip,in_port={vf1},actions=learn(table=10,"
        "NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],output:NXM_OF_IN_PORT[]),"
        "output:{p0}"]))
    cases.append(learn)
    mirror = simple("carried: mirror to a port of the NIC", pipeline())
    cases.append(mirror.needs(*mirror_to("vf2"),
                              cleanup=[["vsctl", "clear", "bridge",
                                        "{bridge}", "mirrors"]]))
    cases.append(simple("carried: packets larger than the MTU", pipeline()))
    udp = plain(Udp, Writer(), VM, REMOTE, 2000, 53)
    for phase in (2, 3):
        cases[-1].phases[phase] += [udp.datagram(0, 1472),
                                    udp.datagram(0, 1473),
                                    udp.datagram(0, 4000)]
    return cases


def mirror_to(port):
    return [["vsctl", "--id=@p", "get", "port", "{bridge}" + port, "--",
             "--id=@m", "create", "mirror", "name=m{bridge}",
             "select_all=true", "output_port=@p", "--", "set", "bridge",
             "{bridge}", "mirrors=@m"]]


def matches():
    """Policy that tells packets of one connection from each other."""
    cases = []

    def add(row, flow, *hows, ipv6=False, table=1):
        conns = tcp_and_udp(*((VM_6, REMOTE_6) if ipv6 else (VM, REMOTE)))
        proto = "ipv6" if ipv6 else "ip"
        case = Feature(row, conns, pipeline(proto=proto, extra=[
            "table=%d,priority=60,%s,actions=drop" % (table, flow)]))
        udp = conns[1]
        for phase in (2, 3):
            for how in hows:
                case.phases[phase] += [udp.datagram(0, **how),
                                       udp.datagram(1, **how)]
        cases.append(case.close(conns[0]))
        return case

    add("carried: match nw_tos", "ip,nw_tos=32", {"tos": 32}, {"tos": 33},
        {"tos": 36}, {"tos": 1})
    add("carried: match nw_tos 0", "ip,nw_tos=0,udp,tp_dst=5", {"tos": 32})
    add("carried: match nw_ecn", "ip,nw_ecn=3", {"tos": 3}, {"tos": 35},
        {"tos": 2})
    add("carried: match nw_ttl", "ip,nw_ttl=63", {"ttl": 63}, {"ttl": 62},
        {"ttl": 0})
    add("carried: match hop limit", "ipv6,nw_ttl=63", {"ttl": 63},
        {"ttl": 62}, {"tos": 184}, ipv6=True)
    add("carried: match before ct()", "ip,nw_tos=32", {"tos": 32},
        {"tos": 33}, table=0)
    add("carried: match IPv6 addresses masked",
        "ipv6,ipv6_src=::3/::ffff,nw_tos=32", {"tos": 32}, {"tos": 0},
        ipv6=True)
    case = add("carried: match tcp_flags", "tcp,tcp_flags=+psh+urg")
    tcp = plain(Tcp, Writer(), VM, REMOTE, 1000, 80)
    case.phases[2] += [
        tcp.segment(d, flags, seq=(1201, 5401)[d], ack=(5401, 1201)[d])
        for d in (0, 1)
        for flags in (pk.ACK | pk.PSH | pk.URG, pk.ACK | pk.PSH,
                      pk.ACK | pk.URG, pk.ACK | pk.ECE)]
    case = add("carried: match VLAN PCP", "ip,dl_vlan_pcp=3", {"vlan": 7},
               {"vlan": 3 << 13 | 7}, {"vlan": 0})
    # Paths are for the tag that was seen last.
    case.less(8)
    return cases


# What stays in software.

def other_protocols():
    cases = []
    writer = Writer()
    flows = pipeline(extra=["table=1,priority=30,ct_state=+trk+inv,ip,"
                            "actions=resubmit(,5)"])

    class Raw:
        """Packets of any protocol."""

        def __init__(self, proto, l4, hosts=(VM, REMOTE)):
            self.proto, self.l4, self.hosts, self.n = proto, l4, hosts, 0

        def both_ways(self):
            ops = []
            for d in (0, 1, 1, 0):
                self.n += 1
                src, dst = self.hosts[d], self.hosts[1 - d]
                ops.append(writer.packet(
                    src, dst, self.proto, self.l4(d, src.ip, dst.ip, self.n),
                    note="proto %d" % self.proto))
            return ops

        handshake = both_ways

    def add(row, raw, flows=flows, *reasons):
        cases.append(Feature(row, [], flows, software=[raw])
                     .with_reasons(*reasons))

    add("software: ICMP echo", Raw(pk.PROTO_ICMP, lambda d, s, t, n:
                                   pk.icmp_echo(d, 7, n, bytes(20))))
    add("software: ICMPv6 echo",
        Raw(pk.PROTO_ICMPV6, lambda d, s, t, n:
            pk.icmpv6_echo(s, t, d, 7, n, bytes(20)), (VM_6, REMOTE_6)),
        pipeline(proto="ipv6"))
    add("software: SCTP", Raw(pk.PROTO_SCTP, lambda d, s, t, n: pk.sctp(
        *((1000, 2000), (2000, 1000))[d], 99,
        pk.sctp_chunk(0 if n > 1 else 1, bytes(16)))), flows, "proto")
    add("software: other protocols", Raw(pk.PROTO_GRE, lambda d, s, t, n:
                                         struct.pack("!HH", 0, 0x0800)
                                         + bytes(20)), flows, "proto")
    return cases


def parts_in_software():
    """Packets that stay in software while their connection is carried."""
    conns = tcp_and_udp()
    error = Feature("software: ICMP errors of a connection that is carried",
                    conns, pipeline())
    conns6 = tcp_and_udp(VM_6, REMOTE_6)
    error6 = Feature("software: ICMPv6 errors of a connection that is carried",
                     conns6, pipeline(proto="ipv6"))
    snats = [snat(Writer(), cls=cls) for cls in (Tcp, Udp)]
    error_nat = Feature(
        "software: ICMP errors of a translated connection", snats,
        pipeline(",nat", "commit,zone={zone},nat(src=%s)" % OUTSIDE))
    for case, which in ((error, conns), (error6, conns6),
                        (error_nat, snats)):
        for phase in (2, 3):
            case.phases[phase] += [icmp_error(conn, d) for conn in which
                                   for d in (0, 1)]

    conns = tcp_and_udp()
    udp = conns[1]
    frag = Feature("software: fragments", conns, pipeline())
    writer = udp.writer
    for phase in (2, 3):
        for d in (0, 1):
            l4 = pk.udp(*udp.addresses(d), *udp.l4_ports(d), bytes(1400))
            writer.number += 1
            ident = writer.number
            frag.phases[phase] += [
                udp.emit(d, pk.PROTO_UDP, l4[:1208], ident=ident,
                         frag=pk.IP_MF, note="first fragment"),
                udp.emit(d, pk.PROTO_UDP, l4[1208:], ident=ident, frag=151,
                         note="second fragment"),
                udp.emit(d, pk.PROTO_UDP, l4[:64], frag=0,
                         note="no fragment")]
    conns = tcp_and_udp(VM_6, REMOTE_6)
    udp6 = conns[1]
    frag6 = Feature("software: IPv6 extension headers and fragments", conns,
                    pipeline(proto="ipv6"))
    for phase in (2, 3):
        for d in (0, 1):
            # OVS would hold back a fragment that misses a part, or whose
            # first part is shorter than it likes, and send it much later.
            l4 = pk.udp(*udp6.addresses(d), *udp6.l4_ports(d), bytes(1400))
            # Destination options: six bytes of padding.
            options = bytes([pk.PROTO_UDP, 0, 1, 4, 0, 0, 0, 0])
            first = pk.ipv6_fragment(pk.PROTO_UDP, 0, 1, phase * 2 + d)
            second = pk.ipv6_fragment(pk.PROTO_UDP, 1304, 0, phase * 2 + d)
            frag6.phases[phase] += [
                udp6.emit(d, pk.PROTO_UDP, l4, extension=options, next=60,
                          note="options"),
                udp6.emit(d, pk.PROTO_UDP, l4[:1304], extension=first, next=44,
                          note="first fragment"),
                udp6.emit(d, pk.PROTO_UDP, l4[1304:], extension=second,
                          next=44, note="second fragment")]
    conns = tcp_and_udp()
    ttl = Feature("software: dec_ttl of TTL 1", conns,
                  pipeline(est="dec_ttl,resubmit(,5)"))
    for phase in (2, 3):
        ttl.phases[phase] += [conns[1].datagram(d, ttl=n)
                              for d in (0, 1) for n in (0, 1, 2)]
    return [error, error6, error_nat, frag, frag6, ttl]


def ftp():
    """A control connection, and the data connection that the server opens
    because of what is said there."""
    writer = Writer()
    control = plain(Tcp, writer, VM, REMOTE, 1000, 21)
    case = Feature("software: FTP", [], [
        "table=0,ip,actions=ct(table=1,zone={zone})",
        "table=1,ct_state=+trk+new,tcp,tp_dst=21,in_port={vf1},"
        "actions=ct(commit,zone={zone},alg=ftp),resubmit(,5)",
        "table=1,ct_state=+trk+new+rel,tcp,actions=ct(commit,zone={zone}),"
        "resubmit(,5)",
        "table=1,ct_state=+trk+est,tcp,actions=resubmit(,5)"] + deliver())
    case.phases[1] = control.handshake()[:3]
    case.phases[1] += [control.payload(1, b"220 ready\r\n"), control.ack(0)]
    case.phases[2] = [
        control.payload(0, b"PORT 10,0,0,1,4,1\r\n"), control.ack(1),
        control.payload(1, b"200 PORT command successful\r\n"),
        control.ack(0)]
    data = plain(Tcp, writer, REMOTE, VM, 20, 1025)
    case.phases[3] = data.handshake() + data.both_ways()
    stranger = plain(Tcp, writer, REMOTE, VM, 20, 1026)
    case.phases[3] += stranger.open()
    for phase in (4, 5):
        case.phases[phase] = data.both_ways() + control.both_ways()
    case.in_software = True
    return case.with_reasons("alg")


def tftp():
    """The server answers a read request from another port."""
    writer = Writer()
    control = plain(Udp, writer, VM, REMOTE, 1000, 69)
    data = plain(Udp, writer, REMOTE, VM, 3000, 1000)
    case = Feature("software: TFTP", [], [
        "table=0,ip,actions=ct(table=1,zone={zone})",
        "table=1,ct_state=+trk+new-rel,udp,tp_dst=69,in_port={vf1},"
        "actions=ct(commit,zone={zone},alg=tftp),resubmit(,5)",
        "table=1,ct_state=+trk+new+rel,udp,actions=ct(commit,zone={zone}),"
        "resubmit(,5)",
        "table=1,ct_state=+trk+est,udp,actions=resubmit(,5)"] + deliver())
    request = pk.udp(VM.ip, REMOTE.ip, 1000, 69, b"\0\1file\0octet\0")
    case.phases[1] = [control.emit(0, pk.PROTO_UDP, request, note="RRQ")]
    for phase in CARRIED_PHASES:
        case.phases[phase] = data.both_ways()
    case.in_software = True
    return case.with_reasons("alg")


def refused():
    cases = []

    def add(row, *reasons, est="resubmit(,5)", extra=(), setup=(),
            cleanup=(), conns=None, hosts=(VM,)):
        case = in_software(row, pipeline(est=est, extra=extra, hosts=hosts),
                           *reasons, conns=conns)
        cases.append(case.needs(*setup, cleanup=cleanup))
        return case

    add("software: a port that is no NIC's", "output-port",
        conns=tcp_and_udp(VM, FOREIGN))
    add("software: ports of different NICs", "output-port",
        conns=tcp_and_udp(VM, FOREIGN),
        setup=[["vsctl", "set", "open", ".",
                "other_config:nic-emu-emu1=profile=typical", "--", "set",
                "interface", "{bridge}x1", "other_config:nic=emu1"]],
        cleanup=[["vsctl", "remove", "interface", "{bridge}x1",
                  "other_config", "nic", "--", "remove", "open", ".",
                  "other_config", "nic-emu-emu1"]])
    add("software: from a port that is no NIC's", "no-port",
        conns=tcp_and_udp(FOREIGN, REMOTE), hosts=(FOREIGN,))
    add("software: a port with ct-offload=false", "port-disabled",
        setup=[["set-port", "vf1", "ct-offload=false"]],
        cleanup=[["set-port", "vf1", "ct-offload=true"]])
    add("software: controller", "action",
        est="controller(max_len=64),resubmit(,5)")
    add("software: meter", "action",
        setup=[["ofctl", "add-meter", "meter=1 pktps burst band=type=drop "
                "rate=1000000 burst_size=1000000"]],
        cleanup=[["ofctl", "del-meters"]]).newer(
            "table=1,priority=30,ct_state=+trk+est,ip,"
            "actions=meter:1,goto_table:5")
    add("software: sample (sFlow)", "action",
        setup=[["vsctl", "--id=@s", "create", "sflow",
                'targets="127.0.0.1:6343"', "sampling=1", "polling=0",
                "agent=lo", "--", "set", "bridge", "{bridge}", "sflow=@s"]],
        cleanup=[["vsctl", "clear", "bridge", "{bridge}", "sflow"]])
    add("software: sample (IPFIX)", "action",
        est="sample(probability=65535,collector_set_id=1),resubmit(,5)",
        setup=[["vsctl", "--id=@i", "create", "ipfix",
                'targets="127.0.0.1:4739"', "--", "--id=@b", "get", "bridge",
                "{bridge}", "--", "create", "flow_sample_collector_set",
                "id=1", "bridge=@b", "ipfix=@i"]],
        cleanup=[["vsctl", "--all", "destroy",
                  "flow_sample_collector_set"]])
    add("software: truncation", "action", extra=[
        "table=5,priority=60,ip,actions=output(port={p0},max_len=64),"
        "output(port={vf1},max_len=64)"])
    add("software: LOCAL", "output-port", extra=[
        "table=5,priority=60,ip,actions=LOCAL"])
    add("software: flood", "output-port", extra=[
        "table=5,priority=60,ip,actions=FLOOD"])
    add("software: mirror to a port that is no NIC's", "output-port",
        setup=mirror_to("x1"),
        cleanup=[["vsctl", "clear", "bridge", "{bridge}", "mirrors"]])
    add("software: group of type select", "action", est="group:1",
        # Which bucket it is depends on chance: both lead to the same.
        setup=[["ofctl", "add-group",
                "group_id=1,type=select,selection_method=dp_hash,"
                "bucket=resubmit(,5),bucket=resubmit(,5)"]],
        cleanup=[["ofctl", "del-groups"]])
    add("software: queues", "action", est="set_queue:1,resubmit(,5)")
    add("software: MPLS", "action", extra=[
        "table=5,priority=60,ip,in_port={vf1},actions=push_mpls:0x8847,"
        "set_field:10->mpls_label,output:{p0}",
        "table=5,priority=60,ip,in_port={p0},actions=push_mpls:0x8847,"
        "output:{vf1}"])
    add("software: pkt_mark", "action",
        est="load:1->NXM_NX_PKT_MARK[],resubmit(,5)")
    add("software: check_pkt_larger", "action",
        est="check_pkt_larger(100)->NXM_NX_REG0[0],resubmit(,5)")
    return cases


def tunnel():
    """Encapsulated, to a VTEP behind the uplink."""
    case = in_software("software: tunnel", pipeline(extra=[
        "table=5,priority=60,ip,in_port={vf1},actions=output:30",
        "table=0,priority=70,udp,tp_dst=4789,in_port=LOCAL,"
        "actions=output:{p0}"]), "action", "output-port")
    # What comes back is not encapsulated.
    case.in_software = False
    return case.needs(
        ["vsctl", "set", "bridge", "{bridge}",
         "other_config:hwaddr=02:00:00:00:cc:01", "--", "add-port",
         "{bridge}", "{bridge}t", "--", "set",
         "interface", "{bridge}t", "type=vxlan", "options:key=7",
         "options:remote_ip=172.31.0.2", "ofport_request=30"],
        ["appctl", "netdev-dummy/ip4addr", "{bridge}", "172.31.0.1/24"],
        ["appctl", "ovs/route/add", "172.31.0.0/24", "{bridge}"],
        ["appctl", "tnl/arp/set", "{bridge}", "172.31.0.2",
         "02:00:00:00:cc:02"],
        cleanup=[["appctl", "ovs/route/del", "172.31.0.0/24"],
                 ["appctl", "tnl/arp/flush"],
                 ["vsctl", "del-port", "{bridge}t", "--", "remove", "bridge",
                  "{bridge}", "other_config", "hwaddr"]])


def everything():
    return (protocols() + nat() + zones() + paths() + [patch_ports()]
            + marks() + other_ct() + rewriting() + [combination()] + vlans()
            + outputs() + matches() + other_protocols() + parts_in_software()
            + [ftp(), tftp()] + refused() + [tunnel()])


def cases(names):
    """Returns the scenarios called 'names', all if empty."""
    return [case for case in everything() if not names or case.name in names]
