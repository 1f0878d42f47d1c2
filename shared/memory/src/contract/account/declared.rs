//! What people declare, read as it is.

use domain::prescale::calendar::CalendarState;
use ports::prescale::ReadDocuments;

use super::scene::drop_on;
use super::{ControlPlanes, told};

pub async fn documents_are_read_as_declared(planes: &impl ControlPlanes) {
    let account = planes.account();
    let mut docs = planes.documents().clone();
    assert_eq!(told(account.documents().await), Ok(docs.clone()));
    assert_eq!(told(account.calendar().await), Ok(docs.calendar.clone()));
    // More drops than fit on one page of anything, in the order of their names.
    docs.calendar = (10..45).map(|n| drop_on(&format!("drop-{n}"))).collect();
    docs.budget.usd_per_hour = 0.5;
    planes.declare(&docs).await;
    assert_eq!(told(account.documents().await), Ok(docs.clone()));
    assert_eq!(told(account.calendar().await), Ok(docs.calendar));
}

pub async fn a_drop_that_is_called_off_is_read_at_once(planes: &impl ControlPlanes) {
    let account = planes.account();
    let mut docs = planes.documents().clone();
    docs.calendar[0].state = CalendarState::Cancelled;
    planes.declare(&docs).await;
    assert_eq!(told(account.calendar().await), Ok(docs.calendar.clone()));
    docs.calendar.remove(0);
    planes.declare(&docs).await;
    assert_eq!(told(account.calendar().await), Ok(docs.calendar.clone()));
    docs.calendar.clear();
    planes.declare(&docs).await;
    assert_eq!(told(account.calendar().await), Ok(vec![]));
}
