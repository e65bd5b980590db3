"""Settings from file, environment and command line; and how running servers are found."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from apsis_nb.config import (
    Config,
    ConfigError,
    find_servers,
    list_settings,
    load_config,
    name_of,
    runtime_dir,
    server_of,
    system_zone,
    write_runtime,
)


def written(folder: Path, text: str) -> Path:
    file = folder / "apsis.yaml"
    file.write_text(text)
    return file


def faults(file: Path | None = None, **overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        load_config(file, {k.replace("__", "."): v for k, v in overrides.items()}, env={})
    return str(error.value).split("\n")


def test_with_nothing_said_a_server_is_for_this_machine_alone(tmp_path: Path):
    config = load_config(env={"HOME": str(tmp_path), "TZ": "Europe/London"})
    assert config.bind == "127.0.0.1:5577"
    assert config.base_url == config.link_url == "http://127.0.0.1:5577"
    assert config.is_loopback
    assert config.jobs == Path.cwd() / "jobs"
    assert config.state_dir == tmp_path / ".local/state/apsis_nb" / config.name
    assert config.tz == "Europe/London"
    assert (config.sql.max_time, config.sql.heavy, config.late.start) == (30.0, 2, 60.0)


def test_the_command_line_wins_over_the_environment_over_the_file(tmp_path: Path):
    file = written(tmp_path, "sql: {max_time: 1m, heavy: 3}\nbind: 127.0.0.1:1\nname: file\n")
    env = {
        "APSIS_NB_SQL__MAX_TIME": "2m",
        "APSIS_NB_BIND": "127.0.0.1:2",
        "APSIS_NB_URL": "no setting",
        "APSIS_NB_DEBUG": "1",
    }
    config = load_config(file, {"bind": "127.0.0.1:3"}, env)
    assert (config.name, config.sql.heavy, config.sql.max_time, config.port) == ("file", 3, 120.0, 3)


def test_relative_paths_of_a_file_start_from_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir("/")
    file = written(tmp_path, "jobs: my jobs\nstate_dir: ../state\ntls: {cert: a.pem, key: /b.pem}\n")
    config = load_config(file, {"log.file": "x.log"}, env={})
    assert config.jobs == tmp_path / "my jobs"
    assert config.state_dir == tmp_path / "../state"
    assert config.tls is not None
    assert (config.tls.cert, config.tls.key) == (tmp_path / "a.pem", Path("/b.pem"))
    assert config.log.file == Path("/x.log")


def test_values_of_a_file_are_read_as_their_setting_wants(tmp_path: Path):
    file = written(
        tmp_path,
        "env: {N: 012, YES: yes, DOTTED.NAME: x}\ninsecure: true\nallowed_hosts: [a, b]\n"
        "log:\nstore: {threads: 2}\n",
    )
    config = load_config(file, {"env.MORE": "a=b"}, env={})
    assert config.env == {"N": "012", "YES": "yes", "DOTTED.NAME": "x", "MORE": "a=b"}
    assert (config.insecure, config.allowed_hosts, config.store.threads) == (True, ("a", "b"), 2)
    assert load_config(overrides={"allowed_hosts": "a, b"}, env={}).allowed_hosts == ("a", "b")


def test_all_that_is_wrong_is_told_with_file_and_line(tmp_path: Path):
    file = written(tmp_path, "bindd: x\nsql:\n  max_time: 10x\n  heavy: 0\ntls: {cert: a.pem}\n")
    told = faults(file, sql__max_row="3")
    assert f"{file}:1: unknown key 'bindd': did you mean 'bind'?" in told
    assert any(t.startswith(f"{file}:3: sql.max_time: '10x' is no duration") for t in told)
    assert any(t.startswith(f"{file}:4: sql.heavy: ") for t in told)
    assert f"{file}:5: tls.key: is missing" in told
    assert "--set sql.max_row: unknown key 'max_row': did you mean 'max_rows'?" in told


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", ":1: "),
        ("- a\n", ":1: should be a mapping"),
        ("bind: a\nbind: b\n", ":2: bind is given twice"),
        ("sql: 3\n", ":1: sql: "),
        ("bind: [1]\n", ":1: bind: "),
    ],
)
def test_a_file_that_is_no_config_is_told(tmp_path: Path, text: str, says: str):
    (told,) = faults(written(tmp_path, text))
    assert f"apsis.yaml{says}" in told


def test_a_file_that_is_not_there_is_told(tmp_path: Path):
    (told,) = faults(tmp_path / "none.yaml")
    assert told == f"{tmp_path / 'none.yaml'}: cannot be read: No such file or directory"


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("bind", "5577", "give HOST:PORT"),
        ("bind", "127.0.0.1:99999", "give HOST:PORT"),
        ("tz", "Europe/Londn", "did you mean 'Europe/London'"),
        ("public_url", "jobs.example.org", "https://"),
        ("name", "a/b", "letters"),
        ("dashboards", "maybe", "'process' or 'off'"),
        ("store__memory_limit", "lots", "1GB"),
        ("nonsense", "1", "known are jobs"),
        ("retention.outputs.agee", "1d", "did you mean 'age'?"),
        ("retention.outputs.bytes", "many", "must be a size such as 2GB"),
        ("retention.outputs.count", "0", "greater than 0"),
        ("cost.cpu_hour", "-1", "greater than or equal to 0"),
        ("cost.cpu", "1", "known are cpu_hour, gb_hour"),
    ],
)
def test_a_wrong_value_is_told_with_what_would_be_right(key: str, value: str, says: str):
    (told,) = faults(**{key: value})
    assert told.startswith(f"--set {key.replace('__', '.')}: ")
    assert says in told


def test_an_address_that_others_reach_needs_tls_or_a_clear_word():
    (told,) = faults(bind="0.0.0.0:5577")
    assert "tls" in told
    assert (
        load_config(overrides={"bind": "0.0.0.0:5577", "insecure": "true"}, env={}).base_url
        == "http://127.0.0.1:5577"
    )
    secure = load_config(overrides={"bind": "[::]:443", "tls.cert": "c", "tls.key": "k"}, env={})
    assert secure.base_url == "https://[::1]:443"


@pytest.mark.parametrize(
    ("bind", "is_loopback"), [("localhost:1", True), ("[::1]:1", True), ("example.org:1", False)]
)
def test_loopback_is_known(bind: str, is_loopback: bool):
    assert load_config(overrides={"bind": bind, "insecure": "1"}, env={}).is_loopback is is_loopback


def test_links_are_as_people_reach_the_server():
    config = load_config(overrides={"public_url": "https://jobs.example.org/apsis/"}, env={})
    assert config.link_url == "https://jobs.example.org/apsis"
    assert config.with_port(99).base_url == "http://127.0.0.1:99"


def test_a_config_is_a_value():
    assert load_config(env={"HOME": "/h"}) == load_config(env={"HOME": "/h"})
    with pytest.raises(ValueError, match="frozen"):
        Config().name = "x"  # type: ignore[misc]


def test_a_job_folder_has_one_name_however_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "my jobs").mkdir()
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    names = {name_of(p) for p in (Path("my jobs"), tmp_path / "my jobs", Path("other/../my jobs"))}
    assert len(names) == 1
    assert names != {name_of(Path("other"))}
    assert load_config(overrides={"jobs": "my jobs"}, env={}).name in names


def test_a_state_folder_names_its_server():
    assert load_config(overrides={"state_dir": "/tmp/.my state"}, env={}).name == "mystate"


def test_the_system_zone_is_one_that_exists():
    assert system_zone({"TZ": ":Asia/Tokyo"}) == "Asia/Tokyo"
    assert system_zone({"TZ": "nonsense"})


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "HOME": str(tmp_path),
    }


def test_a_running_server_is_found_by_its_owner_alone(tmp_path: Path, env: dict[str, str]):
    state = tmp_path / "somewhere"
    files = write_runtime("http://127.0.0.1:1", "secret", state, env)
    assert [oct(f.stat().st_mode & 0o777) for f in files] == ["0o600", "0o600"]
    assert oct(runtime_dir(env).stat().st_mode & 0o777) == "0o700"
    (server,) = find_servers(env)
    assert (server.url, server.token, server.pid) == ("http://127.0.0.1:1", "secret", os.getpid())
    assert server_of(state) == server
    for file in files:
        file.unlink()
    assert find_servers(env) == []
    assert server_of(state) is None


def test_a_server_is_found_by_its_state_when_the_runtime_folder_was_emptied(env: dict[str, str]):
    state = Path(env["XDG_STATE_HOME"]) / "apsis_nb" / "jobs"
    _, in_runtime_dir = write_runtime("http://127.0.0.1:1", "t", state, env)
    in_runtime_dir.unlink()
    assert [s.state_dir for s in find_servers(env)] == [str(state)]


def test_what_a_dead_server_left_is_removed(tmp_path: Path, env: dict[str, str]):
    told = "import sys; from apsis_nb.config import write_runtime; from pathlib import Path;"
    told += "write_runtime('http://127.0.0.1:1', 't', Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", told, str(tmp_path / "s")], env={**os.environ, **env}, check=True)
    assert len(list(runtime_dir(env).iterdir())) == 1
    assert find_servers(env) == []
    assert list(runtime_dir(env).iterdir()) == []
    assert server_of(tmp_path / "s") is None


@pytest.mark.parametrize("change", [{"pid_since": "another boot 1"}, {"host": "another"}])
def test_another_process_or_machine_is_not_taken_for_the_server(
    tmp_path: Path, env: dict[str, str], change: dict[str, str]
):
    (file, _) = write_runtime("http://127.0.0.1:1", "t", tmp_path / "s", env)
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    assert server_of(tmp_path / "s") is None


def test_a_file_that_is_no_runtime_file_is_no_server(env: dict[str, str]):
    runtime_dir(env).mkdir(parents=True)
    (runtime_dir(env) / "1.json").write_text("{")
    (runtime_dir(env) / "2.json").write_text("[]")
    (runtime_dir(env) / "3.json").write_text("{}")
    assert find_servers(env) == []


def test_accounts_are_lists_by_folder(tmp_path: Path):
    file = written(tmp_path, "accounts: {sales/: [etl, ops], /: guest}\n")
    assert load_config(file, env={}).accounts == {"sales": ("etl", "ops"), "": ("guest",)}
    given = load_config(overrides={"accounts.a.b": "c, d"}, env={})
    assert given.accounts == {"a.b": ("c", "d")}


def test_hosts_are_names_of_this_machine(tmp_path: Path):
    file = written(tmp_path, "hosts: {west: local, aws-ecs: local, default: local}\n")
    config = load_config(file, {"hosts.east.1": "local"}, env={"APSIS_NB_HOSTS__NORTH": "local"})
    assert config.hosts == {"west": "local", "aws-ecs": "local", "east.1": "local", "north": "local"}
    (told,) = faults(written(tmp_path, "hosts:\n  west: box.example.org\n"))
    assert told.endswith(
        "apsis.yaml:2: hosts.west: not a host: 'box.example.org'; programs run only on this machine for now: "
        "give local"
    )


# ---- whom to tell ----


def test_addresses_and_secrets_are_shown_to_nobody(tmp_path: Path):
    file = written(
        tmp_path,
        """
