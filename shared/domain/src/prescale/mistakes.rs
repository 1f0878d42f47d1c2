//! Collecting all mistakes of a document before anyone is told about the first.

use std::fmt::Display;

use crate::drops::FieldError;

/// The mistakes found so far.
#[derive(Debug, Default)]
pub(super) struct Mistakes(Vec<FieldError>);

impl Mistakes {
    /// Notes that `field` breaks `rule`, unless `ok`.
    pub(super) fn check(&mut self, ok: bool, field: impl Display, rule: impl Display) {
        if !ok {
            self.0.push(FieldError {
                field: field.to_string(),
                message: rule.to_string(),
            });
        }
    }

    /// `value` is a number from `least` to `most`.
    pub(super) fn within(&mut self, value: f64, least: f64, most: f64, field: impl Display) {
        let ok = (least..=most).contains(&value);
        self.check(ok, field, format!("{least} to {most}"));
    }

    /// `name` is a name, and not the same as an earlier one.
    pub(super) fn name<'a>(
        &mut self,
        name: &str,
        mut earlier: impl Iterator<Item = &'a str>,
        field: impl Display,
    ) {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let ok = (1..=128).contains(&name.len()) && name.chars().all(plain);
        self.check(ok, &field, "1 to 128 of A-Z, a-z, 0-9, '-', '_' and '.'");
        self.check(!earlier.any(|other| other == name), &field, "each name once");
    }

    /// All that was found.
    pub(super) fn found(self) -> Vec<FieldError> {
        self.0
    }
}
