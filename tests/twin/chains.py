# SPDX-License-Identifier: Apache-2.0
"""Pipelines made of random elements.

A *chain* leads the packets of some connections from a client to a server
through its elements, one after the other, and those of the other direction
back through the same elements in opposite order.  An element has flows for
both directions, and may change addresses, ports and tags of packets: so each
chain says what packets of its connections look like where they arrive.

Conntrack must see the same of a TCP connection in each zone, else stock calls
invalid what a NIC does not (permitted difference 1).  So an element may drop
packets only if no zone comes behind it, unless the case is 'blind'; see
Generator.build().
"""

import copy

from features_packets import Ping, Tcp, Udp, Wire, moved

# This ToS makes flows change the mark of a connection, and nothing else has
# it.
MARKER_TOS = 72

TCP_TO, UDP_TO = 8080, 5353


class Family:
    """Words of IPv4 or IPv6 in flows."""

    def __init__(self, ipv6):
        self.ipv6 = ipv6
        self.any = "ipv6" if ipv6 else "ip"
        self.tcp = "tcp6" if ipv6 else "tcp"
        self.udp = "udp6" if ipv6 else "udp"

    def address(self, field, ip):
        return "%s_%s=%s" % ("ipv6" if self.ipv6 else "nw", field, ip)

    def set_address(self, field, ip):
        return "set_field:%s->%s_%s" % (ip, "ipv6" if self.ipv6 else "ip",
                                        field)

    def orig_address(self, field, ip):
        return "%s_%s=%s" % ("ct_ipv6" if self.ipv6 else "ct_nw", field, ip)

    def with_port(self, ip, port):
        if not port:
            return ip
        return ("[%s]:%d" if self.ipv6 else "%s:%d") % (ip, port)


class Header:
    """What packets of the original direction look like somewhere."""

    def __init__(self, src, dst, vlan):
        self.src, self.dst, self.vlan = src, dst, vlan
        # Destination ports that differ from those of the connection.
        self.dports = {}


class Element:
    """'changes' are what it changes of: "mac", "vlan", "src", "dst"."""

    changes = ()

    def change(self, header):
        """Changes 'header' as the packets of the original direction."""

    def flows(self, chain, d, i, table, then):
        """Returns the flows of direction 'd' of element 'i' of 'chain', in
        'table', that continue in table 'then'."""
        raise NotImplementedError


