"""What one step costs in a small, a large and a huge mailbox or queue: a cost that grows with it is a defect."""
import statistics
import time

from cases import Case, append_line, load, script, used_box
from sides import DOMAIN, wait_until

STEPS = 15


class Grid(Case):
    """Answers {"debian": {}, "posthorn": {}, "grid": {"columns": [...], "rows": [[...], ...]}}: milliseconds at each size."""

    def __init__(self, name, what, sizes, make, steps):
        """make(side, size); steps(side): {step: milliseconds}"""
        super().__init__(name, what, "step", None)
        self.sizes, self.make, self.steps = sizes, make, steps

    def run(self, both, rounds):
        table = {}
        for size in self.sizes:
            for side in both:
                self.make(side, size)
                for step, ms in self.steps(side).items():
                    table.setdefault((step, side.name), []).append(ms)
        columns = ["step", "", *[f"{n:,}" for n in self.sizes]]
        return {**{s.name: {} for s in both}, "grid": {"columns": columns, "rows": [[*key, *ms] for key, ms in table.items()]}}


def median_of(side, before, step):
    """Of a command that is given STEPS times, with the number of each."""
    rows = script(side, "big", *before, *[step % n if "%" in step else step for n in range(1, STEPS + 1)])
    return statistics.median(r["ms"] for r in rows[len(before) :])


def mailbox_steps(side):
    deliver = lambda: load("smtp", "-l", "-k", "-p", side.port(24), "-n", STEPS, "-s", 1, "-t", f"big@{DOMAIN}")[0]["p50_ms"]
    opened = ["SELECT INBOX"]
    return {
        "LMTP delivery": deliver(),
        "SELECT": median_of(side, opened, "SELECT INBOX"),
        "SELECT in a session of its own": statistics.median(script(side, "big", "SELECT INBOX")[0]["ms"] for _ in range(STEPS)),
        "FETCH one (FLAGS ENVELOPE)": median_of(side, opened, "FETCH %d (FLAGS ENVELOPE)"),
        "STORE one flag": median_of(side, opened, "STORE %d +FLAGS (\\Flagged)"),
        "APPEND": median_of(side, opened, append_line()),
        "COPY one": median_of(side, opened, "COPY %d INBOX"),
        "EXPUNGE one": statistics.median(
            r["ms"] for r in script(side, "big", *opened, *[c for _ in range(STEPS) for c in ("STORE 7 +FLAGS.SILENT (\\Deleted)", "EXPUNGE")])[2::2]),
    }


def defer(side, messages):
    """The queue holds so many messages whose destination answers nobody."""
    side.tool("postsuper", "-d", "ALL")
    if messages:
        load("smtp", "-p", side.port(25), "-n", messages, "-s", 10, "-t", "r%d@later.test", "-u", 1000)
        wait_until(lambda: side.deferred() >= messages, 600, "a queue of deferred messages")


def queue_steps(side):
    count = 1000
    began = time.monotonic()
    load("smtp", "-p", side.port(25), "-n", count, "-s", 10, "-t", "d%d@disc.test", "-u", 100)
    wait_until(side.queue_at_rest, 300, "delivery")
    out = {"a message from SMTP to discard": (time.monotonic() - began) * 1000 / count}
    side.tool("postsuper", "-d", "ALL")
    return out


CASES = [
    Grid("sizes-mailbox", "one step in a mailbox of so many messages, ms", [1000, 10000, 100000], lambda side, n: used_box(n)(side), mailbox_steps),
    Grid("sizes-queue", "ten sessions beside so many deferred messages, ms", [0, 1000, 10000], defer, queue_steps),
]
