# SPDX-License-Identifier: Apache-2.0
"""Running cases on several switches at once.

Up to as many cases as a switch has slots run together: a *round*.  All
switches do the same phase at the same time; within a phase they are
independent of each other.  Packets of different sequences are injected in
turn, those of one sequence strictly one after the other; see scenario.py.
"""

import collections
import concurrent.futures
import zlib

import compare
import scenario
import vswitchd

# How long statistics and judgements may take to be at rest.
REST_TIMEOUT_MS = 8000
POLL_INTERVAL_MS = 200

# In so many turns of packets the time passes once, so that NICs get on with
# what they do.
TURNS_PER_STEP = 6


class Result:
    """What came out of one case."""

    def __init__(self, case, labels):
        self.case = case
        self.reports = {label: compare.Report() for label in labels}
        # Packets of both directions that the NIC carried, by Connection.key():
        # a dictionary for each switch.
        self.carried = {label: {} for label in labels}
        self.reasons = {label: {} for label in labels}

    def n_carried(self, label):
        """Returns how many packets the NIC of switch 'label' carried."""
        return sum(map(sum, self.carried[label].values()))

    def failed(self):
        return any(report.all() for report in self.reports.values())

    def kinds(self):
        """Returns which kinds of differences there are."""
        return {kind for report in self.reports.values()
                for kind in ("output", "conntrack", "stats")
                if getattr(report, kind)}


