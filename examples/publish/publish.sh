#!/bin/bash
# From one to everybody: `publish.sh subscribe` in any number of places, `publish.sh say TEXT` in any other. The relay must be told that the
# hybrid connection is one for events, as by `hybridrelay serve --dev --events NAME`; elsewhere one listener hears each publisher.
set -euo pipefail

case "${1-} $#" in
"subscribe 1")
    # Each event is a line of standard output. On standard error the command says that it is there, which becomes the line `online`.
    hybridrelay subscribe 2> >(sed --unbuffered --quiet 's/^subscribed to .*/online/p; t; w /dev/stderr')
    ;;
"say 2")
    # An empty path behind '/' stands for the hybrid connection of the connection string.
    hybridrelay publish / "$2"
    ;;
*)
    echo "usage: publish.sh subscribe | publish.sh say TEXT" >&2
    exit 2
    ;;
esac
