-- migrate:up

-- What became of a request that carried a key. The result itself is in the history, entries first_seq to last_seq.
CREATE TABLE workflow_receipts (
    instance_id  uuid        NOT NULL REFERENCES workflow_instances (id) ON DELETE CASCADE,
    namespace    text        NOT NULL,
    -- Of a creation: its key is unique per namespace and workflow. Of an event: NULL, unique per instance.
    workflow     text,
    key          text        COLLATE "C" NOT NULL CHECK (octet_length(key) BETWEEN 1 AND 256),
    fingerprint  jsonb       CHECK (jsonb_typeof(fingerprint) = 'object'),
    first_seq    bigint      NOT NULL CHECK (first_seq >= 1),
    last_seq     bigint      NOT NULL CHECK (last_seq >= first_seq),
    result       jsonb       CHECK (jsonb_typeof(result) = 'object'),
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz,
    CHECK (workflow IS NULL OR first_seq = 1)
) WITH (autovacuum_vacuum_insert_scale_factor = 0.05);

-- Also what a deleted instance's receipts are found by, so it is not partial.
CREATE UNIQUE INDEX workflow_receipts_event
    ON workflow_receipts (instance_id, key, (workflow IS NULL));
CREATE UNIQUE INDEX workflow_receipts_creation
    ON workflow_receipts (namespace, workflow, key) WHERE workflow IS NOT NULL;
CREATE INDEX workflow_receipts_expiry
    ON workflow_receipts (namespace, expires_at) WHERE expires_at IS NOT NULL;

-- Messages that moves have emitted, in the order of the change feed. Who has been given which is kept per handler.
CREATE TABLE workflow_outbox (
    id           uuid        NOT NULL PRIMARY KEY,
    namespace    text        NOT NULL,
    instance_id  uuid        NOT NULL REFERENCES workflow_instances (id) ON DELETE CASCADE,
    seq          bigint      NOT NULL CHECK (seq >= 1),
    ordinal      integer     NOT NULL CHECK (ordinal >= 0),
    topic        text        NOT NULL CHECK (topic <> ''),
    payload      jsonb,
    position     xid8        NOT NULL,
    UNIQUE (instance_id, seq, ordinal)
) WITH (autovacuum_vacuum_insert_scale_factor = 0.05);

CREATE INDEX workflow_outbox_position
    ON workflow_outbox (namespace, position, instance_id, seq, ordinal);

-- How far each handler of messages has come: everything up to here is delivered, but for what is held back.
CREATE TABLE workflow_outbox_handlers (
    namespace    text        NOT NULL,
    handler      text        NOT NULL CHECK (handler <> ''),
    position     xid8        NOT NULL DEFAULT '0',
    instance_id  uuid        NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    seq          bigint      NOT NULL DEFAULT 0,
    ordinal      integer     NOT NULL DEFAULT 0,
    lease_token  uuid,
    lease_until  timestamptz,
    delivered    bigint      NOT NULL DEFAULT 0,
    updated_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (namespace, handler),
    CHECK ((lease_token IS NULL) = (lease_until IS NULL))
) WITH (fillfactor = 70);

-- Instances whose messages a handler could not take: from this message on they wait, up to where the handler has come.
CREATE TABLE workflow_outbox_held (
    namespace    text        NOT NULL,
    handler      text        NOT NULL,
    instance_id  uuid        NOT NULL REFERENCES workflow_instances (id) ON DELETE CASCADE,
    seq          bigint      NOT NULL,
    ordinal      integer     NOT NULL,
    attempts     integer     NOT NULL CHECK (attempts >= 0),
    next_at      timestamptz,
    parked_at    timestamptz,
    error        text        NOT NULL DEFAULT '',
    PRIMARY KEY (namespace, handler, instance_id),
    FOREIGN KEY (namespace, handler) REFERENCES workflow_outbox_handlers (namespace, handler) ON DELETE CASCADE,
    CHECK ((next_at IS NULL) = (parked_at IS NOT NULL))
) WITH (fillfactor = 70);

CREATE INDEX workflow_outbox_held_instance ON workflow_outbox_held (instance_id);
CREATE INDEX workflow_outbox_held_due
    ON workflow_outbox_held (namespace, handler, next_at) WHERE next_at IS NOT NULL;

-- What retention takes out, by when it was finished. Open instances are not in it, so no move of theirs touches it.
CREATE INDEX workflow_instances_finished
    ON workflow_instances (namespace, finished_at, id) WHERE finished_at IS NOT NULL;

-- migrate:down

DROP INDEX workflow_instances_finished;
DROP TABLE workflow_outbox_held;
DROP TABLE workflow_outbox_handlers;
DROP TABLE workflow_outbox;
DROP TABLE workflow_receipts;
