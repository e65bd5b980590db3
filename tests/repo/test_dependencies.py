"""pyproject.toml, constraints.txt and environment.yml tell one story."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]

# What conda-forge calls by another name.
CONDA_NAMES = {
    "duckdb": "python-duckdb",
    "jupyter-bokeh": "jupyter_bokeh",
    "prometheus-client": "prometheus_client",
    "tzdata": "python-tzdata",
}


def bounds(requirements):
    """{name: specifier} of lines as pip reads them."""
    parsed = [Requirement(line) for line in requirements]
    return {canonicalize_name(each.name): each.specifier for each in parsed}


def pinned():
    lines = (ROOT / "constraints.txt").read_text().split()
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


def test_constraints_are_names_and_versions_only():
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line), line


@pytest.mark.parametrize("group", ["dependencies", *EXTRAS])
def test_each_direct_dependency_is_pinned_within_its_bounds(group):
    versions = pinned()
    for name, specifier in bounds(EXTRAS.get(group, PROJECT["dependencies"])).items():
        assert name in versions, f"{name} is not in constraints.txt"
        assert Version(versions[name]) in specifier, f"{name}=={versions[name]} is not {specifier}"


def test_each_direct_dependency_has_a_lower_bound():
    for group in [PROJECT["dependencies"], *EXTRAS.values()]:
        for name, specifier in bounds(group).items():
            assert any(each.operator == ">=" for each in specifier), f"{name} has no lower bound"


def test_the_conda_environment_has_the_same_packages_and_bounds():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *from_conda, last = environment["dependencies"]
    from_pip = bounds(line for line in last["pip"] if line != "-e .")
    theirs = {name: str(specifier) for name, specifier in from_pip.items()}
    for line in from_conda:
        name, _, specifier = line.partition(" ")
        theirs[name] = str(SpecifierSet(specifier))

    ours = {"pip": "", "python": PROJECT["requires-python"]}
    for name, specifier in bounds(PROJECT["dependencies"] + EXTRAS["notebook"]).items():
        ours[CONDA_NAMES.get(name, name)] = str(specifier)

    assert theirs == ours
    assert "-e ." in last["pip"]
