"""Everything at once, in processes that are killed all the time: does everything hold that was promised?"""

from __future__ import annotations

import itertools
import random
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import attrs
import psycopg
import pytest

from duraflow import FeedEntry, Message, MessageHandler, Runtime
from duraflow.testing import check_invariants
from tests.pg.kit import look, settled
from tests.pg.together_process import NEW, OLD, QUICK, ROLES, runtime

pytestmark = pytest.mark.pg

ROOT = Path(__file__).parents[2]
KILLS, DONE, MESSAGES, LIMIT_S = 8, 60, 20, 150.0
CREW = ("callers", "callers", "sweeper", "upgrader", "dispatcher", "dispatcher")


@attrs.define(eq=False)
class Crew:
    """Processes, and what they have told."""

    dsn: str
    namespace: str
    told: list[list[str]] = attrs.field(factory=list)
    running: list[tuple[str, subprocess.Popen[str]]] = attrs.field(factory=list)
    ready: set[int] = attrs.field(factory=set)
    _readers: list[threading.Thread] = attrs.field(factory=list)
    _seeds: itertools.count[int] = attrs.field(factory=itertools.count)

    def begin(self, role: str) -> None:
        """One more process of this role."""
        command = [sys.executable, "-m", "tests.pg.together_process", role, self.dsn, self.namespace]
        process = subprocess.Popen(
            [*command, str(next(self._seeds))], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        reader = threading.Thread(target=self._read, args=[process], daemon=True)
        reader.start()
        self._readers.append(reader)
        self.running.append((role, process))

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                if line.endswith("\n"):  # a line that was cut off by the kill says nothing
                    words = line.split()
                    self.told.append(words)
                    if words == ["ready"]:
                        self.ready.add(process.pid)

    def kill(self, index: int) -> str:
        """SIGKILL one of them; its role."""
        role, process = self.running.pop(index)
        process.send_signal(signal.SIGKILL)
        process.wait(20)
        return role

    def end(self) -> None:
        """SIGKILL all."""
        while self.running:
            self.kill(0)
        for reader in self._readers:
            reader.join(20)

    def of(self, kind: str) -> list[list[str]]:
        """What was told of one kind."""
        return [words[1:] for words in self.told if words[0] == kind]


def test_everything_holds_after_kills(fresh_pg_dsn: str, namespace: str) -> None:
    """Keys, upgrades, timers, messages and the feed, all at once; then the doctor has nothing to say."""
    look(fresh_pg_dsn, "CREATE TABLE bookings (transition_id uuid PRIMARY KEY, instance_id uuid NOT NULL)")
    crew = Crew(fresh_pg_dsn, namespace)
    chance = random.Random()
    followed: list[FeedEntry] = []
    with runtime(fresh_pg_dsn, namespace) as watching:
        changes = watching.changes(follow=True, poll=timedelta(milliseconds=20))
        follower = threading.Thread(target=lambda: followed.extend(changes), daemon=True)
        follower.start()
        try:
            for role in CREW:
                crew.begin(role)
            _harass(crew, chance)
        finally:
            crew.end()
        errors = [words for words in crew.of("error") if words[0] in ("InvalidArgument", "Misuse")]
        assert not errors
        time.sleep(0.5)
        changes.close()
        follower.join(20)
    delivered = [tuple(words) for words in crew.of("message")]
    with _healed(fresh_pg_dsn, namespace, delivered) as app:
        _the_doctor_is_content(app)
        _what_was_told_has_happened(app, crew.of("done"))
        _effects_belong_to_moves(fresh_pg_dsn, namespace)
        _messages_were_delivered_in_order(fresh_pg_dsn, namespace, delivered)
        _the_feed_shows_all_once(fresh_pg_dsn, namespace, app, followed)


def _harass(crew: Crew, chance: random.Random) -> None:
    """Kill one after the other, each once it is at work, until enough was done; once, end all sessions, too."""
    kills, end = 0, time.monotonic() + LIMIT_S
    while kills < KILLS or len(crew.of("done")) < DONE or len(crew.of("message")) < MESSAGES:
        assert time.monotonic() < end, f"{kills} kills, {len(crew.of('done'))} requests done"
        time.sleep(0.3 + 0.3 * chance.random())
        working = [index for index, (_, process) in enumerate(crew.running) if process.pid in crew.ready]
        if not working:
            continue
        crew.begin(crew.kill(chance.choice(working)))
        kills += 1
        if kills == KILLS // 2:
            with psycopg.connect(crew.dsn, autocommit=True) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )


