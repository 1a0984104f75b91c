"""A real server in processes of its own, and a plain HTTP client for it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

SECRET_KEY = "sk_test_0123456789abcdef"
START_SECONDS_MAX = 60


class Server:
    """`streamgauge serve` on a folder and a free port. As a context it is stopped by SIGTERM at the end."""

    def __init__(self, data_dir: Path, **settings: object) -> None:
        self.data_dir = data_dir
        self.settings = {f"STREAMGAUGE_{name.upper()}": str(value) for name, value in settings.items()}
        self.process: subprocess.Popen[str]
        self.url = ""
        self.printed = ""  # on standard output, up to the line that says that it is ready

    def start(self) -> "Server":
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("STREAMGAUGE_")}
        self.errors = open(self.data_dir.with_suffix(".stderr"), "a")  # noqa: SIM115  # closed by `ended`
        self.process = subprocess.Popen(
            [sys.executable, "-m", "streamgauge", "serve", "--data-dir", str(self.data_dir), "--port", "0"],
            env={**inherited, "STREAMGAUGE_SECRET_KEY": SECRET_KEY, **self.settings},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        self.url, self.printed = "", ""
        while not self.url:
            line = self.process.stdout.readline()
            if not line:
                self.ended()
                raise AssertionError(f"the server said {self.printed!r} and ended:\n{self.said()}")
            self.printed += line
            self.url = next((word for word in line.split() if word.startswith("http://")), "")
        return self

    def said(self) -> str:
        return self.data_dir.with_suffix(".stderr").read_text()

    def kill(self) -> None:
        """SIGKILL to every process of the server at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.ended()

    def stop(self) -> int:
        self.process.terminate()
        return self.ended()

    def ended(self) -> int:
        code = self.process.wait(timeout=60)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.errors.close()
        return code

    def __enter__(self) -> "Server":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.stop()
        if error is not None:
            error.add_note(f"The server's log:\n{self.said()[-4000:]}")


class Client:
    """Calls in the words of the API; each answers the decoded JSON, and fails on a status that was not expected."""

    def __init__(self, url: str, key: str = SECRET_KEY) -> None:
        self.http = httpx.Client(base_url=url, timeout=30, trust_env=False)
        self.key = key

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def get(self, path: str, expect: int = 200, **params: object) -> Any:
        return self._answer(self.http.get(path, params=_plain(params), headers=self._auth(self.key)), expect)

    def post(self, path: str, expect: int = 200, **form: object) -> Any:
        return self._answer(self.http.post(path, data=_plain(form), headers=self._auth(self.key)), expect)

    def delete(self, path: str, expect: int = 200) -> Any:
        return self._answer(self.http.delete(path, headers=self._auth(self.key)), expect)

    def session(self) -> str:
        return str(self.post("/v2/billing/meter_event_session")["authentication_token"])

    def stream(self, token: str, events: Sequence[Mapping[str, Any]] | bytes, expect: int = 200) -> Any:
        body = events if isinstance(events, bytes) else json.dumps({"events": events}).encode()
        answer = self.http.post("/v2/billing/meter_event_stream", content=body, headers=self._auth(token))
        return self._answer(answer, expect)

    def meter(self, event_name: str, formula: str = "sum", **more: object) -> str:
        form = {"display_name": event_name, "event_name": event_name, "default_aggregation[formula]": formula, **more}
        return str(self.post("/v1/billing/meters", 200, **form)["id"])

    def customer(self, **attributes: object) -> str:
        return str(self.post("/v1/customers", 200, **attributes)["id"])

    def wait_until_applied(self, seconds: float = 60) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while (status := self.get("/streamgauge/status"))["backlog_events"]:
            assert time.monotonic() < deadline, f"still a backlog after {seconds} s: {status}"
            time.sleep(0.02)
        return dict(status)

    def total(self, meter: str, customer: str, around_s: int | None = None) -> Any:
        """The one summary of the days around now, as the JSON number it is; None when there is none."""
        day = (around_s or int(time.time())) // 86_400 * 86_400
        path = f"/v1/billing/meters/{meter}/event_summaries"
        page = self.get(path, customer=customer, start_time=day - 40 * 86_400, end_time=day + 2 * 86_400)
        return page["data"][0]["aggregated_value"] if page["data"] else None

    def receipt(self, identifier: str, expect: int = 200) -> Any:
        return self.get(f"/streamgauge/meter_events/{identifier}", expect)

    @staticmethod
    def _auth(secret: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {secret}"}

    @staticmethod
    def _answer(answer: httpx.Response, expect: int) -> Any:
        assert answer.status_code == expect, f"{answer.status_code}: {answer.text}"
        assert answer.headers["request-id"].startswith("req_")
        return json.loads(answer.content, parse_float=str, parse_int=int)


def _plain(params: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in params.items()}
