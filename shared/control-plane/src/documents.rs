//! Reads the declared documents from Parameter Store.

use api::moment::Moment;
use capacity::calendar::CalendarDrop;
use capacity::documents::Documents;
use capacity::read::{self, Read};
use domain::drops::FieldError;
use ports::orders::FindDueOrders;
use ports::prescale::{ControlError, ReadDocuments, Readable};

use crate::error::{Answered as _, mistake};
use crate::quotas::Declared;
use crate::{AwsAccount, paging};

/// The largest number of parameters in one page of Parameter Store.
const PER_PAGE: i32 = 10;

/// A document: its name under the path, and its text.
pub(crate) type Named = (String, String);

impl<O: FindDueOrders> ReadDocuments for AwsAccount<O> {
    async fn documents(&self) -> Result<Readable<Documents>, ControlError> {
        Ok(documents(&self.texts("").await?))
    }

    async fn calendar(&self) -> Result<Readable<Vec<CalendarDrop>>, ControlError> {
        let texts = self.texts("/calendar").await?;
        let mut mistakes = Vec::new();
        let calendar = calendar(&texts, &mut mistakes);
        Ok(if mistakes.is_empty() {
            Ok(calendar)
        } else {
            Err(mistakes)
        })
    }
}

impl<O> AwsAccount<O> {
    /// Every document under a part of the path, by its name under the whole path, sorted by name.
    async fn texts(&self, under: &str) -> Result<Vec<Named>, ControlError> {
        const OPERATION: &str = "GetParametersByPath";
        let path = format!("{}{under}", self.documents);
        let mut texts = paging::all(OPERATION, |token| async {
            let page = self.clients.ssm.reads.get_parameters_by_path();
            let page = page.path(&path).recursive(true).max_results(PER_PAGE);
            let page = page.set_next_token(token).send().await.answered(OPERATION)?;
            let named = |parameter: &aws_sdk_ssm::types::Parameter| {
                let name = parameter.name()?.strip_prefix(self.documents.as_ref())?;
                let name = name.trim_start_matches('/').to_owned();
                Some((name, parameter.value().unwrap_or_default().to_owned()))
            };
            let found: Vec<Named> = page.parameters().iter().filter_map(named).collect();
            Ok((found, page.next_token))
        })
        .await?;
        texts.sort();
        Ok(texts)
    }
}

/// All documents, or all mistakes in their form.
fn documents(texts: &[Named]) -> Readable<Documents> {
    let mut mistakes = Vec::new();
    for (name, _) in texts {
        let known = ["profile", "baseline", "budget", "prices", "quotas"].contains(&name.as_str());
        if !known && !name.starts_with("calendar/") {
            mistakes.push(mistake(name, "no document is called that"));
        }
    }
    let profile = one(texts, "profile", &mut mistakes);
    let baseline = one(texts, "baseline", &mut mistakes);
    let budget = one(texts, "budget", &mut mistakes);
    let prices = one(texts, "prices", &mut mistakes);
    // Only the limits need this document, but its mistakes are reported together with those of the other documents.
    let quotas: Option<Declared> = one(texts, "quotas", &mut mistakes);
    let calendar = calendar(texts, &mut mistakes);
    match (profile, baseline, budget, prices, quotas) {
        (Some(profile), Some(baseline), Some(budget), Some(prices), Some(_)) if mistakes.is_empty() => {
            Ok(Documents {
                profile,
                baseline,
                budget,
                prices,
                calendar,
            })
        }
        _ => Err(mistakes),
    }
}

fn one<T: Read>(texts: &[Named], name: &str, mistakes: &mut Vec<FieldError>) -> Option<T> {
    match texts.iter().find(|(found, _)| found == name) {
        Some((_, text)) => read::document(name, text, mistakes),
        None => read::wrong(name, "is missing", mistakes),
    }
}

fn calendar(texts: &[Named], mistakes: &mut Vec<FieldError>) -> Vec<CalendarDrop> {
    let mut drops = Vec::new();
    for (name, text) in texts {
        let Some(id) = name.strip_prefix("calendar/") else {
            continue;
        };
        let Some(read) = read::document::<CalendarDrop<Moment>>(name, text, mistakes) else {
            continue;
        };
        if read.id.as_str() != id {
            let at = format!("{name}.id");
            mistakes.push(mistake(&at, "the same as the document's name"));
        }
        drops.push(read.with_moments(|moment| moment.0));
    }
    drops
}

#[cfg(test)]
mod tests;
