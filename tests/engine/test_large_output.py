"""A program that writes a gigabyte costs the server no memory."""

from pathlib import Path

import pytest

from tests.engine.serving import Server, wait_for

SIZE_B = 1_000_000_000
MOST_MB = 50.0


def memory_mb(pid: int) -> float:
    """What a process has in memory now."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1000


@pytest.mark.slow
def test_a_gigabyte_of_output_is_kept_and_read_in_parts_and_costs_no_memory(tmp_path: Path):
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    (jobs / "large.yaml").write_text(f"program: yes 'one line of many' | head -c {SIZE_B}; echo the end\n")
    (jobs / "small.yaml").write_text("program: echo small\n")
    server = Server(jobs, tmp_path / "state").start()
    assert server.process is not None
    pid = server.process.pid
    seen_mb: list[float] = []

    def state(run_id: str) -> str:
        seen_mb.append(memory_mb(pid))
        return str(server.get(f"/api/v1/runs/{run_id}").json()["state"])

    def output(offset: int, limit: int) -> bytes:
        answer = server.get("/api/v1/runs/r2/outputs/output", offset=offset, limit=limit)
        return answer.content if answer.status_code == 200 else b""

    server.post("/api/v1/runs", {"job_id": "small"})
    wait_for("the small one ends", lambda: state("r1") == "success")
    before_mb = memory_mb(pid)
    server.post("/api/v1/runs", {"job_id": "large"})
    wait_for("some of it can be read while it runs", lambda: output(0, 5) == b"one l")
    wait_for("the large one ends", lambda: state("r2") == "success", 300)
    assert output(SIZE_B - 17 * 3, 17) != b""
    assert output(-8, 100) == b"the end\n"
    (kept,) = server.get("/api/v1/runs/r2/outputs").json()["outputs"]
    seen_mb.append(memory_mb(pid))
    assert server.stop() == 0

    assert kept["length"] == SIZE_B + len("the end\n")
    assert len(seen_mb) > 10
    assert max(seen_mb) - before_mb < MOST_MB
