# SPDX-License-Identifier: Apache-2.0
"""Making a failed case short.

Parts of the script are left out as long as what remains still fails: with the
same packets, if there were packets too many or too few, as what is left of a
TCP connection often is something else that fails.  Many candidates run at the
same time, one in each slot.
"""

import time

import scenario


def shrink(runner, cases, result, seconds):
    """Returns the shortest list of cases found that fails as 'result' did:
    one case, if it also fails alone."""
    deadline = time.monotonic() + seconds
    kinds = result.kinds()
    labels = {label for label, report in result.reports.items()
              if report.all()}
    packets = {label: report.packets
               for label, report in result.reports.items()}
    n_slots = runner.stock.n_slots
    quick = "output" in kinds

    def failing(candidates):
        """Returns which of 'candidates' fail."""
        found = []
        for i in range(0, len(candidates), n_slots):
            if time.monotonic() > deadline:
                break
            batch = candidates[i:i + n_slots]
            for candidate, again in zip(batch, runner.run(batch, quick)):
                if again.kinds() & kinds and any(
                        is_same(label, again.reports[label])
                        for label in labels):
                    found.append(candidate)
        return found

    def is_same(label, report):
        return report.all() and (not packets[label]
                                 or packets[label] & report.packets)

    case = result.case
    if not failing([case.copy()]):
        print("It does not fail alone, or not always: not made short.")
        return cases
    # Usually one connection is enough.
    single = failing([only(case, conn) for conn in case.lives])
    if single:
        case = min(single, key=lambda c: len(pieces(c)))
    size = 2
    while time.monotonic() < deadline:
        parts = pieces(case)
        size = min(size, len(parts))
        candidates = [without(case, chunk) for chunk in chunks(parts, size)]
        found = failing(candidates)
        if found:
            # Perhaps all that can be left out can be left out together.
            removed = [chunk for chunk, candidate
                       in zip(chunks(parts, size), candidates)
                       if candidate in found]
            together = without(case, sum(removed, []))
            if len(removed) > 1 and failing([together]):
                case = together
            else:
                case = min(found, key=lambda c: len(pieces(c)))
        elif size >= len(parts):
            break
        else:
            size *= 2
    return [case]


def pieces(case):
    """Returns what can be left out: flows, operations and events, as tuples
    (list name, phase, index)."""
    parts = [("flows", None, i) for i in range(len(case.flows))]
    for phase in range(scenario.N_PHASES):
        parts += [("phases", phase, i)
                  for i in range(len(case.phases[phase]))]
        parts += [("ends", phase, i) for i in range(len(case.ends[phase]))]
    return parts


def chunks(parts, n):
    """Splits 'parts' in 'n' pieces of about the same size."""
    return [parts[len(parts) * i // n:len(parts) * (i + 1) // n]
            for i in range(n)]


def only(case, conn):
    """Returns a copy of 'case' with packets of connection 'conn' only."""
    other = case.copy()
    other.lives = {conn: case.lives[conn]}
    other.phases = [[op for op in ops if "conn" not in op
                     or str(op["conn"]) == conn] for ops in case.phases]
    return other


def without(case, parts):
    """Returns a copy of 'case' without 'parts'."""
    other = case.copy()
    for name, phase, i in sorted(parts, key=lambda p: -p[2]):
        items = getattr(other, name)
        del (items if phase is None else items[phase])[i]
    return other
