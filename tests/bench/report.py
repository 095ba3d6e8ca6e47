"""Figures for people: on the terminal while they come, and as a page."""


def differences(debian, ours):
    """Lines of main.cf that are not the same on both sides, without the places of programs."""
    read = lambda s: dict(l.split(" = ", 1) for l in (s.etc / "main.cf").read_text().splitlines())
    a, b = read(debian), read(ours)
    places = str(debian.dir), str(ours.dir)
    strip = lambda v: v.replace(places[0], "D").replace(places[1], "D") if v is not None else None
    skip = {"command_directory", "daemon_directory", "sendmail_path", "mailq_path", "newaliases_path", "shlib_directory", "meta_directory",
            "manpage_directory", "sample_directory", "import_environment", "export_environment", "transport_maps"}
    return [f"{k}: {strip(a.get(k))} | {strip(b.get(k))}" for k in sorted({*a, *b} - skip) if strip(a.get(k)) != strip(b.get(k))]


def number(x, digits=1):
    return "-" if x is None else f"{x:,.0f}" if abs(x) >= 100 else f"{x:,.{digits}f}" if abs(x) >= 1 else f"{x:.3f}"


def lines(case):
    """(what, debian, posthorn, ratio in our favour) of one case."""
    if "failed" in case:
        return [("failed", case["failed"].splitlines()[0], "", "")]
    d, p = case["debian"], case["posthorn"]
    out = []

    def add(what, key, better):
        x, y = d.get(key), p.get(key)
        if x is None and y is None:
            return
        ratio = (y / x if better == "more" else x / y) if x and y else None
        spread = lambda s: f" ({number(s['min'])}-{number(s['max'])})" if key == "per_second" and "min" in s else ""
        out.append((what, number(x) + spread(d), number(y) + spread(p), f"{ratio:.1f}x" if ratio else ""))

    add(f"{case['unit']}s/s", "per_second", "more")
    add("p50 ms", "p50_ms", "less")
    add("p99 ms", "p99_ms", "less")
    add(f"ms a {case['unit']}", "ms", "less")
    add("ms of the first message", "first_message_ms", "less")
    add(f"server CPU ms a {case['unit']}", "cpu_ms", "less")
    add(f"database CPU ms a {case['unit']}", "database_cpu_ms", "less")
    add(f"generator CPU ms a {case['unit']}", "generator_cpu_ms", "less")
    add("sessions held", "sessions", "more")
    add("KiB", "kib", "less")
    add("CPU ms to set one up", "setup_cpu_ms", "less")
    add("told of a message each", "told", "more")
    add("messages/s delivered to them", "told_rate", "more")
    add("ms from the 250 to EXISTS, p50", "told_p50_ms", "less")
    add("p99", "told_p99_ms", "less")
    add("max", "told_max_ms", "less")
    add("inotify instances allowed", "inotify_instances", "less")
    add("processes", "processes", "less") if not isinstance(p.get("processes"), dict) else None
    for key in ("calls", "fsyncs", "switches", "sql"):
        add({"calls": "system calls", "switches": "context switches", "sql": "SQL questions"}.get(key, key), key, "less")
    return out


def grid(case):
    """Rows of cells; none where the case has no grid."""
    g = case.get("grid")
    return [g["columns"], *[[number(c, 2) if isinstance(c, (int, float)) else c for c in row] for row in g["rows"]]] if g else []


SLACK = 0.97  # what two runs of the same differ by says nothing


def slower(case):
    """What of a case costs more than on Debian's side, as text; empty: nothing."""
    if "failed" in case:
        return ["failed"]
    d, p, out = case["debian"], case["posthorn"], []
    for what, key, better in (("a second", "per_second", "more"), ("p50", "p50_ms", "less"), ("ms", "ms", "less"), ("server CPU", "cpu_ms", "less"), ("sessions", "sessions", "more"),
                              ("first message", "first_message_ms", "less"), ("KiB", "kib", "less"), ("CPU to set one up", "setup_cpu_ms", "less"), ("system calls", "calls", "less"), ("fsyncs", "fsyncs", "less"), ("news", "told_p50_ms", "less")):
        x, y = d.get(key), p.get(key)
        if isinstance(x, (int, float)) and isinstance(y, (int, float)) and x > 0 and y > 0 and (y / x if better == "more" else x / y) < SLACK:
            out.append(f"{what} {number(x)} | {number(y)}")
    rows = case.get("grid", {}).get("rows", [])
    theirs = {row[0]: row[2:] for row in rows if row[1] == "debian"}
    for step, side, *ms in rows:
        sizes = [f"{case['grid']['columns'][2 + i]}: {number(x)} | {number(y)}" for i, (x, y) in enumerate(zip(theirs.get(step, []), ms)) if x / y < SLACK]
        if side == "posthorn" and sizes:
            out.append(f"{step} at {', '.join(sizes)}")
    return out


