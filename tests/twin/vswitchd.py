# SPDX-License-Identifier: Apache-2.0
"""One ovs-vswitchd in a private run directory, with dummy ports.

A switch has a number of *slots*: bridges that look alike, "s0", "s1" and so
on, each with ports "vf1", "vf2", "p0", "p1" of the emulated NIC "emu0" (if the
switch has one) and "x1" of no NIC.  A test case runs in one slot, so that
cases that run at the same time do not know of each other.

Commands go over connections to the unixctl socket.  Datapath and commands are
work of the same thread.  In turn, it carries out one injected packet of each
port, accepts connections, and serves each for a while, in the order in which
they were made.  So who asks one connection after the other, the newest first,
and waits for each reply, knows that the thread went through its loop once
more with each.  Where PMD threads do the datapath's work, pmd.py has another
way to know.

Time stands still but for warp(): what happens does not depend on how busy the
machine is.
"""

import atexit
import ctypes
import json
import os
import re
import select
import signal
import socket
import struct
import subprocess
import time

PORTS = {"vf1": 1, "vf2": 2, "p0": 3, "p1": 4, "x1": 5}
ROLES = {"vf1": "vf", "vf2": "vf", "p0": "uplink", "p1": "uplink"}
PROGRAMS = ("ovsdb-tool", "ovsdb-server", "ovs-vsctl", "ovs-ofctl")

# other_config:max-revalidator.  When OVS once took more than half of it for
# dumping megaflows, which happens on a busy machine with a small value, it
# deletes megaflows that it should revalidate if they have few packets.  With
# them go counts: in stock those of an orphaned recirculation, with offload
# those that the NIC has not told.
MAX_REVALIDATOR_MS = 2000

# What the log of stock says, too, now and then.
KNOWN_COMPLAINTS = re.compile(
    "recirc_id .* left allocated"
    # OVS reads back its own megaflow of a frame cut in the VLAN tag.
    r"|internal error parsing flow mask .*encap\(\) \(too_much\)")

# Connections that main_loop() asks in turn.
N_TURNS = 10

# As many packets may wait at a port at once: OVS drops what exceeds 100.
MAX_QUEUE = 60

START_TIMEOUT = 300
POKE_INTERVAL = .005
# Steps in which time passes: for a NIC that something is waited for, and when
# nobody waits for anything that soon.
SHORT_STEP_MS = 10
LONG_STEP_MS = 100
SYNC_TIMEOUT_MS = 20000
SETTLE_TIMEOUT_MS = 50
# A hang ends the test; a slow machine, or a sanitizer, does not.
COMMAND_TIMEOUT = 300


class SwitchError(Exception):
    """The switch died, or did something that it never should."""


def die_with_parent():
    """In a child: be killed when the parent dies, however it dies."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def find_programs(directories):
    """Returns the paths of OVS's programs, by name."""
    found = {}
    for name in PROGRAMS:
        for directory in directories:
            path = os.path.join(directory, name)
            if os.access(path, os.X_OK):
                found[name] = path
                break
        else:
            raise SwitchError("%s: not found in %s"
                              % (name, ":".join(directories)))
    return found


