#!/bin/bash
# Tells how many listeners are online: `presence.sh watch` prints it now, and whenever it changes.
set -euo pipefail

case "${1-} $#" in
"watch 1")
    # With --json each change is an object in a line of standard output, whose `count` is how many there are then.
    hybridrelay status --watch --json | sed --unbuffered --quiet 's/.*"count":\([0-9]*\).*/\1 online/p'
    ;;
*)
    echo "usage: presence.sh watch" >&2
    exit 2
    ;;
esac
