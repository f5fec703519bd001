#!/bin/bash
# A relay for a test: nothing to configure, and nothing is left behind. Prints `passed`.
set -euo pipefail

# The relay keeps its key here. Everything that runs ends with this script.
state=$(mktemp --directory)
started=()
trap 'kill "${started[@]}" 2>/dev/null; rm --recursive "$state"' EXIT

# Port 0 is any free one. The ready line is JSON where no terminal is, and holds the connection string.
exec {ready}< <(exec hybridrelay serve --dev --listen http://127.0.0.1:0 --admin http://127.0.0.1:0 --state "$state")
started+=($!)
read -r line <&"$ready"
HYBRIDRELAY_CONNECTION_STRING=$(sed 's/.*"connectionString":"\([^"]*\)".*/\1/' <<<"$line")
export HYBRIDRELAY_CONNECTION_STRING

# What is tested: here a listener that runs a command for each sender.
exec {said}< <(exec hybridrelay listen greetings --exec 'printf welcome' --json 2>&1)
started+=($!)
until [[ $line == '{"event":"online"'* ]]; do read -r line <&"$said"; done

# The other side of the conversation, played by the test.
greeting=$(hybridrelay connect greetings </dev/null)
if [ "$greeting" != welcome ]; then
    echo "the listener said '$greeting'" >&2
    exit 1
fi
echo passed
