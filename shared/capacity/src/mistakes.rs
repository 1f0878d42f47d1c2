//! Collects all mistakes of a document, so that they are reported together.

use std::fmt::Display;

use domain::drops::FieldError;

/// The mistakes that the checks of a document found so far.
#[derive(Debug, Default)]
pub(super) struct Mistakes {
    found: Vec<FieldError>,
    /// The path of the part that is checked now, with a dot at its end; empty for a whole document.
    at: String,
}

impl Mistakes {
    /// Makes the checks of one part of the document. `check` names fields by their paths within the part.
    pub(super) fn part(&mut self, part: impl Display, check: impl FnOnce(&mut Self)) {
        let outer = self.at.clone();
        self.at = format!("{outer}{part}.");
        check(self);
        self.at = outer;
    }

    /// Makes the checks of each element of a list. Each element has a name in its field `field`, which must be
    /// valid and differ from the names of earlier elements.
    pub(super) fn list<'a, T>(
        &mut self,
        list: &str,
        elements: &'a [T],
        (field, name): (&str, fn(&T) -> &str),
        mut check: impl FnMut(&mut Self, &'a T),
    ) {
        for (n, element) in elements.iter().enumerate() {
            self.part(format!("{list}[{n}]"), |m| {
                m.name(name(element), elements.iter().take(n).map(name), field);
                check(m, element);
            });
        }
    }

    /// Records that `field` breaks `rule`, unless `ok`.
    pub(super) fn check(&mut self, ok: bool, field: impl Display, rule: impl Display) {
        if !ok {
            self.found.push(FieldError {
                field: format!("{}{field}", self.at),
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
        self.found
    }
}
