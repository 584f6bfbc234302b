#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Shows that the tests bite: builds with each deliberate defect of
tests/mutants.list in turn must fail the test that is named there, on seeds
that were never used before.

The build without any of them must pass the same tests first; random cases are
run without the defect when they have failed with it.  A case that fails must do
so again: that the machine is too busy for a test now and then proves nothing.
What counts is a difference in packets, in the state of connections, in
statistics, or in what the NIC carried; that of a simulation is an invariant that
holds whatever the defect is.

Ends with the line "N of M mutants caught".  Exit status: 0 if all were caught,
1 if not.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

N_RANDOM = 192                  # Cases at most, for each mutant.
N_SEEDS = (10, 100)             # Of each kind of simulation; more if that many
                                # show nothing.
TWIN_TIMEOUT = 1200             # Seconds, for one run.
CHECK_TIMEOUT = 600

# What the twin test says when the NIC did nothing, which is no difference: so
# few cases may have a hostile NIC that refuses them all.
VACUOUS = ": the NIC carried"

# The thread sanitizer of GCC 12 cannot bear as much randomization of addresses
# as newer kernels do.
WITHOUT_ASLR = (["setarch", "-R"] if subprocess.call(
    ["setarch", "-R", "true"], stderr=subprocess.DEVNULL) == 0 else [])

SRCDIR = os.environ.get("srcdir", ".")


class Mutant:
    def __init__(self, line):
        self.name, self.kind, self.test, self.what = [
            word.strip() for word in line.split("|")]
        self.test, _, cases = self.test.partition(":")
        self.cases = [name.strip() for name in cases.split(";") if cases]


def read_list():
    with open(os.path.join(SRCDIR, "tests", "mutants.list")) as file:
        return [Mutant(line) for line in file
                if line.strip() and not line.startswith("#")]


def check_list(mutants):
    """Exits if code and list do not name the same mutants."""
    in_code = set()
    for folder in ("lib", "datapath-offload", "ofproto-ext"):
        path = os.path.join(SRCDIR, folder)
        for name in os.listdir(path):
            if name.endswith((".c", ".h")) and name != "mutant.h":
                with open(os.path.join(path, name)) as source:
                    in_code |= set(re.findall(r"\bMUTANT\((\w+)\)",
                                              source.read()))
    listed = {mutant.name for mutant in mutants}
    for name in sorted(in_code ^ listed):
        print("%s: not in %s" % (name, "tests/mutants.list"
                                 if name in in_code else "the code"))
    if in_code != listed:
        sys.exit(1)


def run(argv, mutant, seconds, **environment):
    """Runs 'argv' with 'mutant', a name or None.  Returns its exit status,
    None if it took longer than 'seconds', and what it printed."""
    env = dict(os.environ, **environment)
    env.pop("HANDOFF_MUTANT", None)
    if mutant:
        env["HANDOFF_MUTANT"] = mutant
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        child = subprocess.Popen(argv, env=env, stdout=output,
                                 stderr=subprocess.STDOUT,
                                 start_new_session=True)
        try:
            status = child.wait(seconds)
        except subprocess.TimeoutExpired:
            status = None
            # It may have children to stop.
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        except BaseException:
            child.send_signal(signal.SIGTERM)
            child.wait()
            raise
        output.seek(0)
        return status, output.read()


class TookTooLong(Exception):
    """A test did not end.  That may be due to the machine, so it proves
    nothing."""

    def __str__(self):
        return "%s took too long" % self.args[0]


