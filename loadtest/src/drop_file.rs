//! Reads a drop file: the goods, the arrivals and the behaviour of shoppers.

use std::path::Path;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use crate::files::read;

/// A whole drop file, as in `loadtest/drops/*.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DropFile {
    pub title: String,
    /// ISO 4217 code of every price.
    pub currency: String,
    /// The number of shoppers, unless the command line sets it.
    pub shoppers: u32,
    /// The number of units that one shopper may own in this drop.
    pub per_shopper_limit: u32,
    /// How long a reservation is held, in seconds.
    pub hold_seconds: u32,
    /// The time limit for an action that the payment requires of the shopper, in seconds.
    pub payment_seconds: u32,
    /// The time limit for other cards after the first decline, in seconds.
    #[serde(default = "retry_seconds")]
    pub retry_seconds: u32,
    /// How long an order waits for the gateway, in seconds.
    #[serde(default = "gateway_wait_seconds")]
    pub gateway_wait_seconds: u32,
    /// The time from publishing to the opening, in seconds. Arrivals before the opening must fit into this time.
    pub lead_seconds: u32,
    /// The time from the opening to the end of the drop, in seconds.
    pub open_seconds: u32,
    /// The shortest time in which shoppers may take all units, in seconds. Pre-scaling plans for it.
    #[serde(default = "at_once")]
    pub sold_within_seconds: u32,
    #[serde(rename = "sku")]
    pub skus: Vec<SkuLine>,
    pub arrivals: Profile,
    pub behaviour: Behaviour,
}

fn retry_seconds() -> u32 {
    20
}

fn gateway_wait_seconds() -> u32 {
    600
}

fn at_once() -> u32 {
    1
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SkuLine {
    pub sku: String,
    pub title: String,
    /// Price of one unit in minor units of the drop's currency.
    pub price_minor: u64,
    pub units: u32,
    /// How often the SKU is a shopper's first choice, relative to the other SKUs.
    pub weight: f64,
}

/// The arrivals over time: shares of all shoppers, and the length of each phase.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Arrivals before the opening, spread evenly.
    pub before: Phase,
    /// The surge at the opening: densest at its start, falling linearly to zero at its end.
    pub surge: Phase,
    /// Other arrivals after the opening, spread evenly. This phase, too, begins at the opening.
    pub tail: Phase,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// Share of all shoppers, 0 to 1.
    pub share: f64,
    pub seconds: f64,
}

/// Probabilities (0 to 1) and other settings of shoppers' actions. Each shopper's choices are drawn once, from the
/// seed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Behaviour {
    /// How often shoppers want 1, 2, ... units, relative to one another.
    pub quantity_weights: Vec<f64>,
    /// The probability that a shopper opens the drop's page before the status.
    pub opens_page: f64,
    /// The probability that a shopper opens the list of drops first.
    pub opens_list: f64,
    /// The probability that a shopper wants another SKU when the first choice is gone.
    pub second_choice: f64,
    /// The probability that a shopper accepts fewer units when fewer are left.
    pub takes_fewer: f64,
    /// The probability that a shopper stays when all units are held; other shoppers leave immediately.
    pub stays: f64,
    /// The largest number of times that a shopper who stays asks again; each shopper draws 1 to this number.
    pub max_looks: u32,
    /// The probability that a shopper stays until the SKU is gone or the drop is over, and buys with a working
    /// card.
    pub never_leaves: f64,
    /// The shortest time between two status requests of a waiting shopper, in seconds, if the status asks for less.
    pub look_seconds: f64,
    /// The probability that a shopper reserves and leaves.
    pub abandons: f64,
    /// The probability that a shopper never pays: the shopper lets each hold expire and reserves again, until the
    /// drop is over.
    #[serde(default)]
    pub hoards: f64,
    /// The probability that a shopper reserves and releases the units.
    pub releases: f64,
    /// The probability that a shopper cancels a placed order while the payment is in progress.
    pub cancels: f64,
    /// The shortest and the longest time from a reservation to the checkout, in seconds.
    pub checkout_after_seconds: [f64; 2],
    /// The probability that a shopper sends a request twice at the same time with the same key.
    pub double_clicks: f64,
    /// The probability that a shopper reloads the page instead of waiting for an answer, and sends the request
    /// again with the same key.
    pub reloads: f64,
    /// The probability that a shopper pays with another card after a decline, with another reservation if the
    /// decline ended the order.
    pub tries_again_after_decline: f64,
    /// The probability that a shopper has no working card: the shopper tries as many cards as allowed and reserves
    /// again, until the drop is over.
    #[serde(default)]
    pub declines_always: f64,
    /// How often each outcome of a payment occurs.
    pub cards: Cards,
}

