"""Prints what parliament finds in policies. The argument is a file with what policies.py prints."""

import json
import sys

import parliament

with open(sys.argv[1], encoding="utf-8") as file:
    found = json.load(file)
for name, policies in [*found["roles"].items(), *((name, [policy]) for name, policy in found["resources"].items())]:
    for policy in policies:
        for finding in parliament.analyze_policy_string(json.dumps(policy)).findings:
            print(name, finding.issue, json.dumps(finding.detail))
