#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that doc/semantics.md and the twin test's features.py name the same
scenarios, and the reasons that these look for; and that the twin test counts
random cases for each scenario that a row calls carried."""

import os
import re
import sys

SRCDIR = os.environ.get("srcdir", ".")
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(SRCDIR, "tests", "twin"))

import features
import rows as random_rows


def rows(text):
    """Returns the rows of tables in 'text' that name a scenario, by name."""
    found = {}
    for line in text.splitlines():
        for name in re.findall(r"`((?:carried|software): [^`]*)`", line):
            if name in found:
                sys.exit("doc/semantics.md: '%s' is there twice" % name)
            found[name] = line
    return found


def main():
    with open(os.path.join(SRCDIR, "doc", "semantics.md")) as doc:
        documented = rows(doc.read())
    wrong = []
    cases = {case.name: case for case in features.cases([])}
    for name in sorted(set(cases) - set(documented)):
        wrong.append("'%s' is not in doc/semantics.md" % name)
    for name in sorted(set(documented) - set(cases)):
        wrong.append("'%s' is not in tests/twin/features.py" % name)
    for name in set(cases) & set(documented):
        wrong += ["doc/semantics.md: '%s' must tell the reason '%s'"
                  % (name, reason) for reason in cases[name].reasons
                  if "`%s`" % reason not in documented[name]]
    counted = {case.name for case in random_rows.scenarios()}
    wrong += ["no random cases for '%s'" % name for name in sorted(documented)
              if name.startswith("carried") and name not in counted]
    # A row that says "carried" must have a scenario that is counted.
    with open(os.path.join(SRCDIR, "doc", "semantics.md")) as doc:
        for line in doc:
            cells = line.split("|")
            if (len(cells) == 6 and re.match(" carried\\b", cells[2])
                    and not re.search("`carried: |the same", cells[4])):
                wrong.append("doc/semantics.md: no scenario for '%s'"
                             % cells[1].strip())
    for line in wrong:
        print(line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
