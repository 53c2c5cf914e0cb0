#!/usr/bin/env python3
"""Looks for plain bytes: every run of 16 or more bytes that a known file and a file below a directory have in common.

  scripts/plain.py DIR KNOWN…      exit code 0 when there is none; otherwise 1, and where they are

A run of 16 bytes, at whatever place, covers a block of 8 that begins at a multiple of 8. So the blocks of the stored
files are looked up among all windows of 8 bytes of the known files, and what is found there is compared in full.
"""

import array
import os
import sys

RUN = 16
WINDOW = 8
PIECE = 8 << 20


def windows(plain):
    """Where each window of 8 bytes of a known file begins, by its value."""
    return {plain[at:at + WINDOW]: at for at in range(len(plain) - WINDOW + 1)}


def common(plain, at, stored, there):
    """How long the run around a window that both have is."""
    start = 0
    while start < min(at, there) and plain[at - start - 1] == stored[there - start - 1]:
        start += 1
    end = WINDOW
    while at + end < len(plain) and there + end < len(stored) and plain[at + end] == stored[there + end]:
        end += 1
    return start + end


def runs(path, known, numbers, places):
    """Runs that a stored file has in common with the known ones, and how many bytes were looked at."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        for offset in range(0, size, PIECE):
            # Pieces overlap, so that no run is cut where two of them meet.
            file.seek(offset)
            stored = file.read(PIECE + 2 * RUN)
            blocks = array.array("Q", stored[:len(stored) // WINDOW * WINDOW])
            for number in numbers.intersection(blocks):
                window = number.to_bytes(WINDOW, sys.byteorder)
                there = blocks.index(number) * WINDOW
                for plain, at in places[window]:
                    length = common(known[plain], at, stored, there)
                    if length >= RUN:
                        yield f"{path} at {offset + there}: {length} bytes of {plain} from {at}"


def main(directory, names):
    known = {name: open(name, "rb").read() for name in names}
    places = {}
    for name, plain in known.items():
        if len(plain) < RUN:
            sys.exit(f"{name} is shorter than {RUN} bytes: nothing could be found")
        for window, at in windows(plain).items():
            places.setdefault(window, []).append((name, at))
    numbers = {int.from_bytes(window, sys.byteorder) for window in places}
    found, files, size = [], 0, 0
    for top, _, below in os.walk(directory):
        for name in below:
            path = os.path.join(top, name)
            found.extend(runs(path, known, numbers, places))
            files, size = files + 1, size + os.path.getsize(path)
    print(f"{files} files with {size} bytes searched, {len(found)} runs found")
    print(*found[:10], sep="\n")
    # A directory without files proves nothing.
    return 1 if found or not files else 0


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2:]))
