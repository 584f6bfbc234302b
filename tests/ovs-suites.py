#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0

"""Runs Open vSwitch's own test suites with stock's ovs-vswitchd and with ours
and compares the results.

A suite is the one that Open vSwitch's source package brings, as it is; the
tests find our ovs-vswitchd through AUTOTEST_PATH.  It runs in these modes:

  stock    Open vSwitch's ovs-vswitchd
  off      ours, without offload
  flat     ours, offload on, every port of every test attached to an emulated
           NIC without a CT module
  module   the same, NIC with a CT module

The tests know nothing of the NIC: OVS_HANDOFF_TEST_NIC tells ovs-vswitchd
(datapath-offload/test-switch.h).

A test whose result differs from stock's is repeated, with both, until the two
have had the same result once, at most --repeat times.  What then still differs
is an error, and the exit status is 1.

As root everything runs in network, mount and process namespaces of its own, so
that the devices and namespaces of the suite meet nobody else's.
"""

import argparse
import collections
import ctypes
import fcntl
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

# Files of the suite in tests/testsuite.at that have tests with bridges, and so
# with conntrack, bonds, dpif-netdev or ofproto-dpif.
UNIT_FILES = '''
    alb bfd bridge bundle cfm dpctl dpif-netdev drop-stats lacp learn
    mcast-snooping mpls-xlate netdev-type nsh ofproto-dpif ofproto ovs-router
    ovs-vswitchd packet-type-aware pmd rstp stp tunnel tunnel-push-pop
    tunnel-push-pop-ipv6
'''.split()

# Tests that do not run as the others do, by title, and why.
SPECIAL = {
    'detached': (re.compile(r'^dpif-netdev - partial hw offload'),
                 'with the NIC detached: Open vSwitch\'s dummy offload '
                 'provider must have the ports for itself'),
    'late': (re.compile(r'^ofproto-dpif - conntrack - '
                        r'disable tcp sequence checking$'),
             'with the default of ct-offload-min-packets: they send segments '
             'outside of the window right after the handshake, which a NIC '
             'may carry (doc/semantics.md, permitted difference 1)'),
}

# Tests that look for words in the log of ovs-vswitchd and find those that Open
# vSwitch logs, whatever the provider, with hw-offload=true: by title, and the
# lines that they may find in addition.  The check must be the last of the
# test, which ends there.
LOGGED = (re.compile(r'^ofproto-dpif - in place modification( \(vlan\))?$|'
                     r'^tunnel - concomitant incompatible tunnels on '
                     r'different ports$'),
          re.compile(r'^\+dpif_netdev\|DBG\|succeed to modify netdev flow |'
                     r'^\+.*\|netdev_offload\|INFO\|p2: No suitable flow API '
                     r'found\.$'))

MODES = {
    'stock': None,
    'off': None,
    'flat': 'ct-module=false',
    'module': 'ct-module=true',
}

# How packets are carried is not what the suites test: counters are exact and
# operations take effect at once, as far as the profile allows.
NIC = 'profile=typical stale-ms=0'

OK_LOGGED = 'ok but for lines of hw-offload in the log'
OK, FAILED, SKIPPED, NONE = 'ok', 'FAILED', 'skipped', 'missing'

RESULT = re.compile(r'^ *(\d+): .*? +(ok|FAILED|skipped|expected failure|'
                    r'UNEXPECTED PASS)( +\(.*\))?$')


class Test:
    def __init__(self, number, where, title):
        self.number = number
        self.where = where
        self.title = title
        self.special = None
        for name, (pattern, _) in SPECIAL.items():
            if pattern.match(title):
                self.special = name

    def __str__(self):
        return '%4d: %-24s %s' % (self.number, self.where, self.title)


