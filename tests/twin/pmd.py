# SPDX-License-Identifier: Apache-2.0
"""A switch whose ports are served by several PMD threads.

Its ports are of type dummy-pmd, with N_QUEUES receive queues each.  PMD thread
number i serves queue number i of all ports, so that who chooses the queue of a
packet chooses the thread that carries it out.  The threads work at the same
time, beside the main thread: each has its own copies of megaflows, and they
share conntrack, the flow tables, the emulated NIC and the ports' devices.

Order.  OVS promises it within a queue, and so does nothing more here: packets
of one sequence that are injected at once go to one queue.  Sequences that are
carried out at the same time may overtake each other.

When packets are carried out.  A thread polls its queues in turn; one turn is
an iteration, which OVS counts as it ends.  In each, it takes one packet of
each queue and carries it out to the end, upcall and transmission included,
before it looks at the next queue.  Suppose that a thread has counted I
iterations after the injection, and that at most N packets wait in one queue.
The iteration that is under way may be past some queue already.  (The iteration
before it is among the I: who injects takes the lock of the queue, and the
thread had it in between.)  Those after it take a packet of each queue as long
as there are any.  So when I + 1 + N are counted, all are carried out, whether
they left by a port, went to the NIC or were dropped, and neither does it
matter how long anything took.  When an iteration is cut short as a thread
reloads its queues, it is not counted.

Time that stands still.  PMD threads take it as it is.  They let RCU go on, and
with it whoever waits for what they may still use, each 1024 iterations or each
10 ms of that time; then only the former counts.  So the threads must not be
made to sleep (other_config:pmd-maxsleep): they would hold up all others.  As
the switch ends, it waits for RCU for each of its ports; time passes meanwhile.
"""

import concurrent.futures
import re
import time

import vswitchd

N_THREADS = 2
N_QUEUES = N_THREADS

# More time than passes until a switch has ended; the steps are such that each
# lets RCU go on.
END_MS = 1000000000
END_STEP_MS = 11

SHOW = ("dpif-netdev/pmd-perf-show", "-nh", "-it", "0", "-ms", "0")
THREAD = re.compile(r"pmd thread numa_id \d+ core_id (\d+)")


class PmdSwitch(vswitchd.Switch):
    n_queues = N_QUEUES
    port_type = "dummy-pmd"
    port_options = [
        "options:n_rxq=%d" % N_QUEUES, "options:numa_id=0",
        'other_config:pmd-rxq-affinity="%s"' % ",".join(
            "%d:%d" % (i, i) for i in range(N_QUEUES))]
    program_options = ["--dummy-numa=" + ",".join(["0"] * N_THREADS)]
    settings = ["other_config:pmd-cpu-mask=%x" % ((1 << N_THREADS) - 1)]

    def start(self):
        super().start()
        # OVS shows no counters in the first millisecond of a thread's life.
        self.warp(vswitchd.SHORT_STEP_MS)
        threads = self.counters("Iterations")
        if sorted(threads) != list(range(N_THREADS)):
            raise vswitchd.SwitchError("%s: PMD threads %s"
                                       % (self.label, sorted(threads)))

    def stop(self):
        if self.waiter:
            self.waiter.send([["time/warp", str(END_MS), str(END_STEP_MS)]])
        super().stop()

    def set_flows(self, tables):
        # All wait for RCU at the same time.
        with concurrent.futures.ThreadPoolExecutor(len(tables)) as pool:
            list(pool.map(lambda slot: super(PmdSwitch, self).set_flows(
                {slot: tables[slot]}), tables))

    def change_flows(self, slot, changes, *options):
        # Each change of a flow table waits for RCU: all as one.  OpenFlow 1.4,
        # which has that, lacks some actions.
        try:
            super().change_flows(slot, changes, "--bundle", *options)
        except vswitchd.SwitchError as error:
            if "usable flow formats" not in str(error):
                raise
            super().change_flows(slot, changes, *options)

    def counters(self, name):
        """Returns a counter of PMD threads, by number of the thread."""
        found, thread = {}, None
        for line in self.command(*SHOW).splitlines():
            match = THREAD.match(line)
            if match:
                thread = int(match.group(1))
                continue
            title, _, value = line.partition(":")
            if thread is not None and title.strip() == name:
                found[thread] = int(value.split()[0])
        return found

    def carry_out(self, n):
        """Waits until the threads have carried out all injected packets, at
        most 'n' in one queue; see above."""
        wanted = {thread: count + 1 + n
                  for thread, count in self.counters("Iterations").items()}
        deadline = time.monotonic() + vswitchd.COMMAND_TIMEOUT
        while any(count < wanted[thread] for thread, count
                  in self.counters("Iterations").items()):
            if time.monotonic() > deadline:
                raise vswitchd.SwitchError("%s: PMD threads stand still"
                                           % self.label)
        # Revalidation knows what they changed.
        self.main_loop()

    def packets_by_thread(self):
        """Returns how many packets each PMD thread received."""
        return {"packets of thread %d" % thread: n
                for thread, n in self.counters("Rx packets").items()}

    def count_copies(self):
        """Returns how many different megaflows there are, and how many of them
        several PMD threads have."""
        threads, thread = {}, None
        for line in self.command("dpctl/dump-flows").splitlines():
            match = re.match("flow-dump from (.*)", line)
            if match:
                thread = match.group(1)
            elif "actions:" in line:
                key = re.sub(r"packets:.*, actions:", "actions:", line)
                threads.setdefault(key, set()).add(thread)
        return {"megaflows": len(threads),
                "megaflows of several threads": sum(
                    len(t) > 1 for t in threads.values())}


# Coverage.  'threads' is a dictionary from switch to counters, as
# packets_by_thread() and count_copies() return them.

# What each PMD thread must at least do of all packets, and how much several
# threads must share of what there is, in percent.
FLOOR_PERCENT = 10


def report(threads):
    """Returns lines that tell what PMD threads did."""
    return ["  %-16s %s" % (label, ", ".join(
        "%d %s" % (n, what) for what, n in sorted(count.items())))
            for label, count in threads.items()]


def vacuous(threads):
    """Returns what proves nothing about several threads, a list of texts."""
    found = []
    for label, count in threads.items():
        packets = [count["packets of thread %d" % i]
                   for i in range(N_THREADS)]
        shares = [("thread %d received" % i, n, sum(packets), "packets")
                  for i, n in enumerate(packets)]
        shares += [("several threads had",
                    count[what + " of several threads"], count[what], what)
                   for what in ("megaflows", "sequences")]
        found += ["%s: %s only %d of %d %s" % ((label,) + share)
                  for share in shares
                  if share[1] * 100 < share[2] * FLOOR_PERCENT or not share[2]]
    return found
