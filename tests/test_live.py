"""The live report: what the server refuses, its limits, and the editor in a browser."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import irconv as ic
from irconv.cli import app
from irconv.commands.live import Words
from irconv.inspector.live.page import shell
from irconv.inspector.live.server import BODY_LIMIT, CONNECTIONS, HOST, LiveServer
from irconv.inspector.live.session import RefusedError, Session, Texts
from irconv.inspector.live.worker import (
    Answer,
    Limits,
    Reporter,
    Request,
    Shows,
    Subject,
    Worker,
)

WORDS = Words("zoo:lenet5", None, None, 0)
TEXTS = Texts(WORDS.command, WORDS.python)
JSON = {"Content-Type": "application/json"}


class Stub:
    """A worker without a process: tells what it was asked, and waits where it is told to."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.go = threading.Event()
        self.go.set()
        self.started = threading.Event()

    def ask(self, request: Request) -> Answer:
        self.asked.append(request)
        self.started.set()
        assert self.go.wait(20)
        return Answer(b"<p>the report</p>", request.pipeline, ())

    def close(self) -> None:
        self.go.set()


@contextmanager
def serving(worker: Any, title: str = "lenet5", pipeline: str = "fuse") -> Iterator[LiveServer]:
    session = Session(worker, title, pipeline, TEXTS)
    with LiveServer(session) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def stub() -> Iterator[LiveServer]:
    with serving(Stub()) as server:
        yield server


def asked(server: LiveServer) -> list[Request]:
    return server.session._worker.asked  # type: ignore[attr-defined]


def get(
    server: LiveServer,
    place: str = "",
    headers: dict[str, str] | None = None,
    method: str = "GET",
    body: Any = None,
    token: str | None = None,
) -> tuple[int, str, http.client.HTTPMessage]:
    """(status, body, headers) of one request."""
    connection = http.client.HTTPConnection(HOST, server.server_port, timeout=30)
    try:
        path = f"/{server.token if token is None else token}/{place}"
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.read().decode(), response.headers
    finally:
        connection.close()


def post(server: LiveServer, data: Any, **headers: str) -> tuple[int, dict[str, Any]]:
    status, text, _ = get(server, "trace", JSON | headers, "POST", json.dumps(data))
    return status, json.loads(text)


# -- who is answered -----------------------------------------------------------------------------


def test_it_listens_on_this_machine_only(stub: LiveServer) -> None:
    assert stub.server_address[0] == "127.0.0.1"
    assert re.fullmatch(rf"http://127\.0\.0\.1:{stub.server_port}/[\w-]{{43}}/", stub.url)


def test_the_page_and_its_policy(stub: LiveServer) -> None:
    status, text, headers = get(stub)
    assert status == 200
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "connect-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    assert not re.search(r"(?:src|href)\s*=\s*[\"']?(?:https?:)?//", text)
    data = re.search(r'<script type="application/json" id="state">(.*?)</script>', text)
    assert data is not None
    state = json.loads(data[1])
    assert state["pipeline"] == "fuse"
    assert {"fold", "fuse", "im2col"} <= state["known"].keys()


@pytest.mark.parametrize("token", ["", "x", "a" * 43, "../x", "%00"])
def test_without_the_token_nothing_is_told(stub: LiveServer, token: str) -> None:
    for place in ("", "report", "trace"):
        status, text, _ = get(stub, place, token=token)
        assert status == 403
        assert "lenet5" not in text
    status, _, _ = get(stub, "trace", JSON, "POST", '{"pipeline": ""}', token=token)
    assert status == 403
    assert asked(stub) == []


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "[::1]:{port}", ""]
)
def test_another_name_for_this_host_is_refused(stub: LiveServer, host: str) -> None:
    """DNS rebinding: the attacker's name leads here, and the browser says that name."""
    status, text, _ = get(stub, headers={"Host": host.format(port=stub.server_port)})
    assert status == 403
    assert "lenet5" not in text


def test_two_hosts_are_refused(stub: LiveServer) -> None:
    request = (
        f"GET /{stub.token}/ HTTP/1.1\r\nHost: {HOST}:{stub.server_port}\r\nHost: evil\r\n\r\n"
    )
    with socket.create_connection((HOST, stub.server_port), timeout=20) as raw:
        raw.sendall(request.encode())
        assert b" 403 " in raw.recv(1 << 16).split(b"\r\n")[0]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "https://127.0.0.1:{port}"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_other_origins_are_refused(stub: LiveServer, headers: dict[str, str]) -> None:
    headers = {k: v.format(port=stub.server_port) for k, v in headers.items()}
    assert get(stub, headers=headers)[0] == 403
    assert post(stub, {"pipeline": ""}, **headers)[0] == 403
    assert asked(stub) == []