notify: {ops: "mailto://me:s3cret@mail.example", boss: env:BOSS, night: file:keys/night, group_window: 5m}
secrets: {key: s3cret}
heartbeat: {url: "https://monitor.example/s3cret", every: 30s}
action: {type: webhook, url: "https://h.example/s3cret", if: {late: true, states: failure}}
""",
    )
    config = load_config(file, env={})
    assert "s3cret" not in repr(config)
    told = {name: value.get_secret_value() for name, value in config.notify.addresses.items()}
    assert told == {
        "ops": "mailto://me:s3cret@mail.example", "boss": "env:BOSS", "night": f"file:{tmp_path}/keys/night",
    }  # fmt: skip
    assert (config.notify.group_window, config.secrets["key"].get_secret_value()) == (300.0, "s3cret")
    assert config.heartbeat is not None
    assert (config.heartbeat.every, config.heartbeat.url.get_secret_value()[-6:]) == (30.0, "s3cret")
    assert [action.when.to_dict() for action in config.action] == [{"states": ["failure"], "late": True}]
    assert config.names == ({"ops", "boss", "night"}, {"key"})
    by_env = load_config(env={"APSIS_NB_NOTIFY__OPS": "json://x", "APSIS_NB_SECRETS__KEY": "k"})
    assert by_env.names == ({"ops"}, {"key"})


def test_what_is_wrong_with_whom_to_tell_is_told_with_file_and_line_and_no_secret(tmp_path: Path):
    text = """notify:
  ops: s3cret
  group_windw: 3
