"""Who follows the events through restarts and broken connections ends with the states of the database."""

import argparse
import contextlib
import random
import socket
import struct
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx2

from apsis_nb.client import Client
from apsis_nb.store import StoreFile
from tests.engine.serving import Server, wait_for

RESTARTS, BREAKS = 20, 50
#: So many jobs, each due once a second; some fail.
JOBS = 12
#: Between two disturbances, seconds, at most.
PAUSE_S = 1.5
_PIECE = 1 << 16


class Relay:
    """Stands between a client and a server, and can break their connections.

    Args:
        port: of the server, on this machine.
    """

    def __init__(self, port: int) -> None:
        self._to = ("127.0.0.1", port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._lock = threading.Lock()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> int:
        """Break all connections, as a network does that loses them; gives how many there were."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    # Closed with a reset, without what is still to be sent.
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    end.shutdown(socket.SHUT_RDWR)
        return len(pairs)

    def close(self) -> None:
        """Take no more connections, and break those that there are."""
        self._listening.close()
        self.cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listening.accept()
                try:
                    server = socket.create_connection(self._to)
                except OSError:  # it is down
                    client.close()
                    continue
                pair = client, server
                with self._lock:
                    self._pairs.add(pair)
                for ends in (pair, (server, client)):
                    threading.Thread(target=self._pass_on, args=(*ends, pair), daemon=True).start()

    def _pass_on(
        self, source: socket.socket, target: socket.socket, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(_PIECE):
                target.sendall(piece)
        for end in pair:  # its end, or a break, is that of both
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        with self._lock:
            is_first = pair in self._pairs
            self._pairs.discard(pair)
        if not is_first:
            for end in pair:
                end.close()


class Follower(threading.Thread):
    """Has the state of each run at any moment, as docs/api.md says how.

    Args:
        server: asked for all runs.
        url: where the stream is read.
    """

    def __init__(self, server: Server, url: str) -> None:
        super().__init__(daemon=True)
        self._server, self._url = server, url
        self.states: dict[str, str] = {}
        self.breaks = self.resyncs = self.events = 0
        self._is_over = threading.Event()

    def run(self) -> None:
        with Client(self._url, self._server.token) as client:
            is_new = True
            for event in client.events(["run"]):
                match event.type:
                    case "hello" if is_new:
                        is_new = False
                        self._read_all()
                    case "resync":
                        self.resyncs += 1
                        self._read_all()
                    case "run":
                        self.events += 1
                        self.states[event.facts["run_id"]] = event.facts["state"]
                    case "disconnected":
                        if self._is_over.is_set():
                            return
                        self.breaks += 1

    def end(self) -> None:
        """Follow no more, once the connection has broken."""
        self._is_over.set()
        self.join(30)

    def _read_all(self) -> None:
        """Read the state of all runs; while the server is down, wait for it."""
        self.states = wait_for("the server answers", self._all, 120)

    def _all(self) -> dict[str, str] | None:
        found: dict[str, str] = {}
        cursor: dict[str, str] = {}
        try:
            while True:
                page = self._server.get("/api/v1/runs", limit=1000, **cursor).json()
                found |= {run["run_id"]: run["state"] for run in page["runs"]}
                if page["next"] is None:
                    return found
                cursor = {"cursor": page["next"]}
        except httpx2.TransportError:
            return None


def follow(folder: Path, restarts: int, breaks: int, seed: int) -> tuple[list[str], str]:
    """Follow a server that is disturbed, let it come to its end, and compare.

    Args:
        folder: an empty one.
        restarts: how often the server is ended and started again; every second time it is killed.
        breaks: how often the connection is broken.
        seed: of the moments.

    Returns:
        What is wrong, empty if all is well; and a line that tells what was done.
    """
    jobs, state_dir = folder / "jobs", folder / "state"
    jobs.mkdir()
    for n in range(JOBS):
        program = f"{{type: no-op, duration: 0.{n}, success: {str(n % 4 != 0).lower()}}}"
        (jobs / f"job{n}.yaml").write_text(
            f"schedule: {{type: interval, interval: 1s}}\nparams: [time]\nprogram: {program}\n"
        )
    chance = random.Random(seed)
    began = time.monotonic()
    server = Server(jobs, state_dir).start()
    relay = Relay(server.port)
    follower = Follower(server, relay.url)
    follower.start()
    disturbances = ["restart"] * restarts + ["break"] * breaks
    chance.shuffle(disturbances)
    killed, cut = 0, 0
    for what in disturbances:
        seen = follower.events
        wait_for("an event is heard of", lambda seen=seen: follower.events > seen, 60)
        time.sleep(chance.uniform(0, PAUSE_S))  # the random moments are no waits for something
        if what == "break":
            wait_for("there is a connection to break", relay.cut, 60)
            cut += 1
        else:
            if killed % 2:
                server.stop()
            else:
                server.kill()
            killed += 1
            server.start()
    for file in jobs.iterdir():
        file.unlink()
    server.post("/api/v1/jobs/reload").raise_for_status()
    wait_for("all runs have ended", lambda: server.get("/api/v1/alive").json()["live_runs"] == 0, 60)
    last = server.post("/api/v1/runs", {"job": {"program": {"type": "no-op"}}}).json()["runs"][0]["run_id"]
    wait_for("the last run is heard of", lambda: follower.states.get(last) == "success", 60)
    followed = dict(follower.states)
    server.stop()
    relay.close()
    follower.end()
    stored = _stored(state_dir)
    faults = [
        f"{run_id}: the follower has {followed.get(run_id)}, the database {stored.get(run_id)}"
        for run_id in sorted(followed.keys() | stored.keys())
        if followed.get(run_id) != stored.get(run_id)
    ]
    if follower.breaks < restarts:
        faults.append(f"the follower saw only {follower.breaks} breaks")
    if follower.resyncs < 1 <= restarts:
        faults.append("no restart made the follower read everything again")
    told = (
        f"{killed} restarts and {cut} broken connections in {time.monotonic() - began:.0f} s, seed {seed}: "
        f"{len(stored)} runs, {follower.events} events, {follower.breaks} breaks seen, "
        f"{follower.resyncs} resyncs, {len(faults)} faults"
    )
    return faults, told


def _stored(state_dir: Path) -> dict[str, str]:
    """The state of each run, as the file has it that the server left."""
    with StoreFile(state_dir / "runs.duckdb") as store:
        rows = store.sql("SELECT run_id, state::VARCHAR AS state FROM runs").to_pylist()
    return {f"r{row['run_id']}": row["state"] for row in rows}


def main() -> None:
    """Follow, and print what was seen; the exit status is 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--restarts", type=int, default=RESTARTS)
    parser.add_argument("--breaks", type=int, default=BREAKS)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        faults, told = follow(Path(name), given.restarts, given.breaks, given.seed)
    print(told)
    print("\n".join(faults[:50]), end="\n" if faults else "")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
