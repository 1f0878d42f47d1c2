-- The purchase that an order's row is part of, as log lines and events name it. Rows and statements of releases before this
-- column have none. It is no key, so no index: whoever follows a purchase has the order's id.
ALTER TABLE ledger_orders ADD COLUMN correlation_id text;