def test_its_own_origin_is_answered(stub: LiveServer) -> None:
    for name in ("127.0.0.1", "localhost"):
        host = f"{name}:{stub.server_port}"
        own = {"Origin": f"http://{host}", "Host": host, "Sec-Fetch-Site": "same-origin"}
        assert post(stub, {"pipeline": "fold"}, **own)[0] == 200


# -- what is answered ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        ("{}", {"Content-Type": "text/plain"}, 415),
        ("pipeline=fold", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ("{", JSON, 400),
        ("[" * 20_000, JSON, 400),
        ("[]", JSON, 400),
        ("{}", JSON, 400),
        ('{"pipeline": 3}', JSON, 400),
        ('{"pipeline": "", "shows": []}', JSON, 400),
        ('{"pipeline": "", "shows": {"everything": true}}', JSON, 400),
        ('{"pipeline": "' + "fold," * 5000 + '"}', JSON, 400),
        ("x" * (BODY_LIMIT + 1), JSON, 413),
        ("{}", JSON | {"Content-Length": "-1"}, 411),
        ("{}", JSON | {"Content-Length": "9" * 30}, 411),
    ],
)
def test_wrong_bodies(stub: LiveServer, body: str, headers: dict[str, str], status: int) -> None:
    try:
        found = get(stub, "trace", headers, "POST", body)[0]
    except ConnectionError:
        # a body that is refused unread: the answer may be cut off while it is still being sent
        assert status == 413
    else:
        assert found == status
    assert asked(stub) == []


def test_other_places_and_methods(stub: LiveServer) -> None:
    assert get(stub, "../etc/passwd")[0] == 404
    assert get(stub, "trace")[0] == 404
    assert get(stub, "report", JSON, "POST", "{}")[0] == 404
    assert get(stub, method="PUT")[0] == 501
    assert get(stub, method="DELETE")[0] == 501


def test_a_pipeline_that_is_wrong_is_told_in_one_line(stub: LiveServer) -> None:
    status, told = post(stub, {"pipeline": "fold,fuze"})
    assert (status, told["error"]) == (422, "unknown pass fuze (did you mean fuse?)")
    status, told = post(stub, {"pipeline": "<img onerror=x>\u202e"})
    assert status == 422
    assert "\u202e" not in told["error"]
    assert asked(stub) == []


def test_one_report_at_a_time(stub: LiveServer) -> None:
    worker: Any = stub.session._worker
    worker.go.clear()
    first: list[int] = []
    thread = threading.Thread(target=lambda: first.append(post(stub, {"pipeline": "fold"})[0]))
    thread.start()
    assert worker.started.wait(20)
    status, told = post(stub, {"pipeline": "fuse"})
    assert (status, told["error"]) == (429, "another report is being made")
    assert get(stub)[0] == 200
    worker.go.set()
    thread.join()
    assert first == [200]
    assert [r.pipeline for r in asked(stub)] == ["fold"]
    assert post(stub, {"pipeline": "fuse"})[0] == 200


def test_too_many_connections_are_hung_up(stub: LiveServer) -> None:
    idle = [socket.create_connection((HOST, stub.server_port), 20) for _ in range(CONNECTIONS)]
    try:
        for connection in idle:
            connection.sendall(b"GET ")
        one_more = socket.create_connection((HOST, stub.server_port), 20)
        with one_more:
            assert one_more.recv(100) == b""
    finally:
        for connection in idle:
            connection.close()


def test_names_are_text_in_the_page() -> None:
    hostile = "</script><script>alert(1)</script>\u202e\"'><img src=x onerror=alert(1)>"
    session = Session(Stub(), hostile, "", TEXTS)  # type: ignore[arg-type]
    page = shell(session.state()).html.decode()
    assert page.count("</script>") == 2
    assert "<img" not in page
    assert "\u202e" not in page


def test_what_is_copied_does_the_same() -> None:
    words = Words("zoo:lenet5", "4", 3, 7)
    found: dict[str, Any] = {}
    shows = Shows(numerics=True, export=True)
    *code, save = words.python("fuse{pool=false},im2col", shows).split("\n")
    assert save == (
        "ic.trace(graph, 'fuse{pool=false},im2col', numerics=True, seed=7, export=True)"
        '.save_html("report.html")'
    )
    exec("\n".join(code), found)
    expected = ic.lower(ic.zoo.lenet5(batch=4, seed=3), "fuse{pool=false},im2col")
    assert found["lowered"] == expected
    assert words.command("fuse{pool=false}", shows) == (
        "irconv inspect zoo:lenet5 -p 'fuse{pool=false}' --numerics --seed 7 --no-program "
        "--batch 4 --random-weights 3 -o report.html"
    )
    assert "--with-llvm --with-asm" in words.command("fuse", Shows(assembly=True))
    assert "backend='numba_cpu'" in words.python("fuse", Shows(assembly=True))