action:
- {type: notify, to: ops, if: {lat: true, states: failure}}
- {type: webhook, url: "htps://s3cret", if: {states: failure}}
heartbeat: {url: s3cret, evry: 3}
"""
    file = written(tmp_path, text)
    hint = "not an address: give for example mailto://..., env:NAME or file:PATH"
    assert faults(file) == [
        f"{file}:2: notify.ops: {hint}",
        f"{file}:3: notify.group_windw: {hint}",
        f"{file}:5: action.0.if.lat: unknown key 'lat': did you mean 'late'?",
        f"{file}:6: action.1.url: must be an address, as https://...,"
        " or the name of one among the server's secrets",
        f"{file}:7: heartbeat.url: not a web address: give for example https://..., env:NAME or file:PATH",
        f"{file}:7: unknown key 'evry': did you mean 'every'?",
    ]
    assert "s3cret" not in "".join(faults(file))


@pytest.mark.parametrize("is_list", [True, False])
def test_a_name_that_an_action_of_the_configuration_has_not_is_told_with_its_line(
    tmp_path: Path, is_list: bool
):
    start = "- " if is_list else "  "
    text = f"notify: {{ops: json://x}}\naction:\n{start}type: notify\n  to: opps\n  if: {{late: true}}\n"
    file = written(tmp_path, text)
    hint = "there is no 'opps' under 'notify' in the server's configuration: did you mean 'ops'?"
    assert faults(file) == [f"{file}:4: action.0.to: {hint}"]


# ---- what is in effect ----


def in_effect(file: Path | None = None, env: dict[str, str] | None = None, **said: str) -> dict[str, tuple]:
    overrides = {key.replace("__", "."): value for key, value in said.items()}
    return {s.key: (s.value, s.source) for s in list_settings(file, overrides, env or {})}


def test_each_setting_is_told_with_where_it_was_said(tmp_path: Path):
    file = written(tmp_path, "sql:\n  max_time: 1m\n  heavy: 3\nlog:\n  file:\nallowed_hosts: [a, b]\n")
    found = in_effect(file, {"APSIS_NB_SQL__HEAVY": "4"}, limits__running="7")
    assert found["sql.max_time"] == ("1m", f"{file}:2")
    assert found["sql.heavy"] == (4, "APSIS_NB_SQL__HEAVY")
    assert found["sql.max_rows"] == (None, "default")
    assert found["limits.running"] == (7, "--set limits.running")
    assert found["allowed_hosts"] == (["a", "b"], f"{file}:6")
    assert found["log.file"] == (None, "default")
    assert found["bind"] == ("127.0.0.1:5577", "default")


def test_of_secrets_only_the_place_is_told_where_they_are_kept(tmp_path: Path):
    file = written(
        tmp_path,
        """
