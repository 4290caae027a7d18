# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The misbehaving server as a process of its own, and what its log says."""

import json
import subprocess
import sys
import time
from pathlib import Path

SCRIPT = Path(__file__).with_name("misbehaving.py")


class ServerProcess:
    def __init__(self, log, *, delay=0.0, elsewhere="", port=0, tls=""):
        self.log = Path(log)
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(log), "--port", str(port), "--delay", str(delay),
             "--elsewhere", elsewhere, "--tls", str(tls)],
            stdout=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        self.scheme = "https" if tls else "http"
        self.port = int(self.process.stdout.readline())

    def url(self, behaviour="ok", user="test"):
        """Where the API behaves so; users do not share what "x*2" counts."""
        return f"{self.scheme}://127.0.0.1:{self.port}/{behaviour}/{user}/v1"

    def entries(self, event=None, user=None, probes=False):
        """The log's entries, in order."""
        text = self.log.read_text() if self.log.exists() else ""
        # A line that is being written may be seen in part.
        found = [json.loads(line) for line in text.splitlines(keepends=True) if line[-1] == "\n"]
        return [
            entry
            for entry in found
            if (event is None or entry["event"] == event)
            and (user is None or f"/{user}/" in entry["path"])
            and (probes or not entry.get("probe"))
        ]

    def wait_for(self, event, count=1, user=None, seconds=20.0):
        """The entries as soon as there are `count`; fails after `seconds`."""
        end = time.monotonic() + seconds
        while len(found := self.entries(event, user)) < count:
            assert time.monotonic() < end, f"no {event} of {user}: {self.entries(user=user)}"
            time.sleep(0.01)
        return found

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
