//! The ports to the control planes.

use domain::prescale::baseline::Baseline;
use domain::prescale::calendar::CalendarDrop;
use domain::prescale::documents::Documents;
use domain::prescale::observed::ObservedDatabase;
use domain::prescale::quotas::Quotas;
use domain::prescale::readiness::Seen;
use domain::prescale::steps::Step;
use domain::time::Timestamp;
use ports::prescale::{
    CallFunction, Carried, CarryOut, ControlError, Measure, Observe, ReadDocuments, ReadQuotas, Readable,
};

use super::{MemoryAccount, State};

impl State {
    fn readable<T>(&self, value: impl FnOnce(&Documents) -> T) -> Readable<T> {
        if self.mistakes.is_empty() {
            Ok(value(&self.documents))
        } else {
            Err(self.mistakes.clone())
        }
    }
}

impl ReadDocuments for MemoryAccount {
    async fn documents(&self) -> Result<Readable<Documents>, ControlError> {
        self.call("documents", |state, _| Ok(state.readable(Documents::clone)))
            .await
    }

    async fn calendar(&self) -> Result<Readable<Vec<CalendarDrop>>, ControlError> {
        self.call("calendar", |state, _| {
            Ok(state.readable(|docs| docs.calendar.clone()))
        })
        .await
    }
}

impl ReadQuotas for MemoryAccount {
    async fn quotas(&self, _baseline: &Baseline) -> Result<Readable<Quotas>, ControlError> {
        self.call("quotas", |state, _| Ok(Ok(state.quotas))).await
    }
}

impl Observe for MemoryAccount {
    async fn observe(&self, _baseline: &Baseline) -> Result<Seen, ControlError> {
        self.call("observe", |state, _| Ok(state.seen())).await
    }
}

impl CarryOut for MemoryAccount {
    async fn carry_out(&self, step: &Step) -> Result<Carried, ControlError> {
        self.call("carry_out", |state, now| state.carry_out(step, now))
            .await
    }
}

impl Measure for MemoryAccount {
    async fn reached_acu(&self, _now: Timestamp) -> Result<Option<f64>, ControlError> {
        self.call("reached_acu", |state, _| {
            let serverless = matches!(state.database, ObservedDatabase::Serverless { .. });
            Ok(serverless.then_some(state.reached_acu))
        })
        .await
    }

    async fn spill_over(
        &self,
        function: &str,
        _since: Timestamp,
        _until: Timestamp,
    ) -> Result<u64, ControlError> {
        self.call("spill_over", |state, _| {
            Ok(state.spill_over.get(function).copied().unwrap_or(0))
        })
        .await
    }
}

impl CallFunction for MemoryAccount {
    async fn answers(&self, function: &str) -> Result<bool, ControlError> {
        self.call("answers", |state, _| Ok(!state.silent.contains(function)))
            .await
    }
}
