"""Evaluates expressions of state machines, as npm/jsonata.cjs does with another implementation.

The argument is a file with a JSON list of {expression, states}. `$random` is always a half.
"""

import json
import sys

import jsonata


def evaluate(case):
    try:
        expression = jsonata.Jsonata(case["expression"])
        expression.assign("states", case["states"])
        expression.register_lambda("parse", json.loads)
        expression.register_lambda("random", lambda: 0.5)
        value = expression.evaluate({})
    except Exception:
        return {"error": True}
    return {"nothing": True} if value is None else {"value": value}


with open(sys.argv[1], encoding="utf-8") as file:
    print(json.dumps([evaluate(case) for case in json.load(file)]))
