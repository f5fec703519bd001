#!/bin/bash
# Asks a listener by HTTP: `http-hello.sh get NAME`. (On the command line, requests go to a server that is there already, by
# `hybridrelay expose http://localhost:8080`; it makes no answers of its own.)
set -euo pipefail

case "${1-} $#" in
"get 2")
    # The body goes to standard output. --fail makes a status of 400 or more an error, as in curl. What begins with '/' stands behind
    # the hybrid connection of the connection string.
    hybridrelay request --fail "/$2"
    ;;
*)
    echo "usage: http-hello.sh get NAME" >&2
    exit 2
    ;;
esac