class Zone(Element):
    """ct() in a zone, with what is done to connections in it."""

    def __init__(self, chain, zone, nat=None):
        g, rng = chain.g, chain.rng
        self.zone = zone
        self.nat = nat
        if nat:
            self.changes = (nat,)
        # Committed values (value, mask) of mark or label.
        self.values = {}
        if g.chance(.5, "ct_mark"):
            self.values["ct_mark"] = self.random_value(rng, 32)
        if g.chance(.4, "ct_label"):
            self.values["ct_label"] = self.random_value(rng, 128)
        self.asks_nat = nat or g.chance(.15, "nat of nothing")
        self.clear = g.chance(.2, "ct_clear")
        self.again = g.chance(.12, "commit repeated")
        self.pass_inv = not nat and g.chance(.2, "+inv let through")
        self.marker = (not chain.marked and g.chance(.25, "mark changed"))
        if self.marker:
            chain.marked = True

    @staticmethod
    def random_value(rng, bits):
        """Zeros and ones must be found often by random masks."""
        value = rng.choice([rng.getrandbits(bits), 1 << rng.randrange(bits),
                            1, 0])
        mask = rng.choice([(1 << bits) - 1, rng.getrandbits(bits) | 1,
                           0xff, 1 << bits - 1])
        return value & mask, mask

    def change(self, header):
        if self.nat == "src":
            header.src = self.address
        elif self.nat == "dst":
            header.dst = self.address
            if self.port:
                header.dports = {"tcp": TCP_TO, "udp": UDP_TO}

    def commit(self, chain, proto):
        options = "commit,zone=%s" % self.zone
        if self.nat:
            port = (self.port
                    and {"tcp": TCP_TO, "udp": UDP_TO}.get(proto))
            options += ",nat(%s=%s)" % (
                self.nat, chain.family.with_port(self.address, port))
        return options + self.execute(self.values)

    @staticmethod
    def execute(values):
        actions = ["set_field:0x%x/0x%x->%s" % (*value, field)
                   for field, value in sorted(values.items())]
        return ",exec(%s)" % ",".join(actions) if actions else ""

    def check(self, chain, d, i):
        """A match that takes established packets of most connections."""
        g, rng, family = chain.g, chain.rng, chain.family
        kind = rng.choice(["ct_mark", "ct_label", "ct_mark", "ct_label",
                           "original tuple", "ct_state"])
        if kind == "ct_state":
            g.uses("match ct_state")
            if self.nat:
                nat = "+snat-dnat" if (self.nat == "src") != d else \
                    "-snat+dnat"
                return "ct_state=%srpl%s" % ("-+"[d], nat)
            return "ct_state=%srpl-snat-dnat-inv" % "-+"[d]
        if kind == "original tuple":
            g.uses("match original tuple")
            header = chain.headers[i]
            return rng.choice([
                family.orig_address("src", header.src),
                family.orig_address("dst", header.dst),
                family.orig_address("src", header.src) + "/%d"
                % rng.randrange(16, 33),
                "ct_nw_proto=%d" % rng.choice([6, 17]),
                "ct_nw_proto=6,ct_tp_dst=%d" % header.dports.get("tcp", 80)])
        bits = {"ct_mark": 32, "ct_label": 128}[kind]
        value = self.values.get(kind, (0, 0))[0]
        mask = rng.choice([(1 << bits) - 1, rng.getrandbits(bits) | 1,
                           rng.getrandbits(bits) & rng.getrandbits(bits)
                           | 1 << rng.randrange(bits), 1 << bits - 1])
        g.uses("match %s%s" % (kind, "" if value & mask else " zero"))
        return "%s=0x%x/0x%x" % (kind, value & mask, mask)

    def flows(self, chain, d, i, table, then):
        rng, g, family = chain.rng, chain.g, chain.family
        middle = chain.new_table()
        ip = family.any

        def flow(priority, match, actions):
            return "table=%d,priority=%d,%s,actions=%s" % (middle, priority,
                                                           match, actions)

        go = "resubmit(,%d)" % then
        if self.clear and rng.random() < .7:
            go = "ct_clear," + go
        flows = ["table=%d,%s,actions=ct(table=%d,zone=%s%s)"
                 % (table, ip, middle, self.zone,
                    ",nat" if self.asks_nat else "")]
        # New connections.
        if d == 0 or chain.everyone:
            recirculate = self.nat == "dst" or rng.random() < .3
            for priority, proto in ((21, "tcp"), (21, "udp"), (20, None)):
                commit = self.commit(chain, proto)
                flows.append(flow(
                    priority, "ct_state=+trk+new-inv,%s" % (
                        getattr(family, proto) if proto else ip),
                    "ct(%s,table=%d)" % (commit, then) if recirculate
                    else "ct(%s),%s" % (commit, go)))
        # Established ones.
        again = ("ct(commit,zone=%s%s)," % (
            self.zone, "" if self.marker or rng.random() < .5
            else self.execute(self.values))
            if self.again and not self.nat and rng.random() < .7 else "")
        est = "ct_state=+trk+est"
        flows.append(flow(22, est + "," + ip, again + go))
        if rng.random() < .6:
            check = self.check(chain, d, i)
            flows[-1] = flow(22, est + "," + ip, chain.otherwise(d, i, go))
            match = (check.replace("ct_state=", est) if "ct_state" in check
                     else est + "," + check)
            flows.append(flow(23, match + "," + ip, again + go))
        if self.marker and d == 0:
            values = {field: self.random_value(
                rng, {"ct_mark": 32, "ct_label": 128}[field])
                for field in rng.choice([["ct_mark"], ["ct_label"],
                                         ["ct_mark", "ct_label"]])}
            flows.append(flow(
                40, "ct_state=+trk+est-rpl,%s,nw_tos=%d" % (ip, MARKER_TOS),
                "ct(commit,zone=%s%s),%s" % (self.zone, self.execute(values),
                                             go)))
        flows.append(flow(24, "ct_state=+trk+rel-inv," + ip, go))
        if self.pass_inv:
            flows.append(flow(25, "ct_state=+trk+inv," + ip, go))
        return flows


