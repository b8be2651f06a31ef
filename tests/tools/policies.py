"""Prints the policies of a template in a partition, as CloudFormation would make them: those of each role, by its
logical ID, and those of resources.

The arguments are the template, the partition, the region and the account; then parameters, each as NAME=VALUE.
"""

import json
import re
import sys

from cloudformation import load

path, partition, region, account, *given = sys.argv[1:]
template = load(path)

parameters = {name: given.get("Default") for name, given in template["Parameters"].items()}
parameters |= dict(pair.split("=", 1) for pair in given)


def unrolled(members):
    """The members of a section, with those that Fn::ForEach makes for each value of a parameter."""
    for name, member in members.items():
        if not name.startswith("Fn::ForEach::"):
            yield name, member
            continue
        variable, collection, body = member
        for value in parameters[collection["Ref"]].split(","):
            text = json.dumps(body).replace(f"${{{variable}}}", value)
            text = text.replace(f"&{{{variable}}}", re.sub("[^A-Za-z0-9]", "", value))
            yield from json.loads(text).items()


resources = dict(unrolled(template["Resources"]))
pseudo = {
    "AWS::Partition": partition,
    "AWS::Region": region,
    "AWS::AccountId": account,
    "AWS::StackName": "stack",
    "AWS::NoValue": None,
    "AWS::URLSuffix": "amazonaws.com.cn" if partition == "aws-cn" else "amazonaws.com",
}
SERVICES = {
    "AWS::Serverless::Function": ("lambda", "function:"),
    "AWS::Serverless::StateMachine": ("states", "stateMachine:"),
    "AWS::SQS::Queue": ("sqs", ""),
    "AWS::SNS::Topic": ("sns", ""),
    "AWS::Events::Rule": ("events", "rule/"),
    "AWS::Logs::LogGroup": ("logs", "log-group:"),
}


def arn(name):
    kind = resources[name]["Type"]
    if kind == "AWS::IAM::Role":
        return f"arn:{partition}:iam::{account}:role/{name}"
    service, begin = SERVICES[kind]
    end = ":*" if service == "logs" else ""
    return f"arn:{partition}:{service}:{region}:{account}:{begin}{name}{end}"


def ref(name):
    if name in pseudo:
        return pseudo[name]
    if name in parameters:
        return parameters[name]
    is_arn = resources[name]["Type"] in ("AWS::Serverless::StateMachine", "AWS::SNS::Topic")
    return arn(name) if is_arn else parameters["BucketName"] if name == "Bucket" else name


def attribute(name, what):
    return arn(name) if what == "Arn" else name


def substitute(text, own):
    def value(match):
        name = match.group(1)
        if name in own:
            return resolve(own[name])
        return attribute(*name.split(".", 1)) if "." in name else str(ref(name))

    return re.sub(r"\$\{([^!}]+)\}", value, text)


def holds(condition):
    ((kind, value),) = condition.items()
    if kind == "Condition":
        return holds(template["Conditions"][value])
    if kind == "Fn::Equals":
        return resolve(value[0]) == resolve(value[1])
    if kind == "Fn::Not":
        return not holds(value[0])
    return (any if kind == "Fn::Or" else all)(holds(part) for part in value)


def resolve(value):
    if isinstance(value, list):
        return [part for part in map(resolve, value) if part is not None]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((kind, what),) = value.items()
        match kind:
            case "Ref":
                return ref(what)
            case "Fn::GetAtt":
                return attribute(*what)
            case "Fn::Sub":
                return substitute(what, {}) if isinstance(what, str) else substitute(*what)
            case "Fn::If":
                return resolve(what[1] if holds(template["Conditions"][what[0]]) else what[2])
            case "Fn::Join":
                return what[0].join(resolve(what[1]))
            case "Fn::Split":
                return resolve(what[1]).split(what[0])
            case "Fn::FindInMap":
                top, first, second = map(resolve, what)
                return template["Mappings"][top][first][second]
    return {name: resolve(part) for name, part in value.items()}


found = {"roles": {}, "trust": {}, "resources": {}}
for name, resource in resources.items():
    if "Condition" in resource and not holds(template["Conditions"][resource["Condition"]]):
        continue
    properties = resource["Properties"]
    match resource["Type"]:
        case "AWS::IAM::Role":
            documents = [policy["PolicyDocument"] for policy in properties["Policies"]]
            found["roles"].setdefault(name, []).extend(resolve(documents))
            found["trust"][name] = resolve(properties["AssumeRolePolicyDocument"])
        case "AWS::IAM::Policy":
            for role in properties["Roles"]:
                found["roles"].setdefault(resolve(role), []).append(resolve(properties["PolicyDocument"]))
        case "AWS::S3::BucketPolicy" | "AWS::SNS::TopicPolicy" | "AWS::SQS::QueuePolicy":
            found["resources"][name] = resolve(properties["PolicyDocument"])
print(json.dumps(found))
