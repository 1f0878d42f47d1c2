//! Collects all mistakes of a document, so that they are reported together.

use std::fmt::Display;

use domain::drops::FieldError;

/// The mistakes that the checks of a document found so far.
#[derive(Debug, Default)]
pub(super) struct Mistakes(Vec<FieldError>);

impl Mistakes {
    /// Records that `field` breaks `rule`, unless `ok`.
    pub(super) fn check(&mut self, ok: bool, field: impl Display, rule: impl Display) {
        if !ok {
            self.0.push(FieldError {
                field: field.to_string(),
                message: rule.to_string(),
            });
        }
    }

    /// Checks that `value` is from `least` to `most`.
    pub(super) fn within(&mut self, value: f64, least: f64, most: f64, field: impl Display) {
        let ok = (least..=most).contains(&value);
        self.check(ok, field, format!("{least} to {most}"));
    }

    /// Checks that `name` is a valid name and differs from earlier ones.
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

    /// All recorded mistakes.
    pub(super) fn found(self) -> Vec<FieldError> {
        self.0
    }
}
