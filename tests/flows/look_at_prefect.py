"""Does what the README's section "In Prefect" says, command by command, and takes a picture of the artifact.

    python tests/flows/look_at_prefect.py [PICTURE.png]

Everything is its own: a sandboxed pair, Prefect's home, a server on a free port of loopback. It ends with 0
where the deployment's run was completed, sent no write, and its artifact was seen in Prefect's pages.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
from playwright.sync_api import sync_playwright

from flows.demo import sandbox, write_settings

ROOT = Path(__file__).parents[2]
STAYS = ("server start", "worker start")  # in a terminal of its own; the others end by themselves
CHROMIUM = "/usr/bin/chromium"


def main(picture: Path) -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="prefect-look-")))
        line = stack.enter_context(sandbox(folder / "sandbox", limits="off"))
        settings = write_settings(folder, line, limits="off")
        environment = own_environment(folder)
        api = environment["PREFECT_API_URL"]
        for command in commands(ROOT / "README.md"):
            follow(command, environment, settings, stack)
            if "server start" in command:
                wait_for(f"{api}/health")
        run = newest_run(api)
        print(f"{run['name']}: {run['state']['type']} {run['state']['message']}")
        assert run["state"]["type"] == "COMPLETED"
        assert httpx.get(f"{api}/admin/settings").json()["server"]["analytics_enabled"] is False
        assert not writes(line), "a report-only run wrote"
        asked = photograph(api, artifact(api), picture)
        print(f"{picture}: {picture.stat().st_size / 1000:.0f} kB; the pages asked {sorted(asked - {''})}")
        planned = scheduled(api)
        print(f"{len(planned)} runs are scheduled")
        assert planned, "Prefect's scheduler made no run; its errors stand above"


def own_environment(folder: Path) -> dict[str, str]:
    """A home and a port of its own; what is more stands in the README or in prefect.toml."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "DO_NOT"))}
    return kept | {
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_SERVER_API_PORT": port,
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
    }


def commands(readme: Path) -> list[str]:
    """Give the commands of the section, as they stand there, without their comments."""
    section = readme.read_text(encoding="utf-8").partition("## In Prefect\n")[2].partition("\n## ")[0]
    lines = section.partition("```\n")[2].partition("```")[0].splitlines()
    return [text for line in lines if (text := line.partition("  #")[0].strip())]


def follow(command: str, environment: dict[str, str], settings: Path, stack: ExitStack) -> None:
    if command.startswith("export "):
        # Ours has its own port; the other names are taken as they are.
        given = dict(part.split("=", 1) for part in shlex.split(command)[1:])
        environment.update({name: value for name, value in given.items() if name not in environment})
        return
    print(f"$ {command}", flush=True)
    words = [word.replace("reconcile.toml", str(settings)) for word in shlex.split(command)]
    if any(each in command for each in STAYS):
        stack.enter_context(in_own_terminal(words, environment))
    else:
        done = subprocess.run(
            words,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=400,
        )
        print(re.sub(r"\n\s*\n+", "\n", done.stdout))
        assert done.returncode == 0, done.stderr[-3000:]


@contextmanager
def in_own_terminal(words: Sequence[str], environment: dict[str, str]) -> Iterator[None]:
    with subprocess.Popen(
        words, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    ) as process:
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()


def wait_for(address: str, *, patience_s: float = 180) -> None:
    until = time.monotonic() + patience_s
    while time.monotonic() < until:
        try:
            if httpx.get(address, timeout=5).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    raise TimeoutError(address)


def newest_run(api: str) -> dict:
    found = httpx.post(f"{api}/flow_runs/filter", json={"sort": "START_TIME_DESC", "limit": 10}).json()
    return next(run for run in found if run["state"]["type"] not in ("SCHEDULED", "PENDING"))


def scheduled(api: str) -> list[dict]:
    waiting = {"sort": "EXPECTED_START_TIME_ASC", "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
    return httpx.post(f"{api}/flow_runs/filter", json=waiting).json()


def artifact(api: str) -> dict:
    # Not by /artifacts/drift-report/latest: the id that this gives is the collection's.
    wanted = {"sort": "CREATED_DESC", "artifacts": {"key": {"any_": ["drift-report"]}}}
    return httpx.post(f"{api}/artifacts/filter", json=wanted).json()[0]


def writes(line: dict) -> list[dict]:
    logins = re.compile(r"/connect/token|/services/oauth2/token")
    roots = (line["xero"]["api_url"], line["salesforce"]["login_url"])
    logged = [row for root in roots for row in httpx.get(f"{root}/sandbox/requests").json()["requests"]]
    assert logged
    return [row for row in logged if row["method"] != "GET" and not logins.search(row["path"])]


def photograph(api: str, shown: dict, picture: Path) -> set[str]:
    """Open the artifact's page in Prefect's own pages; give the hosts that the pages asked."""
    asked: set[str] = set()
    picture.parent.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.on("request", lambda request: asked.add(httpx.URL(request.url).host))
        page.goto(f"{api.removesuffix('/api')}/artifacts/artifact/{shown['id']}", timeout=120_000)
        page.get_by_text("Differences by unit").first.wait_for(timeout=120_000)
        page.wait_for_timeout(1500)
        page.screenshot(path=picture)
        browser.close()
    return asked


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "prefect-artifact.png"))
