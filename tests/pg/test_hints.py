"""Does NOTIFY wake followers, without anybody depending on it, and without doing harm?"""

from __future__ import annotations

import logging
import threading
import time
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from duraflow import AsyncRuntime, FeedEntry
from duraflow.testing.driver import Driver
from duraflow_pg import hints
from duraflow_pg.hints import channel_of
from tests.pg.kit import check_all, engine_of, in_both_worlds, look, order, runtime_on

LONG = timedelta(seconds=30)


def on(driver: Driver, dsn: str, namespace: str, **options: Any) -> AsyncRuntime:
    """A runtime that sends hints and listens for them."""
    return runtime_on(driver, dsn, order(), pool={"namespace": namespace, "notify": True, **options})


class Follower:
    """Reads the feed in a task or thread of its own."""

    def __init__(self, driver: Driver, runtime: AsyncRuntime, poll: timedelta) -> None:
        self.driver = driver
        self.changes = runtime.changes(follow=True, poll=poll)
        self.found: list[FeedEntry] = []

    async def __call__(self) -> None:
        """Until it is closed."""
        async for change in self.changes:
            self.found.append(change)
            if change.entry.event == "ship":
                break

    async def has(self, count: int, *, within_s: float) -> bool:
        """Whether it gets to have so many in this time."""
        until = time.monotonic() + within_s
        while len(self.found) < count and time.monotonic() < until:
            await self.driver.waits.sleep(0.01)
        return len(self.found) >= count


@in_both_worlds
async def test_a_follower_is_woken(driver: Driver, pg_dsn: str, namespace: str) -> None:
    """Long before its next poll, by moves of all kinds that another runtime commits."""
    async with on(driver, pg_dsn, namespace) as writer, on(driver, pg_dsn, namespace) as reader:
        one = await writer.create("order")
        follower = Follower(driver, reader, LONG)

        async def move() -> None:
            assert await follower.has(1, within_s=10)
            await driver.waits.sleep(0.3)  # it listens by now
            await writer.fire(one, "reopen")
            assert await follower.has(2, within_s=10)
            await writer.fire(one, "pay")
            assert await follower.has(3, within_s=10)
            async with writer.transaction() as tx:
                await tx.fire(one, "reopen")
            assert await follower.has(4, within_s=10)
            await writer.fire(one, "ship")

        await driver.together(follower, move)
        assert [change.entry.seq for change in follower.found] == [1, 2, 3, 4, 5]
        await check_all(writer)
        await check_all(reader)


@in_both_worlds
async def test_nothing_is_delivered(
    driver: Driver,
    pg_dsn: str,
    namespace: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As through a pooler: the listener finds out, says so once and gives up; polling goes on as ever."""
    monkeypatch.setattr(hints, "_NOTIFY", b"SELECT %(channel)s::text, %(text)s::text")
    monkeypatch.setattr(hints, "_PROBE_S", 0.1)
    with caplog.at_level(logging.WARNING, "duraflow.hints"):
        async with on(driver, pg_dsn, namespace) as runtime:
            one = await runtime.create("order")
            follower = Follower(driver, runtime, timedelta(milliseconds=30))

            async def move() -> None:
                for number, event in enumerate(("reopen", "pay", "reopen"), 1):
                    assert await follower.has(number, within_s=10)
                    await runtime.fire(one, event)
                await driver.waits.sleep(0.3)
                await runtime.fire(one, "ship")

            await driver.together(follower, move)
            assert [change.entry.seq for change in follower.found] == [1, 2, 3, 4, 5]
            await check_all(runtime)
    assert len([record for record in caplog.records if "nothing is delivered" in record.message]) == 1


@in_both_worlds
async def test_the_listener_comes_back(driver: Driver, pg_dsn: str, namespace: str) -> None:
    """After its session was ended it listens again, and what was missed meanwhile is read."""
    async with on(driver, pg_dsn, namespace, application_name=namespace) as runtime:
        one = await runtime.create("order")
        follower = Follower(driver, runtime, LONG)

        async def move() -> None:
            assert await follower.has(1, within_s=10)
            await driver.waits.sleep(0.3)
            look(
                pg_dsn,
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE application_name = %s AND pid <> pg_backend_pid()",
                [namespace],
            )
            await runtime.fire(one, "reopen")
            assert await follower.has(2, within_s=10)
            await driver.waits.sleep(1)
            await runtime.fire(one, "ship")

        begun = time.monotonic()
        await driver.together(follower, move)
        assert time.monotonic() - begun < LONG.total_seconds() / 2
        assert [change.entry.seq for change in follower.found] == [1, 2, 3]
        await check_all(runtime)


@in_both_worlds
async def test_hints_are_few(driver: Driver, pg_dsn: str, namespace: str) -> None:
    """However many moves: at most one NOTIFY in 20 ms, of this namespace's channel, and none that is not asked for."""
    with psycopg.connect(pg_dsn, autocommit=True) as other:
        other.execute(f'LISTEN "{channel_of("public", namespace)}"'.encode())
        async with runtime_on(driver, pg_dsn, order(), pool={"namespace": namespace}) as silent:
            one = await silent.create("order")
            assert engine_of(silent).persistence.database.hints is None
        begun = time.monotonic()
        async with on(driver, pg_dsn, namespace) as runtime:
            for _ in range(100):
                await runtime.fire(one, "reopen")
            windows = (time.monotonic() - begun) / hints.WINDOW_S
            await driver.waits.sleep(0.1)
        heard = list(other.notifies(timeout=0.3))
        assert 1 <= len(heard) <= windows + 3
        assert {notice.payload for notice in heard} == {""}


@in_both_worlds
async def test_nothing_stays_behind(driver: Driver, pg_dsn: str, namespace: str) -> None:
    """Closed, there is neither thread nor task nor session left; started again, it works again."""
    before = set(threading.enumerate())
    runtime = on(driver, pg_dsn, namespace, application_name=namespace)
    for count in (1, 2):
        async with runtime as started:
            await started.create("order")
            changes = started.changes(follow=True, poll=timedelta(milliseconds=20))
            found = [await anext(changes) for _ in range(count)]
            assert len(found) == count
            engine = engine_of(started)
            await engine.persistence.feed.wait(0.2, seen=-1)
        left, sessions = set[threading.Thread](), list[Any]()
        for _ in range(300):
            left = {
                thread for thread in set(threading.enumerate()) - before if thread.name.startswith("duraflow")
            }
            sessions = look(
                pg_dsn, "SELECT pid FROM pg_stat_activity WHERE application_name = %s", [namespace]
            )
            if not left and not sessions:
                break
            await driver.waits.sleep(0.01)
        assert not left
        assert not sessions


def test_channels_are_names_of_their_own() -> None:
    """Within PostgreSQL's 63 bytes, whatever schema and namespace are, and no two alike."""
    names = [("public", "default"), ("public", "x" * 200), ("s" * 63, "ä" * 200), ("ab", "c"), ("a", "bc")]
    channels = {channel_of(schema, namespace) for schema, namespace in names}
    assert len(channels) == len(names)
    assert all(len(channel.encode()) <= 63 for channel in channels)