class Runner:
    """'switches' begins with stock's, to which the others are compared."""

    def __init__(self, switches, statistics="strict"):
        self.switches = switches
        self.statistics = statistics
        self.stock = switches[0]
        self.others = switches[1:]
        self.nic_labels = {s.label for s in switches if s.nic is not None}
        self.negative = set()
        # What PMD threads had in common, by switch; see pmd.py.
        self.threads = collections.defaultdict(collections.Counter)
        self.pool = concurrent.futures.ThreadPoolExecutor(len(switches))

    def each(self, function, switches=None):
        """Calls 'function' with each switch, at the same time.  Returns the
        results by label."""
        switches = self.switches if switches is None else switches
        futures = {s.label: self.pool.submit(function, s) for s in switches}
        # All must end before an exception is passed on.
        concurrent.futures.wait(futures.values())
        return {label: f.result() for label, f in futures.items()}

    def run(self, cases, quick=False):
        """Runs 'cases', at most one per slot, and returns a list of
        Results.  'quick' stops at the first difference in output, and does
        not look at anything else then."""
        slots = list(enumerate(cases))
        self.align()
        self.started_ms = self.stock.now_ms
        results = [Result(case, [s.label for s in self.others])
                   for case in cases]
        # A NIC that resets forgets what it has counted.
        lossy = any(case.has_event("nic", "reset") for case in cases)
        self.base = self.each(lambda switch: prepare(switch, slots))
        self.check_base(results)
        for phase in range(scenario.N_PHASES):
            errors = self.each(lambda switch: run_phase(switch, slots, phase))
            self.compare_errors(errors, results)
            if phase == scenario.SETTLE_PHASE:
                self.note_threads(slots)
                if not lossy and any(changes_flows(case, phase)
                                     for _, case in slots):
                    self.wait_for_stats(slots, results)
                self.each(self.note_carried(slots, results), self.others)
            self.each(lambda switch: end_phase(switch, slots, phase))
            if phase == scenario.JUDGE_PHASE:
                self.each(wait_for_judgement, self.others)
            self.align()
        self.compare_outputs(slots, results)
        if not (quick and all(r.failed() for r in results)):
            self.wait_for_rest(slots, results, lossy)
        self.each(lambda switch: clean_up(switch, slots))
        for slot, case in slots:
            for result in results[slot].reports.values():
                result.output = list(dict.fromkeys(result.output))
                if (self.statistics == "report" and result.stats
                        and case.name.startswith("seed ")):
                    result.uncounted = 1
                    result.stats = []
        return results

    def align(self):
        """Makes it the same time for all."""
        latest = max(switch.now_ms for switch in self.switches)
        self.each(lambda switch: switch.warp(latest - switch.now_ms),
                  [s for s in self.switches if s.now_ms < latest])

    # Comparing.

    def check_base(self, results):
        """When the megaflows of the last case were deleted, OVS's own flows
        got what was left to count.  It must not have been negative."""
        for switch in self.others:
            for slot, flows in self.base[switch.label].items():
                report = results[slot].reports[switch.label]
                report.output += [
                    "after the last case in this slot: %s: %s" % (
                        flow, compare.describe_count(count))
                    for flow, count in flows.items()
                    if max(count) >= 1 << 62
                    and (switch.label, slot, flow) not in self.negative]
                self.negative |= {(switch.label, slot, flow)
                                  for flow, count in flows.items()
                                  if max(count) >= 1 << 62}

    def compare_errors(self, errors, results):
        stock = errors[self.stock.label]
        for switch in self.others:
            for slot, result in enumerate(results):
                compare.compare_errors(stock[slot],
                                       errors[switch.label][slot],
                                       result.reports[switch.label])

    def compare_outputs(self, slots, results):
        outputs = self.each(lambda switch: [switch.read_output(slot)
                                            for slot, _ in slots])
        stock = outputs[self.stock.label]
        for switch in self.others:
            for slot, case in slots:
                compare.compare_output(case, stock[slot],
                                       outputs[switch.label][slot],
                                       switch.nic is not None,
                                       switch.n_queues > 1,
                                       results[slot].reports[switch.label])

    def compare_stats(self, todo, results):
        """Compares statistics of the slots in 'todo', by label.  Takes those
        out that are equal."""
        slots = sorted(set().union(*todo.values()))
        flows = self.each(lambda switch: {
            slot: compare.parse_flows(switch.flows(slot),
                                      self.base[switch.label][slot])
            for slot in slots
            if switch is self.stock or slot in todo[switch.label]})
        stock = flows[self.stock.label]
        for label in todo:
            for slot in list(todo[label]):
                report = results[slot].reports[label]
                report.stats = []
                compare.compare_flows(results[slot].case, stock[slot],
                                      flows[label][slot], report)
                if not report.stats:
                    todo[label].remove(slot)

    def wait_for_stats(self, slots, results):
        """Waits until statistics are equal.  What is different then will still
        be different in the end."""
        todo = {switch.label: {slot for slot, case in slots
                               if self.stats_count(case, switch.label)}
                for switch in self.others}
        for _ in range(0, REST_TIMEOUT_MS, POLL_INTERVAL_MS):
            self.each(lambda switch: switch.revalidate())
            self.compare_stats(todo, results)
            if not any(todo.values()):
                break
            self.pause()
        for slot, _ in slots:
            for report in results[slot].reports.values():
                report.stats = []

    def wait_for_rest(self, slots, results, lossy):
        """Waits until conntrack and, unless 'lossy', statistics are equal."""
        stats = {switch.label: {slot for slot, case in slots
                                if not lossy
                                and self.stats_count(case, switch.label)}
                 for switch in self.others}
        entries = {switch.label: {slot for slot, _ in slots}
                   for switch in self.others}
        equal = {label: set(slots) for label, slots in stats.items()}
        for _ in range(0, REST_TIMEOUT_MS, POLL_INTERVAL_MS):
            if any(entries.values()):
                self.compare_entries(entries, results)
            if any(stats.values()):
                self.each(lambda switch: switch.revalidate())
                self.compare_stats(stats, results)
            if not (any(entries.values()) or any(stats.values())):
                break
            self.pause()

        self.wait_for_counts(slots, results)

        # What was not counted yet must not be left to cases that follow: also
        # what nobody waited for, as it is not compared.
        if any(len(equal[label]) < len(slots) or stats[label]
               for label in equal):
            self.each(drain, self.others)

        # What was counted must not change when megaflows go.
        for label in equal:
            equal[label] -= stats[label]
        self.each(lambda switch: switch.purge())
        if any(equal.values()):
            self.compare_stats(equal, results)
        for label in equal:
            for slot in equal[label]:
                report = results[slot].reports[label]
                report.stats = ["after deletion of megaflows: " + text
                                for text in report.stats]

    def stats_count(self, case, label):
        """Whether statistics can be compared: not if permitted differences
        may have made packets take other flows, wherever they left."""
        return case.compare_stats and (label not in self.nic_labels
                                       or not compare.permits(case))

    def pause(self):
        """Lets NICs tell what they have counted."""
        def go_on(switch):
            switch.warp(POLL_INTERVAL_MS)
            switch.sync_nic()
        self.each(go_on)
        self.align()

    def compare_entries(self, todo, results):
        self.align()
        dumps = self.each(lambda switch: compare.parse_conntrack(
            switch.conntrack()))
        stock = dumps[self.stock.label]
        for switch in self.others:
            slots = todo[switch.label]
            for slot in list(slots):
                report = results[slot].reports[switch.label]
                report.conntrack = []
                for zone in results[slot].case.zones(slot):
                    compare.compare_conntrack(
                        zone, stock, dumps[switch.label],
                        (switch.now_ms - self.started_ms) / 1000,
                        switch.nic is not None, report)
                if not report.conntrack:
                    slots.remove(slot)

    # Coverage.

    def note_threads(self, slots):
        """Notes what PMD threads have in common."""
        if self.stock.n_queues == 1:
            return
        used = queues_used(slots, self.stock.n_queues)
        for label, counts in self.each(lambda s: s.count_copies()).items():
            counts["sequences"] = len(used)
            counts["sequences of several threads"] = sum(
                len(queues) > 1 for queues in used.values())
            self.threads[label].update(counts)

    def wait_for_counts(self, slots, results):
        """Notes what was carried.  What the NIC tells of connections may come
        later than what it tells of rules: waits while less is known than a
        case says."""
        self.each(self.note_carried(slots, results), self.others)
        for _ in range(0, REST_TIMEOUT_MS, POLL_INTERVAL_MS):
            short = [s for s in self.others if "-typical" in s.label
                     and any(results[slot].n_carried(s.label)
                             < case.carry.get(s.mode, 0)
                             for slot, case in slots)]
            if not short:
                break
            self.pause()
            self.each(self.note_carried(slots, results, False), short)

    @staticmethod
    def note_carried(slots, results, with_reasons=True):
        """Returns a function that notes of a switch how many packets of each
        case NICs have carried, as far as connections know it, and why they
        have not."""
        def note(switch):
            by_zone = {zone: results[slot] for slot, case in slots
                       for zone in case.zones(slot)}
            carried = collections.defaultdict(lambda: [0, 0])
            for conn in switch.connections():
                result = by_zone.get(conn["zone"])
                if result is None:
                    continue
                for d, direction in enumerate(("orig", "reply")):
                    n = conn[direction]["nic_packets"]
                    reason = conn[direction]["reason"]
                    carried[result, connection_key(conn)][d] += n
                    reasons = result.reasons[switch.label]
                    if not n and with_reasons:
                        reasons[reason] = reasons.get(reason, 0) + 1
            for (result, key), n in carried.items():
                seen = result.carried[switch.label]
                seen[key] = [max(a, b) for a, b
                             in zip(n, seen.get(key, (0, 0)))]
        return note


