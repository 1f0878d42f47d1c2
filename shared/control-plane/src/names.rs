//! Defines the names that the baseline's resources have in the account.

use std::collections::BTreeMap;
use std::fmt;

use capacity::read;
use capacity::{members, scalars};
use domain::drops::FieldError;
use serde::Deserialize;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionName {
    /// The function's name in the account.
    pub name: String,
    /// The event of a trial invocation.
    pub trial: Trial,
}

members!(FunctionName: name, trial);

/// An event that changes nothing and shows whether a function answers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Trial {
    /// A batch without records: written `batch`.
    Batch,
    /// A request without a token for an impossible id: written `GET /drops/-`.
    Request { method: String, path: String },
}

scalars!(Trial);

impl TryFrom<String> for Trial {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text == "batch" {
            return Ok(Self::Batch);
        }
        match text.split_once(' ') {
            Some((method @ ("GET" | "POST" | "PUT" | "DELETE"), path)) if path.starts_with('/') => {
                Ok(Self::Request {
                    method: method.to_owned(),
                    path: path.to_owned(),
                })
            }
            _ => Err("expected `batch`, or a method and a path as in `GET /drops/-`"),
        }
    }
}

/// A queue and the event source that consumes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceName {
    /// The event source mapping's UUID: the value of a template's `!Ref` to it.
    pub mapping: String,
    /// The queue's URL. Its messages are orders in progress.
    pub queue_url: String,
}

members!(SourceName: mapping, queue_url);

/// The account's names of all resources that the baseline names. CloudFormation generates names, so the template passes
/// these names to the function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The alias of every function that requests reach.
    pub alias: String,
    pub functions: BTreeMap<String, FunctionName>,
    pub tables: BTreeMap<String, String>,
    pub sources: BTreeMap<String, SourceName>,
    /// The identifier of the ledger's database cluster. Its instances have the same names in the baseline.
    pub cluster: String,
}

members!(Names: alias, functions, tables, sources, cluster);

/// All mistakes in a text of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamesError(pub Vec<FieldError>);

impl fmt::Display for NamesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mistakes = self.0.iter();
        let lines: Vec<String> = mistakes.map(|m| format!("{}: {}", m.field, m.message)).collect();
        f.write_str(&lines.join("; "))
    }
}

impl std::error::Error for NamesError {}

impl Names {
    /// Parses the names from JSON.
    ///
    /// # Errors
    /// [`NamesError`] with all mistakes.
    pub fn from_json(text: &str) -> Result<Self, NamesError> {
        let mut mistakes = Vec::new();
        let names = read::document("names", text, &mut mistakes);
        names.ok_or(NamesError(mistakes))
    }
}