class Suite:
    """One of Open vSwitch's suites, and where its results are."""

    def __init__(self, args):
        self.args = args
        self.name = ('testsuite' if args.suite == 'unit'
                     else 'system-userspace-testsuite')
        self.script = os.path.join(args.ovs_source, 'tests', self.name)
        self.tests = self.list_tests()

    def list_tests(self):
        command = [self.script, '-l']
        if self.args.keywords:
            command += ['-k', self.args.keywords]
        command += [t for t in self.args.tests]
        out = subprocess.run(command, cwd=self.args.dir, check=True,
                             stdout=subprocess.PIPE, text=True).stdout
        tests = {}
        for line in out.splitlines():
            m = re.match(r' *(\d+): (\S+:\d+) +(.*)', line)
            if m:
                test = Test(int(m[1]), m[2], m[3].strip())
                name = re.sub(r'\.at:.*', '', test.where)
                if self.args.suite == 'system' or name in UNIT_FILES:
                    tests[test.number] = test
        return tests

    def environment(self, mode, special, report):
        env = dict(os.environ)
        for name in ('OVS_HANDOFF_TEST_NIC', 'OVS_HANDOFF_TEST_REPORT',
                     'OVS_HANDOFF_TEST_MIN_PACKETS', 'MAKEFLAGS', 'MAKELEVEL',
                     'PYTHONPATH'):
            env.pop(name, None)
        if mode != 'stock':
            env['OVS_HANDOFF_TEST_REPORT'] = report
        if MODES[mode] and special != 'detached':
            env['OVS_HANDOFF_TEST_NIC'] = '%s %s %s' % (
                NIC, MODES[mode], self.args.nic)
            if special != 'late':
                env['OVS_HANDOFF_TEST_MIN_PACKETS'] = '2'
        return env

    def path(self, mode):
        path = [os.path.join(top, d) for d in
                ('utilities', 'vswitchd', 'ovsdb', 'vtep', 'tests', 'ipsec')
                for top in (self.args.ovs_build, self.args.ovs_source)]
        if mode != 'stock':
            path.insert(0, os.path.dirname(self.args.vswitchd))
        return ':'.join(path)

    def run(self, mode, name, numbers):
        """Runs tests.  Returns {number: result} and
        {number: [report of an ovs-vswitchd]}."""
        results, reports = {}, collections.defaultdict(list)
        for special in (None, *SPECIAL):
            part = [n for n in numbers if self.tests[n].special == special]
            if part:
                self.run_part(mode, special,
                              name + ('-' + special if special else ''),
                              part, results, reports)
        return results, reports

    def only_logged(self, result, tests, n):
        """Returns true if test 'n' failed because of lines of LOGGED only."""
        title, logged = LOGGED
        if kind(result) != FAILED or not title.match(self.tests[n].title):
            return False
        logs = glob.glob(os.path.join(tests, self.name + '.dir', '*[0-9]',
                                      self.name + '.log'))
        log, = [f for f in logs
                if int(os.path.basename(os.path.dirname(f))) == n]
        with open(log, errors='replace') as f:
            changes = [line for line in f
                       if re.match(r'[-+](?!-- -|\+\+ )', line)]
        return bool(changes) and all(logged.match(c) for c in changes)

    def results_file(self, mode):
        return os.path.join(self.args.dir, self.name, 'results-' + mode)

    def save(self, mode, results):
        """Keeps results for load() in another run."""
        kept = self.load(mode)
        kept.update(results)
        with open(self.results_file(mode), 'w') as f:
            json.dump(kept, f)

    def load(self, mode):
        try:
            with open(self.results_file(mode)) as f:
                return {int(n): r for n, r in json.load(f).items()}
        except FileNotFoundError:
            return {}

    def run_part(self, mode, special, name, numbers, results, reports):
        # Autotest wants the directory to be called as in the build.
        top = os.path.join(self.args.dir, self.name, mode, name)
        shutil.rmtree(top, ignore_errors=True)
        tests = os.path.join(top, 'tests')
        os.makedirs(tests)
        for f in ('atconfig', 'atlocal'):
            os.symlink(os.path.join(self.args.ovs_build, 'tests', f),
                       os.path.join(tests, f))
        report = os.path.join(top, 'report')
        command = self.args.prefix.split() + [
            self.script, '-C', tests, 'AUTOTEST_PATH=' + self.path(mode),
            '-j%d' % self.args.jobs] + [str(n) for n in numbers]
        out = os.path.join(top, 'output')
        with open(out, 'w') as f:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, errors='replace',
                env=self.environment(mode, special, report))
            for line in process.stdout:
                f.write(line)
                m = RESULT.match(line.rstrip('\n'))
                if m:
                    result = m[2]
                    if result in (FAILED, SKIPPED):
                        result += (m[3] or '').strip().join((' ', ''))
                    n = int(m[1])
                    if self.only_logged(result, tests, n):
                        result = OK_LOGGED
                    results[n] = result
                    if self.args.verbose:
                        print('%-6s %s' % (mode, line.strip()), flush=True)
            process.wait()
        for n in numbers:
            results.setdefault(n, NONE)
        if os.path.exists(report):
            with open(report) as f:
                for line in f:
                    r = json.loads(line)
                    m = re.search(r'suite\.dir/0*(\d+)', r['rundir'])
                    if m:
                        reports[int(m[1])].append(r)


