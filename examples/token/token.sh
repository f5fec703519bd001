#!/bin/bash
# Lets somebody send for an hour who has no key: `token.sh create` where the key is, `token.sh send TOKEN TEXT` where it is not.
# A listener of the example `echo` answers.
set -euo pipefail

case "${1-} $#" in
"create 1")
    # For the hybrid connection of the connection string and nothing else of the namespace. Whoever has the token may do what the key's
    # rule allows: take a rule that may send and no more.
    hybridrelay token create --validity 1h
    ;;
"send 3")
    # A connection string that holds the token instead of a key. In the environment nobody else can read it.
    without_key=$(tr ';' '\n' <<<"$HYBRIDRELAY_CONNECTION_STRING" | grep --invert-match '^SharedAccess' | tr '\n' ';')
    export HYBRIDRELAY_CONNECTION_STRING="${without_key}SharedAccessSignature=$2"
    printf '%s\n' "$3" | hybridrelay connect --text
    ;;
*)
    echo "usage: token.sh create | token.sh send TOKEN TEXT" >&2
    exit 2
    ;;
esac
