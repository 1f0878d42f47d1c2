-- An order is paying while a card is charged, and payment_failed while another card is awaited; it may end because the payment gateway was
-- away for too long. Every row of before fits, so nothing is validated again, and the former release writes a part of what is allowed.
ALTER TABLE ledger_orders
    DROP CONSTRAINT ledger_orders_status_known,
    ADD CONSTRAINT ledger_orders_status_known CHECK (
        status IN ('placed', 'paying', 'action_required', 'payment_failed', 'paid', 'declined', 'cancelled', 'refunded')
    ) NOT VALID,
    DROP CONSTRAINT ledger_orders_reason_known,
    ADD CONSTRAINT ledger_orders_reason_known CHECK (
        reason IN ('payment_declined', 'payment_deadline', 'by_shopper', 'drop_cancelled', 'gateway_unavailable')
    ) NOT VALID;

ALTER TABLE ledger_order_versions
    DROP CONSTRAINT ledger_order_versions_status_known,
    ADD CONSTRAINT ledger_order_versions_status_known CHECK (
        status IN ('placed', 'paying', 'action_required', 'payment_failed', 'paid', 'declined', 'cancelled', 'refunded')
    ) NOT VALID;
