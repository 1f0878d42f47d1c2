//! Computes figures of the calls to the payment gateway, from the gateway's own count.

use serde::Serialize;
use stack_api::StackFile;
use stack_api::gateway_log::{Calls, Second};

use crate::control;

/// The share of the calls whose rate is compared with the limit. The first calls, with few orders yet, and
/// the last calls, with few orders left, are excluded.
const PACED: (f64, f64) = (0.05, 0.9);

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct GatewayFigures {
    /// Calls that the gateway admitted.
    pub calls: u64,
    /// Admitted calls ÷ paid orders; `None` without paid orders.
    pub calls_per_paid_order: Option<f64>,
    /// Calls beyond the rate, which the gateway answered 429, as a share of all calls.
    pub too_many_share: f64,
    /// Calls that an outage refused.
    pub refused: u64,
    /// The rate that was set for the gateway and the functions, in calls a second; `None` without a limit.
    pub limit: Option<u32>,
    /// The mean rate of the calls between the first 5 % and the last 10 %, in calls a second; `None` if they fit
    /// into two seconds.
    pub paced_rps: Option<f64>,
    /// `paced_rps` ÷ `limit`; `None` without either.
    pub of_limit: Option<f64>,
}

/// The calls that the stack's gateway received, by its own count.
///
/// # Errors
///
/// When the gateway does not answer.
pub async fn calls(stack: &StackFile) -> anyhow::Result<Calls> {
    control::get_from(&stack.gateway_url, "/sandbox/calls").await
}

impl GatewayFigures {
    /// Requests the figures from the stack's gateway; `paid` is the number of paid orders.
    ///
    /// # Errors
    ///
    /// When the gateway does not answer.
    pub async fn read(stack: &StackFile, paid: usize) -> anyhow::Result<Self> {
        let calls = calls(stack).await?;
        Ok(Self::of(&calls, paid, stack.gateway_calls_per_second))
    }

    #[allow(clippy::cast_precision_loss, reason = "calls of a run are far below 2^52")]
    fn of(calls: &Calls, paid: usize, limit: Option<u32>) -> Self {
        let admitted = calls.total(|second| second.admitted);
        let too_many = calls.total(|second| second.too_many);
        let paced_rps = paced(&calls.seconds, admitted);
        let of_limit = |(paced, limit): (f64, u32)| paced / f64::from(limit);
        Self {
            calls: admitted,
            calls_per_paid_order: (paid > 0).then(|| admitted as f64 / paid as f64),
            too_many_share: too_many as f64 / (admitted + too_many).max(1) as f64,
            refused: calls.total(|second| second.refused),
            limit,
            paced_rps,
            of_limit: paced_rps.zip(limit).map(of_limit),
        }
    }
}

/// The mean rate of the middle calls, in calls a second. The middle begins after the second that completes the
/// first 5 % of the calls, and ends before the second that completes 90 %.
#[allow(clippy::cast_precision_loss, reason = "calls of a run are far below 2^52")]
fn paced(seconds: &[Second], admitted: u64) -> Option<f64> {
    let (mut sum, mut from) = (0, None);
    for second in seconds {
        let before = sum;
        sum += second.admitted;
        if from.is_none() && sum as f64 >= PACED.0 * admitted as f64 {
            from = Some((second.at, sum));
        } else if sum as f64 >= PACED.1 * admitted as f64 {
            let (began, made) = from?;
            // The first and the last second do not count, since they belong only partly to the middle.
            let took = second.at.saturating_sub(began).saturating_sub(1);
            return (took > 0).then(|| (before - made) as f64 / took as f64);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(admitted: &[u64]) -> Calls {
        let second = |(at, admitted): (usize, &u64)| Second {
            at: 100 + at as u64,
            admitted: *admitted,
            ..Second::default()
        };
        Calls {
            seconds: admitted.iter().enumerate().map(second).collect(),
        }
    }

    #[test]
    fn the_pace_is_that_of_the_middle() {
        let calls = seconds(&[30, 25, 25, 24, 26, 25, 25, 25, 20, 1, 1, 1, 1]);
        let figures = GatewayFigures::of(&calls, 114, Some(25));
        assert_eq!(figures.calls, 229);
        assert_eq!(figures.paced_rps, Some(25.0));
        assert_eq!(figures.of_limit, Some(1.0));
        assert!((figures.calls_per_paid_order.unwrap() - 2.009).abs() < 0.001);
    }

    #[test]
    fn what_nobody_called_has_no_pace() {
        assert_eq!(
            GatewayFigures::of(&Calls::default(), 0, None),
            GatewayFigures::default()
        );
        assert_eq!(GatewayFigures::of(&seconds(&[5]), 2, None).paced_rps, None);
    }
}
