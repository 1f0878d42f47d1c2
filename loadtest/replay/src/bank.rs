//! Ends payments at the bank, outside this system, and names the cards with which this happens.

use memory::MemoryGateway;
use ports::payment::PaymentId;

use crate::world::World;

/// The gateway's token of a payment that succeeds after a delay.
pub(crate) const SLOW_PAYS: &str = "pm_slow_pays";
/// The gateway's token of a payment that is declined after a delay.
pub(crate) const SLOW_DECLINES: &str = "pm_slow_declines";

/// The gateway's token of a card that is declined only at a payment's first confirmation.
pub(crate) const PASSES: &str = "pm_passes";

/// Ends the payment, as the shopper at the bank or the bank itself does outside this system.
pub(crate) fn finish(world: &World, gateway: &MemoryGateway, id: &PaymentId, pays: bool) {
    let was_open = gateway.finish_action(id, pays);
    let how = if pays { "paid" } else { "refused" };
    world.tell(|| format!("{id} is {how} at the bank: {was_open}"));
    world.note(match was_open {
        true => "finished at the bank",
        false => "too late at the bank",
    });
}