/// How often each outcome of a payment occurs, relative to the other outcomes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cards {
    /// The gateway charges the card.
    pub works: f64,
    /// The gateway declines the card.
    pub declined: f64,
    /// The bank requires authentication and the shopper confirms.
    pub action_completed: f64,
    /// The bank requires authentication and the shopper fails it.
    pub action_failed: f64,
    /// The bank requires authentication and the shopper does not react.
    pub action_ignored: f64,
    /// The gateway stops answering before it has charged.
    pub timeout_before_charge: f64,
    /// The gateway stops answering after it has charged.
    pub timeout_after_charge: f64,
}

impl DropFile {
    /// Reads and checks a drop file.
    ///
    /// # Errors
    /// When the file cannot be read, is malformed, or contradicts itself.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        Self::parse(&read(path)?).with_context(|| format!("in {}", path.display()))
    }

    /// Parses and checks the text of a drop file.
    ///
    /// # Errors
    /// When the text is malformed or contradicts itself.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let file: Self = toml::from_str(text)?;
        file.check()?;
        Ok(file)
    }

    /// Units for sale over all SKUs.
    #[must_use]
    pub fn allocated(&self) -> u64 {
        self.skus.iter().map(|sku| u64::from(sku.units)).sum()
    }

    fn check(&self) -> anyhow::Result<()> {
        ensure!(!self.skus.is_empty(), "a drop sells at least one SKU");
        let complete = self.skus.iter().all(|s| s.units > 0 && s.weight >= 0.0);
        ensure!(complete, "every SKU needs units and a weight");
        let wanted = self.skus.iter().any(|s| s.weight > 0.0);
        ensure!(wanted, "some SKU must be wanted");
        let counted = self.shoppers > 0 && self.per_shopper_limit > 0;
        ensure!(counted, "shoppers and limit must be positive");
        let timed = self.hold_seconds > 0 && self.payment_seconds > 0;
        ensure!(timed, "hold and payment time must be positive");
        let wanted = u32::try_from(self.behaviour.quantity_weights.len())?;
        ensure!(
            (1..=self.per_shopper_limit).contains(&wanted),
            "quantity_weights must name 1 to per_shopper_limit quantities"
        );
        let p = &self.arrivals;
        let shares = p.before.share + p.surge.share + p.tail.share;
        ensure!(
            (shares - 1.0).abs() < 1e-6,
            "the shares of the arrivals add up to {shares}, not to 1"
        );
        for phase in [p.before, p.surge, p.tail] {
            let complete = phase.share >= 0.0 && phase.seconds > 0.0;
            ensure!(complete, "a phase needs a share and a length");
        }
        let fits = p.before.seconds <= f64::from(self.lead_seconds);
        ensure!(fits, "arrivals before the opening do not fit into lead_seconds");
        let fits = p.surge.seconds.max(p.tail.seconds) <= f64::from(self.open_seconds);
        ensure!(fits, "arrivals do not fit into open_seconds");
        let b = &self.behaviour;
        for chance in [
            b.opens_page,
            b.opens_list,
            b.second_choice,
            b.takes_fewer,
            b.stays,
            b.never_leaves,
            b.abandons,
            b.hoards,
            b.releases,
            b.cancels,
            b.double_clicks,
            b.reloads,
            b.tries_again_after_decline,
            b.declines_always,
        ] {
            ensure!((0.0..=1.0).contains(&chance), "probabilities lie between 0 and 1");
        }
        let exclusive = b.abandons + b.releases <= 1.0;
        ensure!(exclusive, "abandons and releases exclude one another");
        let [from, to] = b.checkout_after_seconds;
        ensure!(0.0 <= from && from <= to, "checkout_after_seconds is [from, to]");
        let fits = to < f64::from(self.hold_seconds);
        ensure!(fits, "checking out must fit into the hold");
        Ok(())
    }
}
