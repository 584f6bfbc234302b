#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0

"""Counts, compares and prints for utilities/demo.

  connections FILE               table of who carried what
  sum --address=A FILE           packets of A's connections, NIC plus software
  share --address=A --limit=P FILE
                                 share of software in A's largest connection;
                                 fails if it is P percent or more
  kernel-packets                 packets of 'ip -s -j link show dev DEV' (stdin)
  conntrack                      'dpctl/dump-conntrack' (stdin), ports of
                                 clients masked, sorted
  captures A B                   whether each TCP packet that one of two
                                 captures saw leaving, the other saw arriving,
                                 once and unchanged

FILE is the output of 'ct-offload/dump-connections --json'.
"""

import argparse
import collections
import json
import re
import struct
import sys

# Where things are in the JSON.  What is there for each direction is added up.
KEYS = {
    "connections": "connections",
    "proto": "proto",
    "src": "orig.src",
    "dst": "orig.dst",
    "sport": "orig.sport",
    "dport": "orig.dport",
    "state": "state",
    "sw_packets": "orig.sw_packets reply.sw_packets",
    "sw_bytes": "orig.sw_bytes reply.sw_bytes",
    "nic_packets": "orig.nic_packets reply.nic_packets",
    "nic_bytes": "orig.nic_bytes reply.nic_bytes",
}
FIRST_EPHEMERAL_PORT = 32768


def get_path(obj, path):
    for key in path.split("."):
        obj = obj[key]
    return obj


def get(obj, what):
    values = [get_path(obj, path) for path in KEYS[what].split()]
    return values[0] if len(values) == 1 else sum(values)


def load(path, address=None):
    with open(path) as stream:
        conns = get(json.load(stream), "connections") or []
    return [c for c in conns
            if address in (None, get(c, "src"), get(c, "dst"))]


def packets(conn):
    return get(conn, "sw_packets") + get(conn, "nic_packets")


def human_bytes(n):
    for unit in ("B", "kB", "MB"):
        if n < 1000:
            return "%.0f %s" % (n, unit) if unit == "B" \
                else "%.1f %s" % (n, unit)
        n /= 1000
    return "%.2f GB" % n


def print_table(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for number, row in enumerate(rows):
        print("  ".join(cell.ljust(w) if i < 3 else cell.rjust(w)
                        for i, (cell, w) in enumerate(zip(row, widths)))
              .rstrip())
        if number in (0, len(rows) - 2):
            print("  ".join("-" * w for w in widths))


def cmd_connections(args):
    conns = sorted(load(args.file), key=packets, reverse=True)
    rows = [("connection", "", "state", "software", "", "NIC", "",
             "NIC share")]
    totals = collections.Counter()
    for conn in conns:
        counts = {what: get(conn, what) for what in
                  ("sw_packets", "sw_bytes", "nic_packets", "nic_bytes")}
        totals.update(counts)
        rows.append(row_of("%s %s:%s" % (get(conn, "proto"),
                                         get(conn, "src"),
                                         get(conn, "sport")),
                           "-> %s:%s" % (get(conn, "dst"),
                                         get(conn, "dport")),
                           str(get(conn, "state")), counts))
    rows.append(row_of("total", "%d connections" % len(conns), "", totals))
    print_table(rows)
    return True


def row_of(name, peer, state, counts):
    everything = counts["sw_packets"] + counts["nic_packets"]
    return (name, peer, state,
            "{:,} packets".format(counts["sw_packets"]),
            human_bytes(counts["sw_bytes"]),
            "{:,} packets".format(counts["nic_packets"]),
            human_bytes(counts["nic_bytes"]),
            "%.2f %%" % (100 * counts["nic_packets"] / everything)
            if everything else "-")


def cmd_sum(args):
    print(sum(packets(c) for c in load(args.file, args.address)))
    return True


def cmd_share(args):
    conns = load(args.file, args.address)
    if not conns:
        print("there is no connection of %s" % args.address)
        return False
    bulk = max(conns, key=packets)
    share = 100 * get(bulk, "sw_packets") / max(packets(bulk), 1)
    print("software carried {:,} of {:,} packets of the bulk transfer: "
          "{:.3f} % (limit: {:g} %)".format(get(bulk, "sw_packets"),
                                           packets(bulk), share,
                                           args.limit))
    return get(bulk, "nic_packets") > 0 and share < args.limit


def cmd_kernel_packets(_):
    stats = json.load(sys.stdin)[0]["stats64"]
    print(stats["rx"]["packets"] + stats["tx"]["packets"])
    return True


def cmd_conntrack(_):
    def mask(match):
        return match.group(1) + ("*" if int(match.group(2))
                                 >= FIRST_EPHEMERAL_PORT else match.group(2))
    lines = [re.sub(r"([sd]port=)(\d+)", mask, line.strip())
             for line in sys.stdin if not line.startswith("icmp")]
    print("\n".join(sorted(lines)))
    return True


def read_capture(path):
    """Returns the frames in a file of tcpdump as (source MAC, frame)."""
    with open(path, "rb") as stream:
        data = stream.read()
    if data[:4] != b"\xd4\xc3\xb2\xa1":
        raise ValueError("%s: not a capture of this machine" % path)
    frames = []
    offset = 24
    while offset + 16 <= len(data):
        length, original = struct.unpack_from("<II", data, offset + 8)
        frame = data[offset + 16:offset + 16 + length]
        if len(frame) < length or length != original:
            raise ValueError("%s: truncated" % path)
        frames.append((frame[6:12], frame))
        offset += 16 + length
    return frames


def cmd_captures(args):
    try:
        ends = [read_capture(path) for path in args.files]
    except ValueError as error:
        print(error)
        return False
    seen = [collections.Counter(frame for _, frame in end) for end in ends]
    n = sum(seen[0].values())
    if not n:
        print("the captures are empty")
        return False
    if seen[0] == seen[1]:
        print("both captures hold the same {:,} packets: none lost, doubled "
              "or changed".format(n))
        return True
    only = [sum((seen[i] - seen[1 - i]).values()) for i in (0, 1)]
    print("the captures differ: {:,} packets only in the first, {:,} only in "
          "the second, of {:,}".format(only[0], only[1], n))
    return False


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("connections", "sum", "share"):
        command = commands.add_parser(name)
        command.add_argument("file")
        command.add_argument("--address")
        command.add_argument("--limit", type=float, default=1)
    commands.add_parser("kernel-packets")
    commands.add_parser("conntrack")
    commands.add_parser("captures").add_argument("files", nargs=2)
    args = parser.parse_args()
    command = globals()["cmd_" + args.command.replace("-", "_")]
    return 0 if command(args) else 1


if __name__ == "__main__":
    sys.exit(main())
