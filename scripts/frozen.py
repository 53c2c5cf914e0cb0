#!/usr/bin/env python3
"""A frozen data directory: packing and unpacking it, and what must be read back from it.

  scripts/frozen.py describe BIN                 what a running cluster shows, as JSON
  scripts/frozen.py same WANT NOW ASPECT         exit code 0 when an aspect of WANT is in NOW; more may be there
  scripts/frozen.py contents BIN MANIFEST DIR    exit code 0 when every version that a file ever had reads as it was; copies
                                                 of old ones are made in DIR
  scripts/frozen.py pack DIR ARCHIVE
  scripts/frozen.py unpack ARCHIVE DIR

Aspects: entries, totals, history, contents, trash, journal, keys, namespaces.
"""

import hashlib
import json
import subprocess
import sys
import tarfile


class Cluster:
    """A running cluster, asked through its command line."""

    def __init__(self, binary):
        self.binary = binary

    def run(self, *args):
        done = subprocess.run([self.binary, *args], capture_output=True)
        if done.returncode != 0:
            sys.exit(f"{' '.join(args)}: {done.stderr.decode(errors='replace')}")
        return done.stdout

    def json(self, *args):
        return json.loads(self.run("-o", "json", *args))

    def digest(self, namespace, path):
        return hashlib.sha256(self.run("--namespace", namespace, "cat", path)).hexdigest()


def describe_namespace(cluster, name):
    ask = lambda *args: cluster.json("--namespace", name, *args)
    entries = {entry["path"]: entry for entry in ask("ls", "-R", "/")}
    files = [path for path, entry in entries.items() if entry["kind"] == "file"]
    dirs = ["/"] + [path for path, entry in entries.items() if entry["kind"] == "dir"]
    journal = cluster.run("-o", "json", "--namespace", name, "watch", "--after", "0", "--once").decode().splitlines()
    return {
        "entries": entries,
        "totals": {path: {key: value for key, value in ask("du", path).items() if key != "cluster"} for path in dirs},
        "history": {path: {str(one["version"]): one for one in ask("history", path)} for path in files},
        "contents": {path: cluster.digest(name, path) for path in files},
        "trash": {str(one["id"]): one for one in ask("trash", "list")},
        "journal": {str(one["cursor"]): one for one in map(json.loads, journal)},
    }


def describe(binary):
    cluster = Cluster(binary)
    namespaces = cluster.json("admin", "namespace", "list")
    names = [one["name"] or f"id:{one['namespace']}" for one in namespaces]
    keys = cluster.json("admin", "key", "list")["keys"]
    return {
        "namespaces": {str(one["namespace"]): one for one in namespaces},
        "keys": {str(one["key"]): one for one in keys},
        "trees": {name: describe_namespace(cluster, name) for name in names},
    }


def differences(want, now, where):
    """What of `want` is not in `now`: a later version may show more, never something else."""
    if isinstance(want, dict) and isinstance(now, dict):
        for key, value in want.items():
            if key not in now:
                yield f"{where}/{key} is missing"
            else:
                yield from differences(value, now[key], f"{where}/{key}")
    elif want != now:
        yield f"{where} is {now!r} instead of {want!r}"


def same(want, now, aspect):
    if aspect in ("keys", "namespaces"):
        pairs = [(aspect, want[aspect], now[aspect])]
    else:
        pairs = [(name, tree[aspect], now["trees"].get(name, {}).get(aspect)) for name, tree in want["trees"].items()]
    found = [text for where, left, right in pairs for text in differences(left, right, where)]
    count = sum(len(left) for _, left, _ in pairs)
    print(f"{count} compared", *found[:20], sep="\n")
    # Nothing to compare proves nothing.
    return not found and count > 0


def contents(binary, manifest, target):
    """`manifest["versions"]` says the digest of every version, by namespace, path and number."""
    cluster, wrong, count = Cluster(binary), [], 0
    for name, paths in manifest["versions"].items():
        for path, versions in paths.items():
            for number, digest in versions.items():
                copy = f"{target}/{count}"
                cluster.run("--namespace", name, "mkdir", "-p", target)
                cluster.run("--namespace", name, "cp", "--version", number, path, copy)
                if cluster.digest(name, copy) != digest:
                    wrong.append(f"{name}:{path} version {number}")
                count += 1
    print(f"{count} versions read", *wrong, sep="\n")
    return not wrong and count > 0


def pack(directory, archive):
    def plain(info):
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        return info

    # What a log has reserved lies behind the end of its file, so the archive is as small as what is written.
    with tarfile.open(archive, "w:xz", preset=9) as tar:
        tar.add(directory, arcname="data", filter=plain)
    return True


def unpack(archive, directory):
    with tarfile.open(archive) as tar:
        tar.extractall(directory)
    return True


def load(path):
    with open(path) as file:
        return json.load(file)


def main(command, *args):
    if command == "describe":
        print(json.dumps(describe(*args), indent=1, sort_keys=True))
        return True
    if command == "same":
        return same(load(args[0]), load(args[1]), args[2])
    if command == "contents":
        return contents(args[0], load(args[1]), args[2])
    return {"pack": pack, "unpack": unpack}[command](*args)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(0 if main(*sys.argv[1:]) else 1)