class Unixctl:
    """A connection to a unixctl server."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(path)
        self.socket.settimeout(COMMAND_TIMEOUT)
        self.decoder = json.JSONDecoder()
        self.text = ""
        self.next_id = 0

    def close(self):
        self.socket.close()

    def _reply(self):
        while True:
            self.text = self.text.lstrip()
            if self.text.startswith("{"):
                try:
                    reply, end = self.decoder.raw_decode(self.text)
                    self.text = self.text[end:]
                    return reply
                except ValueError:
                    pass
            data = self.socket.recv(1 << 20)
            if not data:
                raise SwitchError("connection closed by the switch")
            self.text += data.decode()

    def send(self, requests):
        """Sends all of 'requests', lists of words, at once."""
        text = []
        for words in requests:
            text.append(json.dumps({"id": self.next_id, "method": words[0],
                                    "params": list(words[1:])}))
            self.next_id += 1
        try:
            self.socket.sendall("".join(text).encode())
        except OSError as error:
            raise SwitchError("cannot talk to the switch (%s)" % error)

    def receive(self, n):
        """Waits for the replies to 'n' requests.  Returns a list of pairs
        (result, error) in the same order."""
        try:
            replies = [self._reply() for _ in range(n)]
        except OSError as error:
            raise SwitchError("no reply from the switch (%s)" % error)
        return [(r.get("result"), r.get("error")) for r in replies]

    def has_reply(self, seconds):
        """Waits at most so long for something to receive()."""
        return bool(select.select([self.socket], [], [], seconds)[0])

    def request_all(self, requests):
        """send() and receive()."""
        self.send(requests)
        return self.receive(len(requests))


class PcapReader:
    """Frames that were appended to a pcap file since it was read last."""

    def __init__(self, path):
        self.path = path
        self.offset = 24

    def read(self):
        frames = []
        try:
            with open(self.path, "rb") as pcap:
                pcap.seek(self.offset)
                data = pcap.read()
        except FileNotFoundError:
            return frames
        at = 0
        while at + 16 <= len(data):
            length = struct.unpack("=I", data[at + 8:at + 12])[0]
            if at + 16 + length > len(data):
                break
            frames.append(data[at + 16:at + 16 + length])
            at += 16 + length
        self.offset += at
        return frames


class Switch:
    """'nic' is the configuration of the emulated NIC, None to have none.
    'mode' is a value of ct-offload-mode."""

    # What kinds of switches have different.
    n_queues = 1
    port_type = "dummy"
    port_options = []
    program_options = []
    settings = []

    def __init__(self, label, binary, programs, schema, directory, n_slots,
                 nic=None, mode="auto", max_idle=300000):
        self.label = label
        self.binary = binary
        self.programs = programs
        self.schema = schema
        self.directory = directory
        self.n_slots = n_slots
        self.nic = nic
        self.mode = mode
        self.max_idle = max_idle
        self.processes = []
        self.ctl = None
        self.waiter = None
        self.turns = []
        self.readers = {}
        self.now_ms = 0

    # Life.

    def start(self):
        os.makedirs(self.directory)
        self.environment = dict(os.environ)
        for name in ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR",
                     "OVS_SYSCONFDIR"):
            self.environment[name] = self.directory
        self.environment["OVS_PKGDATADIR"] = os.path.dirname(self.schema)
        atexit.register(self.kill)
        self._run("ovsdb-tool", "create", self._path("conf.db"), self.schema)
        self._spawn(self.programs["ovsdb-server"],
                    "--remote=punix:" + self._path("db.sock"),
                    "--unixctl=" + self._path("db.ctl"),
                    "-vconsole:off", "--log-file", self._path("conf.db"))
        self._connect(self._path("db.ctl")).close()
        self._spawn(self.binary, "--enable-dummy", "--disable-system",
                    *self.program_options,
                    "--unixctl=" + self._path("ctl"), "-vconsole:off",
                    "--log-file=" + self._path("ovs-vswitchd.log"),
                    "unix:" + self._path("db.sock"))
        self.turns = [self._connect(self._path("ctl"))
                      for _ in range(N_TURNS)]
        self.ctl = self._connect(self._path("ctl"))
        self.waiter = self._connect(self._path("ctl"))
        self._configure()
        self.command("time/stop")

    def stop(self):
        """Ends the switch in an orderly way.  Raises SwitchError if it does
        not end well."""
        if self.processes and self.ctl:
            self.ctl.request_all([["exit"]])
            try:
                code = self.processes[-1].wait(COMMAND_TIMEOUT)
            except subprocess.TimeoutExpired:
                raise SwitchError("%s: does not exit" % self.label)
            if code:
                raise SwitchError("%s: exit status %d" % (self.label, code))
        self.kill()

    def kill(self):
        for process in reversed(self.processes):
            process.kill()
            process.wait()
        self.processes = []
        for ctl in [self.waiter, self.ctl] + self.turns:
            if ctl:
                ctl.close()
        self.waiter = self.ctl = None
        self.turns = []

    def _path(self, name):
        return os.path.join(self.directory, name)

    def _spawn(self, *argv):
        with open(self._path("stderr"), "ab") as stderr:
            self.processes.append(subprocess.Popen(
                argv, cwd=self.directory, env=self.environment,
                stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr,
                preexec_fn=die_with_parent))

    def _connect(self, path):
        """Connects to a server that was just started."""
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                return Unixctl(path)
            except OSError:
                if (self.processes[-1].poll() is not None
                        or time.monotonic() > deadline):
                    raise SwitchError("%s: cannot start, see %s"
                                      % (self.label, self.directory))
                select.select([], [], [], .02)

    def _run(self, name, *args, text=None):
        done = subprocess.run([self.programs[name]] + list(args), input=text,
                              env=self.environment, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True,
                              timeout=COMMAND_TIMEOUT)
        if done.returncode:
            raise SwitchError("%s: %s %s: %s" % (self.label, name,
                                                 " ".join(args),
                                                 done.stdout.strip()))
        return done.stdout

    def failure(self):
        """Returns a text about what the log says of a failure."""
        text = []
        for name in ("stderr", "ovs-vswitchd.log"):
            try:
                with open(self._path(name), errors="replace") as log:
                    lines = log.readlines()
            except OSError:
                continue
            bad = [line for line in lines if name == "stderr"
                   or "|EMER|" in line or "|ERR|" in line]
            text += bad[-15:]
        return "".join(text)

    def complaints(self):
        """Returns what the log tells of defects, without what differs from
        one time to the other."""
        found = set()
        with open(self._path("ovs-vswitchd.log"), errors="replace") as log:
            for line in log:
                words = line.strip().split("|", 4)
                if (len(words) == 5 and words[3] in ("EMER", "ERR")
                        and not KNOWN_COMPLAINTS.search(line)):
                    found.add(re.sub(r"\d+", "N",
                                     "%s: %s" % (words[2], words[4])))
        return found

    # Configuration.

    def vsctl(self, *words):
        self._run("ovs-vsctl", "--db=unix:" + self._path("db.sock"),
                  "--timeout=%d" % COMMAND_TIMEOUT, *words)

    def _configure(self):
        words = ["set", "open", ".",
                 "other_config:max-revalidator=%d" % MAX_REVALIDATOR_MS,
                 "other_config:max-idle=%d" % self.max_idle] + self.settings
        if self.nic is not None:
            words += ["other_config:hw-offload=true",
                      "other_config:ct-offload-mode=" + self.mode,
                      'other_config:nic-emu-emu0="%s"' % self.nic]
        for slot in range(self.n_slots):
            words += ["--", "add-br", self.bridge(slot),
                      "--", "set", "bridge", self.bridge(slot),
                      "datapath_type=dummy", "fail-mode=secure"]
            for port in PORTS:
                words += self._add_port_words(slot, port)
        self.vsctl(*words)
        for slot in range(self.n_slots):
            for port in PORTS:
                name = self.port(slot, port)
                self.readers[name] = PcapReader(self._path(name + ".pcap"))

    def _add_port_words(self, slot, port):
        name = self.port(slot, port)
        words = ["--", "add-port", self.bridge(slot), name,
                 "--", "set", "interface", name, "type=" + self.port_type,
                 "ofport_request=%d" % PORTS[port],
                 "options:tx_pcap=" + self._path(name + ".pcap")]
        words += self.port_options
        if self.nic is not None and port in ROLES:
            words += ["other_config:nic=emu0",
                      "other_config:nic-role=" + ROLES[port]]
        return words

    @staticmethod
    def bridge(slot):
        return "s%d" % slot

    @staticmethod
    def port(slot, port):
        return "s%d%s" % (slot, port)

    def set_flows(self, tables):
        """Makes each of 'tables', lists of flows, the whole flow table of the
        bridge of the slot that is its key."""
        for slot, flows in tables.items():
            self.change_flows(slot, ["delete"] + ["add " + f for f in flows])

    def change_flows(self, slot, changes, *options):
        """'changes' are lines as ovs-ofctl's add-flows takes them, e.g.
        "delete_strict table=1,tcp"."""
        self._run("ovs-ofctl", *options, "add-flows",
                  "unix:" + self._path(self.bridge(slot) + ".mgmt"), "-",
                  text="\n".join(changes) + "\n")

    def ofctl(self, bridge, command, *args):
        self._run("ovs-ofctl", "-OOpenFlow13", command,
                  "unix:" + self._path(bridge + ".mgmt"), *args)

    # Commands.

    def command(self, *words):
        """Returns the result.  An error raises SwitchError."""
        result, error = self.ctl.request_all([words])[0]
        if error is not None:
            raise SwitchError("%s: %s: %s" % (self.label, " ".join(words),
                                              error.strip()))
        return result

    def main_loop(self, n=2):
        """Waits until the main thread went 'n' times through its loop.  Then
        as many injected packets of each port are carried out, and revalidation
        knows what changed."""
        while n > 0:
            # The first one of them may be served without a new turn.
            for ctl in reversed(self.turns):
                ctl.request_all([["version"]])
                n -= ctl is not self.turns[-1]
                if n <= 0:
                    break

    def carry_out(self, n):
        """Waits until injected packets are carried out, at most 'n' in one
        queue."""
        self.main_loop(n)

    def inject(self, queues):
        """Injects packets: 'queues' is a dictionary from (slot, port, receive
        queue) to lists of at most MAX_QUEUE frames in hex.  Those of one queue
        are carried out one after the other.  Returns when all are.  The result
        are errors, by (slot, port)."""
        requests = []
        for (slot, port, queue), frames in queues.items():
            words = ["netdev-dummy/receive", self.port(slot, port)]
            if self.n_queues > 1:
                words += ["--qid", str(queue)]
            requests.append(words + frames)
        replies = self.ctl.request_all(requests)
        self.carry_out(max(len(frames) for frames in queues.values()))
        return {key[:2]: error for key, (_, error) in zip(queues, replies)
                if error}

    def control(self, slot, words):
        """Carries out a control event of a script; see scenario.py."""
        verb, args = words[0], words[1:]
        if verb == "flow":
            self.change_flows(slot, args)
        elif verb == "flush-conntrack":
            # It fails if there is no such connection.
            self.ctl.request_all([["dpctl/flush-conntrack"] + args])
        elif verb == "del-port":
            self.vsctl("del-port", self.port(slot, args[0]))
        elif verb == "add-port":
            self.vsctl(*self._add_port_words(slot, args[0])[1:])
        elif verb == "revalidate":
            self.revalidate()
        elif verb == "vsctl":
            self.vsctl(*args)
        elif verb == "ofctl":
            self.ofctl(self.bridge(slot), *args)
        elif verb == "ofctl-at":
            self.ofctl(*args)
        elif verb == "appctl":
            self.command(*args)
        elif self.nic is None:
            pass
        elif verb == "set-open":
            self.vsctl("set", "open", ".", "other_config:" + args[0])
        elif verb == "set-port":
            self.vsctl("--if-exists", "set", "interface",
                       self.port(slot, args[0]),
                       "other_config:" + args[1])
        elif verb == "nic":
            self.command("nic-emu/" + args[0], "emu0", *args[1:])
        elif verb == "ct-offload":
            self.command("ct-offload/" + args[0], *args[1:])
        else:
            raise SwitchError("%s: no such event" % verb)

    def revalidate(self, purge=False):
        """Revalidates all megaflows, or deletes them if 'purge': follows the
        flow tables and collects what the datapath counted."""
        self.main_loop()
        # What purges while revalidators run misses what they hold.  When they
        # are resumed, they begin anew.
        self.command("revalidator/pause")
        if purge:
            self.command("revalidator/purge")
        self.waiter.send([["revalidator/wait"]])
        self.main_loop()
        self.command("revalidator/resume")
        # The main thread may be asleep again when it should answer.
        while not self.waiter.has_reply(POKE_INTERVAL):
            self.command("version")
        self.waiter.receive(1)

    def warp(self, ms, step_ms=LONG_STEP_MS):
        """Lets time pass."""
        if ms > 0:
            self.command("time/warp", str(ms), str(min(ms, step_ms)))
            self.now_ms += ms

    def sync_nic(self, timeout_ms=None):
        """Waits until the NIC followed all that is known.  Time passes as far
        as it takes, or 'timeout_ms'."""
        if self.nic is None:
            return
        self.waiter.send([["ct-offload/sync",
                           str(timeout_ms or SYNC_TIMEOUT_MS)]])
        while not self.waiter.has_reply(POKE_INTERVAL):
            self.warp(SHORT_STEP_MS)
        _, error = self.waiter.receive(1)[0]
        if error is not None and not timeout_ms:
            raise SwitchError("%s: ct-offload/sync: %s"
                              % (self.label, error.strip()))

    def sync(self):
        """Waits until revalidation followed the flow tables, and the NIC
        followed that."""
        self.revalidate()
        self.sync_nic()

    def settle(self, zones):
        """Waits until no connection of 'zones' that sees a FIN or RST is in
        the NIC, also if others made the NIC hold back completions.  That must
        not take so long that silence is an answer."""
        self.command("nic-emu/fault", "emu0", "release")
        self.sync_nic(SETTLE_TIMEOUT_MS)
        while any(conn["zone"] in zones and conn["state"] == "withdrawing"
                  for conn in self.connections()):
            self.warp(SHORT_STEP_MS)

    def purge(self):
        """Deletes all megaflows."""
        self.revalidate(purge=True)
        self.sync()

    def read_output(self, slot):
        """Returns what left since the last call, a list of frames for each
        port."""
        return {port: self.readers[self.port(slot, port)].read()
                for port in PORTS}

    def reset(self, reassemble):
        """Forgets what cases left behind.  'reassemble' is whether conntrack
        reassembles fragments."""
        for family in ("v4", "v6"):
            self.command("dpctl/ipf-set-%s" % ("enabled" if reassemble
                                               else "disabled"), family)
        self.command("dpctl/flush-conntrack")
        for slot in range(self.n_slots):
            self.command("fdb/flush", self.bridge(slot))
        if self.nic is not None:
            self.command("nic-emu/fault", "emu0", "none")

    def conntrack(self):
        return self.command("dpctl/dump-conntrack", "-m",
                            "-s").splitlines()

    def flows(self, slot):
        return self.command("bridge/dump-flows",
                            self.bridge(slot)).splitlines()

    def connections(self):
        """Returns what the offload knows of connections."""
        if self.nic is None:
            return []
        return json.loads(self.command("ct-offload/dump-connections",
                                       "--json"))["connections"]

    def nic_counters(self):
        nics = json.loads(self.command("nic/show", "--json"))["nics"]
        return nics[0] if nics else {}

    def show(self):
        return json.loads(self.command("ct-offload/show", "--json"))
