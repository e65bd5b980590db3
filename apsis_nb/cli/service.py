"""Commands that let systemd run a server: service install, uninstall, status."""

import getpass
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from apsis_nb.cli.options import Format, FormatOption
from apsis_nb.cli.serving import (
    BindOption,
    ConfigOption,
    JobsArgument,
    SetOption,
    StateOption,
    given_settings,
)
from apsis_nb.core.errors import ApsisError

if TYPE_CHECKING:
    from apsis_nb.config import Config

app = typer.Typer(
    help="Let systemd run a server: from the log-in on, and again after a crash.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

NameArgument = Annotated[
    str | None,
    typer.Argument(metavar="NAME", help="Of the server; not needed if there is one.", show_default=False),
]

#: The first line of each unit that we made, and may change.
MARK = "# Made by `apsis-nb service install`, which writes it anew; `systemctl --user edit` adds to it."
_PREFIX, _SUFFIX = "apsis-nb-", ".service"


@app.command()
def install(
    jobs: JobsArgument = None,
    config: ConfigOption = None,
    state_dir: StateOption = None,
    bind: BindOption = None,
    set_: SetOption = None,
    print_: Annotated[bool, typer.Option("--print", help="Only print the unit.")] = False,
) -> None:
    """Let systemd run a server for this account, with the words that `serve` would have.

    It starts at once and with each log-in, and again after a crash; programs that run outlive a restart. Done
    again, it changes the unit and starts the server anew.

    \b
    Examples:
      apsis-nb service install jobs/
      apsis-nb service install --config apsis.yaml --print
    """
    from apsis_nb.config import load_config, server_of

    settings = given_settings(set_, jobs=jobs, state_dir=state_dir, bind=bind)
    wanted = load_config(config, settings)
    if not wanted.jobs.is_dir():
        raise ApsisError(
            f"{wanted.jobs}: there is no such folder; give the folder of the job files, or make it"
        )
    text = unit_text(wanted, config, settings)
    if print_:
        sys.stdout.write(text)
        return
    file = _unit_file(wanted.name)
    server = server_of(wanted.state_dir)
    if server is not None and not file.exists():
        raise ApsisError(
            f"a server with the state {wanted.state_dir} runs: stop it first (process {server.pid})"
        )
    _write_unit(file, text)
    sys.stderr.write(f"{file} is written\n")
    for words in (("daemon-reload",), ("enable", file.name), ("restart", file.name)):
        _systemctl(*words)
    sys.stdout.write(f"{file.name} runs: {wanted.link_url}\n")
    _warn_of_environment()
    if not _lingers():
        sys.stderr.write(
            "it ends when you log out, until somebody lets your services go on: loginctl enable-linger\n"
        )


@app.command()
def uninstall(name: NameArgument = None) -> None:
    """Stop a server that systemd runs, and take its unit away.

    Its jobs, its history and the programs that run stay.

    \b
    Example:
      apsis-nb service uninstall
    """
    file = _installed(name)
    _systemctl("disable", "--now", file.name)
    file.unlink()
    _systemctl("daemon-reload")
    sys.stdout.write(f"{file.name} is stopped, and {file} is gone\n")


@app.command()
def status(name: NameArgument = None, format: FormatOption = Format.table) -> None:
    """How the servers are that systemd runs.

    Exit status 1 if one of them does not run.

    \b
    Example:
      apsis-nb service status
    """
    from apsis_nb.cli.listing import Shown, show

    files = _units() if name is None else [_installed(name)]
    rows = [_facts(file) for file in files]
    columns = [
        Shown("name", lambda r: r["name"]),
        Shown("is", lambda r: r["active"]),
        Shown("process", lambda r: str(r["pid"] or ""), right=True),
        Shown("starts at log-in", lambda r: r["enabled"]),
        Shown("restarts", lambda r: str(r["restarts"]), right=True),
        Shown("unit", lambda r: r["unit"], gives_way=True),
    ]
    show(rows, columns, format, empty="there is none: apsis-nb service install")
    if rows and not _lingers():
        sys.stderr.write("they end when you log out: loginctl enable-linger lets them go on\n")
    if any(row["active"] != "active" for row in rows):
        raise typer.Exit(1)


def unit_text(config: "Config", file: Path | None, settings: dict[str, str]) -> str:
    """The unit of a server.

    Args:
        config: of the server.
        file: of its settings.
        settings: what was said beside that, by key.

    Raises:
        ApsisError: a path cannot stand in a unit.
    """
    from apsis_nb.config import PATH_KEYS

    words = [sys.executable, "-P", "-m", "apsis_nb", "serve"]
    words += ["--config", str(file.absolute())] if file is not None else []
    # It is started from elsewhere, and in another environment.
    said = {key: _absolute(value) if key in PATH_KEYS else value for key, value in settings.items()}
    said |= {"jobs": str(config.jobs), "state_dir": str(config.state_dir)}
    said |= {"bind": config.bind} if "bind" in said else {}
    for key, value in said.items():
        words += ["--set", f"{key}={value}"]
    waits = "\n# It waits for the programs that run.\nTimeoutStopSec=infinity" if config.drain else ""
    return f"""{MARK}
[Unit]
Description=apsis_nb {config.name}
StartLimitIntervalSec=5min
StartLimitBurst=10

[Service]
Type=notify
ExecStart={" ".join(map(_quoted, words))}
Restart=on-failure
RestartSec=5
# A loop that stands still for so long is killed, and started anew.
WatchdogSec=2min
# A new release may have much to do in the database.
TimeoutStartSec=30min
# Programs that run outlive the server; the next one finds them.
KillMode=process{waits}

[Install]
WantedBy=default.target
"""


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute())


