# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""An asyncio event loop in a thread of its own, for blocking callers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")

_STOP_SECONDS = 5.0


class BackgroundLoop:
    """Runs coroutines of any thread; start() once, stop() once. Both may be called at any time."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._lock = threading.Lock()
        self._started = False
        self._stopped = False

    def start(self) -> None:
        """Start the thread; a second call does nothing."""
        with self._lock:
            if not self._started and not self._stopped:
                self._started = True
                self._thread.start()

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run the coroutine; cancelling the future cancels it. Raises RuntimeError once stopped."""
        with self._lock:
            if self._stopped or not self._started:
                coroutine.close()
                raise RuntimeError("The event loop does not run.")
            return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def stop(self) -> None:
        """Cancel everything that runs, wait for it to end, and end the thread."""
        with self._lock:
            if self._stopped:
                return
            self._stopped = True
            if self._started:
                self._loop.call_soon_threadsafe(self._cancel_all)
        if self._started:
            self._thread.join(_STOP_SECONDS)
        else:
            self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    def _cancel_all(self) -> None:
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()

        async def finish() -> None:
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._loop.shutdown_asyncgens()
            self._loop.stop()

        # Kept until the loop stops: asyncio itself holds tasks weakly.
        self._finishing = self._loop.create_task(finish())
