"""Reads template.yaml: what this emulator, which is given no template, needs of it.

References are resolved with the defaults of the parameters, with those that are given, and with ARNs.
"""

import pathlib

import yaml

ROOT = pathlib.Path(__file__).parents[2]
ACCOUNT = "000000000000"
REGION = "us-east-1"


class Template:
    def __init__(self, **parameters):
        document = yaml.load((ROOT / "template.yaml").read_text("utf-8"), Loader)
        defaults = {name: parameter.get("Default") for name, parameter in document["Parameters"].items()}
        pseudo = {"AWS::StackName": "alpinist", "AWS::Partition": "aws", "AWS::Region": REGION}
        self.values = defaults | pseudo | parameters
        self.globals = document["Globals"]
        self.resources = document["Resources"]

    def properties(self, name):
        return self.resources[name]["Properties"]

    def resolve(self, value):
        """Replaces references in what is read from the template."""
        match value:
            case Reference(name=name):
                return self.values[name]
            case Attribute(name=name):
                return function_arn(name)
            case dict():
                return {key: self.resolve(part) for key, part in value.items()}
            case list():
                return [self.resolve(part) for part in value]
        return value

    def variables(self, function):
        """Returns the environment that the template gives a function."""
        of_all = self.globals["Function"]["Environment"]["Variables"]
        of_this = self.properties(function).get("Environment", {"Variables": {}})["Variables"]
        return {name: str(value) for name, value in self.resolve(of_all | of_this).items()}

    def event_pattern(self):
        """Returns which events start the state machine."""
        return self.resolve(self.properties("PackageChangedRule")["EventPattern"])

    def definition(self):
        """Returns the state machine's definition, with its substitutions."""
        properties = self.properties("StateMachine")
        text = (ROOT / properties["DefinitionUri"]).read_text("utf-8")
        for name, value in self.resolve(properties["DefinitionSubstitutions"]).items():
            text = text.replace("${" + name + "}", value)
        return text

    def functions(self):
        """Returns the functions that the state machine calls: for each resource, the name of its program."""
        called = self.properties("StateMachine")["DefinitionSubstitutions"].values()
        names = [value.name for value in called if isinstance(value, Attribute)]
        return {name: pathlib.PurePath(self.properties(name)["CodeUri"]).name for name in names}


def function_arn(name):
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"


class Reference:
    def __init__(self, text):
        self.name = text


class Attribute:
    def __init__(self, text):
        self.name, self.attribute = text.split(".")


class Loader(yaml.SafeLoader):
    """Reads YAML with the short forms of CloudFormation, of which two are kept, and the others not needed."""


def short_form(loader, tag, node):
    known = {"Ref": Reference, "GetAtt": Attribute}
    return known[tag](loader.construct_scalar(node)) if tag in known else None


Loader.add_multi_constructor("!", short_form)
