"""The package as `import apsis_nb` shows it."""

import json
import subprocess
import sys

import pytest

import apsis_nb

HEAVY = (
    "panel",
    "bokeh",
    "pandas",
    "numpy",
    "pyarrow",
    "duckdb",
    "fastapi",
    "httpx2",
    "IPython",
    "yaml",
    "jinja2",
)


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_package_loads_nothing_heavy_and_prints_nothing():
    loaded = json.loads(python("import apsis_nb, json, sys; print(json.dumps(sorted(sys.modules)))"))

    assert not [name for name in loaded if name.split(".")[0] in HEAVY]
    assert [name for name in loaded if name.startswith("apsis_nb")] == ["apsis_nb", "apsis_nb._version"]


@pytest.mark.parametrize("name", apsis_nb.__all__)
def test_each_public_name_is_there_and_offered_for_completion(name):
    assert getattr(apsis_nb, name) is not None
    assert name in dir(apsis_nb)


def test_local_stays_the_function_when_the_module_of_that_name_is_imported_first():
    print_it = "import apsis_nb.local, apsis_nb as ap; print(callable(ap.local), callable(ap.local))"

    assert python(print_it).split() == ["True", "True"]


def test_an_unknown_name_is_an_attribute_error_that_names_it():
    with pytest.raises(AttributeError, match="module 'apsis_nb' has no attribute 'conect'"):
        _ = apsis_nb.conect
