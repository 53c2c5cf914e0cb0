#!/usr/bin/env bash
# The faults of scripts/accept-meta.sh that are quick: a store that is removed, put back, damaged, a leader that freezes.
exec "$(dirname "$0")/accept-meta.sh" short
