#!/bin/bash
# Asks a listener that lets nobody in: `reject.sh connect` tells why not. (The command line has no listener that rejects.)
set -euo pipefail

case "${1-} $#" in
"connect 1")
    # With --json the error is an object on standard error; `status` and `reason` are the listener's own words.
    if error=$(hybridrelay connect --path /door --json </dev/null 2>&1 >/dev/null); then
        echo "the listener let us in" >&2
        exit 1
    fi
    field() { sed --quiet "s/.*\"$1\":\"\{0,1\}\([^,\"}]*\).*/\1/p" <<<"$error"; }
    if [ "$(field kind)" != Rejected ]; then
        echo "$error" >&2
        exit 1
    fi
    echo "rejected: $(field status) $(field reason)"
    ;;
*)
    echo "usage: reject.sh connect" >&2
    exit 2
    ;;
esac
