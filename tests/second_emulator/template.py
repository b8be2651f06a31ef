"""Reads from template.yaml what is deployed here without CloudFormation.

References to parameters become their defaults or the given values; references to functions become ARNs.
"""

import pathlib

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
ACCOUNT = "000000000000"
REGION = "us-east-1"


class Template:
    def __init__(self, **parameters):
        document = yaml.load((ROOT / "template.yaml").read_text("utf-8"), Loader)
        defaults = {name: parameter.get("Default") for name, parameter in document["Parameters"].items()}
        pseudo_parameters = {"AWS::StackName": "alpinist", "AWS::Partition": "aws"}
        self.values = defaults | pseudo_parameters | parameters
        self.conditions = document["Conditions"]
        self.globals = document["Globals"]
        self.resources = document["Resources"]

    def properties(self, resource):
        return self.resources[resource]["Properties"]

    def resolve(self, value):
        """Replaces the references in a part of the template."""
        match value:
            case Ref(name=name):
                return self.values[name]
            case GetAtt(name=name):
                return function_arn(name)
            case Choice(parts=[condition, yes, no]):
                return self.resolve(yes if self.resolve(self.conditions[condition]) else no)
            case Test(parts=parts, holds=holds):
                return holds(self.resolve(parts))
            case dict():
                return {key: self.resolve(part) for key, part in value.items()}
            case list():
                return [self.resolve(part) for part in value]
        return value

    def functions(self):
        """Returns the functions that the state machine calls, with the names of their programs."""
        called = self.properties("StateMachine")["DefinitionSubstitutions"].values()
        names = [value.name for value in called if isinstance(value, GetAtt)]
        return {name: pathlib.PurePath(self.properties(name)["CodeUri"]).name for name in names}

    def variables(self, function):
        """Returns the environment variables of a function."""
        shared = self.globals["Function"]["Environment"]["Variables"]
        own = self.properties(function).get("Environment", {"Variables": {}})["Variables"]
        return {name: str(value) for name, value in self.resolve(shared | own).items()}

    def event_pattern(self):
        """Returns the pattern of the events that start the state machine."""
        return self.resolve(self.properties("PackageChangedRule")["EventPattern"])

    def definition(self):
        """Returns the definition of the state machine, with its substitutions."""
        properties = self.properties("StateMachine")
        text = (ROOT / properties["DefinitionUri"]).read_text("utf-8")
        for name, value in self.resolve(properties["DefinitionSubstitutions"]).items():
            text = text.replace("${" + name + "}", value)
        return text


def function_arn(name):
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"


class Ref:
    def __init__(self, text):
        self.name = text


class GetAtt:
    def __init__(self, text):
        self.name, self.attribute = text.split(".")


class Choice:
    """One of two values, by the name of a condition."""

    def __init__(self, parts):
        self.parts = parts


class Test:
    """A condition."""

    def __init__(self, parts, holds):
        self.parts, self.holds = parts, holds


TESTS = {"Equals": lambda parts: parts[0] == parts[1], "Not": lambda parts: not parts[0], "And": all, "Or": any}


class Loader(yaml.SafeLoader):
    """Reads YAML with the short forms of CloudFormation. Those that nothing here needs become None."""


def construct(loader, tag, node):
    match tag:
        case "Ref" | "GetAtt":
            return {"Ref": Ref, "GetAtt": GetAtt}[tag](loader.construct_scalar(node))
        case "If":
            return Choice(loader.construct_sequence(node, deep=True))
        case tag if tag in TESTS:
            return Test(loader.construct_sequence(node, deep=True), TESTS[tag])
    return None


Loader.add_multi_constructor("!", construct)
