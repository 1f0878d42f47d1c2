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

    const fn name_and_limits(self) -> (&'static str, FunctionLimits) {
        match self {
            Self::GetDrop => ("get-drop", get_drop::LIMITS),
            Self::Reserve => ("reserve", reserve::LIMITS),
            Self::Checkout => ("checkout", checkout::LIMITS),
            Self::GetOrder => ("get-order", get_order::LIMITS),
            Self::OperateDrop => ("operate-drop", operate_drop::LIMITS),
            Self::RelayEvents => ("relay-events", relay_events::LIMITS),
            Self::ProcessOrder => ("process-order", process_order::LIMITS),
            Self::ProjectLedger => ("project-ledger", project_ledger::LIMITS),
            Self::ConductDrop => ("conduct-drop", conduct_drop::LIMITS),
            Self::SweepOrders => ("sweep-orders", sweep_orders::LIMITS),
            Self::ReceiveWebhook => ("receive-webhook", receive_webhook::LIMITS),
            Self::NotifyShopper => ("notify-shopper", notify_shopper::LIMITS),
        }
    }

    /// The function's name, which is the name of its folder.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.name_and_limits().0
    }

    #[must_use]
    pub const fn limits(self) -> FunctionLimits {
        self.name_and_limits().1
    }
}
