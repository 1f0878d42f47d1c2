//! Reports and raises warm throughput as AWS does: the throughput that a table or an index serves immediately. The
//! emulator does not know warm throughput, so these values do not limit the emulator.

use std::collections::HashMap;
use std::sync::Mutex;

use dynoxide::{Database, DynoxideError};
use serde_json::{Map, Value, json};

use crate::lock;
use crate::wire::list;

/// The warm throughput of a new on-demand table, in units a second.
const NEW: Warm = Warm {
    read: 12_000,
    write: 4_000,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Warm {
    read: u64,
    write: u64,
}

/// The raised values, by table and index. Without an index, the value is the table's own.
#[derive(Debug, Default)]
pub(super) struct WarmThroughput {
    raised: Mutex<HashMap<(String, Option<String>), Warm>>,
}

impl WarmThroughput {
    /// The answer to a request that changes warm throughput, or whose answer contains it. `None` for other requests.
    pub(super) fn answer(
        &self,
        db: &Database,
        operation: &str,
        body: &[u8],
    ) -> Option<Result<String, DynoxideError>> {
        let request: Value = serde_json::from_slice(body).ok()?;
        let name = request.get("TableName")?.as_str()?;
        let name = name.rsplit('/').next()?.to_owned();
        let member = match operation {
            "DescribeTable" => "Table",
            "UpdateTable" if is_about_warmth(&request) => "TableDescription",
            _ => return None,
        };
        Some(self.described(db, &name, member, &request))
    }

    fn described(
        &self,
        db: &Database,
        name: &str,
        member: &str,
        request: &Value,
    ) -> Result<String, DynoxideError> {
        let describe = serde_json::from_value(json!({"TableName": name}))
            .map_err(|e| DynoxideError::SerializationException(e.to_string()))?;
        let described = db.describe_table(describe)?;
        let described =
            serde_json::to_value(described).map_err(|e| DynoxideError::InternalServerError(e.to_string()))?;
        let mut table = described.get("Table").cloned().unwrap_or_default();
        if member != "Table" {
            self.raise(name, &table, request)?;
        }
        let told = |index: Option<&str>| {
            let warm = self.of(name, index);
            json!({"ReadUnitsPerSecond": warm.read, "WriteUnitsPerSecond": warm.write, "Status": "ACTIVE"})
        };
        let indexes = table
            .get_mut("GlobalSecondaryIndexes")
            .and_then(Value::as_array_mut);
        for index in indexes.into_iter().flatten().filter_map(Value::as_object_mut) {
            let name = index.get("IndexName").and_then(Value::as_str).map(str::to_owned);
            index.insert("WarmThroughput".to_owned(), told(name.as_deref()));
        }
        if let Some(table) = table.as_object_mut() {
            table.insert("WarmThroughput".to_owned(), told(None));
        }
        Ok(Value::Object(Map::from_iter([(member.to_owned(), table)])).to_string())
    }

    fn of(&self, table: &str, index: Option<&str>) -> Warm {
        let key = (table.to_owned(), index.map(str::to_owned));
        lock(&self.raised).get(&key).copied().unwrap_or(NEW)
    }

    /// Raises all requested values; if one of them is refused, no value changes.
    fn raise(&self, table: &str, described: &Value, request: &Value) -> Result<(), DynoxideError> {
        let mut wanted: Vec<(Option<String>, Warm)> = Vec::new();
        if let Some(own) = request.get("WarmThroughput") {
            wanted.push((None, self.read(table, None, own)?));
        }
        for (index, asked) in updates(request) {
            let mut known =
                list(described, "GlobalSecondaryIndexes").filter_map(|known| known.get("IndexName"));
            if !known.any(|known| known == index) {
                return Err(DynoxideError::ResourceNotFoundException(format!(
                    "Requested resource not found: index {index}"
                )));
            }
            wanted.push((Some(index.to_owned()), self.read(table, Some(index), asked)?));
        }
        let wanted = wanted.into_iter();
        let wanted = wanted.map(|(index, warm)| ((table.to_owned(), index), warm));
        lock(&self.raised).extend(wanted);
        Ok(())
    }

    /// The requested values. A value that the request omits stays unchanged.
    fn read(&self, table: &str, index: Option<&str>, asked: &Value) -> Result<Warm, DynoxideError> {
        let there = self.of(table, index);
        let part = |name: &str, there: u64| asked.get(name).and_then(Value::as_u64).unwrap_or(there);
        let warm = Warm {
            read: part("ReadUnitsPerSecond", there.read),
            write: part("WriteUnitsPerSecond", there.write),
        };
        if warm.read < there.read || warm.write < there.write {
            return Err(DynoxideError::ValidationException(
                "One or more parameter values were invalid: warm throughput cannot be decreased".to_owned(),
            ));
        }
        Ok(warm)
    }
}

/// The indexes whose warm throughput a request sets, with the requested values.
fn updates(request: &Value) -> impl Iterator<Item = (&str, &Value)> {
    list(request, "GlobalSecondaryIndexUpdates").filter_map(|update| {
        let update = update.get("Update")?;
        let index = update.get("IndexName").and_then(Value::as_str);
        Some((index.unwrap_or_default(), update.get("WarmThroughput")?))
    })
}

fn is_about_warmth(request: &Value) -> bool {
    request.get("WarmThroughput").is_some() || updates(request).next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables() -> Database {
        let db = Database::memory().unwrap();
        let create = json!({
            "TableName": "orders",
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [
                {"AttributeName": "pk", "AttributeType": "S"}, {"AttributeName": "open", "AttributeType": "S"},
            ],
            "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
            "GlobalSecondaryIndexes": [{
                "IndexName": "open",
                "KeySchema": [{"AttributeName": "open", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }],
        });
        db.create_table(serde_json::from_value(create).unwrap()).unwrap();
        db
    }

    fn ask(warm: &WarmThroughput, db: &Database, operation: &str, request: &Value) -> Value {
        let answer = warm.answer(db, operation, request.to_string().as_bytes());
        serde_json::from_str(&answer.unwrap().unwrap()).unwrap()
    }

    fn units(of: &Value) -> (u64, u64) {
        let warm = &of["WarmThroughput"];
        assert_eq!(warm["Status"], "ACTIVE");
        (
            warm["WriteUnitsPerSecond"].as_u64().unwrap(),
            warm["ReadUnitsPerSecond"].as_u64().unwrap(),
        )
    }

    #[test]
    fn it_is_told_and_raised_and_never_lowered() {
        let (db, warm) = (tables(), WarmThroughput::default());
        let name = json!({"TableName": "orders"});
        let there = ask(&warm, &db, "DescribeTable", &name);
        assert_eq!(units(&there["Table"]), (4_000, 12_000));
        assert_eq!(
            units(&there["Table"]["GlobalSecondaryIndexes"][0]),
            (4_000, 12_000)
        );

        let update = json!({
            "TableName": "orders",
            "WarmThroughput": {"WriteUnitsPerSecond": 8_000, "ReadUnitsPerSecond": 12_000},
            "GlobalSecondaryIndexUpdates": [
                {"Update": {"IndexName": "open", "WarmThroughput": {"WriteUnitsPerSecond": 7_000}}},
            ],
        });
        let raised = ask(&warm, &db, "UpdateTable", &update);
        assert_eq!(units(&raised["TableDescription"]), (8_000, 12_000));
        let there = ask(&warm, &db, "DescribeTable", &name);
        assert_eq!(units(&there["Table"]), (8_000, 12_000));
        assert_eq!(
            units(&there["Table"]["GlobalSecondaryIndexes"][0]),
            (7_000, 12_000)
        );

        for bad in [
            json!({"TableName": "orders", "WarmThroughput": {"WriteUnitsPerSecond": 7_999}}),
            json!({"TableName": "orders", "WarmThroughput": {"WriteUnitsPerSecond": 9_000},
                "GlobalSecondaryIndexUpdates": [{"Update": {"IndexName": "no", "WarmThroughput": {}}}]}),
            json!({"TableName": "no", "WarmThroughput": {"WriteUnitsPerSecond": 9_000}}),
        ] {
            let answer = warm.answer(&db, "UpdateTable", bad.to_string().as_bytes());
            assert!(answer.unwrap().is_err(), "{bad}");
        }
        let there = ask(&warm, &db, "DescribeTable", &name);
        assert_eq!(units(&there["Table"]), (8_000, 12_000), "all or nothing");
    }

    #[test]
    fn what_is_about_something_else_is_left_alone() {
        let (db, warm) = (tables(), WarmThroughput::default());
        for (operation, request) in [
            ("GetItem", json!({"TableName": "orders"})),
            (
                "UpdateTable",
                json!({"TableName": "orders", "BillingMode": "PAY_PER_REQUEST"}),
            ),
            ("DescribeTable", json!({})),
        ] {
            assert!(
                warm.answer(&db, operation, request.to_string().as_bytes())
                    .is_none()
            );
        }
    }
}
