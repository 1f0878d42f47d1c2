//! Maps PostgreSQL's errors to the outcome of an event.

use ports::ledger::LedgerError;
use tokio_postgres::error::SqlState;

/// The port's error for the driver's error. The server's message is left out, since it quotes the row.
pub(crate) fn ledger_error(error: &tokio_postgres::Error) -> LedgerError {
    match error.as_db_error() {
        Some(answer) => of_state(answer.code(), answer.constraint()),
        // The driver's own errors contain no values.
        None => LedgerError::Unavailable(error.to_string()),
    }
}

/// Classes are those of PostgreSQL's appendix A. Classes 22 (data exception) and 23 (constraint violation) are
/// permanent faults of the event. Errors of all other classes may be temporary: a lost connection, a deadlock, a table
/// that a migration has not created yet.
fn of_state(state: &SqlState, constraint: Option<&str>) -> LedgerError {
    let code = state.code();
    match code.get(..2) {
        Some("22" | "23") => LedgerError::Refused(constraint.unwrap_or(code).to_owned()),
        _ => LedgerError::Unavailable(format!("SQLSTATE {code}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_event_s_own_fault_is_refused() {
        for (state, constraint, refused) in [
            (SqlState::CHECK_VIOLATION, Some("a_check"), Some("a_check")),
            (SqlState::UNIQUE_VIOLATION, Some("a_key"), Some("a_key")),
            (SqlState::NOT_NULL_VIOLATION, None, Some("23502")),
            (SqlState::CHARACTER_NOT_IN_REPERTOIRE, None, Some("22021")),
            (SqlState::DATETIME_FIELD_OVERFLOW, None, Some("22008")),
            (SqlState::T_R_DEADLOCK_DETECTED, None, None),
            (SqlState::T_R_SERIALIZATION_FAILURE, None, None),
            (SqlState::TOO_MANY_CONNECTIONS, None, None),
            (SqlState::ADMIN_SHUTDOWN, None, None),
            (SqlState::UNDEFINED_TABLE, None, None),
            (SqlState::READ_ONLY_SQL_TRANSACTION, None, None),
            (SqlState::DISK_FULL, None, None),
        ] {
            let error = of_state(&state, constraint);
            match refused {
                Some(name) => assert_eq!(error, LedgerError::Refused(name.to_owned())),
                None => assert!(matches!(error, LedgerError::Unavailable(_)), "{error}"),
            }
        }
    }
}
