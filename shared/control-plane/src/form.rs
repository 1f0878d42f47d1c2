//! Parses a JSON document into a type and reports all mistakes of its form at once.
//!
//! Derived parsers stop at the first mistake. So the text is parsed repeatedly: each mistake is recorded with its path,
//! then replaced by a value that the parser accepts, until no mistake is left. Replaced values are never returned: a
//! document with a mistake yields only its mistakes.

use std::collections::BTreeSet;

use domain::drops::FieldError;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

pub(crate) fn mistake(field: &str, message: &str) -> FieldError {
    FieldError {
        field: field.to_owned(),
        message: message.to_owned(),
    }
}

/// Further mistakes in one document are not reported: an author of so many mistakes must check the whole document
/// first.
const MOST_MISTAKES: usize = 64;
/// The largest number of attempts to repair one document, over all its mistakes.
const MOST_ATTEMPTS: usize = 20_000;

/// A path in a document.
type Place = Vec<Key>;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Member(String),
    Element(usize),
}

/// A parser error.
#[derive(Debug, Clone, PartialEq)]
struct Complaint {
    at: Place,
    message: String,
}

/// The document, or `None` with at least one mistake added to `mistakes`. The mistakes' fields begin with `document`.
pub(crate) fn read<T: DeserializeOwned>(
    document: &str,
    text: &str,
    mistakes: &mut Vec<FieldError>,
) -> Option<T> {
    match serde_json::from_str::<Value>(text) {
        Ok(value) => read_value(document, value, mistakes),
        Err(error) => {
            mistakes.push(FieldError {
                field: document.to_owned(),
                message: format!("not JSON: line {}, column {}", error.line(), error.column()),
            });
            None
        }
    }
}

/// The same for parsed JSON.
pub(crate) fn read_value<T: DeserializeOwned>(
    document: &str,
    value: Value,
    mistakes: &mut Vec<FieldError>,
) -> Option<T> {
    let first = match attempt::<T>(&value) {
        Ok(document) => return Some(document),
        Err(complaint) => complaint,
    };
    let mut repair = Repair::<T> {
        value,
        attempts: 0,
        read: std::marker::PhantomData,
    };
    let mut told: BTreeSet<(Place, String)> = BTreeSet::new();
    // Inserted values have no mistakes of their own.
    let mut made_up: Vec<Place> = Vec::new();
    let mut next = Some(first);
    while let Some(complaint) = next {
        let (at, repaired) = repair.put_right(&complaint);
        let of_ours = made_up.iter().any(|place| at.starts_with(place));
        if !of_ours && told.insert((at.clone(), complaint.message.clone())) {
            mistakes.push(FieldError {
                field: path(document, &at),
                message: complaint.message.clone(),
            });
        }
        if told.len() >= MOST_MISTAKES {
            break;
        }
        let Some((place, after)) = repaired else { break };
        made_up.push(place);
        next = after;
    }
    None
}

/// A document that is repaired mistake by mistake.
struct Repair<T> {
    value: Value,
    attempts: usize,
    read: std::marker::PhantomData<T>,
}

/// The path of a repair, and the next parser error.
type Repaired = (Place, Option<Complaint>);

impl<T: DeserializeOwned> Repair<T> {
    /// Repairs the mistake of a parser error. Returns its exact path, since the parser of a tagged enum reports the
    /// path of the whole enum.
    fn put_right(&mut self, complaint: &Complaint) -> (Place, Option<Repaired>) {
        if let Some(name) = quoted_after(&complaint.message, "missing field `") {
            let mut place = complaint.at.clone();
            place.push(Key::Member(name));
            let repaired = self.fill(&place, complaint);
            return (complaint.at.clone(), repaired);
        }
        if quoted_after(&complaint.message, "unknown field `").is_some() {
            return self.remove(complaint);
        }
        // The innermost value whose replacement changes the error is the wrong one.
        let mut places = below(&self.value, &complaint.at);
        places.sort_by_key(|place| std::cmp::Reverse(place.len()));
        for place in places {
            if let Some(repaired) = self.fill(&place, complaint) {
                return (place, Some(repaired));
            }
        }
        (complaint.at.clone(), None)
    }

    /// Puts an accepted value at `place`.
    fn fill(&mut self, place: &[Key], complaint: &Complaint) -> Option<Repaired> {
        let mut all = candidates(&complaint.message);
        let mut asked = false;
        let mut n = 0;
        while let Some(candidate) = all.get(n) {
            n += 1;
            let mut changed = self.value.clone();
            if !put(&mut changed, place, candidate.clone()) {
                return None;
            }
            match self.after(&changed, complaint) {
                Tried::Better(after) => {
                    self.value = changed;
                    return Some((place.to_vec(), after));
                }
                // Only this error lists the accepted variants.
                Tried::NoBetter(after) if !asked && after.message.starts_with("unknown variant `") => {
                    asked = true;
                    all.extend(names_offered(&after.message));
                }
                Tried::NoBetter(_) => {}
                Tried::Enough => return None,
            }
        }
        None
    }

    fn remove(&mut self, complaint: &Complaint) -> (Place, Option<Repaired>) {
        let name = quoted_after(&complaint.message, "unknown field `").unwrap_or_default();
        let mut inside = complaint.at.clone();
        inside.push(Key::Member(name.clone()));
        let mut places = vec![complaint.at.clone(), inside];
        places.extend(below(&self.value, &complaint.at));
        for place in places {
            if place.last() != Some(&Key::Member(name.clone())) {
                continue;
            }
            let mut changed = self.value.clone();
            if !take(&mut changed, &place) {
                continue;
            }
            if let Tried::Better(after) = self.after(&changed, complaint) {
                self.value = changed;
                return (place.clone(), Some((place, after)));
            }
        }
        (complaint.at.clone(), None)
    }

