# Sourced by the smoke and acceptance scripts: one line per check, and the sum at the end.
# shellcheck shell=bash

passed=0
failed=0
check_output=$(mktemp)

# check "what" command…: runs the command in this shell, so that it may wait for what this shell started; its output is
# shown only when it fails.
check() {
    local what=$1
    shift
    if "$@" >"$check_output" 2>&1; then
        echo "ok    $what"
        passed=$((passed + 1))
    else
        echo "FAIL  $what"
        tail -20 "$check_output" | sed 's/^/      /'
        failed=$((failed + 1))
    fi
}

# exits CODE command…: true when the command ends with that exit code.
exits() {
    local want=$1 code=0
    shift
    "$@" || code=$?
    [ "$code" -eq "$want" ] || { echo "exit code $code instead of $want"; return 1; }
}

# says TEXT command…: true when the command prints that text, however it ends.
says() {
    local want=$1 output
    shift
    output=$("$@" 2>&1) || true
    grep -qF -- "$want" <<<"$output" || { printf 'does not say "%s" but:\n%s\n' "$want" "$output"; return 1; }
}

# value FILE EXPRESSION: a value from a JSON file, as a Python expression: value put.json 'v["files"]'.
value() {
    python3 -c 'import json, sys; v = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$1" "$2"
}

# holds FILE EXPRESSION: true when the expression is true for a JSON file.
holds() {
    [ "$(value "$1" "$2")" = True ] || { echo "not so: $2"; cat "$1"; return 1; }
}

# The last line. False when a check failed.
sum_up() {
    rm -f "$check_output"
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
}
