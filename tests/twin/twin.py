#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The twin test: the same packets through stock ovs-vswitchd and through
ours, without and with offload, must give the same results.

Exit status: 0 if all cases passed, 1 if not, 77 if nothing could be run.
"""

import argparse
import collections
import itertools
import json
import os
import shutil
import signal
import sys
import tempfile
import time

import features
import fixed
import mixed
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
        help="number of random cases, of consecutive seeds; default: 200")
    add("--feature", action="append", default=[],
        help="only random cases that have this feature, or another one that\n"
             "is given so; reports list features")
    add("--seconds", type=float, default=None,
        help="run random cases for so long")
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
    add("--slots", type=int, default=24, help="cases that run at once")
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

    def make(label, binary, **how):
        return vswitchd.Switch(label, binary, programs, args.schema,
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


def carried_with(feature, case, carried):
    """Returns how many packets of connections with 'feature' are in 'carried',
    by Connection.key().  What is no feature of single connections is one of
    all."""
    having = [key for key, features in case.conn_features.items()
              if feature in features]
    return sum(n for key, n in carried.items()
               if key in having or not having)


class Totals:
    """What the run has shown."""

    def __init__(self):
        self.passed = self.failed = self.packets = 0
        self.permitted = collections.Counter()
        self.uncounted = 0
        self.features = collections.defaultdict(collections.Counter)
        self.cases_carried = collections.Counter()
        self.reasons = collections.Counter()

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
            if any(carried.values()):
                self.cases_carried[label] += 1
            for feature in result.case.features:
                self.features[feature][label] += carried_with(
                    feature, result.case, carried)
        for feature in result.case.features:
            self.features[feature]["cases"] += 1

    def print(self, switches, counters):
        labels = [s.label for s in switches if s.nic is not None]
        print("\nCarried by the NIC (cases with packets carried, of %d; "
              "packets carried, dropped, missed):"
              % (self.passed + self.failed))
        for label in labels:
            c = counters[label]
            print("  %-16s %5d cases  %8d carried %7d dropped %8d missed"
                  % (label, self.cases_carried[label], c["carried_packets"],
                     c["dropped_packets"], c["missed_packets"]))
        print("\nCases per feature, and packets that the NIC carried of "
              "connections with it:")
        print("  %-34s %6s  %s" % ("", "cases", "  ".join(labels)))
        for feature in sorted(self.features):
            count = self.features[feature]
            print("  %-34s %6d  %s" % (
                feature, count["cases"],
                "  ".join("%*d" % (len(label), count[label])
                          for label in labels)))
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
                  "cases" % self.uncounted)


class Test:
    def __init__(self, args):
        self.args = args
        self.totals = Totals()
        self.directory = args.directory or tempfile.mkdtemp(prefix="twin-")
        os.makedirs(self.directory, exist_ok=True)
        self.kept = False
        self.switches = []
        self.n_started = 0
        self.counters = collections.defaultdict(collections.Counter)

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
                    self.counters[switch.label][key] += counters[key]
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
        if args.fixed != "no":
            cases = fixed.cases(args.case) + features.cases(args.case)
            for i in range(0, len(cases), n):
                yield cases[i:i + n]
            if args.fixed == "only" or args.case:
                return
        count = args.count or (None if args.seconds else 200)
        end = time.monotonic() + (args.seconds or float("inf"))
        random_cases = self.random_cases()
        while time.monotonic() < end and (count is None or count > 0):
            m = n if count is None else min(n, count)
            yield list(itertools.islice(random_cases, m))
            count = None if count is None else count - m

    def random_cases(self):
        wanted = set(self.args.feature)
        for seed in itertools.count(self.args.seed):
            case = mixed.random_case(seed)
            if not wanted or wanted & case.features:
                yield case

    def run(self):
        """Returns the exit status."""
        started = time.monotonic()
        self.start()
        for cases in self.rounds():
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
        self.totals.print(self.switches, self.counters)
        self.check_vacuous()
        seconds = time.monotonic() - started
        total = self.totals.passed + self.totals.failed
        print("%d packets in %d cases, %.0f s, %.1f cases/s"
              % (self.totals.packets, total, seconds, total / seconds))
        print("%d passed, %d failed, 0 skipped"
              % (self.totals.passed, self.totals.failed))
        return 1 if self.totals.failed else 0

    def check_carried(self, result):
        """A fixed scenario that is about the NIC must use it."""
        if self.args.equal_only:
            return
        for label, carried in result.carried.items():
            result.reports[label].output += features.check(
                result.case, label, sum(carried.values()),
                result.reasons[label])
            if (result.case.must_carry and label.endswith("-typical")
                    and not any(carried.values())):
                result.reports[label].output.append(
                    "the NIC carried nothing (reasons: %s)"
                    % result.reasons[label])

    def check_vacuous(self):
        """A configuration in which the NIC did nothing proves nothing."""
        if self.args.replay or self.totals.failed:
            return
        for switch in self.switches:
            if (switch.nic is not None
                    and not self.counters[switch.label]["carried_packets"]):
                print("FAILED: %s: the NIC carried nothing" % switch.label)
                self.totals.failed += 1
            if switch.nic is None:
                continue
            for feature, count in sorted(self.totals.features.items()):
                if (feature not in NEVER_CARRIED
                        and count["cases"] >= FLOOR_CASES
                        and (count[switch.label]
                             < count["cases"] * FLOOR_PACKETS)):
                    print("FAILED: %s: the NIC carried only %d packets of "
                          "connections with \"%s\", of %d cases"
                          % (switch.label, count[switch.label], feature,
                             count["cases"]))
                    self.totals.failed += 1

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
                print("To run it again: --seed %d --count 1 --nic-seed %d; "
                      "with those that ran with it: --seed %d --count %d%s"
                      % (case.seed, self.args.nic_seed, cases[0].seed,
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