class Rewrite(Element):
    """Sets fields that conntrack does not look at."""

    def __init__(self, chain):
        self.chain = chain
        self.changes = ("mac",)

    def actions(self, d, i):
        chain = self.chain
        kinds = ["tos", "ttl", "dl_src", "dl_dst"]
        if chain.may_drop(d, i):
            kinds += ["dec_ttl", "dec_ttl"]
        if chain.family.ipv6 and chain.g.labels_may_change:
            kinds.append("label")
        return [chain.set_field(kind, d) for kind in chain.rng.sample(
            kinds, chain.rng.choice((0, 1, 1, 2, 3)))]

    def flows(self, chain, d, i, table, then):
        actions = self.actions(d, i) + ["resubmit(,%d)" % then]
        return ["table=%d,%s,actions=%s" % (table, chain.family.any,
                                            ",".join(actions))]


class Address(Element):
    """Another destination for clients, another source for servers, without
    NAT."""

    changes = ("dst",)

    def __init__(self, chain):
        self.port = chain.rng.random() < .6

    change = Zone.change
    nat = "dst"

    def flows(self, chain, d, i, table, then):
        before, after = chain.headers[i], chain.headers[i + 1]
        field, header = (("dst", after), ("src", before))[d]
        ip = getattr(header, "dst")
        actions = chain.family.set_address(field, ip)
        flows = ["table=%d,priority=1,%s,actions=%s,resubmit(,%d)"
                 % (table, chain.family.any, actions, then)]
        if self.port:
            for proto in ("tcp", "udp"):
                flows.append(
                    "table=%d,priority=2,%s,actions=%s,set_field:%d->%s_%s,"
                    "resubmit(,%d)" % (
                        table, getattr(chain.family, proto), actions,
                        header.dports.get(proto, chain.dports[proto]), proto,
                        field, then))
        return flows


class Vlan(Element):
    """Another tag, or none."""

    changes = ("vlan",)

    def __init__(self, chain, before):
        choices = [None, chain.rng.randrange(1, 4095),
                   chain.rng.randrange(1, 4095)]
        self.vlan = chain.rng.choice([v for v in choices if v != before])
        self.pcp = chain.rng.choice([None, None, 3])
        chain.g.uses("vlan: " + ("pop" if self.vlan is None else "push"
                                 if before is None else "other"))

    def change(self, header):
        header.vlan = self.vlan

    def flows(self, chain, d, i, table, then):
        tag = (chain.headers[i + 1], chain.headers[i])[d].vlan
        actions = "strip_vlan" if tag is None else "mod_vlan_vid:%d" % tag
        if tag is not None and self.pcp is not None:
            actions += ",mod_vlan_pcp:%d" % self.pcp
        return ["table=%d,actions=%s,resubmit(,%d)" % (table, actions, then)]


class Copy(Element):
    """Sends what it sees to another port, too."""

    def __init__(self, chain):
        self.port = chain.rng.choice(chain.g.ports)

    def flows(self, chain, d, i, table, then):
        copies = "output:{%s}," % self.port if chain.rng.random() < .7 else ""
        return ["table=%d,actions=%sresubmit(,%d)" % (table, copies, then)]


