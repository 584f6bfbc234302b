#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0

"""Compares rules with what tc(8) makes of their filters.

usage: tc-json.py RULES FILTERS

RULES is what tests/tc-filters printed, FILTERS the output of
"tc -j filter show dev DEVICE ingress"."""

import ipaddress
import json
import re
import socket
import sys

ETH_TYPES = {"ipv4": 0x0800, "ip": 0x0800, "ipv6": 0x86dd, "arp": 0x0806,
             "802.1Q": 0x8100, "802.1ad": 0x88a8, "all": 0x0003}
PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132, "icmp": 1, "icmpv6": 58}
LENGTHS = {"ipv4": 20, "ipv6": 40, "eth": 12, "tcp": 4, "udp": 4}


def eth_type(text):
    """Ethernet type, as tc prints it."""
    if text in ETH_TYPES:
        return ETH_TYPES[text]
    text = str(text)
    if text.startswith("["):
        return int(text.strip("[]"))
    return int(text, 16)


def number(text):
    """A number, as JSON has it or as text in decimal or hexadecimal."""
    return text if isinstance(text, int) else int(text, 0)


def masked(text, length):
    """A value with a mask: value and mask as hexadecimal digits."""
    value, _, mask = str(text).partition("/")
    bits = 8 * length
    value = int(value, 0)
    mask = int(mask, 0) if mask else (1 << bits) - 1
    return f"{value:0{2 * length}x}/{mask:0{2 * length}x}"


def mac(text):
    value, _, mask = text.partition("/")
    value = value.replace(":", "")
    if not mask:
        mask = "f" * 12
    elif ":" in mask:
        mask = mask.replace(":", "")
    else:
        bits = int(mask)
        mask = f"{((1 << bits) - 1) << (48 - bits):012x}"
    return f"{value}/{mask}"


def address(text):
    value, _, mask = text.partition("/")
    value = ipaddress.ip_address(value)
    bits = value.max_prefixlen
    if not mask:
        mask = (1 << bits) - 1
    elif mask.isdigit():
        mask = ((1 << bits) - 1) ^ ((1 << (bits - int(mask))) - 1)
    else:
        mask = int(ipaddress.ip_address(mask))
    return f"{int(value):0{bits // 4}x}/{mask:0{bits // 4}x}"


def expected_keys(rule):
    """The rule's match as a dictionary."""
    keys = {}
    for key, value in rule.items():
        if key not in ("prio", "protocol", "actions"):
            keys[key] = value
    return keys


def actual_keys(found, protocol):
    """The same from tc's keys."""
    keys = {}
    found = dict(found)
    inner = found.pop("eth_type", None)
    if protocol in (0x8100, 0x88a8):
        keys["vlan0"] = [protocol, found.pop("vlan_id", -1),
                         found.pop("vlan_prio", -1)]
        inner = found.pop("vlan_ethtype", None)
        if inner is not None and eth_type(inner) in (0x8100, 0x88a8):
            keys["vlan1"] = [eth_type(inner), found.pop("cvlan_id", -1),
                             found.pop("cvlan_prio", -1)]
            inner = found.pop("cvlan_ethtype", None)
    if inner is not None:
        keys["dl_type"] = f"{eth_type(inner):04x}/ffff"
    ipv6 = inner == "ipv6"
    for name, field in (("src_mac", "dl_src"), ("dst_mac", "dl_dst")):
        if name in found:
            keys[field] = mac(found.pop(name))
    for name, field in (("src_ip", "src"), ("dst_ip", "dst")):
        if name in found:
            field = ("ipv6_" if ipv6 else "nw_") + field
            keys[field] = address(found.pop(name))
    if "ip_proto" in found:
        proto = found.pop("ip_proto")
        keys["nw_proto"] = f"{PROTOCOLS.get(proto, proto):02x}/ff"
    for name, field, length in (("ip_tos", "nw_tos", 1),
                                ("ip_ttl", "nw_ttl", 1),
                                ("src_port", "tp_src", 2),
                                ("dst_port", "tp_dst", 2)):
        if name in found:
            value = str(found.pop(name))
            if name + "_mask" in found:
                value += "/0x" + str(found.pop(name + "_mask"))
            keys[field] = masked(value, length)
    if "tcp_flags" in found:
        value, _, mask = found.pop("tcp_flags").partition("/")
        keys["tcp_flags"] = (f"{int(value, 16):04x}/"
                             f"{int(mask or 'fff', 16):04x}")
    if "ip_flags" in found:
        flags = found.pop("ip_flags")
        keys["nw_frag"] = {
            (False, None): "00/03", (True, None): "01/01",
            (True, True): "01/03", (True, False): "03/03",
        }[flags.get("frag"), flags.get("firstfrag")]
    keys.update(found)
    return keys


def put(edits, header, offset, value, mask):
    """Notes that bytes of a header are set."""
    image = edits.setdefault(header, [bytearray(40), bytearray(40)])
    for i, (v, m) in enumerate(zip(value, mask)):
        image[0][offset + i] |= v
        image[1][offset + i] |= m


def shift(data):
    """The bytes, half a byte later."""
    return (int.from_bytes(data, "big") << 4).to_bytes(len(data) + 1, "big")


