"""The page of the configuration has every setting, with its default and an example that is right."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from apsis_nb.config import Config, list_settings, load_config

PAGE = (Path(__file__).parents[2] / "docs/configuration.md").read_text()
#: [(key, default, example)]; the text of code is without its quotes.
ROWS = [
    (key, default, example)
    for key, default, example in re.findall(
        r"^\| `([\w.]+)` \| ([^|]+) \| ([^|]+) \| [^|]+ \|$", PAGE.split("## The settings")[1], re.MULTILINE
    )
]
#: Settings of which others of the same section are needed, too.
TOGETHER = {
    "tls.cert": {"tls.key": "key.pem"},
    "tls.key": {"tls.cert": "cert.pem"},
    "heartbeat.every": {"heartbeat.url": "https://monitor.example.org"},
}


def settings(model: type[BaseModel], path: str = "") -> dict[str, Any]:
    """Every setting of a section with its default; below a mapping, `NAME`."""
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        types = [
            t for t in (field.annotation, *getattr(field.annotation, "__args__", ())) if isinstance(t, type)
        ]
        section = next((t for t in types if issubclass(t, BaseModel)), None)
        if section is not None:
            found |= settings(section, f"{path}{name}.")
        elif field.is_required():
            found[f"{path}{name}"] = None
        elif isinstance(field.default, dict):
            found[f"{path}{name}.NAME"] = None
        else:
            found[f"{path}{name}"] = field.default
    if model.model_config.get("extra") == "allow":
        found[f"{path}NAME"] = None
    return found


def code(text: str) -> str | None:
    match = re.fullmatch(r"`(.*)`", text)
    return match and match[1]


def test_every_setting_is_told_once():
    told = [key for key, _, _ in ROWS]

    assert sorted(told) == sorted(settings(Config))


#: Their defaults depend on other settings, or on the machine.
MADE = {"jobs", "name", "state_dir", "tz"}


def values(key: str, said: dict[str, str]) -> dict[str, Any]:
    """All settings where `said` is said, and what a setting of the section of `key` needs."""
    given = TOGETHER.get(key, {}) | said
    return {setting.key: setting.value for setting in list_settings(None, given, env={})}


@pytest.mark.parametrize(("key", "default"), [row[:2] for row in ROWS], ids=[row[0] for row in ROWS])
def test_the_default_of_each_is_right(key: str, default: str):
    text = code(default)
    if text is None:
        assert key in MADE or settings(Config)[key] in (None, ())
    else:
        assert values(key, {key: text}) == values(key, {})


@pytest.mark.parametrize(("key", "example"), [row[::2] for row in ROWS], ids=[row[0] for row in ROWS])
def test_the_example_of_each_is_right_and_no_default(key: str, example: str):
    text = code(example)
    if text is None:
        assert key == "action"  # only a file can have it
        return
    assert key in values(key, {key: text})
    default = settings(Config)[key]
    assert default is None or values(key, {key: text}) != values(key, {})


def test_the_file_of_the_page_is_right_and_nothing_secret_is_shown(tmp_path: Path):
    (text,) = re.findall(r"^```config\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    file = tmp_path / "apsis.yaml"
    file.write_text(text)

    assert load_config(file, env={}).log.format == "json"
    shown = json.dumps([setting.value for setting in list_settings(file, env={})])
    assert "mail.example.org" not in shown
