//! Writes the capacity profile.
//!
//! Parameter Store has no conditional write. So the version is read just before the write, and the version after the
//! write shows whether another writer wrote in between. The other writer's text is then overwritten, and remains in
//! Parameter Store's history.

use capacity::profile::CapacityProfile;
use capacity::read;
use ports::Conditional;
use ports::orders::FindDueOrders;
use ports::prescale::{ControlError, Readable, WriteProfile};

use crate::AwsAccount;
use crate::error::{Answered as _, broken};

const DOCUMENT: &str = "profile";

impl<O: FindDueOrders> WriteProfile for AwsAccount<O> {
    async fn profile(&self) -> Result<Readable<(CapacityProfile, u64)>, ControlError> {
        let (text, version) = self.profile_text().await?;
        let mut mistakes = Vec::new();
        let read = match &text {
            Some(text) => read::document(DOCUMENT, text, &mut mistakes),
            None => read::wrong(DOCUMENT, "is missing", &mut mistakes),
        };
        Ok(read.map(|profile| (profile, version)).ok_or(mistakes))
    }

    async fn write_profile(
        &self,
        profile: &CapacityProfile,
        version: u64,
    ) -> Result<Conditional<()>, ControlError> {
        const OPERATION: &str = "PutParameter";
        let text = serde_json::to_string(profile).map_err(|_| broken(OPERATION, "no JSON"))?;
        let (_, current) = self.profile_text().await?;
        if current != version {
            return Ok(Conditional::Refused(()));
        }
        // A request without a type keeps the parameter's type.
        let put = self.clients.ssm.changes.put_parameter();
        let put = put.name(self.profile_name()).value(text).overwrite(true);
        let put = put.send().await.answered(OPERATION)?;
        let written = u64::try_from(put.version()).unwrap_or(0);
        if written != version + 1 {
            tracing::warn!(
                read = version,
                written,
                "another writer changed the capacity profile between this run's read and write, and this write replaced the change; restore it from the parameter's history if it is needed"
            );
        }
        Ok(Conditional::Done)
    }
}

impl<O> AwsAccount<O> {
    fn profile_name(&self) -> String {
        format!("{}/{DOCUMENT}", self.documents)
    }

    /// The profile's text, if there is one, and the text's version; 0 without a parameter.
    async fn profile_text(&self) -> Result<(Option<String>, u64), ControlError> {
        const OPERATION: &str = "GetParameter";
        let get = self.clients.ssm.reads.get_parameter();
        let got = get.name(self.profile_name()).send().await.answered(OPERATION)?;
        let Some(parameter) = got.parameter else {
            return Ok((None, 0));
        };
        let version = u64::try_from(parameter.version()).unwrap_or(0);
        Ok((parameter.value, version))
    }
}