def expected_edit(edits, action, rule):
    """Adds what one action of a rule sets."""
    value, mask = (bytes.fromhex(x) for x in action["value"].split("/"))
    ipv6 = rule["dl_type"].startswith("86dd") if "dl_type" in rule else False
    field = action["set"]
    header = "ipv6" if ipv6 else "ipv4"
    if field in ("eth_dst", "eth_src"):
        put(edits, "eth", 0 if field == "eth_dst" else 6, value, mask)
    elif field == "ip_src":
        put(edits, header, 8 if ipv6 else 12, value, mask)
    elif field == "ip_dst":
        put(edits, header, 24 if ipv6 else 16, value, mask)
    elif field == "ip_ttl":
        put(edits, header, 7 if ipv6 else 8, value, mask)
    elif field == "ip_tos" and ipv6:
        put(edits, header, 0, shift(value), shift(mask))
    elif field == "ip_tos":
        put(edits, header, 1, value, mask)
    elif field == "ipv6_label":
        put(edits, header, 0, value, mask)
    else:
        proto = "tcp" if rule["nw_proto"].startswith("06") else "udp"
        put(edits, proto, 0 if field == "tp_src" else 2, value, mask)


def close(edits):
    """Edits in a form that can be compared."""
    return {header: (bytes(image[0]).hex(), bytes(image[1]).hex())
            for header, image in edits.items()}


def expected_actions(rule):
    """The rule's actions; neighbouring edits are one."""
    actions = []
    edits = {}
    for action in rule["actions"]:
        if "set" in action and action["set"] != "vlan_tci":
            expected_edit(edits, action, rule)
            continue
        if edits:
            actions.append(("edit", close(edits)))
            edits = {}
        if "output" in action:
            actions.append(("output", socket.if_indextoname(
                action["output"])))
        elif "chain" in action:
            actions.append(("chain", action["chain"]))
        elif "drop" in action:
            actions.append(("drop",))
        elif "pop" in action:
            actions.append(("pop",))
        elif "push" in action:
            actions.append(("push", *action["push"]))
        else:
            value, mask = (int(x, 16) for x in action["value"].split("/"))
            actions.append(("modify", value & 0xfff,
                            value >> 13 if mask & 0xe000 else None))
    return actions


def actual_actions(found):
    """The same from tc's actions, and what of them must be computed anew."""
    actions = []
    for action in found:
        kind = action["kind"]
        control = action.get("control_action", {})
        if kind == "gact" and control.get("type") == "drop":
            actions.append(("drop",))
        elif kind == "gact":
            actions.append(("chain", control["chain"]))
        elif kind == "mirred":
            last = action is found[-1]
            if action["mirred_action"] != ("redirect" if last else "mirror"):
                sys.exit(f"unexpected {action}")
            actions.append(("output", action["to_dev"]))
        elif kind == "vlan" and action["vlan_action"] == "pop":
            actions.append(("pop",))
        elif kind == "vlan" and action["vlan_action"] == "push":
            actions.append(("push", eth_type(action["protocol"]),
                            action["id"], action.get("priority", 0)))
        elif kind == "vlan":
            actions.append(("modify", action["id"], action.get("priority")))
        elif kind == "pedit":
            edits = {}
            for key in action["keys"]:
                value = number("0x" + str(key["val"]).removeprefix("0x"))
                kept = number("0x" + str(key["mask"]).removeprefix("0x"))
                put(edits, key["htype"], key["offset"],
                    value.to_bytes(4, "big"),
                    (kept ^ 0xffffffff).to_bytes(4, "big"))
            actions.append(("edit", close(edits)))
        elif kind == "csum":
            actions.append(("csum", set(re.split(r"[,/ ]+",
                                                 action["csum"])) - {""}))
        else:
            sys.exit(f"unexpected {action}")
    return actions


def check_csums(actions, rule):
    """Checks that checksums follow edits that need them, and removes them."""
    result = []
    proto = rule.get("nw_proto", "")[:2]
    for i, action in enumerate(actions):
        if action[0] == "csum":
            continue
        result.append(action)
        if action[0] != "edit":
            continue
        need = set()
        edits = action[1]
        if "ipv4" in edits:
            need.add("iph")
        addresses = any(
            header in edits
            and int(edits[header][1][2 * ofs:2 * ofs + digits], 16)
            for header, ofs, digits in (("ipv4", 12, 16), ("ipv6", 8, 64)))
        if addresses or "tcp" in edits or "udp" in edits:
            need |= {"06": {"tcp"}, "11": {"udp"}}.get(proto, set())
            if proto == "3a" and "ipv6" in edits:
                need.add("icmp")
        has = set()
        if i + 1 < len(actions) and actions[i + 1][0] == "csum":
            has = actions[i + 1][1]
        if need != has:
            sys.exit(f"checksums {has}, expected {need}: {rule}")
    return result


def main():
    """Compares, and exits with a message if there is a difference."""
    with open(sys.argv[1]) as f:
        rules = {rule["prio"]: rule for rule in map(json.loads, f)}
    with open(sys.argv[2]) as f:
        filters = [x for x in json.load(f) if "options" in x]
    if sorted(rules) != sorted(x["pref"] for x in filters):
        sys.exit("not the same priorities")
    for found in filters:
        rule = rules[found["pref"]]
        protocol = eth_type(found["protocol"])
        options = found["options"]
        pairs = (
            (rule["protocol"], protocol),
            (expected_keys(rule), actual_keys(options.get("keys", {}),
                                              protocol)),
            (expected_actions(rule),
             check_csums(actual_actions(options["actions"]), rule)))
        for expected, actual in pairs:
            if expected != actual:
                sys.exit(f"rule: {json.dumps(rule)}\n"
                         f"tc: {json.dumps(found)}\n"
                         f"expected {expected}\nfound {actual}")
    print(len(filters), "filters are the same")


if __name__ == "__main__":
    main()
