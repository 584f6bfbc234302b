#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0

"""Gives a command to a program of DPDK by its telemetry socket.

usage: dpdk-telemetry.py RUNTIME-DIRECTORY COMMAND[,PARAMETER]...
"""

import json
import socket
import sys


def main(directory, command):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.connect(directory + "/dpdk/rte/dpdk_telemetry.v2")
        limit = json.loads(sock.recv(1024))["max_output_len"]
        sock.send(command.encode())
        print(json.dumps(json.loads(sock.recv(limit)), sort_keys=True))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
