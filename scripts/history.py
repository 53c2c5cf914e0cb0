#!/usr/bin/env python3
"""Uses a cluster while it is broken, writes down what it said and when, and judges that afterwards.

  history.py run BIN DIR FILE        until SIGTERM: makes the directories DIR/1, DIR/2, …, and lists DIR meanwhile, with
                                     and without --stale-ok; ends with a listing that it waits for
  history.py read BIN DIR FILE       only lists
  history.py judge FILE…             nothing acknowledged is missing, and nothing old was shown without its mark
  history.py flawless FILE…          no request failed
  history.py gaps FILE TIME…         how long writes had to wait after each of these times (Unix, seconds)

The judge uses metadata only, so that a listing says how new it is: whoever asks after directory 7 was acknowledged and
is not shown it has been given an old answer, or an empty one.
"""

import json, signal, subprocess, sys, threading, time

ANNOUNCED = "no leader answers"
REQUEST_SECONDS = "5"
SETTLE_SECONDS = 60
PAUSE = 0.05

ended = threading.Event()
lock = threading.Lock()


def ask(program, *arguments):
    """Runs a command; returns when it began, its exit code, what it printed and its complaints."""
    begin = time.time()
    done = subprocess.run([program, "--timeout", REQUEST_SECONDS, "-o", "json", *arguments], capture_output=True, text=True)
    return begin, done.returncode, done.stdout, done.stderr


def note(file, record):
    with lock:
        file.write(json.dumps(record) + "\n")
        file.flush()


def write_on(program, place, file):
    i = 0
    while not ended.is_set():
        i += 1
        begin, code, _, errors = ask(program, "mkdir", f"{place}/{i}")
        note(file, {"op": "write", "i": i, "begin": begin, "end": time.time(), "ok": code == 0, "errors": errors.strip()})
        time.sleep(PAUSE if code == 0 else PAUSE * 4)


def list_once(program, place, file, *options):
    begin, code, output, errors = ask(program, "ls", place, *options)
    record = {"op": "read", "options": options, "begin": begin, "end": time.time(), "ok": code == 0}
    if code == 0:
        entries = json.loads(output)
        record["marked"] = ANNOUNCED in errors and all(entry.get("stale") for entry in entries)
        record["marks"] = ANNOUNCED in errors or any(entry.get("stale") for entry in entries)
        record["seen"] = sorted(int(entry["path"].rsplit("/", 1)[-1]) for entry in entries)
    else:
        record["errors"] = errors.strip()
    note(file, record)
    return code == 0


def list_on(program, place, file):
    while not ended.is_set():
        for options in [(), ("--stale-ok",)]:
            list_once(program, place, file, *options)
            time.sleep(PAUSE)


def run(program, place, path, writes):
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    with open(path, "w") as file:
        works = [list_on, write_on] if writes else [list_on]
        threads = [threading.Thread(target=work, args=(program, place, file)) for work in works]
        for thread in threads:
            thread.start()
        while not ended.wait(0.2):
            pass
        for thread in threads:
            thread.join()
        deadline = time.time() + SETTLE_SECONDS
        while not list_once(program, place, file) and time.time() < deadline:
            time.sleep(0.5)


def load(paths):
    return [json.loads(line) for path in paths for line in open(path)]


def judge(paths):
    records = load(paths)
    writes = [r for r in records if r["op"] == "write"]
    reads = [r for r in records if r["op"] == "read" and r["ok"]]
    acknowledged = sorted((r["end"], r["i"]) for r in writes if r["ok"])
    wrong = []
    for read in reads:
        due = {i for end, i in acknowledged if end < read["begin"]}
        missing = sorted(due - set(read["seen"]))
        if read["marks"] and "--stale-ok" not in read["options"]:
            wrong.append(f"old answer for who did not ask for one, at {read['begin']:.3f}")
        if missing and not read["marked"]:
            wrong.append(f"{len(missing)} of {len(due)} missing without a mark, from {missing[0]}, at {read['begin']:.3f}, {read['options']}")
    if not records or not records[-1]["ok"]:
        wrong.append(f"no answer in the end: {records[-1:]}")
    print("\n".join(wrong[:8]))
    marked = sum(read["marked"] for read in reads)
    failed = len(writes) - len(acknowledged)
    print(f"{len(acknowledged)} writes acknowledged, {failed} failed; {len(reads)} reads answered, {marked} of them marked as old")
    return not wrong and bool(acknowledged)


def flawless(paths):
    failed = [r for r in load(paths) if not r["ok"]]
    for r in failed[:8]:
        print(f"{r['op']} failed after {r['end'] - r['begin']:.1f} s, at {r['begin']:.3f}: {r['errors']}")
    return not failed


def gaps(path, times):
    writes = [r for r in load([path]) if r["op"] == "write" and r["ok"]]
    ends = [r["end"] for r in writes]
    waits = []
    for at, until in zip(times, times[1:] + [ends[-1] + 1]):
        around = [end for end in ends if at - 1 <= end < until]
        waits.append(max((b - a for a, b in zip(around, around[1:])), default=until - at))
    every = sorted(b - a for a, b in zip(ends, ends[1:]))
    waits.sort()
    rank = lambda values, share: values[min(len(values) - 1, int(len(values) * share))]
    milliseconds = lambda seconds: round(seconds * 1000)
    print(json.dumps({
        "times": len(waits), "median_ms": milliseconds(rank(waits, 0.5)), "largest_ms": milliseconds(waits[-1]),
        "writes": len(ends), "p99_of_writes_ms": milliseconds(rank(every, 0.99)),
    }))


if __name__ == "__main__":
    command, arguments = sys.argv[1], sys.argv[2:]
    if command in ("run", "read"):
        run(*arguments, writes=command == "run")
    elif command == "judge":
        sys.exit(0 if judge(arguments) else 1)
    elif command == "flawless":
        sys.exit(0 if flawless(arguments) else 1)
    else:
        gaps(arguments[0], [float(time) for time in arguments[1:]])