def _quoted(word: str) -> str:
    """A word of a command line, as systemd.service(5) reads them."""
    if not word.isprintable():
        raise ApsisError(f"{word!r} cannot stand in a unit of systemd: use a path without such characters")
    text = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{text}"'


def _folder() -> Path:
    """Where the units of an account lie."""
    home = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(home) if home.startswith("/") else Path.home() / ".config") / "systemd" / "user"


def _unit_file(name: str) -> Path:
    return _folder() / f"{_PREFIX}{name}{_SUFFIX}"


def _units() -> list[Path]:
    """All units that we made."""
    return sorted(_folder().glob(f"{_PREFIX}*{_SUFFIX}"))


def _installed(name: str | None) -> Path:
    units = _units()
    names = [file.name.removeprefix(_PREFIX).removesuffix(_SUFFIX) for file in units]
    if name is None and len(units) == 1:
        return units[0]
    if not units:
        raise ApsisError("there is no service of apsis-nb: apsis-nb service install makes one")
    if name not in names:
        which = "name one of" if name is None else f"there is no service {name!r}: there are"
        raise ApsisError(f"{which} {', '.join(names)}")
    return units[names.index(name)]


def _write_unit(file: Path, text: str) -> None:
    """Write the unit, whole or not at all; only one that we made is written anew.

    Raises:
        ApsisError: somebody else made the one that is there.
    """
    if file.exists() and not file.read_text(encoding="utf-8").startswith(MARK):
        raise ApsisError(
            f"{file} was not made by apsis-nb, and is left as it is: give the server another name"
        )
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f".{file.name}.new")
    fresh.write_text(text, encoding="utf-8")
    fresh.chmod(0o600)  # a setting may be a secret
    fresh.replace(file)


def _systemctl(*words: str) -> str:
    """What `systemctl --user` says.

    Raises:
        ApsisError: there is none, or it refuses.
    """
    command = ["systemctl", "--user", *words]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise ApsisError("this machine has no systemd: run `apsis-nb serve` by what it has instead") from None
    if told.returncode != 0:
        said = " ".join(told.stderr.split()) or f"exit status {told.returncode}"
        raise ApsisError(f"`{' '.join(command)}` failed: {said}")
    return told.stdout


def _facts(file: Path) -> dict[str, object]:
    """How a unit is."""
    names = ("ActiveState", "MainPID", "UnitFileState", "NRestarts")
    lines = _systemctl("show", file.name, f"--property={','.join(names)}").splitlines()
    found = {name: value for name, _, value in (line.partition("=") for line in lines)}
    return {
        "name": file.name.removeprefix(_PREFIX).removesuffix(_SUFFIX),
        "active": found.get("ActiveState", "unknown"),
        "pid": int(found.get("MainPID", "0")) or None,
        "enabled": found.get("UnitFileState", "unknown"),
        "restarts": int(found.get("NRestarts", "0")),
        "unit": str(file),
    }


def _lingers() -> bool:
    """Whether the services of this account go on without a log-in; True, too, where that cannot be told."""
    try:
        told = subprocess.run(
            ["loginctl", "show-user", getpass.getuser(), "--property=Linger", "--value"],
            capture_output=True,
            text=True,
            check=False,
        )
    except (OSError, KeyError):
        return True
    return told.returncode != 0 or told.stdout.strip() != "no"


def _warn_of_environment() -> None:
    """A service does not have the environment of the shell that installs it."""
    from apsis_nb.config import names_in_environment

    if names := names_in_environment(os.environ):
        sys.stderr.write(
            f"it does not see {', '.join(names)}: write them in a file, and give it with --config\n"
        )
