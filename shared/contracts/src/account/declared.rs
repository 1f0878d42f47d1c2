//! Tests reads and writes of the declared documents.

use capacity::calendar::CalendarState;
use ports::prescale::{MeasureDemand, ReadDocuments, WriteProfile};

use super::ControlPlanes;
use super::account_fixtures::drop_on;
use crate::{REFUSED, answered, done};

pub async fn documents_are_read_as_declared(control_planes: &impl ControlPlanes) {
    let account = control_planes.account();
    let mut docs = control_planes.documents().clone();
    assert_eq!(answered(account.documents().await), Ok(docs.clone()));
    assert_eq!(answered(account.calendar().await), Ok(docs.calendar.clone()));
    // These are more drops than one page of any list has, in the sequence of their names.
    docs.calendar = (10..45).map(|n| drop_on(&format!("drop-{n}"))).collect();
    docs.budget.usd_per_hour = 0.5;
    control_planes.declare(&docs).await;
    assert_eq!(answered(account.documents().await), Ok(docs.clone()));
    assert_eq!(answered(account.calendar().await), Ok(docs.calendar));
}

pub async fn a_drop_that_is_called_off_is_read_at_once(control_planes: &impl ControlPlanes) {
    let account = control_planes.account();
    let mut docs = control_planes.documents().clone();
    docs.calendar[0].state = CalendarState::Cancelled;
    control_planes.declare(&docs).await;
    assert_eq!(answered(account.calendar().await), Ok(docs.calendar.clone()));
    docs.calendar.remove(0);
    control_planes.declare(&docs).await;
    assert_eq!(answered(account.calendar().await), Ok(docs.calendar.clone()));
    docs.calendar.clear();
    control_planes.declare(&docs).await;
    assert_eq!(answered(account.calendar().await), Ok(vec![]));
}

pub async fn a_drop_of_which_nothing_was_measured_has_no_demand(control_planes: &impl ControlPlanes) {
    let docs = control_planes.documents();
    let account = control_planes.account();
    let demand = account.demand(&docs.baseline, &docs.calendar[0]).await;
    assert_eq!(answered(demand), None);
}

pub async fn the_profile_is_changed_at_the_version_that_was_read(control_planes: &impl ControlPlanes) {
    let account = control_planes.account();
    let (mut profile, version) = answered(account.profile().await).unwrap();
    assert_eq!(profile, control_planes.documents().profile);
    profile.source = "learned".to_owned();
    profile.learns = true;
    profile.learned_from = Some(control_planes.documents().calendar[0].id.clone());
    profile.groups[0].weight.opening = 4.321;
    done(account.write_profile(&profile, version).await);
    let (read, newer) = answered(account.profile().await).unwrap();
    assert!(newer > version);
    assert_eq!(read, profile);
    assert_eq!(answered(account.documents().await).unwrap().profile, profile);
    // A caller that read before that write changes nothing.
    let mut late = profile.clone();
    late.source = "late".to_owned();
    assert_eq!(answered(account.write_profile(&late, version).await), REFUSED);
    // A caller that read before an engineer's write changes nothing either.
    let mut docs = control_planes.documents().clone();
    docs.profile.source = "by hand".to_owned();
    control_planes.declare(&docs).await;
    assert_eq!(answered(account.write_profile(&late, newer).await), REFUSED);
    assert_eq!(answered(account.documents().await).unwrap().profile, docs.profile);
}
