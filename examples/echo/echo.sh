#!/bin/bash
# Sends back whatever comes: `echo.sh listen` in one place, `echo.sh send TEXT` in any other.
set -euo pipefail

# Makes the line `online` of the event, and leaves everything else on standard error.
announce() {
    sed --unbuffered --quiet 's/^{"event":"online".*/online/p; t; w /dev/stderr'
}

case "${1-} $#" in
"listen 1")
    # The connection string is the one in HYBRIDRELAY_CONNECTION_STRING. With --json the command says on standard error what happens,
    # as an object in each line.
    hybridrelay listen --echo --json 2>&1 >/dev/null | announce
    ;;
"send 2")
    # With --text each line of input is a message, and each message that comes is a line. The end of the input closes this
    # direction; the command goes on until the listener has closed the other one.
    printf '%s\n' "$2" | hybridrelay connect --text
    ;;
*)
    echo "usage: echo.sh listen | echo.sh send TEXT" >&2
    exit 2
    ;;
esac