def connection_key(conn):
    """As Connection.key(), of an entry of ct-offload/dump-connections."""
    orig = conn["orig"]
    return "%s %s:%d>%s:%d" % (conn["proto"], orig["src"], orig["sport"],
                               orig["dst"], orig["dport"])


# What one switch does.

def render(text, case, slot, switch):
    """Fills in what depends on slot and switch."""
    if "{" not in text:
        return text
    text = text.replace("{zone}", str(case.zone(slot)))
    for i, zone in enumerate(case.zones(slot)):
        text = text.replace("{zone%d}" % (i + 1), str(zone))
    text = text.replace("{bridge}", switch.bridge(slot))
    text = text.replace("{mode}", switch.mode)
    for port, number in vswitchd.PORTS.items():
        text = text.replace("{%s}" % port, str(number))
    return text


def prepare(switch, slots):
    """Makes the switch as if nothing had happened before.  Returns the
    counters of flows at the beginning, by slot: OVS has some of its own."""
    switch.set_flows({slot: [] for slot, _ in slots})
    switch.revalidate(purge=True)
    # OVS holds back fragments for up to 15 s, and sends them with whatever
    # comes then.
    switch.reset(reassemble=all(case.reassemble for _, case in slots))
    for slot, case in slots:
        for op in case.setup:
            control(switch, slot, case, op["event"])
    switch.sync()
    switch.set_flows({slot: [render(flow, case, slot, switch)
                             for flow in case.flows]
                      for slot, case in slots})
    for slot, case in slots:
        switch.read_output(slot)
    switch.sync()
    return {slot: compare.parse_flows(switch.flows(slot)) for slot, _ in slots}


def control(switch, slot, case, event):
    switch.control(slot, [render(word, case, slot, switch)
                          for word in event])


def clean_up(switch, slots):
    """Takes back what the setup of cases did."""
    for slot, case in slots:
        if case.cleanup:
            switch.set_flows({slot: []})
        for op in case.cleanup:
            control(switch, slot, case, op["event"])


# So many packets of one sequence that enter by the same port are injected at
# once.
MAX_RUN = 6

# After so many turns, sequences go to other receive queues.
TURNS_PER_QUEUE = 8


