//! What the things of the baseline are called in the account.

use std::collections::BTreeMap;
use std::fmt;

use domain::drops::FieldError;
use serde::{Deserialize, Serialize};

use crate::form;

/// A function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FunctionName {
    /// Its name in the account.
    pub name: String,
    /// The event of a trial call.
    pub trial: Trial,
}

/// An event that changes nothing, to see whether a function answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Trial {
    /// A batch without records: written `batch`.
    Batch,
    /// A request without a token, for what cannot be: written `GET /drops/-`.
    Request {
        /// The method.
        method: String,
        /// The path.
        path: String,
    },
}

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

impl From<Trial> for String {
    fn from(trial: Trial) -> Self {
        match trial {
            Trial::Batch => "batch".to_owned(),
            Trial::Request { method, path } => format!("{method} {path}"),
        }
    }
}

/// A queue and the event source that works it off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceName {
    /// The event source mapping's UUID: what a template's `!Ref` of it gives.
    pub mapping: String,
    /// The queue's URL: messages in it are orders on their way.
    pub queue_url: String,
}

/// Everything that the baseline names, by the baseline's names. CloudFormation names what it creates, so these come from
/// the template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Names {
    /// The alias that requests reach, of every function.
    pub alias: String,
    /// Functions.
    pub functions: BTreeMap<String, FunctionName>,
    /// Tables.
    pub tables: BTreeMap<String, String>,
    /// Event sources.
    pub sources: BTreeMap<String, SourceName>,
    /// The identifier of the ledger's database cluster. Its instances have the same names in the baseline.
    pub cluster: String,
}

/// What is wrong with a text of names: everything at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamesError(pub Vec<FieldError>);

impl fmt::Display for NamesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, mistake) in self.0.iter().enumerate() {
            let separator = if n == 0 { "" } else { "; " };
            write!(f, "{separator}{}: {}", mistake.field, mistake.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for NamesError {}

impl Names {
    /// Reads them from JSON.
    ///
    /// # Errors
    /// All mistakes together.
    pub fn from_json(text: &str) -> Result<Self, NamesError> {
        let mut mistakes = Vec::new();
        let names = form::read("names", text, &mut mistakes);
        names.ok_or(NamesError(mistakes))
    }
}
