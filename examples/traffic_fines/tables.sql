-- The application's own tables. They know nothing of Duraflow; commands write to them in the transaction of the move.
-- Made again by every start of the demo, so all of it can be repeated.

CREATE SCHEMA IF NOT EXISTS traffic_fines;

CREATE TABLE IF NOT EXISTS traffic_fines.letters (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    fine       uuid NOT NULL,
    kind       text NOT NULL CHECK (kind IN ('notice', 'penalty', 'appeal result', 'to credit collection')),
    filed_at   timestamptz NOT NULL,
    -- of the move that filed it: the same letter is never filed twice
    transition uuid NOT NULL,
    UNIQUE (transition, kind)
);

CREATE INDEX IF NOT EXISTS letters_fine ON traffic_fines.letters (fine);

CREATE TABLE IF NOT EXISTS traffic_fines.payments (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    fine       uuid NOT NULL,
    amount     numeric(10, 2) NOT NULL CHECK (amount > 0),
    paid_at    timestamptz NOT NULL,
    transition uuid NOT NULL UNIQUE
);

CREATE INDEX IF NOT EXISTS payments_fine ON traffic_fines.payments (fine);
