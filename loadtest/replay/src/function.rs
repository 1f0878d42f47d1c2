//! Lists the functions of the system that a replay runs, with their names and limits.

use domain::limits::FunctionLimits;

/// A function that the replay runs: all except `answer-default`, `fetch-keys`, `prescale` and tools like
/// `migrate-ledger`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Function {
    GetDrop,
    Reserve,
    Checkout,
    GetOrder,
    OperateDrop,
    RelayEvents,
    ProcessOrder,
    ProjectLedger,
    ConductDrop,
    SweepOrders,
    ReceiveWebhook,
    NotifyShopper,
}

impl Function {
    /// Every function that the replay runs.
    pub const ALL: [Self; 12] = [
        Self::GetDrop,
        Self::Reserve,
        Self::Checkout,
        Self::GetOrder,
        Self::OperateDrop,
        Self::RelayEvents,
        Self::ProcessOrder,
        Self::ProjectLedger,
        Self::ConductDrop,
        Self::SweepOrders,
        Self::ReceiveWebhook,
        Self::NotifyShopper,
    ];

    /// The function's name, which is the name of its folder.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::GetDrop => "get-drop",
            Self::Reserve => "reserve",
            Self::Checkout => "checkout",
            Self::GetOrder => "get-order",
            Self::OperateDrop => "operate-drop",
            Self::RelayEvents => "relay-events",
            Self::ProcessOrder => "process-order",
            Self::ProjectLedger => "project-ledger",
            Self::ConductDrop => "conduct-drop",
            Self::SweepOrders => "sweep-orders",
            Self::ReceiveWebhook => "receive-webhook",
            Self::NotifyShopper => "notify-shopper",
        }
    }

    #[must_use]
    pub const fn limits(self) -> FunctionLimits {
        match self {
            Self::GetDrop => get_drop::LIMITS,
            Self::Reserve => reserve::LIMITS,
            Self::Checkout => checkout::LIMITS,
            Self::GetOrder => get_order::LIMITS,
            Self::OperateDrop => operate_drop::LIMITS,
            Self::RelayEvents => relay_events::LIMITS,
            Self::ProcessOrder => process_order::LIMITS,
            Self::ProjectLedger => project_ledger::LIMITS,
            Self::ConductDrop => conduct_drop::LIMITS,
            Self::SweepOrders => sweep_orders::LIMITS,
            Self::ReceiveWebhook => receive_webhook::LIMITS,
            Self::NotifyShopper => notify_shopper::LIMITS,
        }
    }
}