class Tests:
    """The tests, of the builds in 'build' and 'tsan_build'."""

    def __init__(self, build, tsan_build, seed):
        self.build = build
        self.tsan_build = tsan_build
        self.seed = seed

    def twin(self, mutant, *how):
        """Returns what the twin test found, by case, and how many cases it
        ran."""
        ovs = os.environ["ovs_builddir"]
        argv = [sys.executable,
                os.path.join(SRCDIR, "tests", "twin", "twin.py"),
                "--stock-bin", os.environ.get(
                    "stock_vswitchd", ovs + "/vswitchd/ovs-vswitchd"),
                "--bin", os.path.join(self.build, "vswitchd", "ovs-vswitchd"),
                "--ovs-bin-dirs", "%s/ovsdb:%s/utilities" % (ovs, ovs),
                "--schema", os.path.join(os.environ["ovs_srcdir"],
                                         "vswitchd/vswitch.ovsschema"),
                "--without-off", "--shrink-seconds", "0",
                "--max-failures", "1", "--nic-seed", str(self.seed)]
        status, output = run(argv + list(how), mutant, TWIN_TIMEOUT,
                             PYTHONDONTWRITEBYTECODE="1")
        if status is None:
            raise TookTooLong("twin.py")
        count = re.search(r"(\d+) packets in (\d+) scripts", output)
        findings = self.twin_findings(output)
        if status != 0 and not findings and VACUOUS not in output:
            findings[""] = "exit status %d: %s" % (status, output[-300:])
        return findings, int(count.group(2)) if count else 0

    @staticmethod
    def twin_findings(output):
        """Returns the first difference in each case, by its name, or "" for
        what is of no case."""
        findings = {}
        case = None
        for line in output.splitlines():
            failed = re.match(r"FAILED: (.*)", line)
            difference = re.match(r"  ([\w-]+): (.*)", line)
            died = re.match(r"\S+ died:", line)
            if died:
                findings[""] = line
            elif failed:
                case = failed.group(1) if VACUOUS not in line else None
                if case:
                    findings.setdefault(case, "?")
            elif case and difference and findings[case] == "?":
                findings[case] = "%s: %s" % difference.groups()
        return findings

    # Each of the rest returns what was found, None if nothing, and how many
    # cases it took.

    def random(self, mutant, features):
        how = ["--equal-only", "--fixed", "no"]
        for name in features:
            how += ["--feature", name]
        seed = self.seed
        total = 0
        while total < N_RANDOM:
            findings, n = self.twin(mutant, *how, "--seed", str(seed),
                                    "--count", str(N_RANDOM - total))
            total += n
            seeds = [int(name[len("seed "):]) for name in findings
                     if re.match(r"seed \d+$", name)]
            doubtful = ([(bad, 1) for bad in seeds[:3]]
                        or [(seed, n + 1)] * bool(findings))
            for first, count in doubtful:
                same = how + ["--seed", str(first), "--count", str(count)]
                again = self.twin(mutant, *same)[0]
                if again and not self.twin(None, *same)[0]:
                    return ("%s: %s" % next(iter(again.items())),
                            "%d cases" % total)
            seed = max(seeds, default=seed + n) + 1
            total += not n
        return None, "%d cases" % total

    def scenario(self, mutant, names):
        how = []
        for name in names:
            how += ["--case", name]
        # What the NIC carries matters only where nothing must be.
        if not all(name.startswith("software") for name in names):
            how.append("--equal-only")
        how += ["--fixed", "only"]
        findings, n = self.twin(mutant, *how)
        if findings and mutant:
            findings = self.twin(mutant, *how)[0]
        found = ["%s: %s" % item for item in findings.items()]
        return found[0] if found else None, "%d cases" % n

    def check(self, build, program, mutant, *prefix, **environment):
        argv = [*prefix, os.path.join(build, "tests", program)]
        status, output = run(argv, mutant, CHECK_TIMEOUT,
                             CK_TIMEOUT_MULTIPLIER="1", **environment)
        if status is None:
            raise TookTooLong(program)
        count = re.search(r"Checks: (\d+)", output)
        n = count.group(1) + " runs" if count else "?"
        if status == 0:
            return None, n
        race = re.search(r"WARNING: (ThreadSanitizer: .*?) \(pid=\d+\)"
                         r"\n(?:.*\n)*?    #0 (\w+)", output)
        if race:
            return "%s in %s()" % race.groups(), n
        failure = re.search(r"[\w-]+\.[ch]:\d+:[FE]:[\w-]+:(.*)", output)
        return failure.group(1) if failure else output[-300:], n

    def simulation(self, mutant, _):
        for n_seeds in N_SEEDS if mutant else N_SEEDS[-1:]:
            found, n = self.check(self.build, "test-engine", mutant,
                                  CK_FORK="yes", ENGINE_SEED=str(self.seed),
                                  ENGINE_SEEDS=str(n_seeds))
            if found:
                break
        return found, n

    def threads(self, mutant, _):
        return self.check(self.tsan_build, "test-engine-thread", mutant,
                          *WITHOUT_ASLR, CK_FORK="no")


def attempt(tests, name, mutant, cases):
    """Runs the test 'name'.  Returns what it found, None if nothing, and a
    description of that or of how much was run."""
    try:
        found, n = getattr(tests, name)(mutant, cases)
    except TookTooLong as error:
        return None, str(error)
    return found, n


def pass_without(tests, mutants):
    """Runs the tests of 'mutants' without a defect.  Returns true if they
    find nothing."""
    passed = True
    for name in dict.fromkeys(m.test for m in mutants
                              if m.test != "random"):
        cases = list(dict.fromkeys(case for m in mutants if m.test == name
                                   for case in m.cases))
        found, n = attempt(tests, name, None, cases)
        late = "too long" in n
        print("%-22s %-10s %s (%s)"
              % ("no mutant", name, "FAILED: " + found if found
                 else "FAILED" if late else "passes", n), flush=True)
        passed = passed and not found and not late
    return passed


def catch(tests, mutant):
    """Returns true if the test of 'mutant' catches it."""
    then = time.monotonic()
    found, n = attempt(tests, mutant.test, mutant.name, mutant.cases)
    print("%-22s %-10s %s: %s (%s, %.0f s)"
          % (mutant.name, mutant.test, "caught" if found else "NOT CAUGHT",
             found or mutant.what, n, time.monotonic() - then), flush=True)
    return found is not None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", metavar="DIR",
                        help="where ovs-handoff was built, with mutants and "
                        "without TSan; without it the mutants that need one "
                        "are left out")
    parser.add_argument("--tsan-build", metavar="DIR",
                        help="the same with TSan")
    parser.add_argument("--seed", type=int, default=int(time.time()) % 2**30)
    parser.add_argument("--only", action="append", default=[],
                        metavar="MUTANT")
    args = parser.parse_args()

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    mutants = read_list()
    check_list(mutants)
    for name in set(args.only) - {m.name for m in mutants}:
        parser.error("no mutant \"%s\"" % name)
    wanted = [m for m in mutants if not args.only or m.name in args.only]
    chosen = [m for m in wanted
              if (args.tsan_build if m.test == "threads" else args.build)]
    tests = Tests(args.build, args.tsan_build, args.seed)
    print("seed %d" % args.seed)
    started = time.monotonic()

    if not pass_without(tests, chosen):
        print("Without a mutant these tests must pass.")
        return 1
    n_caught = sum(catch(tests, mutant) for mutant in chosen)
    for mutant in wanted:
        if mutant not in chosen:
            print("%-22s %-10s not run: needs a build with%s TSan"
                  % (mutant.name, mutant.test,
                     "" if mutant.test == "threads" else "out"))
    print("%d of %d mutants caught (%d not run, %.0f s)"
          % (n_caught, len(chosen), len(wanted) - len(chosen),
             time.monotonic() - started))
    return 0 if chosen and n_caught == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