def test_options_keep_their_values_through_the_page() -> None:
    session = Session(Stub(), "x", "fold{budget=1GiB},fuse{pool=false}", TEXTS)  # type: ignore[arg-type]
    state = session.state()
    assert state["steps"][1] == {
        "name": "fuse",
        "options": {"residual": "true", "activation": "true", "pool": "false"},
    }
    known = {o["name"]: o for o in state["known"]["conv_matrix"]["options"]}
    assert known["form"] == {"name": "form", "default": "tap", "choices": ["tap", "literal"]}
    texts = [
        s["name"] + "{" + ",".join(f"{k}={v}" for k, v in s["options"].items()) + "}"
        for s in state["steps"]
        if s["options"]
    ]
    told = session.trace({"pipeline": ",".join(texts)})
    assert told["pipeline"] == state["pipeline"] == "fold{budget=1GiB},fuse{pool=false}"


# -- the worker ----------------------------------------------------------------------------------

PLUGIN = '''
"""Passes that misbehave."""
import os, time
from dataclasses import dataclass
import numpy as np
from irconv.pipeline import Pass


@dataclass(frozen=True)
class Sleep(Pass):
    """Takes its time."""
    def run(self, graph, rewriter):
        time.sleep(600)


@dataclass(frozen=True)
class Hoard(Pass):
    """Takes four gigabytes."""
    def run(self, graph, rewriter):
        self.__dict__["kept"] = np.ones(1 << 29)


@dataclass(frozen=True)
class Die(Pass):
    """Ends the process."""
    def run(self, graph, rewriter):
        os._exit(1)
'''


def test_a_report_tells_the_passes_and_errors_are_lines() -> None:
    reporter = Reporter(ic.zoo.lenet5())
    found = reporter.answer(Request("fuse,im2col", command="irconv x"))
    assert found.html.startswith(b"<!doctype html>")
    assert [s["pass"] for s in found.steps] == ["fuse", "im2col"]
    assert found.steps[0]["nodes"] == [13, 7]
    assert reporter.answer(Request("x")).error.startswith("error[pipeline]")
    assert "more than 10" in Reporter(ic.zoo.lenet5(), Limits(report=10)).answer(Request("")).error


def test_a_report_shows_more_where_that_is_asked_for() -> None:
    b = ic.Builder("small")
    x = b.input("x", (1, 1, 5, 5))
    b.output(b.relu(b.conv(x, 1, kernel=2)))
    reporter = Reporter(b.build())
    plain = stages_of(reporter.answer(Request("fuse")))
    assert [s["kind"] for s in plain["stages"]] == ["source", "pass"]
    assert plain["layers"] == {}
    shows = Shows(numerics=True, program=True, export=True, layers=True)
    more = stages_of(reporter.answer(Request("fuse", shows, backend="interpret")))
    assert [s["kind"] for s in more["stages"]] == [
        *("source", "pass", "program", "onnx", "onnxruntime")
    ]
    assert [page["title"] for page in more["layers"].values()] == ["conv1"]
    assert more["stages"][1]["numerics"]["exact"] is not None
    without = reporter.answer(Request("fuse", Shows(program=True), backend="nowhere"))
    assert [s["kind"] for s in stages_of(without)["stages"]] == ["source", "pass"]
    assert without.notes[0].startswith("no program: unknown backend")


def stages_of(found: Answer) -> dict[str, Any]:
    """The data of a report's page."""
    assert found.error == ""
    data = re.search(
        r'<script type="application/json" id="document">(.*?)</script>', found.html.decode()
    )
    assert data is not None
    return json.loads(data[1])  # type: ignore[no-any-return]


@pytest.mark.slow
def test_the_worker_is_bounded_in_time_and_memory(tmp_path: Path) -> None:
    plugin = tmp_path / "plugin.py"
    plugin.write_text(PLUGIN)
    subject = Subject.of(ic.zoo.lenet5(), [str(plugin)])
    assert Subject.of(subject.graph()).listing == subject.listing
    worker = Worker(subject, Limits(seconds=3.0, memory=1 << 30))
    try:
        assert worker.ask(Request("sleep")).error == "stopped: it took more than 3 s"
        fresh = worker.ask(Request("hoard"))
        assert fresh.error == "the memory of one request is not enough (1024 MiB)"
        assert "ended" in worker.ask(Request("die")).error
        worker.limits = Limits()
        good = worker.ask(Request("fuse"))
        assert good.error == ""
        assert [s["matches"] for s in good.steps] == [6]
        process = worker._process
    finally:
        worker.close()
    assert not process.is_alive()


