"""Prints docs/configuration.md: the parameters, outputs and permissions of the template.

The argument is the template.
"""

import re
import sys
import textwrap

from cloudformation import load

INTRODUCTION = """\
# Configuration

The parameters of the stack, its outputs, and the permissions of its roles. This page is generated from `template.yaml`;
after a change there, run `UPDATE_DOCUMENTS=1 cargo test --workspace --test deployment documents`.

Parameters are set when the stack is deployed. Those that are not named keep their values, or have their defaults in a
new stack:

```sh
aws cloudformation deploy --template-file target/packaged.yaml --stack-name alpinist --s3-bucket ARTIFACTS \\
    --capabilities CAPABILITY_IAM CAPABILITY_AUTO_EXPAND \\
    --parameter-overrides BucketName=example-packages FailureEmail=ops@example.com
```

[Operations](operations.md#install) says how to build what is deployed."""

PERMISSIONS = """\
## Permissions

Each function and state machine has a role of its own, and no role may do more than its table says. A name is that of a
resource or parameter of the template, and `${...}` its value; the beginning of an ARN, up to the account, is left out.
`*` alone stands where actions know no resources. No role can write a package: the only `.apk` objects that one may
write have a space in their names, which no package has. [Security](../SECURITY.md#who-can-reach-what) says what that
means for an attacker."""

template = load(sys.argv[1])
resources = template["Resources"]


def as_list(value):
    return value if isinstance(value, list) else [value]


def code(text):
    return f"`{text}`".replace("|", "\\|")


def codes(texts):
    return ", ".join(map(code, texts))


def prose(text):
    """A description on one line, with links to the documents that it names."""
    text = " ".join(text.split()).replace("|", "\\|")
    text = re.sub(r"docs/(\w+\.md)", r"[\1](\1)", text)
    text = re.sub(r"\bSECURITY\.md", "[SECURITY.md](../SECURITY.md)", text)
    return text if text.endswith(".") else f"{text}."


def table(headings, rows):
    lines = [f"| {' | '.join(line)} |" for line in [headings, *rows]]
    return "\n".join([lines[0], "|---" * len(headings) + "|", *lines[1:]])


def condition(what, holds=True):
    """What is the case if a condition holds, or if it does not, in words."""
    ((kind, value),) = what.items()
    match kind:
        case "Condition":
            return condition(template["Conditions"][value], holds)
        case "Fn::Equals":
            name, text = value
            verb = "is" if holds else "is not"
            return f"{code(name['Ref'])} {verb} {code(text) if text else 'empty'}"
        case "Fn::Not":
            return condition(value[0], not holds)
        case "Fn::And" | "Fn::Or":
            word = "and" if (kind == "Fn::And") == holds else "or"
            return f" {word} ".join(condition(part, holds) for part in value)
    raise ValueError(f"no words for {kind}")


def only_if(name, holds=True):
    return f"only if {condition({'Condition': name}, holds)}"


def allowed(parameter):
    if "AllowedValues" in parameter:
        return codes(parameter["AllowedValues"])
    if "MaxValue" in parameter:
        return f"{parameter['MinValue']} to {parameter['MaxValue']}"
    constraint = parameter.get("ConstraintDescription")
    return constraint.strip().removeprefix("must be ") if constraint else code(parameter["AllowedPattern"])


def default(parameter):
    if "Default" not in parameter:
        return "required"
    return code(parameter["Default"]) if parameter["Default"] != "" else "empty"


def parameters(names):
    given = [(name, template["Parameters"][name]) for name in names]
    rows = [[code(name), default(it), allowed(it), prose(it["Description"])] for name, it in given]
    return table(["parameter", "default", "allowed", "description"], rows)


def outputs():
    def description(output):
        words = prose(output["Description"])
        return f"{words} It exists {only_if(output['Condition'])}." if "Condition" in output else words

    rows = [[code(name), description(output)] for name, output in template["Outputs"].items()]
    return table(["output", "description"], rows)


def names_in(value):
    """The parameters and resources that a value is made of."""
    if isinstance(value, dict):
        return [value["Ref"]] if "Ref" in value else names_in(list(value.values()))
    return [name for part in value for name in names_in(part)] if isinstance(value, list) else []


def resource_names(value):
    """The resources of a statement, as they are shown."""
    if isinstance(value, list):
        return [name for part in value for name in resource_names(part)]
    if isinstance(value, str):
        return [code(value)]
    ((kind, what),) = value.items()
    match kind:
        case "Ref" if what == "AWS::NoValue":
            return []
        case "Ref":
            return [code(what)]
        case "Fn::GetAtt":
            return [code(what[0])]
        case "Fn::Sub":
            return [code(without_account(what))]
        case "Fn::If":
            return [f"{name} ({words})" for words, part in branches(what) for name in resource_names(part)]
    return list(map(code, names_in(value)))


def without_account(arn):
    return re.sub(r"^arn:\$\{AWS::Partition\}:\w+:(\$\{AWS::Region\})?:(\$\{AWS::AccountId\})?:", "", arn)


def branches(choice):
    """What either side of Fn::If is for, in words, and the side."""
    name, then, otherwise = choice
    yield only_if(name), then
    yield only_if(name, holds=False), otherwise


def statements(policy):
    """The rows of a policy's statements, each with the policy's name where it has none."""
    for statement in policy["PolicyDocument"]["Statement"]:
        sides = branches(statement["Fn::If"]) if "Fn::If" in statement else [(None, statement)]
        for words, side in sides:
            if "Effect" not in side:
                continue
            name = code(side.get("Sid", policy["PolicyName"])) + (f", {words}" if words else "")
            name = f"**denied:** {name}" if side["Effect"] == "Deny" else name
            yield [name, codes(as_list(side["Action"])), ", ".join(resource_names(side["Resource"]))]


def policies_of(role):
    yield from resources[role]["Properties"]["Policies"]
    for resource in resources.values():
        if resource["Type"] == "AWS::IAM::Policy" and {"Ref": role} in resource["Properties"]["Roles"]:
            yield resource["Properties"]


def mentions(value, sought):
    if value == sought:
        return True
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return any(mentions(part, sought) for part in parts)


def role_section(role):
    properties = resources[role]["Properties"]
    (trust,) = properties["AssumeRolePolicyDocument"]["Statement"]
    users = [name for name, it in resources.items() if mentions(it["Properties"], {"Fn::GetAtt": [role, "Arn"]})]
    existence = f" It exists {only_if(resources[role]['Condition'])}." if "Condition" in resources[role] else ""
    service = code(trust["Principal"]["Service"])
    words = f"{prose(properties['Description'])} For {codes(users)}, through {service}.{existence}"
    words = textwrap.fill(words, 120, break_on_hyphens=False)
    rows = [row for policy in policies_of(role) for row in statements(policy)]
    return f"### {role}\n\n{words}\n\n{table(['statement', 'actions', 'resources'], rows)}"


def document():
    interface = template["Metadata"]["AWS::CloudFormation::Interface"]
    yield INTRODUCTION
    yield "## Parameters"
    for group in interface["ParameterGroups"]:
        yield f"### {group['Label']['default']}\n\n{parameters(group['Parameters'])}"
    yield f"## Outputs\n\n`aws cloudformation describe-stacks --stack-name alpinist` shows them.\n\n{outputs()}"
    yield PERMISSIONS
    for name, resource in resources.items():
        if resource["Type"] == "AWS::IAM::Role":
            yield role_section(name)


print("\n\n".join(document()))