class Sequences:
    """What is left to do of a phase, by sequence.  Ports have 'n_queues'
    receive queues."""

    def __init__(self, slots, phase, n_queues=1):
        self.slots = dict(slots)
        self.phase = phase
        self.n_queues = n_queues
        self.n_turns = 0
        # Receive queues of packets, by sequence.
        self.used = collections.defaultdict(set)
        self.left = {}
        self.last = {}
        for slot, case in slots:
            for op in case.phases[phase]:
                where = self.last if op.get("last") else self.left
                where.setdefault((slot, op.get("conn")), []).append(op)
        for ops in list(self.left.values()) + list(self.last.values()):
            ops.reverse()

    def take(self):
        """Returns what to do at once: a list of pairs (slot, event), and
        a dictionary from (slot, port, receive queue) to lists of frames."""
        self.n_turns += 1
        if not self.left:
            self.left, self.last = self.last, {}
        if all(self.at(key, "gather") for key in self.left):
            for ops in self.left.values():
                ops.pop()
        events, queues = [], {}
        for key, ops in list(self.left.items()):
            if ops and "event" in ops[-1]:
                if not self.at(key, "gather"):
                    events.append((key[0], ops.pop()["event"]))
            elif ops:
                self.take_packets(key, ops, queues)
            if not ops:
                del self.left[key]
        return events, queues

    def at(self, key, verb):
        ops = self.left[key]
        return ops and ops[-1].get("event") == [verb]

    def take_packets(self, key, ops, queues):
        port = ops[-1]["port"]
        where = key[0], port, self.queue(key, port)
        self.used[key].add(where[2])
        queue = queues.setdefault(where, [])
        for _ in range(MAX_RUN):
            if (not ops or ops[-1].get("port") != port
                    or len(queue) >= vswitchd.MAX_QUEUE):
                break
            queue.append(ops.pop()["hex"])

    def queue(self, key, port):
        """Returns the receive queue of 'port' in which packets of sequence
        'key' come in now.  As with RSS, both directions of a connection may be
        in different ones, and different connections too.  Every now and then
        it changes, as with RSS when queues are balanced anew."""
        text = "%s %s %d %d" % (key, port, self.phase,
                                self.n_turns // TURNS_PER_QUEUE)
        return zlib.crc32(text.encode()) % self.n_queues


def queues_used(slots, n_queues):
    """Returns in which receive queues packets of each sequence come in, by
    sequence."""
    used = {}
    for phase in range(scenario.N_PHASES):
        todo = Sequences(slots, phase, n_queues)
        while todo.left or todo.last:
            todo.take()
        for key, queues in todo.used.items():
            used.setdefault(key, set()).update(queues)
    return used


def run_phase(switch, slots, phase):
    """Runs the operations of 'phase'.  Returns the errors of injections, a
    list of texts per slot."""
    errors = [[] for _ in slots]
    todo = Sequences(slots, phase, switch.n_queues)
    while todo.left or todo.last:
        events, queues = todo.take()
        settling = set()
        for slot, event in events:
            if event[0] == "settle":
                case = todo.slots[slot]
                settling.update(int(render(zone, case, slot, switch))
                                for zone in event[1:])
            else:
                control(switch, slot, todo.slots[slot], event)
        if settling and switch.nic is not None:
            switch.settle(settling)
        if not todo.n_turns % TURNS_PER_STEP:
            switch.warp(vswitchd.SHORT_STEP_MS)
        if queues:
            for (slot, port), error in switch.inject(queues).items():
                errors[slot].append("%s: %s" % (port, error.replace(
                    switch.bridge(slot), "bridge").strip()))
    return [sorted(set(texts)) for texts in errors]


def changes_flows(case, phase):
    """Whether megaflows go at the end of 'phase'."""
    return any(op["event"][0] in ("flow", "del-port")
               for op in case.ends[phase])


def end_phase(switch, slots, phase):
    """Carries out the events at the end of 'phase' and waits until the switch
    has followed."""
    switch.main_loop()
    for slot, case in slots:
        for op in case.ends[phase]:
            control(switch, slot, case, op["event"])
    switch.sync()


def drain(switch):
    """Waits as long as statistics may lag.  Nothing tells when those that
    will never be equal come to rest."""
    if switch.nic is None:
        return
    period_ms = max([nic["stats_period_ms"] for nic in switch.show()["nics"]],
                    default=0)
    switch.warp(int(period_ms) + 1000)
    switch.sync_nic()
    switch.revalidate()


def wait_for_judgement(switch):
    """Waits until no FIN or RST is being judged any more."""
    for _ in range(0, REST_TIMEOUT_MS, POLL_INTERVAL_MS):
        states = {conn["state"] for conn in switch.connections()}
        if not states & {"judging", "withdrawing"}:
            return
        switch.warp(POLL_INTERVAL_MS)
        switch.sync_nic()
    raise vswitchd.SwitchError("%s: connections are still being judged"
                               % switch.label)
