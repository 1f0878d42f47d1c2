//! Writes log lines: one JSON object for each line, with the fields of the event and of all its spans at the top level.
//!
//! `tracing-subscriber`'s own JSON format shows only the innermost span, or a list of spans whose fields CloudWatch
//! Logs Insights names by list position. Here an order's id is the field `order` wherever the span was opened. Fields
//! are formatted only when a line is written, so a request without a log line costs no formatting.

use std::fmt::Debug;
use std::io::Write as _;

use serde::Serializer as _;
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

/// Writes log lines to the writers that `W` makes.
pub(crate) struct Lines<W>(pub(crate) W);

/// Named values in insertion order, each name once.
#[derive(Default)]
struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| *known == name)
    }

    /// Sets a value; a later value of the same name replaces it.
    fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        let value = value.into();
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.0.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field.name(), value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.set(field.name(), format!("{value:?}"));
    }
}

impl<W> Lines<W> {
    /// The line of an event: its time and level, its own fields, then the fields of its spans from the innermost
    /// outwards. When two fields have the same name, the inner field is kept.
    fn line<S>(event: &Event<'_>, context: &Context<'_, S>) -> Fields
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let mut now = String::with_capacity(32);
        // Writing to a `String` does not fail.
        let _ = SystemTime.format_time(&mut Writer::new(&mut now));
        let mut line = Fields::default();
        line.set("timestamp", now);
        line.set("level", event.metadata().level().as_str());
        event.record(&mut line);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(fields) = span.extensions().get::<Fields>() {
                for (name, value) in &fields.0 {
                    if !line.has(name) {
                        line.set(name, value.clone());
                    }
                }
            }
        }
        line
    }
}

impl<S, W> Layer<S> for Lines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let fields = Self::line(event, &context);
        let mut line = Vec::with_capacity(512);
        let pairs = fields.0.iter().map(|(name, value)| (name, value));
        if serde_json::Serializer::new(&mut line).collect_map(pairs).is_ok() {
            line.push(b'\n');
            // A failure to write the log cannot be reported anywhere.
            self.0.make_writer().write_all(&line).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::layer::SubscriberExt as _;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// The JSON objects that `write` logs, without timestamps.
    fn logged(write: impl FnOnce()) -> Vec<Value> {
        let log = Log::default();
        let made = log.clone();
        let lines = Lines(move || made.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), write);
        let bytes = log.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        let parsed = text.lines().map(|line| {
            let mut line: serde_json::Map<String, Value> = serde_json::from_str(line).unwrap();
            let moment = line.remove("timestamp").unwrap();
            assert!(moment.as_str().unwrap().ends_with('Z'), "{moment}");
            Value::Object(line)
        });
        parsed.collect()
    }

    #[test]
    fn a_line_has_the_fields_of_all_its_spans() {
        let lines = logged(|| {
            let request = tracing::info_span!("request", requestId = "r1", order = tracing::field::Empty);
            request.in_scope(|| {
                tracing::warn!(left = 3, share = 0.5, why = ?Some(1), "nobody is known yet");
                request.record("order", "o1");
                let message = tracing::info_span!("message", order = "o2", message_id = None::<&str>);
                message.in_scope(|| tracing::info!(known = true, "two \"orders\"\n"));
                tracing::error!(order = %"o3", "the line's own field counts");
            });
            tracing::info!("outside");
        });
        assert_eq!(
            lines,
            [
                serde_json::json!({"level": "WARN", "message": "nobody is known yet", "left": 3, "share": 0.5,
                    "why": "Some(1)", "requestId": "r1"}),
                serde_json::json!({"level": "INFO", "message": "two \"orders\"\n", "known": true, "order": "o2",
                    "requestId": "r1"}),
                serde_json::json!({"level": "ERROR", "message": "the line's own field counts", "order": "o3",
                    "requestId": "r1"}),
                serde_json::json!({"level": "INFO", "message": "outside"}),
            ]
        );
    }
}