notify: {ops: "mailto://me:s3cret@mail.example", boss: env:BOSS}
secrets: {key: s3cret, other: file:hook}
heartbeat: {url: "https://monitor.example/s3cret"}
env: {DB_PASSWORD: s3cret, DATABASE_URL: "postgresql://me:s3cret@db", FOLDER: /data}
action: {type: webhook, url: "https://h.example/s3cret", if: {late: true}}
""",
    )
    found = in_effect(file)
    assert "s3cret" not in str(found)
    assert [found[key][0] for key in ("notify.ops", "notify.boss", "secrets.key", "heartbeat.url")] == [
        "***", "env:BOSS", "***", "***",
    ]  # fmt: skip
    assert found["secrets.other"] == (f"file:{tmp_path}/hook", f"{file}:3")
    assert [found[f"env.{name}"][0] for name in ("DB_PASSWORD", "DATABASE_URL", "FOLDER")] == [
        "***", "***", "/data",
    ]  # fmt: skip


def test_the_settings_that_are_told_can_be_said_again():
    config = load_config(overrides={"log.rotate.size": "20MB", "late.start": "90s", "cost.gb_hour": "0.5"})
    told = {s.key: s.value for s in list_settings(overrides={"log.rotate.size": "20MB", "late.start": "90s"})}
    again = {k: str(v) for k, v in told.items() if v not in (None, [], {}, False)}
    assert load_config(overrides=again | {"cost.gb_hour": "0.5"}) == config


def test_a_log_is_rotated_unless_somebody_else_does_it():
    assert load_config(env={}).log.rotate.size == 100_000_000
    assert load_config(overrides={"log.rotate.size": "off"}, env={}).log.rotate.size is None
    (told,) = faults(log__rotate__size="some")
    assert "log.rotate.size: must be a size such as 2GB" in told
    (told,) = faults(log__rotate__kep="1")
    assert told.endswith("unknown key 'kep': did you mean 'keep'?")
