#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The twin test: the same packets through stock ovs-vswitchd and through
ours, without and with offload, must give the same results.

A random script is a pipeline and a number of connections.  A case is one of
these connections: its packets, and what happens to it.  Those with the same
pipeline, packets and events as another one are not counted.

Exit status: 0 if all cases passed, 1 if not, 77 if nothing could be run.
"""

import argparse
import collections
import itertools
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import features
import fixed
import mixed
import pmd
import rows
import runner
import scenario
import shrink
import vswitchd


def parse_arguments():
    env = os.environ.get
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    add("--seed", type=int, default=None,
        help="first seed; default: 1, with --seconds the time of day")
    add("--count", type=int, default=None,
        help="number of random scripts, of consecutive seeds; default: 200")
    add("--feature", action="append", default=[],
        help="only random scripts that have this feature, or another one that\n"
             "is given so; reports list features")
    add("--cases", type=int, default=None,
        help="instead, as many as it takes for so many cases")
    add("--jobs", type=int, default=1,
        help="processes among which all is divided")
    add("--job", type=int, default=None, help=argparse.SUPPRESS)
    add("--totals", default=None, help=argparse.SUPPRESS)
    add("--seconds", type=float, default=None,
        help="run random scripts for so long")
    add("--replay", metavar="FILE",
        help="run the cases in FILE, as written for a failure, instead")
    add("--fixed", choices=("yes", "no", "only"), default=None,
        help="the fixed scenarios; default: yes, with --seed no")
    add("--case", action="append", default=[],
        help="only the fixed scenario of this name")
    add("--equal-only", action="store_true",
        help="do not require of fixed scenarios that the NIC carries them")
    add("--modes", default="flat,module",
        help="of flat, module and off (ours, with offload off)")
    add("--profiles", default="typical,hostile", help="of the emulated NIC")
    add("--without-off", action="store_true",
        help="leave out ours with offload off")
    add("--self-check", action="store_true",
        help="compare stock with stock instead: what differs then is not due\n"
             "to offload, and the test must be made deterministic")
    add("--nic-seed", type=int, default=None,
        help="seed of the hostile NIC; default: the first seed")
    add("--pmd", action="store_true",
        help="several PMD threads serve the ports of all switches, see\n"
             "pmd.py; profiles come one after the other, each with scripts\n"
             "of its own, so that fewer threads compete")
    add("--slots", type=int, default=24, help="scripts that run at once")
    add("--max-idle", type=int, default=300000,
        help="other_config:max-idle, after which OVS deletes a megaflow")
    add("--stock-bin", default=env("TWIN_STOCK_BIN"),
        help="stock ovs-vswitchd; default: TWIN_STOCK_BIN")
    add("--bin", default=env("TWIN_BIN"),
        help="our ovs-vswitchd; default: TWIN_BIN")
    add("--ovs-bin-dirs", default=env("TWIN_OVS_BIN_DIRS", env("PATH")),
        help="where ovsdb-server, ovs-vsctl... are; default:\n"
             "TWIN_OVS_BIN_DIRS, else PATH")
    add("--schema", default=env("TWIN_SCHEMA"),
        help="vswitch.ovsschema; default: TWIN_SCHEMA")
    add("--directory", default=None,
        help="where to put run directories and failures; default: one in\n"
             "TMPDIR, removed afterwards")
    add("--keep", action="store_true", help="keep the run directories")
    add("--statistics", choices=("strict", "report"), default="strict",
        help="whether a difference in statistics alone fails a random case")
    add("--max-failures", type=int, default=3,
        help="stop after so many failed cases")
    add("--shrink-seconds", type=float, default=90,
        help="time for making a failed case short; 0: do not")
    add("--print", dest="show", action="store_true",
        help="print the scripts of the seeds, and run nothing")
    args = parser.parse_args()
    args.modes = args.modes.split(",")
    args.profiles = args.profiles.split(",")
    if args.fixed is None:
        args.fixed = "no" if args.seed is not None or args.replay else "yes"
    if args.seed is None:
        args.seed = int(time.time()) if args.seconds else 1
    if args.nic_seed is None:
        args.nic_seed = args.seed
    if not args.show:
        for key in ("stock_bin", "bin", "schema"):
            if not getattr(args, key):
                parser.error("--%s is needed" % key.replace("_", "-"))
            setattr(args, key, os.path.abspath(getattr(args, key)))
    return args


def make_switches(args, directory):
    """Returns the switches that take part, stock first."""
    programs = vswitchd.find_programs(args.ovs_bin_dirs.split(":"))
    kind = pmd.PmdSwitch if args.pmd else vswitchd.Switch

    def make(label, binary, **how):
        label += "-pmd" * args.pmd
        return kind(label, binary, programs, args.schema,
                    os.path.join(directory, label), args.slots,
                    max_idle=args.max_idle, **how)

    switches = [make("stock", args.stock_bin)]
    if args.self_check:
        return switches + [make("stock%d" % i, args.stock_bin)
                           for i in (2, 3, 4)]
    if not args.without_off:
        switches.append(make("off", args.bin))
    for mode in args.modes:
        for profile in args.profiles:
            nic = "profile=%s ct-module=%s seed=%d" % (
                profile, "true" if mode == "module" else "false",
                args.nic_seed & 0xffffffff)
            switches.append(make("%s-%s" % (mode, profile), args.bin,
                                 nic=nic, mode=mode))
    return switches


# A feature must have been in so many random cases before it matters how much
# the NIC carried, and then the NIC must have carried so many packets in each.
FLOOR_CASES = 10
FLOOR_PACKETS = 1

# Features of connections that no NIC carries, but for what noise makes of
# them.
NEVER_CARRIED = {"icmp echo", "udp one way"}


# In FULL_RUN cases, the NIC must have carried packets that used a row of
# doc/semantics.md in so many of them.
FULL_RUN = 10000
ROW_FLOOR = 50
# Rows have their turn one after the other, in fewer cases not each.
SHORT_RUN = 3000


def row_floor(n_cases):
    """Returns in how many of 'n_cases' cases each row must have been used:
    less in shorter runs, as chance has more weight there."""
    if n_cases >= FULL_RUN:
        return ROW_FLOOR
    if n_cases < SHORT_RUN:
        return 0
    return max(0, ROW_FLOOR * n_cases // FULL_RUN - 5)


def carried_with(feature, case, carried):
    """Returns how many packets of connections with 'feature' are in 'carried',
    by Connection.key().  What is no feature of single connections is one of
    all."""
    having = [key for key, features in case.conn_features.items()
              if feature in features]
    return sum(sum(n) for key, n in carried.items()
               if key in having or not having)


class Totals:
    """What the run has shown."""

    def __init__(self):
        self.passed = self.failed = self.packets = 0
        self.permitted = collections.Counter()
        self.uncounted = 0
        self.features = collections.defaultdict(collections.Counter)
        self.reasons = collections.Counter()
        self.digests = set()
        self.repeated = 0
        # Cases in which the NIC carried packets, by switch, and by row and
        # switch.
        self.cases_carried = collections.Counter()
        self.rows = collections.defaultdict(collections.Counter)
        self.counters = collections.defaultdict(collections.Counter)
        # What PMD threads did, by switch; see pmd.py.
        self.threads = collections.defaultdict(collections.Counter)

    def add(self, result):
        if result.failed():
            self.failed += 1
        else:
            self.passed += 1
        self.packets += result.case.n_packets()
        for label, report in result.reports.items():
            self.uncounted += report.uncounted
            for number, count in report.permitted.items():
                self.permitted[number] += count
            self.reasons.update(result.reasons[label])
            carried = result.carried[label]
            for feature in result.case.features:
                self.features[feature][label] += carried_with(
                    feature, result.case, carried)
        for feature in result.case.features:
            self.features[feature]["cases"] += 1
        for conn, digest in result.case.digests().items():
            if digest in self.digests:
                self.repeated += 1
            elif not result.failed():
                self.digests.add(digest)
                self.add_case(result, result.case.lives[conn])

    def add_case(self, result, life):
        for label, carried in result.carried.items():
            n = [max(carried.get(key, (0, 0))[d] for key in life["keys"])
                 for d in (0, 1)]
            self.cases_carried[label] += any(n)
            for row, which in life["rows"].items():
                self.rows[row][label] += bool(
                    {"orig": n[0], "reply": n[1], "any": sum(n)}[which])
        for row in life["rows"]:
            self.rows[row]["cases"] += 1

    def merge(self, other):
        """Adds those of another process."""
        for name, value in other.__dict__.items():
            mine = getattr(self, name)
            if isinstance(value, set):
                mine |= value
            elif isinstance(value, collections.defaultdict):
                for key, counter in value.items():
                    mine[key].update(counter)
            elif isinstance(value, collections.Counter):
                mine.update(value)
            else:
                setattr(self, name, mine + value)

    def print(self, labels):
        n_cases = len(self.digests)
        print("\nCarried by the NIC (cases with packets carried, of %d; "
              "packets carried, dropped, missed):" % n_cases)
        for label in labels:
            c = self.counters[label]
            print("  %-16s %5d cases  %8d carried %7d dropped %8d missed"
                  % (label, self.cases_carried[label], c["carried_packets"],
                     c["dropped_packets"], c["missed_packets"]))
        if self.threads:
            print("\nPMD threads (megaflows as they were once in each "
                  "script):")
            for line in pmd.report(self.threads):
                print(line)
        print("\nScripts per feature, and packets that the NIC carried of "
              "connections with it:")
        self.print_table(self.features, "scripts", labels)
        if n_cases:
            print("\nRandom cases per row of doc/semantics.md, and those in "
                  "which the NIC carried\npackets that used it (at least %d "
                  "each in a run of %d cases, %d in %d):"
                  % (ROW_FLOOR, FULL_RUN, row_floor(n_cases), n_cases))
            self.print_table({row: self.rows[row] for row in row_names()},
                             "cases", labels)
        print("\nWhy directions of connections were not carried: "
              + (", ".join("%s %d" % item
                           for item in self.reasons.most_common())
                 or "-"))
        print("Permitted differences (by number in the design, section 8): "
              + (", ".join("%s: %d times" % item for item
                         in sorted(self.permitted.items(), key=str))
                 or "none"))
        if self.uncounted:
            print("Statistics differed, not counted as failures: %d random "
                  "scripts" % self.uncounted)

    @staticmethod
    def print_table(rows, what, labels):
        print("  %-44s %7s  %s" % ("", what, "  ".join(labels)))
        for name in sorted(rows):
            count = rows[name]
            print("  %-44s %7d  %s" % (
                name, count["cases"],
                "  ".join("%*d" % (len(label), count[label])
                          for label in labels)))

    def vacuous(self, labels):
        """Returns what proves nothing because the NIC or PMD threads did too
        little, a list of texts."""
        found = pmd.vacuous(self.threads)
        found += ["%s: the NIC carried nothing" % label for label in labels
                 if not self.counters[label]["carried_packets"]]
        for label in labels:
            for feature, count in sorted(self.features.items()):
                if (feature not in NEVER_CARRIED
                        and count["cases"] >= FLOOR_CASES
                        and count[label] < count["cases"] * FLOOR_PACKETS):
                    found.append(
                        "%s: the NIC carried only %d packets of connections "
                        "with \"%s\", of %d scripts"
                        % (label, count[label], feature, count["cases"]))
            floor = row_floor(len(self.digests))
            found += ["%s: the NIC carried packets that used \"%s\" in only "
                      "%d cases instead of %d"
                      % (label, row, self.rows[row][label], floor)
                      for row in row_names() if self.rows[row][label] < floor]
        return found


def row_names():
    return [case.name for case in rows.scenarios()]


class Test:
    def __init__(self, args):
        self.args = args
        self.totals = Totals()
        self.directory = args.directory or tempfile.mkdtemp(prefix="twin-")
        os.makedirs(self.directory, exist_ok=True)
        self.kept = False
        self.switches = []
        self.n_started = 0

    # Switches.

    def start(self):
        self.n_started += 1
        self.switches = make_switches(
            self.args, os.path.join(self.directory, "run%d" % self.n_started))
        for switch in self.switches:
            switch.start()
        self.runner = runner.Runner(self.switches, self.args.statistics)

    def stop(self):
        """Stops the switches.  Returns defects that only show then."""
        bad, usual = [], set()
        for switch in self.switches:
            if not switch.ctl:
                continue
            if switch.nic is not None:
                counters = switch.nic_counters()
                for key in ("carried_packets", "dropped_packets",
                            "missed_packets"):
                    self.totals.counters[switch.label][key] += (
                        counters[key])
            if switch.n_queues > 1:
                self.totals.threads[switch.label].update(
                    self.runner.threads[switch.label]
                    + collections.Counter(switch.packets_by_thread()))
            try:
                switch.stop()
                complaints = switch.complaints()
                if switch is self.switches[0]:
                    usual = complaints
                bad += ["%s: %s" % (switch.label, line)
                        for line in sorted(complaints - usual)]
            except vswitchd.SwitchError as error:
                bad.append(str(error))
        return bad

    def kill(self):
        for switch in self.switches:
            switch.kill()
        if not self.args.keep and not self.args.directory:
            if not self.kept:
                shutil.rmtree(self.directory, ignore_errors=True)
            else:
                for i in range(1, self.n_started + 1):
                    shutil.rmtree(os.path.join(self.directory, "run%d" % i),
                                  ignore_errors=True)

    # Cases.

    def rounds(self):
        """Generates lists of cases that run together."""
        args, n = self.args, self.args.slots
        if args.replay:
            with open(args.replay) as replay:
                cases = [scenario.Case.from_dict(plain)
                         for plain in json.load(replay)]
            yield cases
            return
        job, jobs = args.job or 0, args.jobs
        if args.fixed != "no":
            cases = fixed.cases(args.case) + features.cases(args.case)
            for i in range(job * n, len(cases), jobs * n):
                yield cases[i:i + n]
            if args.fixed == "only" or args.case:
                return
        count = args.count
        if count is None and not args.seconds and not args.cases:
            count = 200
        if count is not None:
            # Of those that the processes do in turn, 'n' at a time.
            count = sum(max(min(n, count - i), 0)
                        for i in range(job * n, count, jobs * n))
        end = time.monotonic() + (args.seconds or float("inf"))
        random_cases = self.random_cases(job, jobs, n)
        while (time.monotonic() < end and (count is None or count > 0)
               and (not args.cases
                    or len(self.totals.digests) * jobs < args.cases)):
            m = n if count is None else min(n, count)
            yield list(itertools.islice(random_cases, m))
            count = None if count is None else count - m

    def random_cases(self, job, jobs, n):
        """Yields the random cases of process 'job' of 'jobs', which take 'n'
        seeds at a time in turn."""
        wanted = set(self.args.feature)
        for block in itertools.count(job, jobs):
            for i in range(n):
                case = mixed.random_case(self.args.seed + block * n + i)
                if not wanted or wanted & case.features:
                    yield case

    def run(self):
        """Returns the exit status."""
        started = time.monotonic()
        if self.args.jobs > 1 and self.args.job is None:
            self.run_jobs()
        elif self.args.pmd and not self.args.replay:
            self.run_profiles()
        else:
            self.run_rounds()
        if self.args.totals:
            with open(self.args.totals, "wb") as output:
                pickle.dump(self.totals, output)
            return 1 if self.totals.failed else 0
        labels = [s.label for s in make_switches(self.args, self.directory)
                  if s.nic is not None]
        self.totals.print(labels)
        if not (self.args.replay or self.totals.failed):
            for text in self.totals.vacuous(labels):
                print("FAILED: " + text)
                self.totals.failed += 1
        seconds = time.monotonic() - started
        total = self.totals.passed + self.totals.failed
        n_cases = len(self.totals.digests)
        print("%d packets in %d scripts with %d different random cases that "
              "passed (%d more were the same), %.0f s, %.1f cases/s"
              % (self.totals.packets, total, n_cases, self.totals.repeated,
                 seconds, n_cases / seconds))
        print("%d passed, %d failed, 0 skipped"
              % (self.totals.passed, self.totals.failed))
        return 1 if self.totals.failed else 0

    def run_jobs(self):
        """Runs several processes, and puts together what they found."""
        jobs = []
        for i in range(self.args.jobs):
            base = os.path.join(self.directory, "job%d" % i)
            os.makedirs(base, exist_ok=True)
            with open(base + ".txt", "wb") as output:
                jobs.append((base, subprocess.Popen(
                    [sys.executable] + sys.argv
                    + ["--job", str(i), "--totals", base + ".totals",
                       "--directory", base, "--seed", str(self.args.seed),
                       "--fixed", self.args.fixed,
                       "--nic-seed", str(self.args.nic_seed)],
                    stdout=output, stderr=subprocess.STDOUT,
                    preexec_fn=vswitchd.die_with_parent)))
        for base, job in jobs:
            code = job.wait()
            with open(base + ".txt", errors="replace") as output:
                sys.stdout.write(output.read())
            try:
                with open(base + ".totals", "rb") as totals:
                    self.totals.merge(pickle.load(totals))
            except FileNotFoundError:
                print("FAILED: a process ended with %d" % code)
                self.totals.failed += 1
        self.kept = bool(self.totals.failed)

    def run_profiles(self):
        """Runs one profile after the other, each with its share of all."""
        args = self.args
        everything = argparse.Namespace(**vars(args))
        shares = len(args.profiles)
        for i, profile in enumerate(everything.profiles):
            args.profiles = [profile]
            if args.seconds:
                args.seconds = everything.seconds / shares
                args.seed = everything.seed + i * 1000000
            elif args.count:
                args.count = -(-everything.count // shares)
                args.seed = everything.seed + i * args.count
            if self.totals.failed < args.max_failures:
                self.run_rounds()
        vars(args).update(vars(everything))

    def run_rounds(self):
        self.start()
        for cases in self.rounds():
            cases = scenario.without_uncounted(cases)
            try:
                results = self.runner.run(cases)
            except (vswitchd.SwitchError, KeyError, ValueError) as error:
                self.broken(cases, error)
                break
            for result in results:
                self.check_carried(result)
                self.totals.add(result)
            failed = [r for r in results if r.failed()]
            if failed:
                self.explain(cases, failed)
            if self.totals.failed >= self.args.max_failures:
                print("Stopping after %d failures." % self.totals.failed)
                break
        bad = self.stop()
        for line in bad:
            print("FAILED: " + line)
        self.totals.failed += len(bad)

    def check_carried(self, result):
        """A fixed scenario that is about the NIC must use it."""
        if self.args.equal_only:
            return
        for label in result.carried:
            n = result.n_carried(label)
            result.reports[label].output += features.check(
                result.case, label, n, result.reasons[label])
            if (result.case.must_carry and "-typical" in label
                    and not n):
                result.reports[label].output.append(
                    "the NIC carried nothing (reasons: %s)"
                    % result.reasons[label])

    def broken(self, cases, error):
        print("FAILED: %s" % error)
        for switch in self.switches:
            if switch.processes and switch.processes[-1].poll() is not None:
                print("%s died:\n%s" % (switch.label, switch.failure()))
        self.totals.failed += 1
        self.save(cases, "broken.json")
        for switch in self.switches:
            switch.kill()

    def save(self, cases, name):
        path = os.path.join(self.directory, name)
        with open(path, "w") as output:
            json.dump([case.to_dict() for case in cases], output)
        self.kept = True
        print("To replay: --replay %s" % path)

    def explain(self, cases, failed):
        for result in failed:
            case = result.case
            print("\nFAILED: %s" % case.name)
            if case.seed is not None:
                print("To run it again: --seed %d --count 1 --nic-seed %d%s; "
                      "with those that ran with it: --seed %d --count %d%s"
                      % (case.seed, self.args.nic_seed,
                         " --pmd --profiles " + self.args.profiles[0]
                         if self.args.pmd else "", cases[0].seed,
                         len(cases), "".join(" --feature '%s'" % feature
                                             for feature in
                                             self.args.feature)))
            for label, report in result.reports.items():
                for difference in report.all():
                    print("  %s: %s" % (label, difference))
        if self.args.shrink_seconds:
            for result in failed[:1]:
                short = shrink.shrink(self.runner, cases, result,
                                      self.args.shrink_seconds)
                self.save(short, "%s.json"
                          % result.case.name.replace(" ", "-"))
                for slot, case in enumerate(short):
                    print(case.describe(slot))
        sys.stdout.flush()


def main():
    args = parse_arguments()
    if args.show:
        for i in range(args.count or 1):
            print(mixed.random_case(args.seed + i).describe())
        return 0

    def interrupted(number, frame):
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, interrupted)
    signal.signal(signal.SIGHUP, interrupted)
    test = Test(args)
    try:
        return test.run()
    finally:
        test.kill()


if __name__ == "__main__":
    sys.exit(main())