def test_a_request_to_serve_that_makes_no_sense() -> None:
    for words, line in (
        (["--serve", "-o", "x.html"], "--serve writes no file"),
        (["--serve", "--json"], "--serve writes no file"),
    ):
        done = CliRunner().invoke(app, ["inspect", "zoo:lenet5", *words])
        assert done.exit_code == 2
        assert line in done.stderr
    with LiveServer(Session(Stub(), "x", "", TEXTS)) as server:  # type: ignore[arg-type]
        words = ["inspect", "zoo:lenet5", "--serve", "--port", str(server.server_port)]
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 2
        assert f"port {server.server_port} cannot be used" in done.stderr


def test_ctrl_c_ends_the_command_and_its_worker() -> None:
    words = [sys.executable, "-m", "irconv", "inspect", "zoo:lenet5", "-p", "fuse", "--serve"]
    command = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert command.stdout is not None
        url = command.stdout.readline().strip()
        port, token = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/([\w-]+)/", url).groups()  # type: ignore[union-attr]
        connection = http.client.HTTPConnection(HOST, int(port), timeout=100)
        connection.request("POST", f"/{token}/trace", '{"pipeline": "fuse"}', JSON)
        assert json.loads(connection.getresponse().read())["done"][0]["matches"] == 6
        connection.close()
        command.send_signal(signal.SIGINT)
        # the pipes close when the last process that holds them ends
        out, _ = command.communicate(timeout=60)
    finally:
        command.kill()
        command.wait()
    assert command.returncode == 130
    assert out == ""
    assert not answers(int(port))


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


# -- in a browser --------------------------------------------------------------------------------


@pytest.fixture
def browser() -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    if shutil.which("chromium") is None or shutil.which("chromedriver") is None:
        pytest.skip("chromium and chromium-driver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(word)
    options.add_argument("--window-size=1280,900")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    driver = webdriver.Chrome(options, service)
    try:
        yield driver
    finally:
        driver.quit()


class InProcess(Stub):
    """A worker that makes its reports here."""

    def ask(self, request: Request) -> Answer:
        self.asked.append(request)
        return Reporter(ic.zoo.lenet5()).answer(request)


def test_the_pipeline_is_edited_in_the_page(browser: Any) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import Select, WebDriverWait

    def find(css: str) -> Any:
        return browser.find_element(By.CSS_SELECTOR, css)

    def pipeline_is(text: str) -> None:
        wait = WebDriverWait(browser, 30)
        wait.until(lambda _: asked(server) and asked(server)[-1].pipeline == text)
        wait.until(lambda _: "passes changed the graph" in find("#message").text)
        assert find("#pipeline").get_property("value") == text

    with serving(InProcess(), pipeline="fold,fuse") as server:
        browser.get(server.url)
        pipeline_is("fold,fuse")
        assert "7 nodes" in find("#message").text
        browser.switch_to.frame(find("#report"))
        WebDriverWait(browser, 30).until(lambda _: "lenet5" in find("body").text)
        browser.switch_to.default_content()

        Select(find("#add")).select_by_value("im2col")
        pipeline_is("fold,fuse,im2col")
        find('[aria-label="Earlier: im2col, 3 of 3"]').click()
        pipeline_is("fold,im2col,fuse")
        find('[aria-label="Remove: fold, 1 of 3"]').click()
        pipeline_is("im2col,fuse")
        find("#passes li:nth-child(2) .name").click()
        Select(find("#options label:nth-of-type(3) select")).select_by_value("false")
        pipeline_is("im2col,fuse{pool=false}")

        find("#copy-command").click()
        WebDriverWait(browser, 10).until(lambda _: "-p" in find("#message").text)
        assert "irconv inspect zoo:lenet5 -p 'im2col,fuse{pool=false}'" in find("#message").text
        find("#copy-python").click()
        WebDriverWait(browser, 10).until(lambda _: "ic.lower" in find("#message").text)

        find("#shows input[value=numerics]").click()
        WebDriverWait(browser, 30).until(lambda _: asked(server)[-1].shows == Shows(numerics=True))
        pipeline_is("im2col,fuse{pool=false}")

        box = find("#pipeline")
        box.clear()
        box.send_keys("fuse,fuze", Keys.ENTER)
        WebDriverWait(browser, 10).until(lambda _: "bad" in find("#message").get_attribute("class"))
        assert find("#message").text == "unknown pass fuze (did you mean fuse?)"
        log = browser.get_log("browser")
    # the browser itself notes the answer 422
    assert [line for line in log if "422" not in line["message"]] == []


def test_a_session_s_error_is_no_answer() -> None:
    class Failing(Stub):
        def ask(self, request: Request) -> Answer:
            return Answer(error="error[pass]: it failed")

    session = Session(Failing(), "x", "fuse", TEXTS)  # type: ignore[arg-type]
    with pytest.raises(RefusedError, match="it failed"):
        session.trace({"pipeline": "fold"})
    assert session.state()["pipeline"] == "fuse"