    /// The next parser error.
    fn after(&mut self, changed: &Value, complaint: &Complaint) -> Tried {
        self.attempts += 1;
        if self.attempts > MOST_ATTEMPTS {
            return Tried::Enough;
        }
        match attempt::<T>(changed) {
            Ok(_) => Tried::Better(None),
            // Another error at the same path means that the candidate is no improvement.
            Err(after) if after.at == complaint.at && !moved_on(&after, complaint) => Tried::NoBetter(after),
            Err(after) => Tried::Better(Some(after)),
        }
    }
}

/// The result of one attempt.
enum Tried {
    /// The mistake is repaired; the next one.
    Better(Option<Complaint>),
    /// The mistake remains.
    NoBetter(Complaint),
    /// The limit of attempts is reached.
    Enough,
}

/// Whether a parser error at the same path concerns another member.
fn moved_on(after: &Complaint, before: &Complaint) -> bool {
    let member = |complaint: &Complaint| {
        ["missing field `", "unknown field `"]
            .into_iter()
            .find_map(|start| quoted_after(&complaint.message, start))
    };
    match (member(before), member(after)) {
        (None, None) => false,
        (before, after) => before != after,
    }
}

fn attempt<T: DeserializeOwned>(value: &Value) -> Result<T, Complaint> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        use serde_path_to_error::Segment;
        let at = error.path().iter().filter_map(|segment| match segment {
            Segment::Seq { index } => Some(Key::Element(*index)),
            Segment::Map { key } => Some(Key::Member(key.clone())),
            Segment::Enum { variant } => Some(Key::Member(variant.clone())),
            Segment::Unknown => None,
        });
        Complaint {
            at: at.collect(),
            message: error.inner().to_string(),
        }
    })
}

/// Values that may be accepted where `message` reports an error: the names it lists, then one value of each kind.
fn candidates(message: &str) -> Vec<Value> {
    let mut all = names_offered(message);
    let moment = "2030-01-01T00:00:00Z";
    all.extend([
        json!(1),
        json!("x"),
        json!(moment),
        json!([]),
        json!({}),
        json!(true),
    ]);
    all.extend([json!("GET /-"), Value::Null]);
    all
}

/// The variants that an error message lists, with and without content. The message first quotes the wrong value.
fn names_offered(message: &str) -> Vec<Value> {
    let names = message.split('`').skip(1).step_by(2).skip(1);
    let each = |name: &str| [json!(name), json!({name: 2}), json!({name: {}})];
    names.flat_map(each).collect()
}

fn quoted_after(message: &str, start: &str) -> Option<String> {
    let (name, _) = message.strip_prefix(start)?.split_once('`')?;
    Some(name.to_owned())
}

/// `place`, or the nearest existing path around it, and every path below it.
fn below(value: &Value, place: &[Key]) -> Vec<Place> {
    let mut place = place;
    while let (None, Some((_, around))) = (at(value, place), place.split_last()) {
        place = around;
    }
    let mut places = Vec::new();
    let mut open = vec![place.to_vec()];
    while let Some(place) = open.pop() {
        let Some(there) = at(value, &place) else { continue };
        let inside = |key: Key| {
            let mut inside = place.clone();
            inside.push(key);
            inside
        };
        match there {
            Value::Object(members) => {
                open.extend(members.keys().map(|name| inside(Key::Member(name.clone()))))
            }
            Value::Array(elements) => open.extend((0..elements.len()).map(|n| inside(Key::Element(n)))),
            _ => {}
        }
        places.push(place);
    }
    places
}

fn at<'a>(value: &'a Value, place: &[Key]) -> Option<&'a Value> {
    place.iter().try_fold(value, |value, key| match key {
        Key::Member(name) => value.get(name),
        Key::Element(n) => value.get(n),
    })
}

fn at_mut<'a>(value: &'a mut Value, place: &[Key]) -> Option<&'a mut Value> {
    place.iter().try_fold(value, |value, key| match key {
        Key::Member(name) => value.get_mut(name),
        Key::Element(n) => value.get_mut(n),
    })
}

/// Whether `new` could be put at `place`.
fn put(value: &mut Value, place: &[Key], new: Value) -> bool {
    let Some((last, parent)) = place.split_last() else {
        *value = new;
        return true;
    };
    match (at_mut(value, parent), last) {
        (Some(Value::Object(members)), Key::Member(name)) => {
            members.insert(name.clone(), new);
            true
        }
        (Some(Value::Array(elements)), Key::Element(n)) => {
            elements.get_mut(*n).map(|old| *old = new).is_some()
        }
        _ => false,
    }
}

/// Whether a value at `place` was removed.
fn take(value: &mut Value, place: &[Key]) -> bool {
    let Some((Key::Member(name), parent)) = place.split_last() else {
        return false;
    };
    let members: Option<&mut Map<String, Value>> = at_mut(value, parent).and_then(Value::as_object_mut);
    members.is_some_and(|members| members.remove(name).is_some())
}

/// The path in readable form: `profile.group[0].weight.opening`.
fn path(document: &str, place: &[Key]) -> String {
    let mut text = document.to_owned();
    for key in place {
        match key {
            Key::Member(name) => {
                text.push('.');
                text.push_str(name);
            }
            Key::Element(n) => text.push_str(&format!("[{n}]")),
        }
    }
    text
}
