"""Reads templates of CloudFormation, whose short forms are not of YAML."""

import yaml


class Loader(yaml.SafeLoader):
    pass


def intrinsic(loader, suffix, node):
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
        value = value.split(".", 1) if suffix == "GetAtt" else value
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


Loader.add_multi_constructor("!", intrinsic)


def load(path):
    """Returns the template, with each short form written out, as `{"Fn::Sub": ...}`."""
    with open(path, encoding="utf-8") as file:
        return yaml.load(file, Loader)
