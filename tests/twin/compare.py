# SPDX-License-Identifier: Apache-2.0
"""Comparing what two switches made of the same case.

Three things must be equal: the frames that left each port, those with the same
addresses and ports in order; the connections in conntrack, with the TCP state
of both sides; and at rest the counters of each OpenFlow flow.  Exceptions are
the permitted differences of the design's section 8, which are counted by their
number:

    1   a NIC that does not check windows carries what stock calls +inv
    5   a FIN or RST of an offloaded connection is forwarded as established
        while it is judged

Both apply only to packets that the script marks with that number ('permit').
The rest of the list needs nothing here: scripts wait where 2 would apply,
packets that are injected one by one have no 3, and 4 is why statistics are
asked for until they are equal.

Where several PMD threads send, only frames of the same sequence have an order,
and among frames without ports, which do not tell their sequence if flows
overwrite labels, none is looked for.
"""

import collections
import re

import packets as pk

# A FIN that nothing follows is believed to be acknowledged: the NIC may
# have carried the acknowledgment: part of permitted difference 5.
UNSEEN_ACK = "5 (FIN without ACK)"

# A connection that expires within this time may be gone in one switch and not
# in the other, as time passes for a NIC in the middle of a phase, in seconds.
# With offload there is to add what the case took: the last packet that a NIC
# carried counts, but is asked for only when the time has nearly come.
EXPIRY_SLACK = 4

# How much the time to live of a connection may differ, likewise.
TIMEOUT_SLACK = 4


class Report:
    """Differences found in one case, by kind, and permitted ones counted."""

    def __init__(self):
        self.output = []
        self.conntrack = []
        self.stats = []
        self.permitted = {}
        self.uncounted = 0
        # Identifications of packets that are in 'output'.
        self.packets = set()

    def all(self):
        return self.output + self.conntrack + self.stats

    def permit(self, number, count):
        self.permitted[number] = self.permitted.get(number, 0) + count


# Output.

def permits(case):
    """Returns which packets are marked, a dictionary from identification to
    number."""
    return {pk.ident(bytes.fromhex(op["hex"])): op["permit"]
            for ops in case.phases for op in ops if op.get("permit")}


def sequences(case):
    """Returns which sequence packets are of, a dictionary from
    identification."""
    return {pk.ident(bytes.fromhex(op["hex"])): str(op.get("conn"))
            for ops in case.phases for op in ops if "hex" in op}


def by_stream(frames, sequence_of):
    """Returns lists of 'frames' that may belong to the same sequence.  If
    sequences may overtake each other, 'sequence_of' tells them apart where
    their streams are the same: later fragments, for example."""
    groups = {}
    for frame in frames:
        key = (pk.stream(frame, bool(sequence_of)),
               sequence_of.get(pk.ident(frame), ""))
        groups.setdefault(key, []).append(frame)
    return groups


def in_order(frames, sequence_of):
    """Returns 'frames' in an order that does not depend on how those of
    different sequences came to be mixed, but keeps the order of those that may
    belong to the same."""
    groups = by_stream(frames, sequence_of)
    return [frame for key in sorted(groups) for frame in groups[key]]


def compare_output(case, stock, ours, offloads, mixed, report):
    """'stock' and 'ours' are lists of frames by port.  'mixed' is whether
    sequences may overtake each other."""
    marked = permits(case) if offloads else {}
    sequence_of = sequences(case) if mixed else {}
    for port in stock:
        a, b = stock[port], ours[port]
        if a == b:
            continue
        a, b = in_order(a, sequence_of), in_order(b, sequence_of)
        if marked:
            extra = [pk.ident(frame) for frame in b
                     if pk.ident(frame) in marked]
            missing = [pk.ident(frame) for frame in a
                       if pk.ident(frame) in marked]
            if extra != missing:
                for number in set(extra + missing):
                    report.permit(marked[number], abs(
                        extra.count(number) - missing.count(number)))
                a = [f for f in a if pk.ident(f) not in marked]
                b = [f for f in b if pk.ident(f) not in marked]
        if a != b:
            report.output.append(describe_output(port, a, b, sequence_of))
            count = collections.Counter(a)
            count.subtract(b)
            report.packets |= {pk.ident(frame) for frame, n in count.items()
                               if n}


def describe_output(port, a, b, sequence_of):
    """Tells where 'a' and 'b' begin to differ, one stream at a time."""
    lines = ["port %s: %d packets instead of %d" % (port, len(b), len(a))]
    streams = [by_stream(frames, sequence_of) for frames in (a, b)]
    different = [key for key in sorted(set(streams[0]) | set(streams[1]))
                 if streams[0].get(key) != streams[1].get(key)]
    for key in different[:3]:
        lines += describe_stream(*(s.get(key, []) for s in streams))
    if len(different) > 3:
        lines.append("    and %d streams more" % (len(different) - 3))
    return "\n".join(lines)


