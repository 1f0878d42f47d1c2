-- One batch of events.
-- Every part sees the tables as they were before the statement; conflicts with other transactions
-- are settled by ON CONFLICT on the rows as they are. Rows are written in the order of their keys, so that two batches do
-- not wait for each other crosswise.
WITH input AS (
    SELECT order_id, version, status, reason, reservation_id, drop_id, sku, shopper_id, quantity, amount_minor, currency,
           payment_id, correlation_id, ordinal,
           timestamptz 'epoch' + placed_at_ms * interval '1 millisecond' AS placed_at,
           timestamptz 'epoch' + updated_at_ms * interval '1 millisecond' AS updated_at
    FROM unnest($1::text[], $2::int8[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                $9::int8[], $10::int8[], $11::text[], $12::text[], $13::int8[], $14::int8[], $15::text[])
         WITH ORDINALITY
         AS t (order_id, version, status, reason, reservation_id, drop_id, sku, shopper_id,
               quantity, amount_minor, currency, payment_id, placed_at_ms, updated_at_ms, correlation_id, ordinal)
),
-- A statement may touch a row once: of repeats within the batch the first one counts.
each_version AS (
    SELECT DISTINCT ON (order_id, version) * FROM input ORDER BY order_id, version, ordinal
),
orders AS (
    INSERT INTO ledger_orders AS stored (order_id, version, status, reason, reservation_id, drop_id, sku, shopper_id,
                                         quantity, amount_minor, currency, payment_id, placed_at, updated_at,
                                         correlation_id)
    SELECT DISTINCT ON (order_id)
           order_id, version, status, reason, reservation_id, drop_id, sku, shopper_id,
           quantity, amount_minor, currency, payment_id, placed_at, updated_at, correlation_id
    FROM each_version
    ORDER BY order_id, version DESC
    ON CONFLICT (order_id) DO UPDATE
    SET version = excluded.version, status = excluded.status, reason = excluded.reason,
        payment_id = excluded.payment_id, updated_at = excluded.updated_at,
        -- A release that knows no correlation id may have written the row, or may write the next version.
        correlation_id = coalesce(stored.correlation_id, excluded.correlation_id)
    WHERE stored.version < excluded.version
    RETURNING stored.order_id
),
versions AS (
    INSERT INTO ledger_order_versions (order_id, version, status, reason, payment_id, at)
    SELECT order_id, version, status, reason, payment_id, updated_at FROM each_version ORDER BY order_id, version
    ON CONFLICT (order_id, version) DO NOTHING
    RETURNING order_id, version
),
-- A paid version makes the capture and a refunded one the refund, also when a later version is known already.
entries AS (
    INSERT INTO ledger_entries (order_id, kind, debit_account, credit_account, amount_minor, currency, payment_id,
                                version, at)
    SELECT DISTINCT ON (order_id, kind)
           order_id, kind, debit_account, credit_account, amount_minor, currency, payment_id, version, updated_at
    FROM each_version
    JOIN (VALUES ('paid', 'capture', 'gateway', 'sales'), ('refunded', 'refund', 'refunds', 'gateway'))
         AS made (by_status, kind, debit_account, credit_account) ON by_status = status
    ORDER BY order_id, kind, version
    ON CONFLICT (order_id, kind) DO NOTHING
)
SELECT input.ordinal,
       EXISTS (SELECT FROM versions AS v WHERE v.order_id = input.order_id AND v.version = input.version) AS is_new,
       EXISTS (SELECT FROM orders AS o WHERE o.order_id = input.order_id) AS moved_on,
       (SELECT stored.version FROM ledger_orders AS stored WHERE stored.order_id = input.order_id) AS before
FROM input
ORDER BY input.ordinal
