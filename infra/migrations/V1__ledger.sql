-- The ledger: every order at its latest version, every version of every order, and what was captured and refunded.
--
-- Only the projection writes here, and it repeats itself: every rule below holds for a repeat as well. Constraints are
-- named, since their names are what the projection reports when an event breaks one.

CREATE TABLE ledger_orders (
    order_id       text        NOT NULL,
    version        bigint      NOT NULL,
    status         text        NOT NULL,
    reason         text,
    reservation_id text        NOT NULL,
    drop_id        text        NOT NULL,
    sku            text        NOT NULL,
    shopper_id     text        NOT NULL,
    quantity       bigint      NOT NULL,
    amount_minor   bigint      NOT NULL,
    currency       text        NOT NULL,
    payment_id     text,
    placed_at      timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    CONSTRAINT ledger_orders_pkey PRIMARY KEY (order_id),
    -- One reservation makes at most one order. Checked at the end: two versions of one order that arrive at the same time
    -- meet here for a moment, before ON CONFLICT (order_id) has settled which of them inserts and which updates.
    CONSTRAINT ledger_orders_one_per_reservation UNIQUE (reservation_id) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT ledger_orders_version_positive CHECK (version >= 1),
    CONSTRAINT ledger_orders_status_known
        CHECK (status IN ('placed', 'action_required', 'paid', 'declined', 'cancelled', 'refunded')),
    CONSTRAINT ledger_orders_reason_known
        CHECK (reason IN ('payment_declined', 'payment_deadline', 'by_shopper', 'drop_cancelled')),
    -- An order that ended without payment says why, and no other one does.
    CONSTRAINT ledger_orders_reason_with_end CHECK ((reason IS NOT NULL) = (status IN ('declined', 'cancelled'))),
    -- Money has moved only where the gateway's id of it is known.
    CONSTRAINT ledger_orders_paid_with_payment
        CHECK (payment_id IS NOT NULL OR status NOT IN ('paid', 'refunded')),
    CONSTRAINT ledger_orders_quantity_positive CHECK (quantity >= 1),
    CONSTRAINT ledger_orders_amount_positive CHECK (amount_minor >= 1),
    CONSTRAINT ledger_orders_currency_code CHECK (currency ~ '^[A-Z]{3}$'),
    CONSTRAINT ledger_orders_times_in_order CHECK (updated_at >= placed_at)
);

CREATE INDEX ledger_orders_by_drop ON ledger_orders (drop_id, sku, status);
CREATE INDEX ledger_orders_by_shopper ON ledger_orders (shopper_id, placed_at DESC);

CREATE TABLE ledger_order_versions (
    order_id   text        NOT NULL,
    version    bigint      NOT NULL,
    status     text        NOT NULL,
    reason     text,
    payment_id text,
    at         timestamptz NOT NULL,
    CONSTRAINT ledger_order_versions_pkey PRIMARY KEY (order_id, version),
    CONSTRAINT ledger_order_versions_of_order FOREIGN KEY (order_id) REFERENCES ledger_orders (order_id),
    CONSTRAINT ledger_order_versions_version_positive CHECK (version >= 1),
    CONSTRAINT ledger_order_versions_status_known
        CHECK (status IN ('placed', 'action_required', 'paid', 'declined', 'cancelled', 'refunded')),
    CONSTRAINT ledger_order_versions_reason_with_end
        CHECK ((reason IS NOT NULL) = (status IN ('declined', 'cancelled'))),
    CONSTRAINT ledger_order_versions_paid_with_payment
        CHECK (payment_id IS NOT NULL OR status NOT IN ('paid', 'refunded'))
);

-- A double entry in one row: the amount leaves one account and enters another, so that the books balance by construction.
CREATE TABLE ledger_entries (
    order_id       text        NOT NULL,
    kind           text        NOT NULL,
    debit_account  text        NOT NULL,
    credit_account text        NOT NULL,
    amount_minor   bigint      NOT NULL,
    currency       text        NOT NULL,
    payment_id     text        NOT NULL,
    version        bigint      NOT NULL,
    at             timestamptz NOT NULL,
    -- An order is charged at most once and given back at most once.
    CONSTRAINT ledger_entries_pkey PRIMARY KEY (order_id, kind),
    CONSTRAINT ledger_entries_of_version
        FOREIGN KEY (order_id, version) REFERENCES ledger_order_versions (order_id, version),
    CONSTRAINT ledger_entries_accounts CHECK (
        (kind = 'capture' AND debit_account = 'gateway' AND credit_account = 'sales')
        OR (kind = 'refund' AND debit_account = 'refunds' AND credit_account = 'gateway')
    ),
    CONSTRAINT ledger_entries_amount_positive CHECK (amount_minor >= 1),
    CONSTRAINT ledger_entries_currency_code CHECK (currency ~ '^[A-Z]{3}$')
);

-- What one payment captured belongs to one order; a refund names the same payment, hence the kind.
CREATE UNIQUE INDEX ledger_entries_one_order_per_payment ON ledger_entries (payment_id, kind);

-- Each account's balance, debits positive. Over all accounts of a currency it is zero.
CREATE VIEW ledger_balances AS
SELECT account, currency, sum(amount_minor) AS balance_minor
FROM (
    SELECT debit_account AS account, currency, amount_minor FROM ledger_entries
    UNION ALL
    SELECT credit_account, currency, -amount_minor FROM ledger_entries
) AS postings
GROUP BY account, currency;