def warnings(out):
    """A line for each case that is slower than on Debian's side in anything."""
    return [f"SLOWER than Debian: {case['name']} ({'; '.join(what)})" for case in out["cases"] if (what := slower(case))]


def show(case):
    for row in grid(case):
        print(f"  {row[0]:34} {row[1]:10}" + "".join(f"{c:>12}" for c in row[2:]), flush=True)
    if "disk_limit" in case:
        print(f"  the files alone: {number(case['disk_limit'])}/s")
    for what, d, p, ratio in lines(case):
        print(f"  {what:34} debian {d:>28}   posthorn {p:>28}   {ratio:>8}", flush=True)
    for side in ("debian", "posthorn"):
        table = case.get(side, {}).get("processes") if isinstance(case.get(side), dict) else None
        if isinstance(table, dict):
            for name, row in table.items():
                print(f"    {side:9} {name:18} {row['calls']:5} calls {row['fsyncs']:3} fsyncs {row['switches']:5} switches")
        for row in case.get(side, {}).get("sizes", []) if isinstance(case.get(side), dict) else []:
            print(f"    {side:9} {row['sessions']:6} sessions: {row['kib']:8.1f} KiB each")


def remains(out):
    """What stands between each case and the file system: the processors, or waiting."""
    rows = ["", "## What remains", "",
            "The limit is what `bench/disk` reaches with the same files, sizes and threads when nothing else is done. Processors: how busy all of them are while",
            "Posthorn's side runs, by servers, database, generator and kernel.", "", "| case | Posthorn | limit of the disk | reached | processors busy |", "|---|---|---|---|---|"]
    for case in out["cases"]:
        if "disk_limit" not in case:
            continue
        p = case["posthorn"]
        busy = p["busy"]
        rows.append(f"| {case['name']} | {number(p['per_second'])}/s | {number(case['disk_limit'])}/s | {p['per_second'] / case['disk_limit']:.0%} | {busy:.0%} |")
    return rows


def page(out):
    m = out["machine"]
    rows = ["# Posthorn beside Debian's Postfix and Dovecot", "",
            f"Made by `{out['command']}`: {out['rounds']} alternating rounds, medians (smallest-largest). Ratios above 1 are in Posthorn's favour.", "",
            f"- machine: {m['processors']}, {m['memory_mib']} MiB, kernel {m['kernel']}, {m['file_system']}",
            f"- Postfix {m['postfix']}, Dovecot {m['dovecot']}, MariaDB {m['mariadb']}, Posthorn {m['posthorn']} (Release)",
            "- the generator runs under SCHED_BATCH on both sides: its clients, which stand for other machines, interrupt no server",
            "- its TLS clients offer X25519 and AES-128-GCM first, as Thunderbird's, Apple's and Android's do; each login is a full handshake; their OpenSSL reads keys of certificates and no other formats (library.h)",
            "- as SMTP client it sends one command at a time, as smtp-source does; as LMTP client MAIL, RCPT and DATA at once, as Postfix's lmtp(8) does",
            "- both sides: the same main.cf, SQL files, certificate and hashes, one MariaDB, queue and mail on one file system; what differs:", ""]
    rows += [f"      {line}" for line in out["differences"]]
    rows += ["", *(f"**{line}**\n" for line in warnings(out))]
    for case in out["cases"]:
        rows += ["", f"## {case['name']}", "", f"{case['what']}.", ""]
        if "grid" in case:
            first, *cells = grid(case)
            rows += [f"| {' | '.join(r)} |" for r in (first, ["---"] * len(first), *cells)]
            continue
        rows += ["| | Debian | Posthorn | ratio |", "|---|---|---|---|"]
        rows += [f"| {what} | {d} | {p} | {ratio} |" for what, d, p, ratio in lines(case)]
        for side in ("debian", "posthorn"):
            data = case.get(side) if isinstance(case.get(side), dict) else {}
            if isinstance(data.get("processes"), dict):
                rows += ["", f"{side}: " + ", ".join(f"{n} {r['calls']}/{r['fsyncs']}/{r['switches']}" for n, r in data["processes"].items()) + " (calls/fsyncs/switches)"]
            if data.get("sizes"):
                rows += ["", f"{side}: " + ", ".join(f"{r['sessions']} sessions {r['kib']:.1f} KiB each" for r in data["sizes"])]
    return "\n".join(rows + remains(out)) + "\n"
