//! Reads the declared documents from Parameter Store.

use capacity::baseline::Baseline;
use capacity::calendar::CalendarDrop;
use capacity::database::{ClassSize, DatabaseBaseline};
use capacity::documents::Documents;
use domain::drops::FieldError;
use domain::time::Timestamp;
use ports::orders::FindDueOrders;
use ports::prescale::{ControlError, ReadDocuments, Readable};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::error::Answered as _;
use crate::quotas::Declared;
use crate::{AwsAccount, form, paging};

/// The largest page of Parameter Store.
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
            mistakes.push(form::mistake(name, "no document is called that"));
        }
    }
    let profile = one(texts, "profile", &mut mistakes);
    let baseline = baseline(texts, &mut mistakes);
    let budget = one(texts, "budget", &mut mistakes);
    let prices = one(texts, "prices", &mut mistakes);
    // Only the limits need this document, but its mistakes are reported together with the others.
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

fn text<'a>(texts: &'a [Named], name: &str, mistakes: &mut Vec<FieldError>) -> Option<&'a str> {
    let found = texts.iter().find(|(found, _)| found == name);
    if found.is_none() {
        mistakes.push(form::mistake(name, "is missing"));
    }
    found.map(|(_, text)| text.as_str())
}

fn one<T: serde::de::DeserializeOwned>(
    texts: &[Named],
    name: &str,
    mistakes: &mut Vec<FieldError>,
) -> Option<T> {
    form::read(name, text(texts, name, mistakes)?, mistakes)
}

/// The two kinds of database, each as its own type: the parser of an untagged choice loses the path of a mistake.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Serverless {
    #[serde(rename = "kind")]
    _kind: String,
    minimum_acu: f64,
    maximum_acu: f64,
    rows_per_second_per_acu: f64,
    connections: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Provisioned {
    #[serde(rename = "kind")]
    _kind: String,
    class: String,
    instances: Vec<String>,
    ladder: Vec<ClassSize>,
}

fn baseline(texts: &[Named], mistakes: &mut Vec<FieldError>) -> Option<Baseline> {
    let text = text(texts, "baseline", mistakes)?;
    let Ok(mut value) = serde_json::from_str::<Value>(text) else {
        return form::read("baseline", text, mistakes);
    };
    let declared = value.get("database").cloned();
    let Some(declared @ Value::Object(_)) = declared else {
        return form::read_value("baseline", value, mistakes);
    };
    const AT: &str = "baseline.database";
    let database = match declared.get("kind").and_then(Value::as_str) {
        Some("serverless") => {
            let read: Option<Serverless> = form::read_value(AT, declared, mistakes);
            read.map(|read| DatabaseBaseline::Serverless {
                minimum_acu: read.minimum_acu,
                maximum_acu: read.maximum_acu,
                rows_per_second_per_acu: read.rows_per_second_per_acu,
                connections: read.connections,
            })
        }
        Some("provisioned") => {
            let read: Option<Provisioned> = form::read_value(AT, declared, mistakes);
            read.map(|read| DatabaseBaseline::Provisioned {
                class: read.class,
                instances: read.instances,
                ladder: read.ladder,
            })
        }
        _ => {
            mistakes.push(form::mistake(
                &format!("{AT}.kind"),
                "expected `serverless` or `provisioned`",
            ));
            None
        }
    };
    if database.is_none() {
        // Mistakes of the database have been recorded. A valid placeholder lets the rest be parsed.
        let right = serde_json::json!({
            "kind": "serverless", "minimum_acu": 1, "maximum_acu": 1, "rows_per_second_per_acu": 1, "connections": 1,
        });
        if let Some(members) = value.as_object_mut() {
            members.insert("database".to_owned(), right);
        }
    }
    let read: Option<Baseline> = form::read_value("baseline", value, mistakes);
    let database = database?;
    read.map(|read| Baseline { database, ..read })
}

/// A moment in RFC 3339.
struct Moment(Timestamp);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = "not a moment as in RFC 3339, such as 2030-03-01T18:00:00Z";
        let at = OffsetDateTime::parse(&text, &Rfc3339).map_err(|_| serde::de::Error::custom(wrong))?;
        let ms = at.unix_timestamp() * 1_000 + i64::from(at.millisecond());
        Ok(Self(Timestamp::from_millis(ms)))
    }
}

fn calendar(texts: &[Named], mistakes: &mut Vec<FieldError>) -> Vec<CalendarDrop> {
    let mut drops = Vec::new();
    for (name, text) in texts {
        let Some(id) = name.strip_prefix("calendar/") else {
            continue;
        };
        let Some(read) = form::read::<CalendarDrop<Moment>>(name, text, mistakes) else {
            continue;
        };
        if read.id.as_str() != id {
            let at = format!("{name}.id");
            mistakes.push(form::mistake(&at, "the same as the document's name"));
        }
        drops.push(read.with_moments(|moment| moment.0));
    }
    drops
}

#[cfg(test)]
mod tests;
