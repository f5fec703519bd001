#!/bin/bash
# Lets others reach a TCP port near here: `forward-port.sh listen HOST:PORT` beside the server, `forward-port.sh connect` in any other
# place.
set -euo pipefail

# Makes the line `online` of the event, and leaves everything else on standard error.
announce() {
    sed --unbuffered --quiet 's/^{"event":"online".*/online/p; t; w /dev/stderr'
}

case "${1-} $#" in
"listen 2")
    # The server is dialled anew for each sender. With --json the command says on standard error what happens.
    hybridrelay expose "tcp://$2" --json 2>&1 >/dev/null | announce
    ;;
"connect 1")
    # Standard input and output are the connection: `ssh -o ProxyCommand='./forward-port.sh connect' there` works.
    hybridrelay connect
    ;;
*)
    echo "usage: forward-port.sh listen HOST:PORT | forward-port.sh connect" >&2
    exit 2
    ;;
esac
