#!/usr/bin/env bash
# Expected: a linter of IAM policies accepts states:ListExecutions on a state machine, as AWS's service reference lists
# that resource for it, and states:DescribeExecution on an execution of a standard state machine.
# What happens: parliament 1.6.4 finds RESOURCE_MISMATCH for both, of medium severity: its data has one kind of ARN for
# each, a map run and an express execution. Whoever follows it takes away the right that is needed, or widens it to "*".
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

python3 -m venv venv
venv/bin/pip --quiet install parliament==1.6.4
venv/bin/pip show parliament 2>/dev/null | sed -n 2p

fail() { echo "changed: $*" >&2; exit 1; }

venv/bin/python - > found.txt <<'END'
import json, parliament

account = "eu-central-1:123456789012"
for action, resource in [
    ("states:ListExecutions", f"arn:aws:states:{account}:stateMachine:orders"),
    ("states:DescribeExecution", f"arn:aws:states:{account}:execution:orders:*"),
    # The same resources with actions for which its data is right.
    ("states:StartExecution", f"arn:aws:states:{account}:stateMachine:orders"),
    ("states:StopExecution", f"arn:aws:states:{account}:execution:orders:*"),
]:
    statement = {"Effect": "Allow", "Action": action, "Resource": resource}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    findings = parliament.analyze_policy_string(policy).findings
    print(action, [(finding.issue, finding.detail[0]["required_format"]) for finding in findings])
END
cat found.txt
grep -qx "states:ListExecutions \[('RESOURCE_MISMATCH', 'arn:\*:states:\*:\*:mapRun:\*/\*:\*')\]" found.txt ||
    fail "it says something else of states:ListExecutions"
grep -qx "states:DescribeExecution \[('RESOURCE_MISMATCH', 'arn:\*:states:\*:\*:express:\*:\*:\*')\]" found.txt ||
    fail "it says something else of states:DescribeExecution"
grep -qx 'states:StartExecution \[\]' found.txt || fail "it says something of states:StartExecution"
grep -qx 'states:StopExecution \[\]' found.txt || fail "it says something of states:StopExecution"
