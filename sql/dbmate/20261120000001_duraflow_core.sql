-- migrate:up

-- Every version of every workflow that this database has seen. Instances are pinned to one.
CREATE TABLE workflow_definitions (
    namespace      text        NOT NULL,
    workflow       text        NOT NULL,
    version        integer     NOT NULL CHECK (version >= 1),
    hash           text        NOT NULL CHECK (hash ~ '^[0-9a-f]{64}$'),
    snapshot       jsonb       NOT NULL CHECK (jsonb_typeof(snapshot) = 'object'),
    registered_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (namespace, workflow, version)
);

-- The current snapshot of each instance. One UPDATE per move, so what a move changes is not indexed, but for the
-- state: lists and counts by state are worth the HOT updates that state changes lose (internal moves keep theirs).
CREATE TABLE workflow_instances (
    id                  uuid        NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    namespace           text        NOT NULL,
    workflow            text        NOT NULL,
    definition_version  integer     NOT NULL,
    ref                 text        CHECK (ref <> ''),
    state               text        NOT NULL CHECK (state <> ''),
    outcome             text        CHECK (outcome IN ('done', 'failed', 'cancelled')),
    version             bigint      NOT NULL CHECK (version >= 1),
    context             jsonb       NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(context) = 'object'),
    metadata            jsonb       NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(metadata) = 'object'),
    timers              jsonb       CHECK (jsonb_typeof(timers) = 'array'),
    continuation        jsonb       CHECK (jsonb_typeof(continuation) = 'object'),
    created_at          timestamptz NOT NULL,
    updated_at          timestamptz NOT NULL,
    entered_at          timestamptz NOT NULL,
    finished_at         timestamptz,
    parent_id           uuid        REFERENCES workflow_instances (id) ON DELETE SET NULL,
    root_id             uuid,
    lease_token         uuid,
    waiting_events      boolean     NOT NULL DEFAULT false,
    format              smallint    NOT NULL DEFAULT 1 CHECK (format >= 1),
    position            xid8        NOT NULL DEFAULT pg_current_xact_id(),
    FOREIGN KEY (namespace, workflow, definition_version)
        REFERENCES workflow_definitions (namespace, workflow, version),
    CHECK ((outcome IS NULL) = (finished_at IS NULL)),
    CHECK (outcome IS NULL OR timers IS NULL),
    CHECK (outcome IS NULL OR continuation IS NULL),
    CHECK (updated_at >= created_at AND entered_at >= created_at AND entered_at <= updated_at)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

CREATE UNIQUE INDEX workflow_instances_ref
    ON workflow_instances (namespace, workflow, ref) WHERE ref IS NOT NULL;
CREATE INDEX workflow_instances_created
    ON workflow_instances (namespace, created_at DESC, id DESC);
CREATE INDEX workflow_instances_state
    ON workflow_instances (namespace, workflow, state, created_at DESC, id DESC);
CREATE INDEX workflow_instances_metadata
    ON workflow_instances USING gin (metadata jsonb_path_ops) WHERE metadata <> '{}'::jsonb;
CREATE INDEX workflow_instances_parent
    ON workflow_instances (parent_id) WHERE parent_id IS NOT NULL;

-- Everything that happened, append-only. (instance_id, seq) is also the second guard against lost updates.
CREATE TABLE workflow_history (
    instance_id         uuid        NOT NULL REFERENCES workflow_instances (id) ON DELETE CASCADE,
    seq                 bigint      NOT NULL CHECK (seq >= 1),
    namespace           text        NOT NULL,
    kind                text        NOT NULL
        CHECK (kind IN ('created', 'moved', 'rejected', 'upgraded', 'cancelled', 'forced')),
    event               text        NOT NULL,
    from_state          text,
    to_state            text        NOT NULL,
    status              text        NOT NULL CHECK (status IN ('success', 'failure', 'rejected')),
    entered             boolean     NOT NULL,
    at                  timestamptz NOT NULL,
    definition_version  integer     NOT NULL,
    attempt_id          uuid        NOT NULL,
    transition_id       uuid,
    outcome             text        CHECK (outcome IN ('done', 'failed', 'cancelled')),
    commands            jsonb       CHECK (jsonb_typeof(commands) = 'array'),
    blockers            jsonb       CHECK (jsonb_typeof(blockers) = 'array'),
    payload             jsonb,
    trigger             jsonb       CHECK (jsonb_typeof(trigger) = 'object'),
    change              jsonb       CHECK (jsonb_typeof(change) = 'object'),
    timers              jsonb       CHECK (jsonb_typeof(timers) = 'array'),
    metadata            jsonb       CHECK (jsonb_typeof(metadata) = 'object'),
    format              smallint    NOT NULL DEFAULT 1 CHECK (format >= 1),
    position            xid8        NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (instance_id, seq),
    CHECK ((kind = 'created') = (seq = 1)),
    CHECK ((kind = 'created') = (from_state IS NULL)),
    CHECK ((kind = 'rejected') = (status = 'rejected'))
) WITH (autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);

-- What a feed reads: everything below pg_snapshot_xmin(pg_current_snapshot()) is complete.
CREATE INDEX workflow_history_position
    ON workflow_history (namespace, position, instance_id, seq);

-- Instances that have something due, and nothing else: one narrow row each, which sweeps and workers claim by.
CREATE TABLE workflow_due (
    instance_id  uuid        NOT NULL PRIMARY KEY REFERENCES workflow_instances (id) ON DELETE CASCADE,
    namespace    text        NOT NULL,
    queue        text        NOT NULL DEFAULT 'default',
    due_at       timestamptz,
    rank         timestamptz,
    lease_token  uuid,
    lease_until  timestamptz,
    errors       integer     NOT NULL DEFAULT 0 CHECK (errors >= 0),
    crashes      integer     NOT NULL DEFAULT 0 CHECK (crashes >= 0),
    wakes        integer     NOT NULL DEFAULT 0 CHECK (wakes >= 0),
    retries      jsonb       CHECK (jsonb_typeof(retries) = 'object'),
    parked_at    timestamptz,
    error        text,
    CHECK (due_at IS NOT NULL OR parked_at IS NOT NULL),
    CHECK ((lease_token IS NULL) = (lease_until IS NULL))
) WITH (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_cost_limit = 2000,
    autovacuum_analyze_scale_factor = 0.02
);

CREATE INDEX workflow_due_due
    ON workflow_due (namespace, due_at, instance_id) WHERE due_at IS NOT NULL;
CREATE INDEX workflow_due_parked
    ON workflow_due (namespace, parked_at, instance_id) WHERE parked_at IS NOT NULL;

-- migrate:down

DROP TABLE workflow_due;
DROP TABLE workflow_history;
DROP TABLE workflow_instances;
DROP TABLE workflow_definitions;