def describe_stream(a, b):
    same = 0
    while same < min(len(a), len(b)) and a[same] == b[same]:
        same += 1
    lines = ["  %d packets instead of %d, equal up to packet %d"
             % (len(b), len(a), same)]
    for name, frames in (("expected", a), ("got", b)):
        lines += ["    %-8s  %s" % (name, pk.describe(frame))
                  for frame in frames[same:same + 3]]
        if same >= len(frames):
            lines.append("    %-8s  nothing more" % name)
    return lines


def compare_errors(stock, ours, report):
    """'stock' and 'ours' are replies to injections."""
    if stock != ours:
        report.output.append("injection failed: expected %s, got %s"
                             % (stock, ours))


# Conntrack.

def parse_conntrack(lines):
    """Returns the connections by zone: a dictionary from the text that tells
    who they are to (text that must be equal, time to live)."""
    zones = {}
    for line in lines:
        zone = re.search(r",zone=(\d+)", line)
        timeout = re.search(r",timeout=(\d+)", line)
        key = re.sub(r",protoinfo=.*", "", line)
        key = re.sub(r",(id|timeout|zone|start)=[^,()]*", "", key)
        rest = re.search(r",protoinfo=.*", line)
        zones.setdefault(int(zone.group(1)) if zone else 0, {})[key] = (
            rest.group(0) if rest else "",
            int(timeout.group(1)) if timeout else 0)
    return zones


def compare_conntrack(zone, stock, ours, seconds, offloads, report):
    """'stock' and 'ours' come from parse_conntrack().  The case took
    'seconds'."""
    if not offloads:
        seconds = 0
    report.permitted.pop(UNSEEN_ACK, None)
    a, b = stock.get(zone, {}), ours.get(zone, {})
    for key in sorted(set(a) | set(b)):
        state_a, left_a = a.get(key, ("not there", 0))
        state_b, left_b = b.get(key, ("not there", 0))
        if "not there" in (state_a, state_b):
            if max(left_a, left_b) <= EXPIRY_SLACK + seconds:
                continue
        if (offloads and state_a != state_b
                and state_a.replace("CLOSING", "FIN_WAIT_2") == state_b):
            report.permit(UNSEEN_ACK, 1)
        elif state_a != state_b:
            report.conntrack.append("conntrack %s\n    expected  %s\n"
                                    "    got       %s"
                                    % (key, state_a, state_b))
        elif abs(left_a - left_b) > TIMEOUT_SLACK + seconds:
            report.conntrack.append("conntrack %s\n    expected  to expire "
                                    "in %d s\n    got       in %d s"
                                    % (key, left_a, left_b))


# Statistics.

def parse_flows(lines, base={}):
    """Returns (packets, bytes) by flow, less what 'base' says of it."""
    flows = {}
    for line in lines:
        packets = int(re.search(r"n_packets=(\d+)", line).group(1))
        n_bytes = int(re.search(r"n_bytes=(\d+)", line).group(1))
        key = re.sub(r"(duration|n_packets|n_bytes|cookie)=[^,]*, ", "",
                     line)
        # OVS's own flows for what no flow takes: which one it is depends on
        # whether somebody is connected who may want such packets.
        key = re.sub("table_id=254, priority=0,reg0=0x[12],.*", "table miss",
                     key)
        seen = flows.get(key, (0, 0))
        flows[key] = packets + seen[0], n_bytes + seen[1]
    return {key: tuple(n - m for n, m in zip(count, base.get(key, (0, 0))))
            for key, count in flows.items()}


def frame_lengths(case):
    return {len(op["hex"]) // 2 for phase in case.phases + case.ends
            for op in phase if "hex" in op}


def compare_flows(case, stock, ours, report):
    """Compares the counts of flows.

    The revalidator reads the packets of a megaflow and then its bytes, and
    passes on what is new of both only if there are new packets.  The bytes of
    a packet that comes in between are lost, in stock as well as in ours.  So
    the bytes may differ by the length of a frame."""
    lengths = None
    for key in sorted(set(stock) | set(ours)):
        if stock.get(key) != ours.get(key):
            a, b = stock.get(key), ours.get(key)
            if a and b and a[0] == b[0]:
                lengths = lengths or frame_lengths(case)
                if abs(a[1] - b[1]) in lengths:
                    continue
            report.stats.append("flow %s\n    expected  %s\n    got       %s"
                                % (key, describe_count(stock.get(key)),
                                   describe_count(ours.get(key))))


def describe_count(count):
    return "%d packets, %d bytes" % count if count else "not there"