class Chain:
    """A random chain of generator 'g' from host 'client' to host 'server'.
    'number' makes addresses and ports different from those of other chains.

    'headers' has the headers of the original direction: before the first
    element, and behind each of them."""

    def __init__(self, g, number, client, server, family):
        self.g, self.rng = g, g.rng
        self.number = number
        self.client, self.server = client, server
        self.family = family
        self.features = set()
        self.marked = False
        self.flows = []
        g.current = self.features
        g.uses("IPv6" if family.ipv6 else "IPv4")
        self.make_elements()
        self.make_flows()
        g.current = None

    def new_table(self):
        return self.g.new_table()

    def address(self, what):
        """An address that is nobody's; 'what' numbers those of the chain."""
        return ("fd%02x::%x" if self.family.ipv6 else "10.200.%d.%d") % (
            self.number + 0x80 if self.family.ipv6 else self.number, what)

    # Elements.

    def make_elements(self):
        g, rng = self.g, self.rng
        vlan = rng.randrange(1, 4095) if g.chance(.15, "vlan") else None
        zones = ["{zone%d}" % (i + 1) for i in range(3)]
        rng.shuffle(zones)
        zones = zones[:rng.choice((1, 1, 2, 2, 3))]
        self.n_zones = len(zones)
        g.uses("%d zones" % len(zones) if len(zones) > 1 else "1 zone")
        nats = [None, None, "src", "dst"]
        elements = []
        for zone in zones:
            nat = rng.choice(nats)
            if nat:
                g.uses("DNAT" if nat == "dst" else "SNAT")
                # Once each.
                nats.remove(nat)
            elements.append(Zone(self, zone, nat))
        if g.chance(.2, "addresses without nat"):
            elements.insert(rng.randrange(len(elements) + 1), Address(self))
        for _ in range(rng.choice((0, 0, 1, 1, 2))):
            elements.insert(rng.randrange(len(elements) + 1), Rewrite(self))
        if g.chance(.2, "output in between"):
            elements.insert(rng.randrange(len(elements) + 1), Copy(self))
        if g.chance(.3):
            at = rng.randrange(len(elements) + 1)
            elements.insert(at, Vlan(self, vlan))
        self.elements = elements
        self.everyone = (not any(e.changes and e.changes[0] in ("src", "dst")
                                 for e in elements)
                         and g.chance(.3, "new in both directions"))

        # Destinations: the last one is the server.
        to = [self.server.ip] + [self.address(10 + i) for i in range(4)]
        last = 0
        for element in reversed(elements):
            if "dst" in element.changes:
                element.address = to[last]
                last += 1
                if isinstance(element, Zone):
                    element.port = rng.random() < .6
            elif "src" in element.changes:
                # Connections have source ports of their own: they stay.
                element.address = self.address(9)
                element.port = False
        self.dports = {"tcp": 80, "udp": 53}
        header = Header(self.client.ip, to[last], vlan)
        self.headers = [header]
        for element in elements:
            header = copy.deepcopy(header)
            element.change(header)
            self.headers.append(header)

    def rows(self):
        """Returns the scenarios of features.py whose row all connections use,
        in both directions."""
        ip = "IPv6" if self.family.ipv6 else "IPv4"
        found = {"carried: %s TCP and UDP" % ip}
        for element in self.elements:
            if isinstance(element, Zone) and element.nat:
                name = "SNAT" if element.nat == "src" else "DNAT"
                found.add("carried: " + "IPv6 " * self.family.ipv6 + name)
        if self.n_zones > 1:
            found.add("carried: two zones")
        return sorted(found)

    def changes(self, what):
        return any(what in element.changes for element in self.elements)

    def may_drop(self, d, i):
        """Whether element 'i' may drop packets of direction 'd'."""
        behind = self.elements[i + 1:] if d == 0 else self.elements[:i]
        return self.g.blind or not any(isinstance(e, Zone) for e in behind)

    # Flows.

    def make_flows(self):
        self.first = [None, None]
        for d in (0, 1):
            order = list(enumerate(self.elements))
            if d:
                order.reverse()
            table = self.first[d] = self.new_table()
            for i, element in order:
                then = self.new_table()
                self.flows += element.flows(self, d, i, table, then)
                table = then
            self.flows += self.end(d, table)
        self.flows += [self.entrance(d) for d in (0, 1)]

    def entrance(self, d):
        """The flow that recognizes packets of the chain."""
        rng = self.rng
        header = self.headers[-1 if d else 0]
        src, dst = ((header.src, header.dst) if d == 0
                    else (header.dst, header.src))
        match = [self.family.any, self.family.address("dst", dst)]
        if rng.random() < .3:
            match.append("in_port={%s}" % (self.server, self.client)[d == 0
                                                                     ].port)
        if rng.random() < .3:
            match.append(self.family.address("src", src))
        if header.vlan is not None and rng.random() < .5:
            match.append("dl_vlan=%d" % header.vlan)
        return ("table={ct_table},priority=10,%s,actions=resubmit(,%d)"
                % (",".join(match), self.first[d]))

    def end(self, d, table):
        """Policy, and where packets leave."""
        g, rng = self.g, self.rng
        host = (self.server, self.client)[d]
        header = self.headers[0 if d else -1]
        dst = header.src if d else header.dst
        styles = ["port", "port", "ip"]
        if not self.changes("mac"):
            styles.append("mac")
            if not self.changes("vlan"):
                styles += ["normal"] * 2
        style = rng.choice(styles)
        g.uses("forwarding by " + style)
        out = {"port": "output:{%s}" % host.port}.get(style)
        match = self.family.any + ","
        if style == "normal":
            g.normal = True
            out = "NORMAL"
        elif style != "port":
            out = "output:{%s}" % host.port
            match += ("dl_dst=%s," % host.mac if style == "mac"
                      else self.family.address("dst", dst) + ",")
        extra = []
        if g.chance(.25, "rewriting at the end"):
            extra += [self.set_field(kind, d) for kind in rng.sample(
                ["tos", "ttl", "dl_src", "dl_dst", "dec_ttl"],
                rng.randrange(1, 4)) if style != "normal" or "dl" not in kind]
        if g.chance(.2, "several outputs"):
            extra.insert(rng.randrange(len(extra) + 1),
                         "output:{%s}" % rng.choice(g.ports))
        flows = ["table=%d,priority=1,%sactions=%s"
                 % (table, match, ",".join(extra + [out]))]
        for _ in range(rng.choice((0, 1, 1, 2))):
            actions = rng.choice(["drop", "output:{%s}" % rng.choice(g.ports),
                                  self.set_field("tos", d) + "," + out])
            flows.append("table=%d,priority=%d,%s,actions=%s"
                         % (table, rng.randrange(2, 30),
                            self.random_match(d, -1), actions))
        self.last = getattr(self, "last", []) + [table]
        return flows

    def set_field(self, kind, d):
        """Returns an action that sets a field."""
        rng = self.rng
        self.g.uses("set " + kind)
        host = (self.server, self.client)[d]
        return {
            "tos": "mod_nw_tos:%d" % rng.choice([0, 32, 184]),
            "ttl": "mod_nw_ttl:%d" % rng.choice([2, 17, 64]),
            "dl_src": "mod_dl_src:02:00:00:00:aa:%02x" % rng.randrange(4),
            "dl_dst": "mod_dl_dst:%s" % rng.choice(
                [host.mac, "02:00:00:00:ab:01"]),
            "dec_ttl": "dec_ttl",
            "label": "set_field:0x%x->ipv6_label" % rng.getrandbits(20),
        }[kind]

    def otherwise(self, d, i, go):
        """What happens to packets of direction 'd' that a check of element
        'i' does not take."""
        benign = [self.set_field("tos", d) + "," + go,
                  "output:{%s},%s" % (self.rng.choice(self.g.ports), go)]
        return self.rng.choice(benign + ["drop"] * 2 if self.may_drop(d, i)
                               else benign)

    def random_match(self, d, i):
        """A match that takes some packets of direction 'd', as they are
        behind element 'i' of the original direction."""
        rng, family = self.rng, self.family
        header = self.headers[0 if d else i]
        src, dst = ((header.src, header.dst) if d == 0
                    else (header.dst, header.src))
        field, ip = rng.choice([("src", src), ("dst", dst)])
        bits = 128 if family.ipv6 else 32
        kind = rng.choice(["prefix", "port", "tos", "ecn", "ttl", "flags",
                           "mac", "in_port", "vlan", "combination"]
                          + ["label"] * family.ipv6)
        self.g.uses("match " + kind)
        tos = "nw_tos=%d" % rng.choice([0, 32, 184])
        proto = rng.choice(["tcp", "udp"])
        return {
            "prefix": "%s,%s/%d,%s" % (
                family.any, family.address(field, ip),
                rng.randrange(bits - 12, bits + 1), tos),
            "port": "%s,tp_%s=%d%s" % (
                getattr(family, proto), field,
                rng.choice([53, 80, 443, 1000, 1010, 8080]),
                rng.choice(["/0xfff0", "", "," + tos])),
            "tos": family.any + "," + tos,
            "ecn": "%s,nw_ecn=%d" % (family.any, rng.choice([1, 3])),
            "ttl": "%s,nw_ttl=%d" % (family.any, rng.choice([1, 63, 17])),
            "flags": "%s,tcp_flags=%s" % (family.tcp, rng.choice(
                ["+psh", "-psh", "+psh-fin", "0x018/0x018", "+urg", "+fin",
                 "+rst", "0x010/0xfff"])),
            "mac": "%s,dl_%s=02:00:00:00:00:00/ff:ff:ff:ff:00:0%d" % (
                family.any, field, rng.choice([1, 3, 7])),
            "in_port": "in_port={%s},%s,%s" % (
                rng.choice(self.g.ports), family.any, tos),
            "vlan": family.any + rng.choice([
                ",vlan_tci=0,nw_ttl=63", ",dl_vlan_pcp=3",
                ",vlan_tci=0x1000/0x1000," + tos]),
            "label": "ipv6,ipv6_label=0x%x/0x%x" % (
                rng.randrange(4), rng.choice([3, 7])),
            "combination": "%s,%s,tp_dst=%d,nw_ttl=%d" % (
                getattr(family, proto), family.address(field, ip),
                rng.choice([80, 53, 1000]), rng.choice([63, 64])),
        }[kind]

    # Connections.

    def make(self, sport, common, pcp):
        """Returns a function that makes a connection: see
        Generator.random_script().  'common' are arguments for
        Writer.packet(), 'pcp' the priority in the tags of its packets."""
        first, last = self.headers[0], self.headers[-1]

        def wire(src, dst, sport, dport, vlan):
            return Wire(src, dst, sport, dport,
                        {} if vlan is None else {"vlan": pcp << 13 | vlan})

        def make(proto, **how):
            cls = {"tcp": Tcp, "udp": Udp, "icmp": Ping}[proto]
            dport = self.dports.get(proto, 7)
            conn = cls(
                self.g.writer,
                wire(moved(self.client, first.src),
                     moved(self.server, first.dst), sport, dport, first.vlan),
                wire(moved(self.server, last.dst),
                     moved(self.client, last.src),
                     last.dports.get(proto, dport), sport, last.vlan),
                **dict(common, **how))
            conn.chain = self
            return conn

        return make

    def keys(self, proto, sport):
        """Returns Connection.key() of a connection in each zone."""
        return ["%s %s:%d>%s:%d" % (
            proto, header.src, sport, header.dst,
            header.dports.get(proto, self.dports.get(proto, 7)))
            for element, header in zip(self.elements, self.headers)
            if isinstance(element, Zone)]