def kind(result):
    """Where in its source a test failed or was skipped is no difference."""
    return result.split(' ')[0]


class Traffic:
    """What all ovs-vswitchds of a test reported."""

    def __init__(self, reports):
        self.n = len(reports)
        self.carried = sum(nic['carried_packets'] + nic['dropped_packets']
                           for r in reports for nic in r['nic']['nics'])
        self.ready = sum(r['ready'] for r in reports)
        self.reasons = collections.Counter()
        for r in reports:
            self.reasons.update(r['show']['reasons'])

    def why(self):
        return ', '.join('%s: %d' % i
                         for i in sorted(self.reasons.items())) or 'no reason'


def compare(suite, modes, results, log):
    """Repeats what differs from stock.  Returns {mode: {number: True if it
    still differs, False if it did at first}}."""
    differences = {mode: {} for mode in modes if mode != 'stock'}
    stock = {n: {kind(r)} for n, r in results['stock'].items()}
    for mode, found in differences.items():
        ours = {n: {kind(r)} for n, r in results[mode].items()}
        for n in suite.tests:
            if ours[n] & stock[n]:
                continue
            found[n] = True
            for i in range(suite.args.repeat):
                name = 'again-%d-%d' % (n, i)
                log('again in mode %s: %s' % (mode, suite.tests[n]))
                ours[n].add(kind(suite.run(mode, name, [n])[0][n]))
                if not ours[n] & stock[n]:
                    stock[n].add(kind(suite.run('stock', name + mode,
                                                [n])[0][n]))
                if ours[n] & stock[n]:
                    found[n] = False
                    break
    return differences


def print_report(suite, modes, results, traffic, differences, seconds, out):
    def p(*words):
        print(*words, file=out)

    p('%s: %d tests' % (suite.name, len(suite.tests)))
    for mode in modes:
        count = collections.Counter(kind(r) for r in results[mode].values())
        p('  %-6s  %s  (%d s)' % (
            mode, ', '.join('%d %s' % (count[k], k) for k in sorted(count)),
            seconds[mode]))
    for mode in modes:
        if not MODES[mode]:
            continue
        p()
        p('mode %s, packets that the NIC carried, packets of established '
          'connections in software:' % mode)
        total = 0
        for n, test in suite.tests.items():
            t = traffic[mode].get(n)
            if t and t.carried:
                total += t.carried
                p('  %s: %d, %d' % (test, t.carried, t.ready))
        p('  in all: %d' % total)
        p('mode %s, established connections, nothing carried:' % mode)
        for n, test in suite.tests.items():
            t = traffic[mode].get(n)
            if t and t.ready and not t.carried:
                p('  %s: %d packets, %s' % (test, t.ready, t.why()))
        silent = [n for n in suite.tests if not traffic[mode].get(n)
                  and kind(results[mode][n]) == OK]
        p('mode %s, %d tests passed without a report (no ovs-vswitchd ended '
          'in order in them)' % (mode, len(silent)))
    p()
    p('%s:' % OK_LOGGED)
    for n, test in suite.tests.items():
        which = [m for m in modes if results[m][n] == OK_LOGGED]
        if which:
            p('  %s: %s' % (test, ', '.join(which)))
    for special, (_, why) in SPECIAL.items():
        p()
        p('run %s:' % why)
        for test in suite.tests.values():
            if test.special == special:
                p('  %s' % test)
    n_differences = 0
    for mode, found in differences.items():
        for what, still in (('differ from stock', True),
                            ('differed at first, not when repeated', False)):
            which = [n for n in found if found[n] is still]
            p()
            p('mode %s: %d tests %s' % (mode, len(which), what))
            for n in which:
                p('  %s: stock %s, ours %s' % (
                    suite.tests[n], results['stock'][n], results[mode][n]))
            if still:
                n_differences += len(which)
    return n_differences