def _healed(dsn: str, namespace: str, delivered: list[tuple[str, ...]]) -> Runtime:
    """A new process after the last kill: what is due fires, what waits is delivered."""

    def take(message: Message) -> None:
        delivered.append((str(message.id), str(message.instance_id), str(message.seq), str(message.ordinal)))

    app = runtime(dsn, namespace, MessageHandler("outside", take, retry=QUICK))
    app.start()
    end = time.monotonic() + 30
    while time.monotonic() < end:
        app.fire_due_timers()
        settled(dsn)
        done = app.dispatch(limit=1_000)
        if not (done.total or done.busy or done.held or done.lost):
            break
        time.sleep(0.1)
    assert not app.parked_messages()
    return app


def _the_doctor_is_content(app: Runtime) -> None:
    check_invariants(app)
    report = app.doctor(exact=True)
    wrong = [found for check in report.checks for found in check.findings if found.severity == "error"]
    assert not wrong, report


def _what_was_told_has_happened(app: Runtime, done: list[list[str]]) -> None:
    """Invariants 6 and 10: each request that was answered is there once, and is answered again in the same way."""
    versions: dict[tuple[str, str], set[str]] = defaultdict(set)
    for instance_id, *words, version in done:
        versions[instance_id, " ".join(words)].add(version)
    for (instance_id, key), told in versions.items():
        assert len(told) == 1, (instance_id, key, told)
        seqs = [
            entry.seq
            for entry in app.history(UUID(instance_id), limit=1_000)
            if isinstance(entry.payload, dict) and entry.payload.get("key") == key
        ]
        if not key.startswith("x "):
            assert len(seqs) == 1, (instance_id, key, seqs)


def _effects_belong_to_moves(dsn: str, namespace: str) -> None:
    """Invariant 3: a booking is there if and only if a move says so."""
    booked = look(dsn, "SELECT transition_id FROM bookings ORDER BY 1")
    moves = look(
        dsn,
        "SELECT transition_id FROM workflow_history WHERE namespace = %s AND commands IS NOT NULL ORDER BY 1",
        [namespace],
    )
    assert booked == moves


def _messages_were_delivered_in_order(dsn: str, namespace: str, delivered: list[tuple[str, ...]]) -> None:
    """Each at least once, and those of one instance in their order, not counting repetitions."""
    rows = look(
        dsn,
        "SELECT id::text, instance_id::text, seq::text, ordinal::text FROM workflow_outbox WHERE namespace = %s",
        [namespace],
    )
    assert set(delivered) == set(rows)
    first: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for _, instance_id, seq, ordinal in dict.fromkeys(delivered):
        first[instance_id].append((int(seq), int(ordinal)))
    for places in first.values():
        assert places == sorted(places)


def _the_feed_shows_all_once(dsn: str, namespace: str, app: Runtime, followed: list[FeedEntry]) -> None:
    """Whoever followed through all of it missed nothing up to where it came, and saw nothing twice."""
    settled(dsn)
    with closing(app.changes()) as changes:
        every = [entry.position for entry in changes]
    ((count,),) = look(dsn, "SELECT count(*) FROM workflow_history WHERE namespace = %s", [namespace])
    assert len(every) == len(set(every)) == count
    seen = [entry.position for entry in followed]
    assert seen == every[: len(seen)]
    assert len(seen) > count / 4


def test_the_processes_have_the_same_workflows() -> None:
    """What the crew plays is what is checked: both versions answer the same events."""
    assert OLD.event_names == NEW.event_names
    assert set(CREW) == set(ROLES)