def isolate():
    """Goes on in a child process in namespaces of its own."""
    clone_newns, clone_newnet, clone_newpid = 0x20000, 0x40000000, 0x20000000
    pr_set_pdeathsig = 1
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(clone_newns | clone_newnet | clone_newpid):
        sys.exit('ovs-suites: unshare: %s' % os.strerror(ctypes.get_errno()))

    # The first process of the namespace inherits orphans, so it must wait for
    # them.  When it ends, all others do.
    for _ in range(2):
        child = os.fork()
        if child:
            pid = 0
            while pid != child:
                pid, status = os.wait()
            sys.exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 1)
        libc.prctl(pr_set_pdeathsig, signal.SIGKILL)
    os.makedirs('/run/netns', exist_ok=True)
    for command in ('mount --make-rprivate /', 'mount -t proc proc /proc',
                    'mount -t tmpfs tmpfs /run/netns',
                    'mount -t sysfs sysfs /sys', 'ip link set lo up'):
        subprocess.run(command.split(), check=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__.split('\n\n')[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--suite', choices=('unit', 'system'), required=True)
    parser.add_argument('--ovs-source', required=True,
                        help="Open vSwitch's source tree")
    parser.add_argument('--ovs-build', required=True,
                        help='where it was built, with its test programs')
    parser.add_argument('--vswitchd', required=True, help='our ovs-vswitchd')
    parser.add_argument('--dir', required=True,
                        help='directory for everything that is written')
    parser.add_argument('--modes', default=','.join(MODES))
    parser.add_argument('--reuse', default='', metavar='MODES',
                        help='modes in which a test that an earlier run in '
                        '--dir ran is not run again')
    parser.add_argument('--nic', default='',
                        help='more settings of the emulated NIC')
    parser.add_argument('--prefix', default='',
                        help='command that runs the suites')
    parser.add_argument('--repeat', type=int, default=3)
    parser.add_argument('-j', '--jobs', type=int, default=1)
    parser.add_argument('-k', '--keywords',
                        help='only tests with these keywords, see the suite')
    parser.add_argument('-v', '--verbose', action='store_true')
    parser.add_argument('tests', nargs='*',
                        help='numbers or ranges of tests')
    args = parser.parse_args()
    for name in ('ovs_source', 'ovs_build', 'vswitchd', 'dir'):
        setattr(args, name, os.path.abspath(getattr(args, name)))
    modes = args.modes.split(',')
    if not set(modes) <= set(MODES) or 'stock' not in modes:
        parser.error('--modes: "stock" and some of %s' % ', '.join(MODES))
    for program in ('tests/ovstest', 'tests/test-lib', 'vtep/vtep-ctl',
                    'utilities/ovs-testcontroller', 'tests/atlocal'):
        if not os.path.exists(os.path.join(args.ovs_build, program)):
            sys.exit('ovs-suites: %s has no %s: build all of Open vSwitch '
                     'there, or use "utilities/quickstart check-ovs"'
                     % (args.ovs_build, program))
    os.makedirs(args.dir, exist_ok=True)
    lock = os.open(os.path.join(args.dir, 'lock'), os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit('ovs-suites: %s is in use' % args.dir)

    if os.getuid() == 0:
        isolate()
    elif args.suite == 'system':
        sys.exit('ovs-suites: must be run as root')

    suite = Suite(args)
    if not suite.tests:
        sys.exit('ovs-suites: no such tests')

    def log(text):
        print('%s %s' % (time.strftime('%H:%M:%S'), text), flush=True)

    results, traffic, seconds = {}, {}, {}
    for mode in modes:
        known = {n: r for n, r in suite.load(mode).items()
                 if mode in args.reuse.split(',') and n in suite.tests}
        numbers = [n for n in suite.tests if n not in known]
        log('%s: %d tests in mode %s' % (suite.name, len(numbers), mode))
        start = time.monotonic()
        results[mode], reports = suite.run(mode, 'all', numbers)
        results[mode].update(known)
        suite.save(mode, results[mode])
        seconds[mode] = time.monotonic() - start
        traffic[mode] = {n: Traffic(r) for n, r in reports.items()}
    differences = compare(suite, modes, results, log)

    path = os.path.join(args.dir, suite.name, 'report.txt')
    with open(path, 'w') as f:
        n = print_report(suite, modes, results, traffic, differences, seconds,
                         f)
    with open(path) as f:
        sys.stdout.write(f.read())
    print('\nlogs: %s' % os.path.dirname(path))
    if n:
        print('%d results differ from stock' % n)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
